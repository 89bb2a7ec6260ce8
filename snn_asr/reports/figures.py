"""Figures of an analysis, as PNG or SVG. This is the only module that imports matplotlib (the extra ``figures``).

The colours are those of Okabe & Ito, which colour-blind readers can tell apart; lines also differ in their markers. The
same analysis gives the same file, byte for byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snn_asr.errors import UsageError, unknown_name
from snn_asr.files import atomic_path
from snn_asr.reports.activity import Activity
from snn_asr.reports.analysis import Analysis
from snn_asr.reports.gradients import Mismatch, Reach

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

FORMATS = ("png", "svg")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
FIGURES = ("vanishing-gradient", "gradient-mismatch", "raster", "firing-rates", "parameters")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")  # one more than colours, so that the pairs differ in 56 lines
SMALLEST_POWER = -9  # of ten, on the axis of norms; smaller values and 0 are drawn on its floor
DOTS_PER_INCH = 150
STYLE = {
    "font.size": 10, "axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "grid.color": "#DDDDDD", "axes.axisbelow": True, "legend.frameon": False, "lines.linewidth": 1.8,
    "lines.markersize": 6, "svg.hashsalt": "snn-asr", "svg.fonttype": "none",
}


def check(file_format: str) -> None:
    """Raise UsageError for an unknown format, or if matplotlib is not installed or cannot load with its settings."""
    if file_format not in FORMATS:
        raise unknown_name("format", file_format, FORMATS, "--format")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        todo = "install the extra: pip install 'snn-asr[figures]'"
        raise UsageError("figures are drawn by matplotlib, which is not installed", todo=todo) from error
    except ValueError as error:
        raise UsageError(f"matplotlib cannot be loaded ({error})", "MPLBACKEND", "unset it") from error


def draw(analysis: Analysis, folder: str | Path, file_format: str) -> dict[str, Path]:
    """Write every figure for which the analysis has numbers, and return their paths by name. Raises as ``check``."""
    check(file_format)
    with _style():
        figures = {"vanishing-gradient": _reaches(analysis.reaches, analysis.features)}
        if analysis.mismatches:
            figures["gradient-mismatch"] = _mismatches(analysis.mismatches, analysis.features)
        if analysis.activities:
            figures["raster"] = _rasters(analysis.activities, analysis.features)
            figures["firing-rates"] = _rates(analysis.activities, analysis.features)
        if analysis.parameters:
            figures["parameters"] = _parameters(analysis.parameters)
        return {name: _save(each, Path(folder) / f"{name}.{file_format}") for name, each in figures.items()}


def _style() -> AbstractContextManager:
    import matplotlib

    return matplotlib.rc_context(STYLE)  # type: ignore[arg-type]


def _save(figure: Figure, path: Path) -> Path:
    metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH, metadata=metadata)
    return path


def _panels(
    title: str, width: float, height: float, rows: int = 1, columns: int = 1, **shared: Any
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure and its axes, row by row. Sizes are in inches; no window system is needed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, fontsize=11)
    return figure, figure.subplots(rows, columns, squeeze=False, **shared).tolist()


def _reaches(reaches: Sequence[Reach], features: str) -> Figure:
    kinds = {"whole gradient": [each.whole for each in reaches]}
    if any(each.without_current for each in reaches):
        kinds["with the synaptic current cut"] = [each.without_current for each in reaches]
    figure, (row,) = _panels(
        f"How far back the gradient of the last output reaches\n{_short(features)}", 6 + 2 * len(kinds), 4.4,
        1, len(kinds), sharex=True, sharey=True,
    )
    for axes, (title, lines) in zip(row, kinds.items(), strict=True):
        axes.set_title(title)
        axes.set_xlabel("steps back, k")
        for index, norms in enumerate(lines):
            if norms is not None:
                values, marks = above_floor(norms)
                axes.plot(range(len(norms)), values, label=reaches[index].name, **_line(index), markevery=marks)
    whole = row[0]
    whole.set_ylabel("norm of the gradient, relative to k = 0")
    whole.set_yscale("log")
    powers = (SMALLEST_POWER, *range(SMALLEST_POWER + 1, 1, 2))
    labels = [f"$10^{{{each}}}$" for each in powers[1:]]
    whole.set_yticks([10.0**each for each in powers], [f"≤ $10^{{{SMALLEST_POWER}}}$", *labels])
    whole.minorticks_off()
    figure.legend(*whole.get_legend_handles_labels(), loc="outside right upper")
    return figure


def above_floor(norms: Sequence[float]) -> tuple[list[float], list[int]]:
    """Return what to draw on a logarithmic axis that ends at a floor.

    A line that falls below the axis touches the floor once and ends there. The result is the values, NaN where nothing
    is drawn, and the steps to mark: about ten of them, and those on the floor.
    """
    floor = 10.0**SMALLEST_POWER
    fallen = [each < floor for each in norms]
    landed = [here and not before for before, here in zip([False, *fallen], fallen, strict=False)]
    values = [
        floor if lands else float("nan") if falls else each
        for each, falls, lands in zip(norms, fallen, landed, strict=True)
    ]
    every = max(1, len(norms) // 10)
    return values, [step for step, lands in enumerate(landed) if lands or step % every == 0]


def _mismatches(mismatches: Sequence[Mismatch], features: str) -> Figure:
    figure, ((plain, scaled),) = _panels(
        f"How true the straight-through gradient of the weights is\n{_short(features)}", 10, 4.4, 1, 2, sharey=True
    )
    for index, mismatch in enumerate(mismatches):
        for axes, cosines in ((plain, mismatch.no_threshold), (scaled, mismatch.scaled_threshold)):
            values = [float("nan") if each is None else each for each in cosines]
            axes.plot(mismatch.bits, values, label=mismatch.name, **_line(index))
    plain.set_title("no threshold")
    shares = sorted({round(100 * each.dead_zone, 1) for each in mismatches})
    scaled.set_title(f"threshold at {', '.join(f'{each:g}' for each in shares)} % of the range")
    plain.set_ylabel("cosine with the gradient without rounding")
    for axes in (plain, scaled):
        axes.set_xlabel("bits of an event, sign included")
        axes.set_xticks(mismatches[0].bits)
    figure.legend(*plain.get_legend_handles_labels(), loc="outside right upper")
    return figure


def _rasters(activities: Sequence[Activity], features: str) -> Figure:
    from matplotlib.colors import PowerNorm
    from matplotlib.ticker import MaxNLocator

    figure, grid = _panels(
        f"Events\n{_short(features)}", 9, 1 + 2.6 * len(activities), len(activities), sharex=True
    )
    for (axes,), each in zip(grid, activities, strict=True):
        magnitudes = each.events.abs().T
        largest = max(float(magnitudes.max()), 1e-9)
        seconds, units = each.step_seconds * len(each.events), len(magnitudes)
        image = axes.imshow(
            (magnitudes / largest).numpy(), aspect="auto", origin="lower", cmap="Greys",
            norm=PowerNorm(0.5, 0, 1), extent=(0, seconds, 0, units),  # a root, to show small events
        )
        axes.grid(False)
        axes.set_title(f"{each.name}: {100 * each.density:.1f} % of values are events")
        axes.set_ylabel("unit")
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel("time (s)")
    figure.colorbar(image, ax=[row[0] for row in grid], label="magnitude, relative to the layer's largest", pad=0.01)
    return figure


def _rates(activities: Sequence[Activity], features: str) -> Figure:
    figure, (row,) = _panels(
        f"How often the units send events\n{_short(features)}", 1 + 4 * len(activities), 4, 1, len(activities),
        sharey=True, sharex=True,
    )
    highest = max(1 / each.step_seconds for each in activities)
    for index, (axes, each) in enumerate(zip(row, activities, strict=True)):
        axes.hist(each.rates_hz.numpy(), bins=40, range=(0, highest), color=COLOURS[index % len(COLOURS)])
        axes.set_title(f"{each.name}: {each.silent_units} of {each.units} units are silent")
        axes.set_xlabel(f"events a second (a frame each {1000 * each.step_seconds:.3g} ms)")
    row[0].set_ylabel("units")
    return figure


def _parameters(layers: dict[str, dict[str, Tensor]]) -> Figure:
    columns = max(map(len, layers.values()))
    figure, grid = _panels(
        "Distribution of the parameters", 3.2 * columns, 0.6 + 2.4 * len(layers), len(layers), columns
    )
    for row, (index, (layer, named)) in zip(grid, enumerate(layers.items()), strict=True):
        for axes in row[len(named):]:
            axes.set_visible(False)
        for axes, (name, values) in zip(row, named.items(), strict=False):
            axes.hist(values.numpy(), bins=50, color=COLOURS[index % len(COLOURS)])
            axes.set_title(f"{layer}: {name.rpartition('.')[2].replace('_', ' ')}")
            axes.set_xlabel("value")
        row[0].set_ylabel("count")
    return figure


def _line(index: int) -> dict[str, Any]:
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}


def _short(features: str) -> str:
    """Return the name of a file without its folders; the names of other features stay as they are."""
    return Path(features).name

"""How the time of a step grows with one quantity, all else kept: a table with the fitted exponent, and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from pathlib import Path
from statistics import linear_regression


def exponent(values: Sequence[float], seconds: Sequence[float]) -> float:
    """p of the best seconds = constant * value^p, least squares over logarithms: 1 is linear growth."""
    return linear_regression([log(each) for each in values], [log(each) for each in seconds]).slope


def growth_table(field: str, title: str, seconds: dict[str, dict[int, float]]) -> str:
    """``seconds`` by case and value of ``field``, as text.

    The last columns are the exponent, and the time per frame (or unit, or row of the batch) at the largest value by
    that at the smallest: below 1 where what a step costs once weighs on the smallest.
    """
    values = list(next(iter(seconds.values())))
    each = "row" if field == "batch" else field.removesuffix("s")
    columns = "".join(f"{value:>9}" for value in values)
    lines = [f"Growth with {field}, {title}: ms a step", f"{'':28}{columns}  exponent  a {each}, last / first"]
    for name, by_value in seconds.items():
        first, last = (by_value[value] / value for value in (values[0], values[-1]))
        milliseconds = "".join(f"{1000 * by_value[value]:9.1f}" for value in values)
        lines.append(f"{name:28}{milliseconds}{exponent(values, list(by_value.values())):10.2f}{last / first:10.2f}")
    return "\n".join(lines)


def plot(field: str, title: str, seconds: dict[str, dict[int, float]], path: Path) -> None:
    """Time against the growing quantity, both axes logarithmic, beside a dotted line of linear growth."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    from snn_asr.reports.figures import COLOURS, DOTS_PER_INCH, MARKERS

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for index, (name, by_value) in enumerate(seconds.items()):
        style = {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}
        milliseconds = [1000 * each for each in by_value.values()]
        axes.plot(list(by_value), milliseconds, "--" if name.startswith("torch.") else "-", label=name, **style)
    values = list(next(iter(seconds.values())))
    lowest = min(1000 * by_value[values[0]] for by_value in seconds.values())
    axes.plot(values, [0.7 * lowest * value / values[0] for value in values], ":", color="#888888", label="linear")
    axes.set(xlabel=field, ylabel="ms a step, forward and backward", xscale="log", yscale="log", title=title)
    axes.set_xticks(values, map(str, values))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(NullFormatter())
    axes.grid(color="#DDDDDD")
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DOTS_PER_INCH)

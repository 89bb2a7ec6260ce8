"""Error rate against multiplications: which encoders reach a given error at the lowest cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from snn_asr.reports.charts import NEUTRAL, Chart, Point, Series, plotted
from snn_asr.reports.comparison import Row
from snn_asr.reports.rendering import render
from snn_asr.reports.table import interval_text, times

CHART_MARK = b"<!-- A chart of snn-asr"  # what a chart's file begins with


class Costed(Protocol):
    """The parts of a comparison's row that the chart uses."""

    @property
    def label(self) -> str: ...

    @property
    def error_rate(self) -> float: ...

    @property
    def interval(self) -> tuple[float, float] | None: ...

    @property
    def macs_per_second(self) -> float: ...

    @property
    def products_per_second(self) -> float | None: ...


def products(row: Costed) -> float:
    """Return the multiplications for each second of speech, or only the MACs if a run recorded no others."""
    return row.macs_per_second if row.products_per_second is None else row.products_per_second


def frontier(rows: Sequence[Costed], unit: str) -> Chart:
    """Return a chart of the error rate with its interval against multiplications, on a logarithmic axis.

    Every row is a mark, and a line joins the rows that no other row beats in both.
    """
    series = [
        Series(row.label, index, [Point(products(row) / 1e6, row.error_rate, _title(row), *_ends(row))])
        for index, row in enumerate(rows)
    ]
    best = [row for row, unbeaten in zip(rows, on_frontier(rows), strict=True) if unbeaten]
    edge = [Point(*each, "") for each in sorted((products(row) / 1e6, row.error_rate) for row in best)]
    lines = [Series("frontier", NEUTRAL, edge, line=True, thin=True, dashed=True)] if len(edge) > 1 else []
    description = "Multiplications of products and units, without those of the features; bars are 95 % intervals."
    if any(row.products_per_second is None for row in rows):
        description = "Multiplications (of runs that tell no more, MACs alone); bars are 95 % intervals."
    return plotted(
        "frontier-chart", "Error against multiplications", description,
        "million multiplications for each second of speech", f"{unit} error %", [*lines, *series],
        x_log=True, legend=series,
    )


def _ends(row: Costed) -> tuple[float | None, float | None]:
    return row.interval if row.interval is not None else (None, None)


def _title(row: Costed) -> str:
    interval = "" if row.interval is None else " [{:.2f}, {:.2f}]".format(*row.interval)
    return f"{row.label}: {row.error_rate:.2f} %{interval}, {products(row) / 1e6:.2f} million multiplications"


def by_seed(rows: Sequence[Row], unit: str) -> Chart:
    """Return a chart of the error rate of every run, with one column for each row of the table."""
    series = [
        Series(row.label, index, [
            Point(index + 1.0, rate, f"{row.label}, seed {seed}: {rate:.2f} %")
            for seed, rate in zip(row.seeds, row.error_rates, strict=True)
        ])
        for index, row in enumerate(rows)
    ]
    ticks = [(index + 1.0, str(index + 1)) for index in range(len(rows))]
    return plotted(
        "seeds-chart", "Error by seed", "A mark is one run; columns are the rows of the table, in its order.",
        "row of the table", f"{unit} error %", series, x_ticks=ticks,
    )


def on_frontier(rows: Sequence[Costed]) -> list[bool]:
    """Return for each row whether no other row has at most as many multiplications and errors, and fewer of one."""

    def beaten(row: Costed, other: Costed) -> bool:
        mine, theirs = (products(row), row.error_rate), (products(other), other.error_rate)
        return theirs != mine and theirs[0] <= mine[0] and theirs[1] <= mine[1]

    return [not any(beaten(row, other) for other in rows) for row in rows]


def frontier_columns(unit: str) -> tuple[str, ...]:
    """Return the headings above ``frontier_rows``."""
    return ("encoder", f"{unit} error %", "95 % interval", "all products M/s", "fewer", "on the frontier")


def frontier_rows(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Return the rows as text, from the fewest multiplications to the most, and whether each is on the frontier."""
    ordered = sorted(zip(rows, on_frontier(rows), strict=True), key=lambda each: products(each[0]))
    return [
        (
            row.label, f"{row.error_rate:.2f}", interval_text(row), f"{products(row) / 1e6:.2f}",
            times(row.products_ratio_to_baseline), "yes" if unbeaten else "no",
        )
        for row, unbeaten in ordered
    ]


def frontier_svg(rows: Sequence[Costed], unit: str) -> str:
    """Return the chart and its legend as an SVG file of its own, which follows the reader's choice of light or dark."""
    return render("frontier.svg", chart=frontier(rows, unit))

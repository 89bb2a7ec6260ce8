"""The table of a comparison: its cells as text, and the whole as it is printed on stdout."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from snn_asr.reports.comparison import Row

TITLE = "Test results; operations for each second of speech"
PLAIN_WIDTH = 200  # of a table that goes to a file or a pipe


def columns(unit: str) -> tuple[str, ...]:
    """Return the headings above the cells of a row.

    "fewer" is how many times fewer than the baseline has (for MACs with the core's in brackets). "all products" are
    MACs together with the multiplications inside the units.
    """
    return (
        "encoder", "seeds", f"{unit} error %", "95 % interval", "p", "parameters", "core parameters", "MMAC/s",
        "MAC/s fewer (core)", "all products M/s", "fewer", "MAC → AC/s", "density", "training s",
    )


def cells(row: Row) -> tuple[str, ...]:
    """Return a row as people read it, one text for each column."""
    return (
        row.encoder, str(len(row.seeds)), f"{row.error_rate:.2f}",
        interval_text(row),
        "" if row.p_value is None else f"{row.p_value:.4f}", f"{row.parameters:,}", f"{row.core_parameters:,}",
        f"{row.macs_per_second / 1e6:.2f}",
        f"{times(row.macs_ratio_to_baseline)} ({times(row.core_macs_ratio_to_baseline)})",
        "-" if row.products_per_second is None else f"{row.products_per_second / 1e6:.2f}",
        times(row.products_ratio_to_baseline),
        f"{row.acs_per_second / 1e6:.2f}M" if row.acs_per_second else "0",
        " ".join(f"{each:.3f}" for each in row.density), f"{row.training_seconds:.0f}",
    )


def remarks(rows: Sequence[Row]) -> list[str]:
    """Return sentences on what the intervals and p-values account for, and why one is missing."""
    found = [f"taken as drawn by chance: seeds and {row.resampled}s" for row in rows if len(row.seeds) > 1]
    found += [row.remark for row in rows if row.remark]
    return list(dict.fromkeys(found))


def comparison_table(rows: Sequence[Row], unit: str) -> Table:
    """Return the table with one line for each row, and the remarks below it."""
    table = Table(title=TITLE)
    for index, column in enumerate(columns(unit)):
        table.add_column(column, justify="left" if index == 0 else "right")
    for row in rows:
        table.add_row(*cells(row))
    table.caption = "; ".join(remarks(rows)) or None
    return table


def print_table(table: Table) -> None:
    """Print a table on stdout; if that is not a terminal, it is as wide as its contents need.

    What a cell holds is shown as it is: ``[1]`` in the path of a recipe is no markup.
    """
    width = None if Console().is_terminal else PLAIN_WIDTH
    console = Console(width=width, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(table)
    print(captured.get(), end="")  # rich itself would end the program if the reader of a pipe has ended


def interval_text(row: Row) -> str:
    """Return the interval of the error rate as text."""
    return "-" if row.interval is None else "{:.2f} to {:.2f}".format(*row.interval)


def times(ratio: float | None) -> str:
    """Return a ratio to the baseline as text."""
    return "-" if ratio is None else f"{ratio:.1f}×"

"""The table of a comparison: its cells as text, and the whole as it is printed on stdout."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Column, Table

from snn_asr.reports.comparison import Row

TITLE = "Test results; operations for each second of speech"
PLAIN_WIDTH = 200  # of a table that goes to a file or a pipe
_PADDING = 3  # of a column: a space on both sides, and the line to the next
_SHARE_OF_LABELS = 3  # the first column has a third of a narrow terminal, or what its longest word needs
_NO_LIMIT = 10_000  # characters, which no table needs


def columns(unit: str) -> tuple[str, ...]:
    """Return the headings above the cells of a row.

    "fewer" is how many times fewer than the baseline has (for MACs with the core's in brackets). "all products" are
    MACs together with the multiplications inside the units.
    """
    return (
        "encoder", "seeds", f"{unit} error %", "95 % interval", "p", "all products M/s", "fewer", "MMAC/s",
        "MAC/s fewer (core)", "MAC → AC/s", "density", "core parameters", "parameters", "training s",
    )


def cells(row: Row) -> tuple[str, ...]:
    """Return a row as people read it, one text for each column."""
    return (
        row.label, str(len(row.seeds)), f"{row.error_rate:.2f}",
        interval_text(row),
        "" if row.p_value is None else f"{row.p_value:.4f}",
        "-" if row.products_per_second is None else f"{row.products_per_second / 1e6:.2f}",
        times(row.products_ratio_to_baseline),
        f"{row.macs_per_second / 1e6:.2f}",
        f"{times(row.macs_ratio_to_baseline)} ({times(row.core_macs_ratio_to_baseline)})",
        f"{row.acs_per_second / 1e6:.2f}M" if row.acs_per_second else "0",
        " ".join(f"{each:.3f}" for each in row.density),
        f"{row.core_parameters:,}", f"{row.parameters:,}", f"{row.training_seconds:.0f}",
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
    """Print a table on stdout. Columns for which a terminal is too narrow follow below, beside the first one again; a
    file or a pipe is as wide as PLAIN_WIDTH.

    What a cell holds is shown as it is: ``[1]`` in the path of a recipe is no markup.
    """
    width = None if Console().is_terminal else PLAIN_WIDTH
    console = Console(width=width, markup=False, emoji=False)
    with console.capture() as captured:
        for part in _parts(table, console):
            console.print(part)
    print(captured.get(), end="")  # rich itself would end the program if the reader of a pipe has ended


def _parts(table: Table, console: Console) -> list[RenderableType]:
    """The table as it is, or cut into tables of some of its columns, and its caption. Only names, in the first column,
    are cut into lines."""
    first, *others = table.columns
    needed = Measurement.get(console, console.options.update(width=_NO_LIMIT), table).maximum
    if not others or needed <= console.width:
        return [table]
    label = max(_widest_word(first), min(_widest(first), console.width // _SHARE_OF_LABELS))
    label = min(label, console.width // 2)
    parts: list[list[tuple[Column, int]]] = []
    left = 0
    for column in others:
        width = _widest(column)
        if not parts or left < width + _PADDING:
            parts.append([(first, label)])
            left = console.width - 1 - label - _PADDING
        parts[-1].append((column, width))
        left -= width + _PADDING
    tables = [_part(each) for each in parts]
    tables[0].title = table.title
    return [*tables, *([table.caption] if table.caption else [])]


def _part(columns: Sequence[tuple[Column, int]]) -> Table:
    """A table of columns with their widths."""
    table = Table()
    for column, width in columns:
        table.add_column(column.header, justify=column.justify, width=width, overflow="fold")
    for row in zip(*(column.cells for column, _ in columns), strict=True):
        table.add_row(*row)
    return table


def _widest(column: Column) -> int:
    """The characters that a column needs: its longest cell, or the longest word of its heading."""
    return max(_widest_word(column), *(cell_len(str(each)) for each in column.cells), 1)


def _widest_word(column: Column) -> int:
    texts = [str(column.header), *map(str, column.cells)]
    return max((cell_len(word) for text in texts for word in text.split()), default=1)


def interval_text(row: Row) -> str:
    """Return the interval of the error rate as text."""
    return "-" if row.interval is None else "{:.2f} to {:.2f}".format(*row.interval)


def times(ratio: float | None) -> str:
    """Return a ratio to the baseline as text."""
    return "-" if ratio is None else f"{ratio:.1f}×"

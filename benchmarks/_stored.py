"""Tables of results as they are stored, and as they stand between marks in the README and the documentation.

A stored table is docs/results/NAME.json, ``{"rows": [...]}``: every row has the numbers of one line and says of which
seeds, commit and machine they are. How a table reads is said in results.yaml: a heading and a pattern for each column.
A pattern is a format string of Python with the row's keys, in which

    {error_rates:.1f}       of a list is its values with commas
    {macs_per_second:M.2f}  is in millions, with k in thousands
    {ratio:x.1f}            is followed by the sign of multiplication
    {ratio:x.1f|none left}  is the text behind the bar where there is no value; without one it is a dash
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from snn_asr.errors import DataError, UsageError, unknown_name
from snn_asr.files import read_json_object, read_text, write_text
from snn_asr.reports.frontier import frontier_svg, on_frontier

ROOT = Path(__file__).resolve().parents[1]
PLAN = Path(__file__).with_name("results.yaml")
STORED = ROOT / "docs" / "results"
ORIGIN = ("seeds", "commit", "machine")  # what every row says of itself
MARKED = re.compile(r"(<!-- results: (?P<name>[a-z0-9-]+) -->\n)(?P<body>.*?)(<!-- end -->)", re.DOTALL)
_SCALES = {"M": 1e6, "k": 1e3}


@cache
def plan() -> dict[str, Any]:
    """What results.yaml says of every table, by name; it is read once, and callers must not change it."""
    return dict(yaml.safe_load(read_text(PLAN)))


def documents() -> list[Path]:
    """The files in which marks are looked for."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def stored_rows(name: str, folder: Path | None = None) -> list[dict[str, Any]]:
    """The rows of a stored table, of ``folder`` instead of the documentation's.

    Raises DataError where a row does not say where it is from.
    """
    path = (folder or STORED) / f"{name}.json"
    rows = read_json_object(path).get("rows")
    if not isinstance(rows, list) or not rows:
        raise DataError("holds no rows", path, f"make it with: python benchmarks/results.py make {name}")
    for row in rows:
        missing = [key for key in ("label", *ORIGIN) if row.get(key) in (None, "", [])]
        if missing:
            raise DataError(f"row {row.get('label')} has no {', '.join(missing)}", path, "store it again")
    return rows


def table(name: str, folder: Path | None = None) -> str:
    """The table as it stands between its marks: Markdown, and a line on seeds, commits and machines."""
    tables = plan()
    if name not in tables:
        raise unknown_name("table", name, tables, PLAN)
    rows = rows_shown(name, folder)
    columns: Mapping[str, str] = tables[name]["columns"]
    lines = [columns.keys(), ["---"] * len(columns)]
    lines += [[fill(pattern, row) for pattern in columns.values()] for row in rows]
    said = origin(rows)
    if any("{interval[" in pattern for pattern in columns.values()):
        said = f"{intervals(rows)} {said}"
    return "\n".join(["\n".join(f"| {' | '.join(cells)} |" for cells in lines), "", said, ""])


def rows_shown(name: str, folder: Path | None = None) -> list[dict[str, Any]]:
    """The rows that a table of the plan shows, its own or those of others, with what the plan adds to them."""
    layout, rows = plan()[name], []
    for source, labels in layout.get("from", {name: None}).items():
        stored = stored_rows(source, folder)
        by_label = {row["label"]: row for row in stored}
        rows += stored if labels is None else [by_label[label] for label in labels if label in by_label]
    if "against" in layout:
        source, label = layout["against"]
        base = next(each for each in stored_rows(source, folder) if each["label"] == label)
        rows = [
            _with_element_wise(row) | {
                "macs_ratio": _ratio(base["macs_per_second"], row["macs_per_second"]),
                "products_ratio": _ratio(_products(base), _products(row)),
            }
            for row in rows
        ]
    if "chart" in layout:
        unbeaten = on_frontier(_costs(rows))
        rows = [row | {"on_frontier": "yes" if best else "no"} for row, best in zip(rows, unbeaten, strict=True)]
    return rows


def _products(row: Mapping[str, Any]) -> float | None:
    """All multiplications a second, with element-wise ones; None where these were not counted."""
    if row.get("products_per_second") is None and "element_wise_per_second" in row:
        return row["macs_per_second"] + row["element_wise_per_second"]
    return row.get("products_per_second")


def _with_element_wise(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its element-wise products: what all multiplications are more than those with weights."""
    products = _products(row)
    return row if products is None else row | {"element_wise_per_second": products - row["macs_per_second"]}


def _ratio(base: float | None, own: float | None) -> float | None:
    return base / own if base and own else None


def _costs(rows: Sequence[Mapping[str, Any]]) -> list[SimpleNamespace]:
    """Rows as the chart takes them (reports/frontier.py)."""
    return [
        SimpleNamespace(
            label=row["label"], error_rate=row["error_rate"], interval=row.get("interval"),
            macs_per_second=row["macs_per_second"],
            products_per_second=_products(row),
        )
        for row in rows
    ]


def charts(folder: Path | None = None) -> dict[Path, str]:
    """The charts of the plan as SVG, by their files: error against multiplications of a table's rows."""
    return {
        (folder or STORED) / layout["chart"]: frontier_svg(_costs(rows_shown(name, folder)), layout["unit"])
        for name, layout in plan().items() if "chart" in layout
    }


def origin(rows: Sequence[Mapping[str, Any]]) -> str:
    """Sentences on where the rows are from; what is not the same of all rows names those that it is of."""
    sentences = []
    for key, one, several in zip(ORIGIN, ("Seed ", "Commit ", "On "), ("Seeds ", "Commits ", "On "), strict=True):
        parts = _by_row(rows, [", ".join(map(str, row[key])) if key == "seeds" else str(row[key]) for row in rows])
        plural = len(parts) > 1 or " to " in parts[0] or (key == "seeds" and "," in parts[0])
        sentences.append(f"{several if plural else one}{'; '.join(parts)}.")
    return " ".join(sentences)


def intervals(rows: Sequence[Mapping[str, Any]]) -> str:
    """A sentence on what is taken as drawn by chance in the rows' intervals."""
    return f"Intervals over {'; '.join(_by_row(rows, [_drawn(row) for row in rows]))}."


def _drawn(row: Mapping[str, Any]) -> str:
    """What the interval of a row covers; those of earlier programs, which do not say, are over utterances."""
    kind = row.get("resampled")
    if kind is None:
        return "utterances, with the seeds as given"
    if kind == "seed":
        return "seeds alone"
    return f"{kind}s alone" if len(row["seeds"]) == 1 else f"seeds and {kind}s"


def _by_row(rows: Sequence[Mapping[str, Any]], texts: Sequence[str]) -> list[str]:
    """Each different text, followed by the rows that it is of unless it is of all."""
    labels: dict[str, list[str]] = {}
    for row, text in zip(rows, texts, strict=True):
        labels.setdefault(text, []).append(row["label"])
    return [text if len(labels) == 1 else f"{text} ({', '.join(names)})" for text, names in labels.items()]


class _Patterns(string.Formatter):
    def get_field(self, field_name: str, args: Any, kwargs: Any) -> Any:
        try:
            return super().get_field(field_name, args, kwargs)
        except (KeyError, IndexError, TypeError):
            return None, field_name

    def format_field(self, value: Any, format_spec: str) -> str:
        spec, _, otherwise = format_spec.partition("|")
        if value is None:
            return otherwise or "-"
        if isinstance(value, list):
            return ", ".join(self.format_field(each, format_spec) for each in value)
        if spec[:1] in _SCALES:
            return format(value / _SCALES[spec[0]], spec[1:])
        if spec[:1] == "x":
            return f"{value:{spec[1:]}}×"
        return format(value, spec)


def fill(pattern: str, row: Mapping[str, Any]) -> str:
    """A pattern with the values of a row."""
    return _Patterns().vformat(pattern, (), row)


def marked(text: str) -> Iterator[tuple[str, str]]:
    """Names and contents of what stands between marks."""
    for each in MARKED.finditer(text):
        yield each["name"], each["body"]


def written(text: str, folder: Path | None = None) -> str:
    """The text with every table between marks as the stored results give it."""
    return MARKED.sub(lambda each: f"{each[1]}{table(each['name'], folder)}{each[4]}", text)


def write_documents(folder: Path | None = None) -> list[Path]:
    """Write every marked table and every chart anew; returns the files that were changed."""
    new = {path: written(read_text(path), folder) for path in documents()} | charts(folder)
    changed = [path for path, text in new.items() if not path.is_file() or read_text(path) != text]
    for path in changed:
        write_text(path, new[path])
    return changed


def require_table(name: str) -> Mapping[str, Any]:
    """What the plan says of a table that is stored itself. Raises UsageError for another name."""
    tables = plan()
    if name not in tables:
        raise unknown_name("table", name, tables, PLAN)
    if "from" in tables[name]:
        raise UsageError(f"shows rows of {', '.join(tables[name]['from'])}", name, "name one of these")
    return dict(tables[name])

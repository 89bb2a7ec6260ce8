"""All keys of a recipe in a table, as ``recipes show --keys`` prints it and the documentation has it."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from snn_asr.training.recipes import config
from snn_asr.training.recipes.recipe import Merged
from snn_asr.training.recipes.recipe_files import Entry

WIDEST = 30  # characters of a column; a longer cell moves the rest of its line to the right
HEADINGS = ("key", "default", "takes", "what it is for")


def of_recipe(merged: Merged) -> str:
    """A line for each key, in aligned columns: the keys of every recipe by part, then those of the encoder's block."""
    rows = [*_rows(), *_block_rows(merged)]
    widths = [min(WIDEST, max(len(row[column]) for _, row in rows)) for column in range(len(HEADINGS) - 1)]
    lines: list[str] = []
    before = ""
    for part, row in rows:
        if part != before:
            lines += ["", part] if lines else [part]
        before = part
        padded = [cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)]
        lines.append(f"  {'  '.join(padded)}".rstrip())
    return "\n".join(lines) + "\n"


def markdown() -> str:
    """The keys of every recipe as a Markdown table for the documentation."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
    for _, (name, default, takes, about) in _rows():
        lines.append(f"| `{name}` | `{default}` | {takes} | {about} |")
    return "\n".join(lines) + "\n"


def _rows() -> Iterator[tuple[str, tuple[str, str, str, str]]]:
    for name, each in config.keys().items():
        yield each.part, (name, _written(each.default), each.kind.words, each.help)


def _block_rows(merged: Merged) -> Iterator[tuple[str, tuple[str, str, str, str]]]:
    for name, each in merged.block.items():
        yield f"encoder {merged.encoder}", (name, _source(each), _takes(each), each.comment)


def _written(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6).replace("\n...\n", "").strip()


def _source(entry: Entry) -> str:
    return yaml.serialize(entry.node, width=10**6).replace("\n...\n", "").strip()


def _takes(entry: Entry) -> str:
    """The values that a key of a block takes, by the type of its default. The encoder itself checks their limits."""
    kinds = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "a name"}
    return kinds.get(entry.node.tag.rpartition(":")[2], "a value")

"""The pieces of C in templates/: chosen by flags, with values in place of their names."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import NamedTuple


class CellPiece(NamedTuple):
    """The file in templates/cells/ for a cell, the number of values that one of its units remembers, and the flags of
    the functions that the file needs."""

    name: str
    states: int
    functions: tuple[str, ...] = ()


FUNCTIONS = ("LOGISTIC", "TANGENT")
# By the names of the cells in LayerParts.
CELL_PIECES = {
    "gated": CellPiece("gated", 3, ("LOGISTIC",)),
    "conventional": CellPiece("conventional", 3),
    "leaky_integrate_and_fire": CellPiece("leaky_integrate_and_fire", 3),
    "hard_reset": CellPiece("leaky_integrate_and_fire", 2),
    "spiking_lstm": CellPiece("spiking_lstm", 2),
    "gru": CellPiece("gru", 1, FUNCTIONS),
    "bn_gru": CellPiece("gru", 1, FUNCTIONS),
    "delta_gru": CellPiece("gru", 2, FUNCTIONS),
    "lstm": CellPiece("lstm", 2, FUNCTIONS),
    "bn_lstm": CellPiece("lstm", 2, FUNCTIONS),
}


def piece(name: str, flags: Mapping[str, bool] | None = None, values: Mapping[str, object] | None = None) -> str:
    """A file of templates/ with every ``#if FLAG`` decided and every ``@name@`` replaced by the value of that name.

    Raises KeyError for an unknown flag, so that none is left to the preprocessor by mistake.
    """
    text = resources.files("snn_asr.export.c").joinpath("templates", *name.split("/")).read_text(encoding="utf-8")
    for key, value in (values or {}).items():
        text = text.replace(f"@{key}@", str(value))
    return text if flags is None else _decided(text, flags)


def _decided(text: str, flags: Mapping[str, bool]) -> str:
    """The text without the branches that are not taken. ``#ifdef`` and ``#ifndef`` stay for the C compiler."""
    kept, stack = [], []  # of every open #if: whether it is ours, and whether its branch is taken
    for line in text.splitlines(keepends=True):
        word, _, flag = line.strip().partition(" ")
        if word == "#if":
            stack.append((True, flags[flag]))
        elif word in ("#ifdef", "#ifndef"):
            stack.append((False, True))
            kept.append(line)
        elif word == "#else" and stack[-1][0]:
            stack[-1] = True, not stack[-1][1]
        elif word == "#endif" and stack[-1][0]:
            stack.pop()
        else:
            if all(taken for _, taken in stack):
                kept.append(line)
            if word == "#endif":
                stack.pop()
    return "".join(kept)

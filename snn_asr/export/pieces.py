"""The pieces of C in templates/: chosen by flags, with values in place of their names."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources


def piece(name: str, flags: Mapping[str, bool] | None = None, values: Mapping[str, object] | None = None) -> str:
    """A file of templates/ with every ``#if FLAG`` decided and every ``@name@`` replaced by the value of that name.

    Raises KeyError for an unknown flag, so that none is left to the preprocessor by mistake.
    """
    text = resources.files("snn_asr.export").joinpath("templates", *name.split("/")).read_text(encoding="utf-8")
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

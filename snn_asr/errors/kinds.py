"""The kinds of errors that a user can act on, each with its exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from snn_asr.errors.wording import readable, readable_name


class SnnAsrError(Exception):
    """The base of all errors that are shown as one line.

    ``what`` says what is wrong, ``where`` names the file, key or input, and ``todo`` says what to do about it.
    """

    exit_code = 1

    def __init__(self, what: str, where: object = None, todo: str | None = None) -> None:
        super().__init__(what)
        self.what, self.where, self.todo = what, where, todo

    def __reduce__(self) -> tuple[type, tuple[str, str | None, str | None]]:
        return type(self), (self.what, None if self.where is None else str(self.where), self.todo)

    def __str__(self) -> str:
        what, todo = readable(self.what), readable(self.todo or "")
        line = f"{readable_name(self.where)}: {what}" if self.where is not None else what
        return f"{line}; {todo}" if todo else line


class UsageError(SnnAsrError):
    """A wrong flag, key, name or combination."""

    exit_code = 2


class PartialFailure(SnnAsrError):
    """Some inputs failed; the results of all others were written."""

    exit_code = 3


class DataError(SnnAsrError):
    """Audio, a manifest, a corpus or a model folder is missing or invalid."""

    exit_code = 4


class DivergenceError(SnnAsrError):
    """The loss of a training became infinite or NaN."""

    exit_code = 5


class InterruptedRun(SnnAsrError):
    """The user stopped the run; finished work is saved."""

    exit_code = 130


def unknown_name(
    kind: str, name: object, valid: Iterable[str], where: object = None, listed_by: str = ""
) -> UsageError:
    """The error for an unknown name of some ``kind``, which suggests the nearest valid name or, if none is near, lists
    all of them. Where they are too many for a line, ``listed_by`` is the command to name that lists them."""
    choices = sorted(valid)
    near = difflib.get_close_matches(str(name), choices, n=1)
    others = f"'{listed_by}' lists all" if listed_by else f"choose from: {', '.join(choices)}"
    todo = f"did you mean '{near[0]}'?" if near else others
    return UsageError(f"unknown {kind} '{name}'", where, todo)

"""One family of errors a user can act on: what went wrong, where, what to do, and the exit code.

Every error that is a user's to mend is raised as one of these; the command line prints it as one line and
exits with ``exit_code``. Anything else is a defect of ours (exit code 1).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class SnnAsrError(Exception):
    """Base of all errors with one clear line.

    ``what`` says what is wrong, ``where`` the file, key or input, ``todo`` what to do about it.
    """

    exit_code = 1

    def __init__(self, what: str, where: object = None, todo: str | None = None) -> None:
        super().__init__(what)
        self.what, self.where, self.todo = what, where, todo

    def __reduce__(self) -> tuple:
        return type(self), (self.what, None if self.where is None else str(self.where), self.todo)

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}" if self.where is not None else self.what
        return f"{line}; {self.todo}" if self.todo else line


class UsageError(SnnAsrError):
    """A wrong flag, key, name or combination."""

    exit_code = 2


class PartialFailure(SnnAsrError):
    """Some inputs failed; everything else was written."""

    exit_code = 3


class DataError(SnnAsrError):
    """Audio, a manifest, a corpus or a model folder is missing or invalid."""

    exit_code = 4


class DivergenceError(SnnAsrError):
    """Training left the finite numbers."""

    exit_code = 5


class InterruptedRun(SnnAsrError):
    """The user stopped the run; what was finished is saved."""

    exit_code = 130


def unknown_name(kind: str, name: str, valid: Iterable[str], where: object = None) -> UsageError:
    """The error for a misspelt name, with the nearest valid one or, failing that, all of them."""
    choices = sorted(valid)
    near = difflib.get_close_matches(name, choices, n=1)
    todo = f"did you mean '{near[0]}'?" if near else f"choose from: {', '.join(choices)}"
    return UsageError(f"unknown {kind} '{name}'", where, todo)


def listed(names: Sequence[str], limit: int) -> str:
    """The first ``limit`` names apart by commas, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{', '.join(names[:limit])}{more}"

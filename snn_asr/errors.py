"""One family of errors a user can act on: what went wrong, where, what to do, and the exit code.

Every error that is a user's to mend is raised as one of these; the command line prints it as one line and
exits with ``exit_code``. A fault of the machine or of one input (no space, no memory, a damaged file) that a library
raises becomes one of them too: in a block of ``describing``, which knows the file, or at the latest in the command
line, by ``as_user_error``. Anything else is a defect of ours (exit code 1).
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

LONGEST_PART = 4200  # characters: paths have up to 4096

Item = TypeVar("Item")
Result = TypeVar("Result")


class SnnAsrError(Exception):
    """Base of all errors with one clear line.

    ``what`` says what is wrong, ``where`` the file, key or input, ``todo`` what to do about it.
    """

    exit_code = 1

    def __init__(self, what: str, where: object = None, todo: str | None = None) -> None:
        super().__init__(what)
        self.what, self.where, self.todo = what, where, todo

    def __reduce__(self) -> tuple[type, tuple[str, str | None, str | None]]:
        return type(self), (self.what, None if self.where is None else str(self.where), self.todo)

    def __str__(self) -> str:
        what, todo = _readable(self.what), _readable(self.todo or "")
        line = f"{_readable(str(self.where))}: {what}" if self.where is not None else what
        return f"{line}; {todo}" if todo else line


def _readable(part: str) -> str:
    """A part of a line, its middle left out where it is longer than any path: a damaged file may give names of
    thousands of characters."""
    return part if len(part) <= LONGEST_PART else f"{part[: LONGEST_PART // 2]} … {part[-LONGEST_PART // 2 :]}"


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


def unknown_name(kind: str, name: object, valid: Iterable[str], where: object = None) -> UsageError:
    """The error for a misspelt name, or for what is no name at all, with the nearest valid one or, failing that, all of
    them."""
    choices = sorted(valid)
    near = difflib.get_close_matches(str(name), choices, n=1)
    todo = f"did you mean '{near[0]}'?" if near else f"choose from: {', '.join(choices)}"
    return UsageError(f"unknown {kind} '{name}'", where, todo)


def listed(names: Sequence[str], limit: int) -> str:
    """The first ``limit`` names apart by commas, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{', '.join(names[:limit])}{more}"


def of_every(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """``function`` of every item, for work that needs all of them.

    What is wrong with one item does not keep the others from being tried: where some raise a DataError, one DataError
    names all of these at the end.
    """
    results, errors = [], []
    for each in items:
        try:
            results.append(function(each))
        except DataError as error:
            errors.append(error)
    if errors:
        raise errors[0] if len(errors) == 1 else unusable([f"{each.where}: {each.what}" for each in errors])
    return results


def together_or_alone(
    function: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item]
) -> list[Result | Exception]:
    """The results of ``function`` for all items at once or, where that fails, for one at a time: one bad item costs
    the others their speed, not their results. What goes wrong with an item alone stands in the place of its result."""
    if not items:
        return []
    try:
        return list(function(items))
    except Exception as error:
        if len(items) == 1:
            return [error]
    return [result for each in items for result in together_or_alone(function, [each])]


def unusable(problems: Sequence[str]) -> DataError:
    """The error about several recordings, of each of which a text says which it is and what is wrong with it."""
    problems = list(dict.fromkeys(problems))  # one recording may be a part of several utterances
    recordings = "recording" if len(problems) == 1 else f"{len(problems)} recordings"
    return DataError(f"{recordings} cannot be used: {listed(problems, limit=20)}", todo="restore what is named")


# What to do about an OSError, by its number.
_TODO = {
    errno.ENOSPC: "free some space, or choose another disk",
    errno.EDQUOT: "free some space, or choose another disk",
    errno.EFBIG: "choose a disk that holds larger files",
    errno.EROFS: "choose a writable folder",
    errno.EACCES: "change its permissions, or choose another",
    errno.EPERM: "change its permissions, or choose another",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.EISDIR: "name a file",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "allow more open files (ulimit -n)",
}
_LESS = "give less at a time, or use a machine with more memory"
_MEMORY = (
    "DefaultCPUAllocator", "out of memory", "can't allocate memory", "Storage size calculation overflowed",
    "failed to map segment", "annot allocate memory",
)
_LIBRARIES = ("soundfile", "safetensors", "zlib", "lzma", "gzip", "struct")
_SHAPE = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)


@contextmanager
def describing(where: object, todo: str | None = None) -> Iterator[None]:
    """A block about one file or input: a fault of the machine or of that input is raised as a DataError on ``where``.

    Faults are those of ``as_user_error``; ``todo`` says what to do where the fault itself does not tell. Errors for the
    user, and defects of ours, pass through as they are.
    """
    try:
        yield
    except Exception as error:
        described = as_user_error(error, where, todo)
        if described is None or described is error:
            raise
        raise described from error


@contextmanager
def of_one_shape(where: object, todo: str | None = None) -> Iterator[None]:
    """A block that takes values from a file of another's: what is missing or of another type there is a DataError, too.

    As ``describing``, and for KeyError, TypeError, ValueError, AttributeError, IndexError and OverflowError as well:
    only for blocks that do nothing but look at what the file holds.
    """
    try:
        with describing(where, todo):
            yield
    except _SHAPE as error:
        found = f"no {error}" if isinstance(error, KeyError) else _first_line(error)
        raise DataError(f"does not hold what it should ({found})", where, todo or "write it anew") from error


def shortened(written: str, longest: int = 60) -> str:
    """A value as an error's line shows it: its beginning where it is longer than that."""
    return written if len(written) <= longest else f"{written[: longest - 10]}..."


def as_user_error(error: BaseException, where: object = None, todo: str | None = None) -> SnnAsrError | None:
    """The error for the user that a fault of the machine or of one input amounts to; None for a defect of ours.

    Faults are OSError, MemoryError and its likes in torch and in the loader of libraries, UnicodeError, RecursionError,
    EOFError and what codecs and readers of files raise. ``where`` is the file or input; without it an OSError's own
    file name is taken.
    """
    if isinstance(error, SnnAsrError):
        return error
    if isinstance(error, OSError):
        where = where if where is not None else error.filename
        what = error.strerror or _first_line(error)
        return DataError(what[:1].lower() + what[1:], where, _TODO.get(error.errno or 0, todo))
    if isinstance(error, MemoryError) or (
        isinstance(error, (RuntimeError, ImportError)) and any(each in str(error) for each in _MEMORY)
    ):
        return DataError("there is not enough memory for this", where, _LESS)
    if isinstance(error, UnicodeDecodeError):
        what = f"not {error.encoding.upper()} text (byte {error.start})"
        return DataError(what, where, todo or "convert it to UTF-8")
    if isinstance(error, UnicodeError):
        return DataError(f"holds characters that cannot be written ({error.__class__.__name__})", where, todo)
    if isinstance(error, RecursionError):
        return DataError("nested too deeply", where, todo)
    if isinstance(error, EOFError) or type(error).__module__.partition(".")[0] in _LIBRARIES:
        return DataError(f"damaged, or cut short ({_first_line(error)})", where, todo or "copy or make it anew")
    return None


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__

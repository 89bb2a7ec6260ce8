"""The errors that a user can act on: what is wrong, where, what to do about it, and the exit code.

Every error that the user can fix is raised as one of these; the command line prints it as one line and exits with its
``exit_code``. Faults of the machine or of one input that a library raises (no space, no memory, a damaged file) become
one of them too: in a block of ``describing``, which knows the file, or at the latest in the command line, by
``as_user_error``. Any other error is a defect of this program (exit code 1).
"""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

LONGEST_PART = 4200  # characters: paths have up to 4096
_COMMANDS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")

Item = TypeVar("Item")
Result = TypeVar("Result")


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
        what, todo = _readable(self.what), _readable(self.todo or "")
        line = f"{readable_name(self.where)}: {what}" if self.where is not None else what
        return f"{line}; {todo}" if todo else line


def _readable(part: str) -> str:
    """A part of the line, without its middle if it is longer than any path: a damaged file may hold names of thousands
    of characters. Characters that would command the terminal are spelt out."""
    part = _COMMANDS.sub(_spelt, part)
    return part if len(part) <= LONGEST_PART else f"{part[: LONGEST_PART // 2]} … {part[-LONGEST_PART // 2 :]}"


def readable_name(name: object) -> str:
    """A name in a line for the user. A tab or a line feed is a part of it that has to be seen."""
    return _readable(re.sub(r"[\t\n\r]", _spelt, str(name)))


def _spelt(character: re.Match[str]) -> str:
    return character[0].encode("unicode_escape").decode()


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


def unknown_name(kind: str, name: object, valid: Iterable[str], where: object = None) -> UsageError:
    """The error for an unknown name of some ``kind``, which suggests the nearest valid name or, if none is near, lists
    all of them."""
    choices = sorted(valid)
    near = difflib.get_close_matches(str(name), choices, n=1)
    todo = f"did you mean '{near[0]}'?" if near else f"choose from: {', '.join(choices)}"
    return UsageError(f"unknown {kind} '{name}'", where, todo)


def listed(names: Sequence[str], limit: int) -> str:
    """The first ``limit`` names, separated by commas, and the number of further ones."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{', '.join(names[:limit])}{more}"


def of_every(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """The results of ``function`` for every item, for work that needs all of them.

    All items are tried. If some raise a DataError, one DataError at the end names all of these.
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
    """The results of ``function`` for all items at once or, if that fails, for one item at a time.

    So one bad item costs the others time, but not their results. The error of an item stands in the place of its
    result.
    """
    if not items:
        return []
    try:
        return list(function(items))
    except Exception as error:
        if len(items) == 1:
            return [error]
    return [result for each in items for result in together_or_alone(function, [each])]


def unusable(problems: Sequence[str]) -> DataError:
    """The error about several recordings. Each problem names a recording and says what is wrong with it."""
    problems = list(dict.fromkeys(problems))  # several utterances may be parts of one recording
    recordings = "recording" if len(problems) == 1 else f"{len(problems)} recordings"
    return DataError(f"{recordings} cannot be used: {listed(problems, limit=20)}", todo="restore what is named")


# What to do about an OSError, by its errno.
_REMEDIES = {
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
    """A block of work on one file or input: a fault of the machine or of that input becomes a DataError about
    ``where``.

    ``as_user_error`` says which errors are faults. ``todo`` says what to do if the fault itself does not tell. Errors
    for the user and defects of the program are not changed.
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
    """A block that takes values from a file: values that are missing or of another type become a DataError as well.

    It does what ``describing`` does, and the same for KeyError, TypeError, ValueError, AttributeError, IndexError and
    OverflowError. It is only for blocks that do nothing but look at the content of the file.
    """
    try:
        with describing(where, todo):
            yield
    except _SHAPE as error:
        found = f"no {error}" if isinstance(error, KeyError) else _first_line(error)
        raise DataError(f"does not hold what it should ({found})", where, todo or "write it anew") from error


def shortened(written: str, longest: int = 60) -> str:
    """A value for the line of an error; only its beginning if it has more than ``longest`` characters."""
    return written if len(written) <= longest else f"{written[: longest - 10]}..."


def as_user_error(error: BaseException, where: object = None, todo: str | None = None) -> SnnAsrError | None:
    """The error for the user that describes a fault of the machine or of one input; None for a defect of the program.

    Faults are OSError, MemoryError (also as torch and the loader of libraries raise it), UnicodeError, RecursionError,
    EOFError, and the errors of codecs and file readers. ``where`` is the file or input; without it the file name of an
    OSError is taken.
    """
    if isinstance(error, SnnAsrError):
        return error
    if isinstance(error, OSError):
        where = where if where is not None else error.filename
        what = error.strerror or _first_line(error)
        return DataError(what[:1].lower() + what[1:], where, _REMEDIES.get(error.errno or 0, todo))
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

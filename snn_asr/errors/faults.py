"""Faults of the machine or of one input, such as no space, no memory or a damaged file, as errors for the user."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from snn_asr.errors.kinds import DataError, SnnAsrError

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
    errno.ELOOP: "check the path",
    errno.EISDIR: "name a file",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "allow more open files (ulimit -n)",
}
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
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


def blames_the_disk(error: BaseException) -> bool:
    """Whether an error comes from a disk that takes no more: no other file could be written there either.

    The errors that caused it count (``raise ... from``), as an error for the user stands for one of the system.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _DISK:
            return True
        cause = cause.__cause__
    return False


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__

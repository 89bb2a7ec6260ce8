"""Locks between processes: files that the operating system lets one process lock at a time."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from snn_asr.errors import DataError, UsageError, describing
from snn_asr.files.reading import require_regular

log = logging.getLogger(__name__)

_SIGNATURE = "process "  # what a lock begins with; after a loss of power it may be empty, or hold zeros
_BEGINNING = 64  # bytes


@contextmanager
def locked(path: Path, wait: bool = False) -> Iterator[bool]:
    """A block that holds the lock ``path``; the file there says who holds it. Yields whether this process has the lock.

    If another process has it, this one waits, or False is yielded. The system frees the lock when its holder ends,
    however it ends, and the file is removed by the holder or the next one. Raises OSError if the file cannot be made,
    or if the file system has no locks, and DataError if the file there is no lock but the user's own.
    """
    while True:
        _refuse_foreign(path)
        with open(path, "ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            if not is_at(file.fileno(), path):
                continue  # the last holder has removed this file, and there may be another one already
            _sign(file.fileno())
            try:
                yield True
            finally:
                path.unlink(missing_ok=True)
            return


@contextmanager
def alone(path: Path, work: str, todo: str) -> Iterator[None]:
    """A block that no other process is in at the same time: it holds the lock ``path`` in the folder of its work.

    Raises UsageError, with ``todo``, if another process holds the lock. ``work`` says in a word what it does there.
    Where the lock cannot be made (a folder that is only read, a file system without locks) the block runs without.
    """
    with ExitStack() as stack:
        try:
            mine = stack.enter_context(locked(path))
        except OSError as error:
            log.debug("%s: not locked (%s)", path.parent, error)
            mine = True
        if not mine:
            raise _busy(path, work, todo)
        yield


def refuse_held(path: Path, work: str, todo: str) -> None:
    """Raise UsageError, as ``alone`` does, if another process holds the lock ``path``, which is left as it is."""
    try:
        require_regular(path)
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise _busy(path, work, todo) from error
    except OSError:
        return  # there is none, or the file system has no locks


def _busy(path: Path, work: str, todo: str) -> UsageError:
    what = f"another {work} is at work here ({holder(path)})"
    return UsageError(what, path.parent, f"wait until it has ended, or {todo}")


@contextmanager
def only_writer(folder: Path, work: str) -> Iterator[None]:
    """A block in which no other process does this ``work`` in ``folder``, which is ``made`` for it.

    Raises what ``made`` and ``alone`` raise.
    """
    with made(folder, "choose a writable folder"), alone(folder / f".{work}.lock", work, "choose another folder"):
        yield


@contextmanager
def made(folder: Path, todo: str) -> Iterator[None]:
    """A block in which ``folder`` is there. If it was made for the block and is still empty then, it is removed.

    Raises DataError, with ``todo``, if it cannot be made.
    """
    new = not folder.exists()
    with describing(folder, todo):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        if new and folder.is_dir() and not os.listdir(folder):
            folder.rmdir()


def _refuse_foreign(path: Path) -> None:
    if not path.exists() or path.is_dir():
        return
    try:
        require_regular(path)
        with open(path, "rb") as file:
            beginning = file.read(_BEGINNING)
    except FileNotFoundError:
        return  # its holder has removed it meanwhile
    if beginning.strip(b"\0") and not beginning.startswith(_SIGNATURE.encode()):
        raise DataError("is not a lock of snn-asr, and would be overwritten", path, "move it away")


def _sign(handle: int) -> None:
    try:
        os.ftruncate(handle, 0)
        os.write(handle, f"{_SIGNATURE}{os.getpid()} on {socket.gethostname()}\n".encode())
    except OSError:
        return  # a full disk: the lock holds without a name on it


def is_at(handle: int, path: Path) -> bool:
    """Whether the open file ``handle`` is still at ``path``, and was not removed or replaced."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def holder(path: Path) -> str:
    """The holder of the lock ``path`` in words for the user."""
    try:
        return path.read_text(encoding="utf-8").strip() or "another process"
    except (OSError, UnicodeDecodeError):
        return "another process"

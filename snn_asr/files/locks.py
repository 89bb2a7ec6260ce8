"""Locks between processes: files that the operating system lets one process lock at a time."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from snn_asr.errors import DataError
from snn_asr.files.reading import require_regular

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

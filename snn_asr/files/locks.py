"""Locks between processes: files that the system lets one process hold at a time."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path, wait: bool = False) -> Iterator[bool]:
    """Whether this process alone holds the lock ``path`` within the block; the lock's file says who holds it.

    The system frees the lock when its holder ends, however it ends; the file is removed by the holder, or by the next
    one. Where another holds the lock, it is waited for, or False is yielded. Raises OSError where the file cannot be
    made, or where the file system knows no locks.
    """
    while True:
        with open(path, "ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            if not is_at(file.fileno(), path):
                continue  # the holder before removed this file: another one may be there already
            _sign(file.fileno())
            try:
                yield True
            finally:
                path.unlink(missing_ok=True)
            return


def _sign(handle: int) -> None:
    try:
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
    except OSError:
        return  # a full disk: the lock holds without a name on it


def is_at(handle: int, path: Path) -> bool:
    """Whether the open file ``handle`` is still the one at ``path``, neither removed nor replaced."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def holder(path: Path) -> str:
    """Who holds the lock ``path``, for people."""
    try:
        return path.read_text(encoding="utf-8").strip() or "another process"
    except (OSError, UnicodeDecodeError):
        return "another process"

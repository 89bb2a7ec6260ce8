"""Special files, which are written to as they are and never replaced: pipes, devices, and open files' numbers."""

from __future__ import annotations

import errno
import os
import re
import sys
from pathlib import Path
from typing import BinaryIO

from snn_asr.errors import DataError


def is_special(path: Path) -> bool:
    """Whether ``path`` is written to as it is and not replaced: a pipe, a device, or the number of an open file."""
    return _descriptor(path) is not None or (path.exists() and not path.is_file() and not path.is_dir())


def _descriptor(path: Path) -> int | None:
    """The number of the open file that a path such as /dev/stdout or /dev/fd/3 stands for."""
    names = {"/dev/stdin": "0", "/dev/stdout": "1", "/dev/stderr": "2"}
    match = re.fullmatch(r"/dev/fd/(\d+)|/proc/self/fd/(\d+)|(\d+)", names.get(str(path), str(path)))
    return int(match[1] or match[2] or match[3]) if match and path.is_absolute() else None


def open_special(path: Path) -> BinaryIO:
    """Open a device for writing. An open file is written on from where it is.

    Raises DataError for a pipe that nobody reads from: the program would wait for a reader without end.
    """
    descriptor = _descriptor(path)
    if descriptor is None:
        return os.fdopen(_open_without_waiting(path), "wb")
    if descriptor == 1:
        sys.stdout.flush()
    return os.fdopen(os.dup(descriptor), "wb")


def _open_without_waiting(path: Path) -> int:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        what = "cannot write (a pipe, and nobody reads from it)"
        raise DataError(what, path, "start its reader before, or remove it") from error
    os.set_blocking(handle, True)
    return handle

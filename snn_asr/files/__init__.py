"""The only place that writes whole files, and reads text and JSON. Journals, which grow, have journals.py.

Writing is a temporary file, fsync, rename, so that a reader never sees half a file; what the machine refuses (a full
disk, a folder that is a file, missing rights) is a DataError that names the file, and halves that killed processes
left are swept by the next one that writes into the folder. Reading is strict: whatever is wrong with a file is one
DataError that names it.
"""

from __future__ import annotations

import codecs
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from snn_asr.errors import DataError, SnnAsrError, as_user_error, describing
from snn_asr.files.locks import is_at
from snn_asr.files.strict_json import parse_json

LEFT_BEHIND_SECONDS = 3600.0  # no writer of one file is at it for so long: an older half belongs to a killed one
_PART = ".part"  # before the suffix of a temporary file
_HALF = re.compile(r"\..*-[a-z0-9_]{8}\.part(\.[^.]*)?", re.DOTALL)  # a temporary file, its random part tempfile's
_BLOCK = 1 << 20  # bytes read at a time


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` (same suffix); renamed onto ``path`` when the block ends without an error.

    For libraries that insist on writing a path themselves. Parent folders are made; what is at ``path`` stays as it is
    until the new file is on the disk. A device or a pipe is written to, not replaced. Raises DataError where the file
    cannot be written.
    """
    path = Path(path)
    try:
        device = is_device(path)
        folder = Path(tempfile.gettempdir()) if device else path.parent
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        handle, temporary = _temporary(folder, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        yield temporary
        if device:
            with open(temporary, "rb") as source, _open_device(path) as target:
                shutil.copyfileobj(source, target)
        else:
            _move_into_place(temporary, path)
    except OSError as error:
        if error.filename not in (None, str(temporary), str(path)):
            raise  # of another file, which the block has read
        raise cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)
        os.close(handle)


def is_device(path: Path) -> bool:
    """Whether what is at ``path`` is written to as it is, not replaced: a pipe, a device, or an open file's number."""
    return _descriptor(path) is not None or (path.exists() and not path.is_file() and not path.is_dir())


def _descriptor(path: Path) -> int | None:
    """The number of the open file that a path such as /dev/stdout or /dev/fd/3 stands for."""
    names = {"/dev/stdin": "0", "/dev/stdout": "1", "/dev/stderr": "2"}
    match = re.fullmatch(r"/dev/fd/(\d+)|/proc/self/fd/(\d+)|(\d+)", names.get(str(path), str(path)))
    return int(match[1] or match[2] or match[3]) if match and path.is_absolute() else None


def _open_device(path: Path) -> BinaryIO:
    """Open a device for writing; an open file goes on from where it is. Raises DataError for a pipe without a reader,
    for which the program would wait without an end."""
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


def cannot_write(path: Path, error: OSError) -> SnnAsrError:
    """The error for people of a file that the machine does not let be written."""
    described = as_user_error(error, path, "choose a writable folder") or DataError(str(error), path)
    return type(described)(f"cannot write ({described.what})", path, described.todo)


def _move_into_place(temporary: Path, path: Path) -> None:
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    os.chmod(temporary, 0o666 & ~_umask())
    os.replace(temporary, path)
    _sync_folder(path.parent)


def _temporary(folder: Path, path: Path) -> tuple[int, Path]:
    """A new hidden file for what becomes ``path``, with a handle that holds a lock on it for as long as it is open."""
    room = 255 - len(os.fsencode(path.suffix)) - len(f".-12345678{_PART}")  # bytes of a name
    stem = os.fsdecode(os.fsencode(path.stem)[: max(room, 0)])
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{stem}-", suffix=f"{_PART}{path.suffix}", dir=folder)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:  # a file system without locks: an hour's age has to tell who is dead
            return handle, Path(name)
        if is_at(handle, Path(name)):
            return handle, Path(name)
        os.close(handle)  # swept before it was locked


@cache
def _sweep(folder: Path) -> None:
    """Remove the halves of files that killed processes left in ``folder``: those which no living process locks.

    Once in the life of a process: what it does not end, it removes itself.
    """
    for name in os.listdir(folder):
        if _HALF.fullmatch(name):
            _remove_if_dead(folder / name)


def _remove_if_dead(half: Path) -> None:
    try:
        with open(half, "rb+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            except OSError:
                if time.time() - half.stat().st_mtime < LEFT_BEHIND_SECONDS:
                    return
            half.unlink(missing_ok=True)
    except OSError:
        return  # of another user, or gone already: nothing that the file to be written depends on


def remove_leftovers(folder: Path, name: str) -> None:
    """Remove halves of files that killed processes left: temporary ones of ``name``, a file or glob in ``folder``."""
    whole = Path(name)
    for path in folder.glob(str(whole.parent / f".{whole.stem}-????????{_PART}{whole.suffix}")):
        _remove_if_dead(path)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file, whole or not at all. Raises DataError where it cannot be written."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def encoded(text: str) -> bytes:
    """The text in UTF-8. Bytes of file names that are not text (lone surrogates to Python) become ``\\udc..``."""
    return text.encode("utf-8", "backslashreplace")


def write_text(path: str | Path, text: str) -> None:
    """Write a text as ``encoded`` gives it, whole or not at all. Raises DataError where it cannot be written."""
    write_bytes(path, encoded(text))


def json_text(value: object) -> str:
    """What ``write_json`` writes."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def write_json(path: str | Path, value: object) -> None:
    """Write a value as indented JSON, whole or not at all. Raises DataError where it cannot be written."""
    write_text(path, json_text(value))


def require_regular(path: str | Path) -> None:
    """Raise DataError where a file is a pipe or a device, from which nothing may ever come; OSError where it is not
    there. Folders pass: they have errors of their own."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise DataError("no regular file", path, "write what it gives into a file")


def read_text(path: str | Path, *, regular: bool = False) -> str:
    """A text file's content, lines apart by ``\\n``, without the mark of byte order that some editors begin it with.

    UTF-8, or UTF-16 where such a mark says so. Raises DataError where the file is missing, cannot be read or is no
    text; a file without end is not read to it, as long as it is no text. A pipe is waited for, or, where the file has
    to be a ``regular`` one, refused.
    """
    path = Path(path)
    if regular:
        with describing(path):
            require_regular(path)
    with describing(path, "give a text file in UTF-8"), open(path, "rb") as file:
        block = file.read(_BLOCK)
        decoder = codecs.getincrementaldecoder(_encoding(block))()
        parts = []
        while block:
            parts.append(decoder.decode(block))
            if "\0" in parts[-1]:
                raise DataError("not a text: it holds bytes of 0", path, "give a text file in UTF-8")
            block = file.read(_BLOCK)
        parts.append(decoder.decode(b"", final=True))
        return "".join(parts).replace("\r\n", "\n").replace("\r", "\n")


def _encoding(beginning: bytes) -> str:
    return "utf-16" if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def read_json(path: str | Path, *, file_names: bool = False) -> object:
    """The value of a JSON file, read strictly: see ``parse_json`` (strict_json.py).

    Raises DataError, with the line of the fault where there is one, where the file is missing, cannot be read or is
    not such JSON; also for a pipe, since JSON lies in folders where none belongs.
    """
    return parse_json(read_text(path, regular=True), path, file_names=file_names)


def read_json_object(path: str | Path, *, file_names: bool = False) -> dict[str, Any]:
    """As ``read_json``, for a file that must hold one JSON object."""
    value = read_json(path, file_names=file_names)
    if not isinstance(value, dict):
        raise DataError(f"expected a JSON object, found {_named(value)}", path, "write it anew")
    return value


def _named(value: object) -> str:
    return {list: "a list", str: "a text", int: "a number", float: "a number"}.get(type(value), json.dumps(value))


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's content. Raises DataError where it cannot be read, or is a pipe or a device, from
    which nothing may ever come."""
    digest = hashlib.sha256()
    with describing(path):
        require_regular(path)
        file = open(path, "rb")
    with describing(path), file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Ask that the renaming lasts over a loss of power; some network folders know no such thing."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

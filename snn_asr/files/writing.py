"""Files that are written whole or not at all.

A file is written under a temporary name beside its place, flushed to the disk and renamed, so that a reader never sees
half of it. Whatever the machine refuses (a full disk, a folder in the place of a file, missing rights) is a DataError
that names the file. The halves that killed processes leave are removed by the next process that writes into the folder.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

from snn_asr.errors import DataError, SnnAsrError, as_user_error
from snn_asr.files.locks import is_at
from snn_asr.files.special_files import is_special, open_special

LEFT_BEHIND_SECONDS = 3600.0  # nobody writes one file for so long: an older half belongs to a killed process
_PART = ".part"  # before the suffix of a temporary file
_HALF = re.compile(r"\..*-[a-z0-9_]{8}\.part(\.[^.]*)?", re.DOTALL)  # a temporary file; tempfile made its random part


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path``, with its suffix. It is renamed to ``path`` if the block ends without an error.

    This is for libraries that want to open a path themselves. Parent folders are made, and a file at ``path`` stays as
    it is until the new one is on the disk. A device or a pipe is written to, not replaced. Raises DataError if the file
    cannot be written.
    """
    path = Path(path)
    try:
        device = is_special(path)
        folder = Path(tempfile.gettempdir()) if device else path.parent
        folder.mkdir(parents=True, exist_ok=True)
        remove_dead_halves(folder)
        handle, temporary = _temporary(folder, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        yield temporary
        if device:
            with open(temporary, "rb") as source, open_special(path) as target:
                shutil.copyfileobj(source, target)
        else:
            _move_into_place(temporary, path)
    except BrokenPipeError:
        raise  # whoever read from the pipe has ended, which the program ends for as for its standard output
    except OSError as error:
        if error.filename not in (None, str(temporary), str(path)):
            raise  # it is about another file, which the block has read
        raise cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)
        os.close(handle)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file, whole or not at all. Raises DataError where it cannot be written."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_together(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write several files, by name, into ``folder``; the last of them says that all are there.

    All are on the disk before the first takes its place, so that a full disk leaves the earlier files as they were. A
    process that is killed while they take their places leaves a folder without the last one. Raises DataError where a
    file cannot be written.
    """
    *_, last = contents
    with ExitStack() as stack:  # which renames in the opposite order
        for name in reversed(list(contents)):
            temporary = stack.enter_context(atomic_path(folder / name))
            with open(temporary, "wb") as file:
                file.write(contents[name])
                file.flush()
                os.fsync(file.fileno())
        (folder / last).unlink(missing_ok=True)


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


def cannot_write(path: Path, error: OSError) -> SnnAsrError:
    """The error for the user about a file that the machine refuses to write."""
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        file = next((each for each in path.parents if each.exists() and not each.is_dir()), None)
        if file is not None:
            return DataError(f"cannot write ({file} is no folder)", path, "choose another place, or move it away")
    described = as_user_error(error, path, "choose a writable folder") or DataError(str(error), path)
    return type(described)(f"cannot write ({described.what})", path, described.todo)


def _move_into_place(temporary: Path, path: Path) -> None:
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    os.chmod(temporary, 0o666 & ~_umask())
    os.replace(temporary, path)
    _sync_folder(path.parent)


def _temporary(folder: Path, path: Path) -> tuple[int, Path]:
    """The open handle of a new hidden file that is to become ``path``, and its path. The handle holds a lock on it."""
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
        os.close(handle)  # removed by another process before it was locked


@cache
def remove_dead_halves(folder: Path) -> None:
    """Remove the halves that killed processes left in ``folder``: the temporary files that no living process locks.

    This is done once for each folder in the life of a process, which removes its own halves itself.
    """
    for name in os.listdir(folder):
        if is_half(name):
            _remove_if_dead(folder / name)


def is_half(name: str) -> bool:
    """Whether a file of this name is one that is being written, or that a killed process left."""
    return _HALF.fullmatch(name) is not None


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
    """Remove the halves that killed processes left of ``name``, a file or a glob below ``folder``."""
    whole = Path(name)
    for path in folder.glob(str(whole.parent / f".{whole.stem}-????????{_PART}{whole.suffix}")):
        _remove_if_dead(path)


def _sync_folder(folder: Path) -> None:
    """Make the renaming last over a loss of power; some network folders cannot."""
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

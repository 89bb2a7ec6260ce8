"""The only place that writes files, and reads text and JSON.

Writing is a temporary file, fsync, rename, so that a reader never sees half a file. Reading is strict: whatever is
wrong with a file is one DataError that names it.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from snn_asr.errors import DataError, describing

_BLOCK = 1 << 20  # bytes read at a time
_LONGEST_WHOLE_NUMBER = 20  # digits (and sign) of 64 bits


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` (same suffix); renamed onto ``path`` when the block ends without an error.

    For libraries that insist on writing a path themselves. Parent folders are made.
    Raises DataError where the file cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise DataError(f"cannot write ({error.strerror})", path, "choose a writable folder") from error
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path, name: str) -> None:
    """Remove halves of files that a killed process left: temporary ones of ``name``, a file or glob in ``folder``."""
    whole, random = Path(name), "????????"  # eight characters of tempfile's
    for path in folder.glob(str(whole.parent / f".{whole.stem}-{random}{whole.suffix}")):
        path.unlink()


def write_bytes(path: str | Path, content: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, value: object) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def append_json_line(path: str | Path, value: object) -> None:
    """Append one JSON object as one line (one ``write`` call, so that a killed process leaves whole lines)."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab", buffering=0) as file:
        file.write((json.dumps(value, ensure_ascii=False) + "\n").encode("utf-8"))


def read_text(path: str | Path) -> str:
    """A text file's content, lines apart by ``\\n``, without the mark of byte order that some editors begin it with.

    UTF-8, or UTF-16 where such a mark says so. Raises DataError where the file is missing, cannot be read or is no
    text; a file without end is not read to it, as long as it is no text.
    """
    path = Path(path)
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
    """The value of a JSON file, read strictly: see ``parse_json``.

    Raises DataError, with the line of the fault where there is one, where the file is missing, cannot be read or is
    not such JSON.
    """
    return parse_json(read_text(path), path, file_names=file_names)


def read_json_object(path: str | Path, *, file_names: bool = False) -> dict[str, Any]:
    """As ``read_json``, for a file that must hold one JSON object."""
    value = read_json(path, file_names=file_names)
    if not isinstance(value, dict):
        raise DataError(f"expected a JSON object, found {_named(value)}", path, "write it anew")
    return value


def parse_json(text: str, where: object, *, file_names: bool = False) -> object:
    """The value of a JSON text. Raises DataError about ``where`` for what is not JSON, and for what would be lost or
    do harm later: a key that an object has twice, whole numbers beyond 64 bits, nesting beyond what Python can follow,
    and halves of surrogate pairs, which no file can hold.

    ``file_names`` lets such halves pass: Python writes the bytes of a file's name so that are not UTF-8.
    """
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_int=_whole_number)
        if not file_names and ("\\ud" in text or "\\uD" in text):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError("holds half of a surrogate pair (\\ud800 to \\udfff)", where, "write it anew") from error
    except RecursionError as error:
        raise DataError("not valid JSON (nested too deeply)", where, "write it anew") from error
    except MemoryError as error:
        raise DataError("there is not enough memory for it", where, "make it smaller") from error
    except ValueError as error:  # json.JSONDecodeError is one
        raise DataError(f"not valid JSON ({error})", where, "write it anew") from error
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object's keys and values as a dictionary. Raises ValueError for a key that is there twice."""
    value = dict(pairs)
    if len(value) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"'{twice}' is there twice")
    return value


def _whole_number(digits: str) -> int:
    """Raises ValueError beyond 64 bits: no count, time or size is so large, and arithmetic with it fails far away."""
    if len(digits) > _LONGEST_WHOLE_NUMBER:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _named(value: object) -> str:
    return {list: "a list", str: "a text", int: "a number", float: "a number"}.get(type(value), json.dumps(value))


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with describing(path), open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

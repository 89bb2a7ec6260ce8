"""Reading files strictly: whatever is wrong with a file is one DataError that names it."""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from snn_asr.errors import DataError, describing
from snn_asr.files.strict_json import parse_json

_BLOCK = 1 << 20  # bytes that are read at a time


def require_regular(path: str | Path) -> None:
    """Raise DataError for a pipe or a device, from which nothing may ever come, and OSError for what is not there.

    Folders pass: reading one fails with an error of its own.
    """
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise DataError("no regular file", path, "write what it gives into a file")


@contextmanager
def utf8_path(path: Path) -> Iterator[str]:
    """A path in UTF-8 that leads to the file at ``path``, for libraries that take no others. It is valid in the block.

    It is ``path`` itself, or if that is not UTF-8, the path of the open file among those of this process.
    """
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        with open(path, "rb") as file:
            yield f"/dev/fd/{file.fileno()}"
    else:
        yield str(path)


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
    """The value of a JSON file, read as strictly as ``parse_json`` (strict_json.py) reads a text.

    Raises DataError, with the line of the fault if there is one, for a file that is missing, cannot be read or is not
    such JSON, and for a pipe: JSON files lie in folders where no pipe belongs.
    """
    return parse_json(read_text(path, regular=True), path, file_names=file_names)


def read_json_object(path: str | Path, *, file_names: bool = False) -> dict[str, Any]:
    """The JSON object in a file, read as ``read_json`` does. Raises DataError for any other value as well."""
    value = read_json(path, file_names=file_names)
    if not isinstance(value, dict):
        raise DataError(f"expected a JSON object, found {_named(value)}", path, "write it anew")
    return value


def _named(value: object) -> str:
    return {list: "a list", str: "a text", int: "a number", float: "a number"}.get(type(value), json.dumps(value))


def sha256(path: str | Path) -> str:
    """The hexadecimal SHA-256 of a file's content.

    Raises DataError if the file cannot be read, or is a pipe or a device, from which nothing may ever come.
    """
    digest = hashlib.sha256()
    with describing(path):
        require_regular(path)
        file = open(path, "rb")
    with describing(path), file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()

"""Fetches large archives: downloads continue where they stopped, are checked by SHA-256, and are unpacked atomically.
"""

from __future__ import annotations

import http.client
import os
import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zlib
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn, wrap_file

from snn_asr.errors import DataError, UsageError
from snn_asr.files import sha256

_TIMEOUT_SECONDS = 60
_PAUSES_SECONDS = (1, 5, 15, 60)  # waited after successive attempts that brought nothing
_BLOCK_BYTES = 1 << 20
_TRY_AGAIN_STATUS = (408, 429)  # in addition to all from 500 on


def fetch(url: str, path: Path, checksum: str) -> None:
    """Download ``url`` to ``path`` unless it is there, and check its SHA-256 (hexadecimal).

    Received bytes are appended to ``path`` + ".part", so an interrupted download loses nothing and the next one
    continues it. A broken connection is opened again as long as something still arrives. Raises UsageError for an
    address that is not http(s), and DataError if the file cannot be fetched or is not the one that was published.
    """
    if not url.startswith(("http://", "https://")):
        raise UsageError("not the address of a web server", url, "begin it with https:// or http://")
    if path.is_file():
        _check(path, checksum, "remove it and fetch it again")
        return
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
    except OSError as error:
        raise DataError(f"cannot write ({error.strerror})", part, "choose a writable folder") from error
    _receive_all(url, part)
    try:
        _check(part, checksum, f"what came from {url} is thrown away; fetch it again")
    except DataError:
        part.unlink()
        raise
    os.replace(part, path)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a .tar.gz and move the contents of its only top folder into ``folder``; what is there already stays.

    A folder appears as a whole or not at all. Raises DataError if the archive is damaged or the disk is full.
    """
    temporary = folder / f".{archive.name}.unpacked"
    shutil.rmtree(temporary, ignore_errors=True)
    console = Console(stderr=True)
    try:
        with open(archive, "rb") as plain:
            source: AbstractContextManager[Any] = plain
            if console.is_terminal:
                size = archive.stat().st_size
                source = wrap_file(plain, size, description=f"Unpacking {archive.name}", console=console)
            with source as stream, tarfile.open(fileobj=stream, mode="r|gz") as tar:
                # Python before 3.10.12 has no filter and trusts the archive, whose checksum was verified.
                tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
                tar.extractall(temporary)
        for path in sorted(temporary.glob("*/*")):
            if not (folder / path.name).exists():
                os.replace(path, folder / path.name)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        todo = "make room, or remove it and fetch it again"
        raise DataError(f"cannot be unpacked ({error})", archive, todo) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check(path: Path, checksum: str, todo: str) -> None:
    found = sha256(path)
    if found != checksum:
        raise DataError(f"its SHA-256 is {found}, not the published {checksum}", path, todo)


def _receive_all(url: str, part: Path) -> None:
    """Append to ``part`` until the server says that nothing is left; several attempts in vain are an error."""
    in_vain = 0
    while True:
        before = part.stat().st_size
        try:
            if _receive(url, part):
                return
            reason = "the connection broke"
        except urllib.error.HTTPError as error:
            reason = f"status {error.code}: {error.reason}"
            if error.code < 500 and error.code not in _TRY_AGAIN_STATUS:
                raise DataError(f"cannot be fetched ({reason})", url, "check the address") from error
        except (OSError, http.client.HTTPException) as error:
            reason = str(error)
        in_vain = 0 if part.stat().st_size > before else in_vain + 1
        if in_vain > len(_PAUSES_SECONDS):
            todo = "run the same command again: it continues where it stopped"
            raise DataError(f"cannot be fetched ({reason})", url, todo)
        time.sleep(_PAUSES_SECONDS[max(in_vain - 1, 0)])


def _receive(url: str, part: Path) -> bool:
    """Make one request for what ``part`` lacks, and return whether all has arrived (the checksum is checked later)."""
    start = part.stat().st_size
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            return True
        raise
    continued = response.status == http.client.PARTIAL_CONTENT
    start = start if continued else 0
    length = response.headers.get("Content-Length")
    total = None if length is None else start + int(length)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with response, open(part, "ab" if continued else "wb") as file, bar:
        task = bar.add_task(url.rsplit("/", 1)[-1], total=total, completed=start)
        while block := response.read(_BLOCK_BYTES):
            file.write(block)
            bar.advance(task, len(block))
    return total is None or part.stat().st_size == total

"""The output folder of decode: transcripts, the journal of finished files, and the list of failed ones.

    decoded.jsonl   a line for each finished file: everything its transcripts depend on, and the SHA-256 of each
    errors.json     the files that failed and why, when all are done

Shards have files of their own, decoded-2-of-4.jsonl and errors-2-of-4.json. A file that no journal lists, or that
somebody has changed since, is never overwritten.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from snn_asr.data.transcripts.reading import FOLDER_SUFFIXES
from snn_asr.decoding.files.writers import FORMATS
from snn_asr.errors import DataError, SnnAsrError
from snn_asr.files import cannot_write, encoded, read_json_object, sha256, write_bytes, write_json
from snn_asr.files.journals import append_json_line, mend_journal, read_journal
from snn_asr.sharding import Shard, shard_files

JOURNAL, ERRORS = "decoded.jsonl", "errors.json"
_OF_ONE_FILE = ("audio", "formats", "transcript", "written")  # keys of a journal's line; the others are settings
_FOREIGN = "is there already, and not as decode wrote it", "choose another --output-folder, or move it away"


class OutputFolder:
    """The folder, for one process that decodes all files or the ``shard`` of them.

    Raises DataError if the folder is a file or cannot be written, if its journal is damaged, and if another file has
    the name of the list of errors.
    """

    def __init__(self, folder: Path, shard: Shard | None = None) -> None:
        self._folder, self._shard = folder, shard
        self._journal = folder / (JOURNAL if shard is None else shard.file_name(JOURNAL))
        self._errors = folder / (ERRORS if shard is None else shard.file_name(ERRORS))
        file = next((each for each in (folder, *folder.parents) if each.exists() and not each.is_dir()), None)
        if file is not None:
            raise DataError("is no folder", file, "choose another --output-folder")
        for path in {self._errors, folder / ERRORS}:
            if path.exists() and not _is_list_of_errors(path):
                raise DataError(_FOREIGN[0], path, _FOREIGN[1])
        _require_writable(folder)
        mend_journal(self._journal)
        self._states: dict[str, dict[str, Any]] = {}  # by name, the last
        self._finished: dict[str, float] = {}  # when that was
        self._written: dict[Path, set[str | None]] = {}  # by file; None: by a version that noted no sums
        self._read_journals()

    def is_done(self, name: str, state: Mapping[str, Any]) -> bool:
        """Whether the recording of this name was decoded in this state, and its transcripts are as they were
        written."""
        row = dict(self._states.get(name, {}))
        written = row.pop("written", None)
        if row != state:
            return False
        for each in state["formats"]:
            path = self._path(name, each)
            if not path.is_file() or (written is not None and sha256(path) != written.get(each)):
                return False
        return True

    def earlier(self, name: str) -> list[Path]:
        """The transcripts of this recording that earlier calls have written, of whatever it was then."""
        found = []
        for path in sorted({self._path(name, each) for each in FORMATS}):
            with suppress(SnnAsrError, OSError):  # as for a name that is too long, which is named elsewhere
                if path.is_file() and self._is_own(path):
                    found.append(path)
        return found

    def write(self, name: str, state: Mapping[str, Any], texts: Mapping[str, str]) -> None:
        """Write the texts, by format. The journal lists them first, so that none can be taken for a foreign file.

        Raises DataError if one of them cannot be written or would overwrite a file that is not decode's.
        """
        paths = {each: self._path(name, each) for each in texts}
        for path in paths.values():
            self._check_own(path)
        contents = {each: encoded(text) for each, text in texts.items()}
        written = {each: hashlib.sha256(content).hexdigest() for each, content in contents.items()}
        # The clock may have been set back, and the line with the latest time is the one that counts.
        finished = max(time.time(), self._finished.get(name, 0.0))
        append_json_line(self._journal, {"name": name, "finished": finished, "written": written, **state})
        for each, content in contents.items():
            self._written.setdefault(paths[each], set()).add(written[each])
            write_bytes(paths[each], content)

    def write_errors(self, errors: Mapping[str, str]) -> None:
        """Write errors.json; a shard writes its own file and, if the files of all shards are there, errors.json of
        all."""
        write_json(self._errors, errors)
        if self._shard is None:
            for path in shard_files(self._folder, ERRORS):
                path.unlink(missing_ok=True)
            return
        count = self._shard.count
        parts = [self._folder / Shard(number, count).file_name(ERRORS) for number in range(1, count + 1)]
        written = None
        # Another shard may end meanwhile; the one that writes last has seen the files of all.
        while all(path.is_file() for path in parts):
            together = {name: error for path in parts for name, error in _read_errors(path).items()}
            if together == written:
                break
            write_json(self._folder / ERRORS, together)
            written = together

    def _path(self, name: str, form: str) -> Path:
        return self._folder / f"{name}{FORMATS[form]}"

    def _check_own(self, path: Path) -> None:
        if path in (self._errors, self._folder / ERRORS):
            raise DataError("decode lists there what failed", path, "decode this file by itself, without a folder")
        if path.is_dir():
            raise DataError("a folder stands where the transcript belongs", path, "choose another --output-folder")
        if not path.exists() or self._is_own(path):
            return
        self._read_journals()  # another call may have begun to write here since
        if not self._is_own(path):
            raise DataError(_FOREIGN[0], path, _FOREIGN[1])

    def _is_own(self, path: Path) -> bool:
        known = self._written.get(path, set())
        return None in known or sha256(path) in known

    def _read_journals(self) -> None:
        """Read from all journals the last state of each recording, and everything that was ever written to each
        file."""
        for name, when, row in _journal_rows(self._folder):
            written = row.get("written")
            for each in _formats(row):
                sums = self._written.setdefault(self._path(name, each), set())
                sums.add(written.get(each) if isinstance(written, dict) else None)
            if when >= self._finished.get(name, 0.0):
                self._finished[name], self._states[name] = when, row


def of_other_settings(folder: Path) -> list[str]:
    """The recordings whose transcripts in a folder of decode are of another model, or of other settings, than those of
    its newest transcript. Of several formats, only that counts which ``score`` reads.

    There are none in any other place, and none are known if a journal is damaged.
    """
    if not folder.is_dir():
        return []
    try:
        rows = sorted(_journal_rows(folder), key=lambda row: row[1])
    except DataError:
        return []
    there = [
        (name, row, FORMATS[each]) for name, _, row in rows for each in _formats(row)
        if os.path.isfile(folder / f"{name}{FORMATS[each]}")
    ]
    suffixes = {suffix for _, _, suffix in there}
    read = next((each for each in FOLDER_SUFFIXES if each in suffixes), None)
    settings: dict[str, dict[str, Any]] = {}
    newest: dict[str, Any] = {}
    for name, row, suffix in there:
        if suffix == read:
            newest = {key: row[key] for key in row if key not in _OF_ONE_FILE and row[key] is not None}
            settings[name] = newest
    return [name for name, of_it in settings.items() if of_it != newest]


def _journal_rows(folder: Path) -> Iterator[tuple[str, float, dict[str, Any]]]:
    """The name, the time and the rest of every line of a folder's journals. Raises DataError if one is damaged."""
    for journal in (folder / JOURNAL, *shard_files(folder, JOURNAL)):
        for row in read_journal(journal):
            name, when = row.pop("name", None), row.pop("finished", 0.0)
            if not isinstance(name, str) or not isinstance(when, (int, float)):
                raise DataError("damaged", journal, "remove it to do its part again")
            yield name, when, row


def _formats(row: Mapping[str, Any]) -> list[str]:
    formats = row.get("formats")
    return [each for each in formats if each in FORMATS] if isinstance(formats, list) else []


def _require_writable(folder: Path) -> None:
    """Make the folder if it is absent. Raises DataError if no file can be made there: before hours of work, not after.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise cannot_write(folder, error) from error


def _is_list_of_errors(path: Path) -> bool:
    try:
        return all(isinstance(each, str) for each in _read_errors(path).values())
    except SnnAsrError:
        return False


def _read_errors(path: Path) -> dict[str, Any]:
    return read_json_object(path, file_names=True)

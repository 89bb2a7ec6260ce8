"""A run folder: the files of a training, whether they belong to a training, and who may write them.

    run/  run.json  log.jsonl  checkpoint.pt  checkpoint-previous.pt  test.json  model/  report.html

run.json marks the folder: it says that these files belong to a training, and to which one (its identity). Without it,
or if a file is not what a training writes, the files belong to the user, and nothing is written. One process holds the
folder's lock as long as it trains.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from snn_asr import processes
from snn_asr.errors import DataError, UsageError, describing
from snn_asr.files import (
    encoded,
    json_text,
    read_json,
    read_json_object,
    require_regular,
    sha256,
    write_json,
    write_text,
)
from snn_asr.files.journals import append_json_line, read_journal
from snn_asr.files.locks import alone, made
from snn_asr.network.model_folder import CHECKSUMS, METRICS, damage
from snn_asr.training.run_folder import checkpoint
from snn_asr.training.run_folder.checkpoint import Checkpoints
from snn_asr.training.run_folder.identity import Identity, json_fingerprint

MARK, LOG, TEST, MODEL, DATA, LOCK = "run.json", "log.jsonl", "test.json", "model", "data", ".lock"
REPORT, REPORT_MARK = "report.html", b"<!DOCTYPE html>\n<!-- A report of snn-asr"  # what every report begins with
# Keys of the model's metrics that say which run it is of.
RUN, TEST_SHA256, LOG_FINGERPRINT = "run", "test_sha256", "log_fingerprint"
_NAMES = (MARK, LOG, checkpoint.NAME, checkpoint.PREVIOUS, TEST, MODEL)  # of what a training may overwrite
_IDENTITY = "identity"
_REMEDY = "choose another --output-folder"

log = logging.getLogger(__name__)


class RunFolder:
    """The folder at ``path``, which ``held`` makes if it is absent.

    After ``claim`` it belongs to this run, and ``checkpoints`` are those of the run's identity. A run that starts anew
    leaves an earlier one as it is until its own first checkpoint is on the disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = Checkpoints(path, "")
        self._mark: dict[str, Any] = {}
        self._replaces = False

    @contextmanager
    def held(self, data_folder: Path | None = None) -> Iterator[RunFolder]:
        """A block in which no other training writes here. Of several processes the first holds the folder for all.

        Raises UsageError if another training holds the folder, if the folder is the ``data_folder``, and if it has
        files that are not a training's (including ``data/`` if no ``data_folder`` is given, because data are then
        prepared there).
        """
        if not processes.is_main():
            yield self
            return
        with made(self.path, _REMEDY):
            self._refuse_foreign(data_folder)
            with alone(self.path / LOCK, "training", _REMEDY):
                yield self

    def _refuse_foreign(self, data_folder: Path | None) -> None:
        """Raise UsageError if something would be overwritten that no training has written, and DataError if run.json
        cannot be read and therefore cannot tell."""
        with describing(self.path, _REMEDY):
            if data_folder is not None and self.path.resolve() == data_folder.resolve():
                raise UsageError("is the data folder, whose manifests would be overwritten", self.path, _REMEDY)
            names = (*_NAMES, *(() if data_folder is not None else (DATA,)))
            present = [name for name in names if os.path.lexists(self.path / name)]
        marked = self._marked(present)
        foreign = [name for name in present if not self._is_own(name)] if marked else present
        if foreign:
            what = "is not what a training has written, and would be overwritten"
            raise UsageError(what, self.path / foreign[0], _REMEDY)

    def _marked(self, present: Iterable[str]) -> bool:
        """Whether the folder belongs to a training: run.json says so or, if it is lost, an intact checkpoint."""
        if MARK not in present:
            identity = self.checkpoints.owner() if self.checkpoints.present else None
            if identity is None:
                return False
            log.warning("%s: is gone, and written anew from what the checkpoint says", self.path / MARK)
            write_json(self.path / MARK, {_IDENTITY: identity})
        try:
            return _IDENTITY in read_mark(self.path)
        except DataError as error:
            todo = "remove it: the run goes on from its checkpoint" if self.checkpoints.present else _REMEDY
            raise DataError(error.what, error.where, todo) from error

    def _is_own(self, name: str) -> bool:
        """Whether the content of a file in a marked folder is a training's. Checkpoints and models are checked when
        they are read or written, so this looks only at test.json."""
        if name != TEST:
            return True
        try:
            transcripts = read_json(self.path / TEST)
        except DataError:
            return False
        entries: Iterable[object] = transcripts.values() if isinstance(transcripts, dict) else [None]
        return all(isinstance(each, dict) and "hypothesis" in each for each in entries)

    def begin(self) -> None:
        """Mark a new folder as that of a training, before anything else is written there."""
        if processes.is_main() and not os.path.lexists(self.path / MARK):
            write_json(self.path / MARK, {_IDENTITY: None})

    def claim(self, identity: str, about: Mapping[str, Any], resume: bool) -> None:
        """Take the folder for the run with this ``identity``: continue from its state or, without ``resume``, start
        anew.

        ``about`` is what run.json tells people about the run. Raises UsageError if the folder holds the work of another
        run, unless that is to be replaced.
        """
        identity = self._as_marked(identity) if resume else identity
        self.checkpoints = Checkpoints(self.path, identity)
        self._mark = {**about, _IDENTITY: identity}
        self._replaces = self._started and not resume
        if not processes.is_main():
            return
        self._refuse_model_of_another()
        if self._replaces:
            return
        if self._started:
            self._refuse_another(read_mark(self.path))
        if not os.path.lexists(self.path / MARK) or read_mark(self.path) != self._mark:
            write_json(self.path / MARK, self._mark)

    def _as_marked(self, identity: str) -> str:
        """The identity by which run.json knows this run: another one if it names keys that now count as not given."""
        if not os.path.lexists(self.path / MARK):
            return identity
        found = read_mark(self.path)
        before = Identity.from_json(found)
        return str(found[_IDENTITY]) if before is not None and before.digest == identity else identity

    def _refuse_another(self, found: Mapping[str, Any]) -> None:
        """Raise UsageError, with what differs, if the mark that was ``found`` is that of another run."""
        if found.get(_IDENTITY) == self._mark[_IDENTITY]:
            return
        before, now, why = Identity.from_json(found), Identity.from_json(self._mark), ""
        if now is not None and found.keys() != {_IDENTITY}:
            why = " of an earlier snn-asr" if before is None else f": {before.differences(now)}"
        raise UsageError(f"holds another run{why}", self.path, f"{_REMEDY}, or replace it with --no-resume")

    def _refuse_model_of_another(self) -> None:
        """Raise DataError for a whole model of another run, as a link or a mistake in copying leaves it: it would be
        replaced, and may be the only one."""
        if (self.path / MODEL / CHECKSUMS).exists() and damage(self.path / MODEL) is None:
            of = read_json_object(self.path / MODEL / METRICS).get(RUN)
            if of not in (None, self._mark[_IDENTITY], read_mark(self.path).get(_IDENTITY)):
                raise _model_of_another(self.path)

    @property
    def _started(self) -> bool:
        """Whether the folder holds the work of at least one epoch."""
        return self.checkpoints.present or any((self.path / name).exists() for name in (TEST, f"{MODEL}/{CHECKSUMS}"))

    @property
    def finished(self) -> bool:
        """Whether the folder holds a complete run of this identity, with its model as it was written."""
        if self._replaces or not (self.path / TEST).is_file() or not (self.path / MODEL).is_dir():
            return False
        found = damage(self.path / MODEL) or of_another_run(self.path)
        if found is not None and found.where == self.path / LOG and not self.checkpoints.present:
            log.warning("%s: %s; it stays, as there is no checkpoint to write it from", found.where, found.what)
            return True
        if found is not None:
            log.warning("%s: %s; log, model and transcripts of the test set are written anew", found.where, found.what)
        return found is None

    def origin(self, transcripts: Mapping[str, Any]) -> dict[str, str]:
        """What the model's metrics say of its run: the identity, the log without its times, and the SHA-256 of
        test.json, which follows them."""
        written = hashlib.sha256(encoded(json_text(transcripts))).hexdigest()
        found = {RUN: self._mark[_IDENTITY], TEST_SHA256: written}
        return found | {LOG_FINGERPRINT: log_fingerprint(self.path / LOG)}

    def restore(self) -> dict[str, Any] | None:
        """The state to continue from, after writing the log as it was then; None for a run that starts."""
        if self._replaces:
            return None
        state = self.checkpoints.load()
        if processes.is_main():
            rows = state["log"] if state is not None else []
            if rows or os.path.lexists(self.path / LOG):
                write_text(self.path / LOG, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        return state

    def save(self, state: Mapping[str, Any], rows: list[dict[str, Any]]) -> None:
        """Write the state after an epoch and the last of the ``rows`` of the log, which is the new one."""
        self.checkpoints.save({**state, "log": rows}, before=self._replace)
        append_json_line(self.path / LOG, rows[-1])

    def _replace(self) -> None:
        """Remove the run that this one replaces. Wherever this is interrupted, the rest is not taken for a whole
        run."""
        if not self._replaces:
            return
        for name in (f"{MODEL}/{CHECKSUMS}", TEST, checkpoint.PREVIOUS, checkpoint.NAME, LOG):
            with describing(self.path / name):
                (self.path / name).unlink(missing_ok=True)
        if is_report(self.path / REPORT):
            with describing(self.path / REPORT):
                (self.path / REPORT).unlink(missing_ok=True)
        write_json(self.path / MARK, self._mark)
        self._replaces = False

    def write_test(self, transcripts: Mapping[str, Any]) -> None:
        """Write the decoded test set, the last file of a run."""
        write_json(self.path / TEST, transcripts)
        self.tidy()

    def tidy(self) -> None:
        """Remove what a complete run no longer needs. A call that finds the run complete does this too, because the
        call before may have been stopped just here."""
        if processes.is_main():
            self.checkpoints.remove_previous()


def read_mark(folder: Path) -> dict[str, Any]:
    """What run.json says. The data folder that it names may be bytes that are no UTF-8.

    Raises DataError if it is missing or damaged.
    """
    return read_json_object(folder / MARK, file_names=True)


def of_another_run(folder: Path) -> DataError | None:
    """What says that files of this run folder are of different runs, as a mistake in copying leaves them.

    None if all are of one run, or of an earlier snn-asr, whose metrics do not say. A log that is gone or cannot be read
    is of no other run; one that was edited or cut is. Raises DataError for other files that cannot be read.
    """
    metrics, mark = read_json_object(folder / MODEL / METRICS), read_mark(folder)
    if metrics.get(RUN, mark.get(_IDENTITY)) != mark.get(_IDENTITY):
        return _model_of_another(folder)
    others = metrics.get(TEST_SHA256, "") not in ("", sha256(folder / TEST)), _is_log_of_another(folder / LOG, metrics)
    for name, other in zip((TEST, LOG), others, strict=True):
        if other:
            return DataError("not as training wrote it", folder / name, "copy the run folder again, or train again")
    return None


def _is_log_of_another(path: Path, metrics: Mapping[str, Any]) -> bool:
    return LOG_FINGERPRINT in metrics and log_fingerprint(path) not in ("", metrics[LOG_FINGERPRINT])


def log_fingerprint(path: Path) -> str:
    """A fingerprint of a log without its times, which are others where a run is repeated; empty for none, or a damaged
    one."""
    try:
        rows = read_journal(path)
    except DataError:
        return ""
    without_times = [{key: row[key] for key in row if not key.endswith("seconds")} for row in rows]
    return json_fingerprint(without_times) if rows else ""


def _model_of_another(folder: Path) -> DataError:
    todo = "copy the run folder again, or move it away and train again"
    return DataError(f"was trained by another run than {MARK} names", folder / MODEL, todo)


def is_report(path: Path) -> bool:
    """Whether the file is a report that may be replaced; any other file of its name belongs to the user."""
    try:
        require_regular(path)
        with open(path, "rb") as file:
            return file.read(len(REPORT_MARK)) == REPORT_MARK
    except (OSError, DataError):
        return False

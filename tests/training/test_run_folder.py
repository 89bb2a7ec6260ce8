"""Whose files are in a run folder, who writes there, and what stays when a run is begun anew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from faults.world import digest

from snn_asr.errors import DataError, UsageError
from snn_asr.files import read_json, sha256, write_json
from snn_asr.network.model_folder import CHECKED, CHECKSUMS, METRICS
from snn_asr.training.run_folder.folder import LOCK, LOG, MARK, MODEL, TEST, RunFolder, of_another_run
from snn_asr.training.run_folder.identity import Identity

TRANSCRIPTS = {"a": {"speaker": "s", "reference": "one", "hypothesis": "one"}}


def claimed(path: Path, identity: str = "this", resume: bool = True) -> RunFolder:
    folder = RunFolder(path)
    with folder.held(path.parent):
        folder.begin()
        folder.claim(identity, {"encoder": "gru"}, resume)
    return folder


@pytest.fixture
def done(tmp_path) -> Path:
    """A run of two epochs with its test set decoded."""
    folder = claimed(tmp_path / "run")
    rows = [{"epoch": 1}]
    folder.save({"epoch": 1}, rows)
    rows.append({"epoch": 2})
    folder.save({"epoch": 2}, rows)
    folder.write_test(TRANSCRIPTS)
    return folder.path


def log_of(path: Path) -> list[int]:
    return [json.loads(line)["epoch"] for line in (path / LOG).read_text().splitlines()]


@pytest.mark.parametrize("name", [MARK, LOG, TEST, "checkpoint.pt", "model", "data"])
def test_what_no_training_has_written_is_refused_and_stays(name, tmp_path):
    path = tmp_path / "mine"
    path.mkdir()
    (path / name).write_text('{"my": "own"}')
    for data_folder in (None,) if name == "data" else (None, tmp_path):
        with pytest.raises(UsageError, match=f"mine/{name}: is not what a training has written"):
            with RunFolder(path).held(data_folder):
                pass
    assert [each.name for each in path.iterdir()] == [name]


def test_the_users_own_test_json_in_a_run_folder_is_refused(done):
    (done / TEST).write_text('{"a": {"wav": "a.wav", "text": "one"}}')
    with pytest.raises(UsageError, match="test.json: is not what a training has written"):
        claimed(done, resume=False)


def test_the_data_folder_is_refused_also_by_another_name(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="is the data folder"):
        with RunFolder(tmp_path / "link").held(tmp_path):
            pass


def test_one_training_holds_the_folder(tmp_path):
    with RunFolder(tmp_path / "run").held(tmp_path):
        with pytest.raises(UsageError, match=rf"another training is at work here \(process {os.getpid()} on "):
            with RunFolder(tmp_path / "run").held(tmp_path):
                pass
    assert not (tmp_path / "run").exists()  # nothing was written there


@pytest.mark.thorough
def test_the_lock_of_a_killed_process_holds_nobody_up(tmp_path):
    program = (
        "import os, pathlib, sys\nfrom snn_asr.training.run_folder.folder import RunFolder\n"
        f"with RunFolder(pathlib.Path({str(tmp_path / 'run')!r})).held(pathlib.Path('.')): os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == -9
    assert (tmp_path / "run" / LOCK).exists()
    claimed(tmp_path / "run")
    assert not (tmp_path / "run" / LOCK).exists()


def test_another_identity_is_refused_where_there_is_work_and_taken_where_there_is_none(done, tmp_path):
    before = digest(done)
    with pytest.raises(UsageError, match="holds another run"):
        claimed(done, "other")
    assert digest(done) == before
    claimed(tmp_path / "new", "this")
    assert json.loads((claimed(tmp_path / "new", "other").path / MARK).read_text())["identity"] == "other"


def test_a_run_that_names_what_now_counts_as_not_given_goes_on(tmp_path):
    """As a version wrote it in which a key was new, and not yet listed among those that ask nothing."""
    settings = {"dropout": 0.1, "seed": 1}
    named = Identity("FSDD", settings | {"head_epsilon": 1e-5}, {"train": "1"}, "cpu")
    plain = Identity("FSDD", settings, {"train": "1"}, "cpu")
    assert named.digest != plain.digest, "the file has the one, the training asks for the other"
    for now, resumed in ((plain, True), (replace(plain, settings=settings | {"seed": 2}), False)):
        folder = RunFolder(tmp_path / f"run{resumed}")
        with folder.held(tmp_path):
            folder.begin()
            folder.claim(named.digest, named.to_json(), resume=True)
        folder.save({"epoch": 1}, [{"epoch": 1}])
        again = RunFolder(folder.path)
        with again.held(tmp_path):
            if resumed:
                again.claim(now.digest, now.to_json(), resume=True)
                assert again.restore()["epoch"] == 1
            else:
                with pytest.raises(UsageError, match="holds another run: seed 1 → 2"):
                    again.claim(now.digest, now.to_json(), resume=True)


def test_a_run_begun_anew_leaves_the_old_one_until_its_first_checkpoint(done):
    before = digest(done)
    folder = claimed(done, "other", resume=False)
    assert digest(done) == before and folder.restore() is None and not folder.finished
    folder.save({"epoch": 1}, [{"epoch": 1}])
    assert json.loads((done / MARK).read_text())["identity"] == "other" and log_of(done) == [1]
    assert not (done / TEST).exists() and claimed(done, "other").restore()["epoch"] == 1


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\n", b'{"epoch": 1}\n{"epoch": 1}\n{"epo'])
def test_the_log_is_that_of_the_checkpoint_whatever_became_of_the_file(content, done):
    (done / TEST).unlink()
    (done / LOG).write_bytes(content)
    assert claimed(done).restore()["epoch"] == 2
    assert log_of(done) == [1, 2]


def test_a_log_without_a_checkpoint_is_begun_anew(tmp_path):
    folder = claimed(tmp_path / "run")
    (folder.path / LOG).write_text('{"epoch": 1}\n')
    assert folder.restore() is None and log_of(folder.path) == []


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(DataError, match="file"):
            claimed(path)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.fixture
def whole(done) -> Path:
    """A finished run with what the folder reads of its model."""
    origin = RunFolder(done)
    with origin.held(done.parent):
        origin.claim("this", {"encoder": "gru"}, True)
        metrics = origin.origin(TRANSCRIPTS)
    for name in CHECKED:
        write_json(done / MODEL / name, metrics)
    write_json(done / MODEL / CHECKSUMS, {name: sha256(done / MODEL / name) for name in CHECKED})
    assert claimed(done).finished
    return done


def test_the_model_of_another_run_in_a_run_folder_is_named_and_stays(whole):
    metrics = read_json(whole / MODEL / METRICS)
    write_json(whole / MODEL / METRICS, metrics | {"run": "that"})
    write_json(whole / MODEL / CHECKSUMS, {name: sha256(whole / MODEL / name) for name in CHECKED})
    before = digest(whole)
    for resume in (True, False):
        with pytest.raises(DataError, match="model: was trained by another run than run.json names; copy"):
            claimed(whole, resume=resume)
    assert digest(whole) == before


def test_transcripts_of_another_run_in_a_run_folder_make_it_unfinished(whole, caplog):
    write_json(whole / TEST, {"a": {"speaker": "s", "reference": "one", "hypothesis": "two"}})
    assert not claimed(whole).finished
    assert "test.json: not as training wrote it" in caplog.text


def test_the_log_of_another_run_in_a_run_folder_is_named_and_written_again(whole, caplog):
    log = (whole / LOG).read_bytes()
    (whole / LOG).write_text('{"epoch": 1, "seconds": 3}\n{"epoch": 2, "seconds": 4.5}\n')  # times do not count
    assert of_another_run(whole) is None
    (whole / LOG).write_text('{"epoch": 1}\n')
    assert str(of_another_run(whole)).startswith(f"{whole / LOG}: not as training wrote it; copy")
    folder = claimed(whole)
    assert not folder.finished and "log.jsonl: not as training wrote it" in caplog.text
    folder.restore()
    assert (whole / LOG).read_bytes() == log and claimed(whole).finished
    (whole / LOG).write_text('{"epoch": 1}\n')
    for path in whole.glob("checkpoint*"):
        path.unlink()
    assert claimed(whole).finished and "it stays, as there is no checkpoint" in caplog.text, "not trained anew"
    for content in (b"\xff\n", b""):
        (whole / LOG).write_bytes(content)  # damaged: reports are without its curves
        assert of_another_run(whole) is None
    (whole / LOG).unlink()
    assert of_another_run(whole) is None


def test_metrics_of_an_earlier_version_say_nothing_of_their_run(whole):
    write_json(whole / MODEL / METRICS, {})
    write_json(whole / MODEL / CHECKSUMS, {name: sha256(whole / MODEL / name) for name in CHECKED})
    assert claimed(whole).finished


def test_a_run_whose_run_json_is_lost_goes_on_from_its_checkpoint(tmp_path, caplog):
    folder = claimed(tmp_path / "run")
    folder.save({"epoch": 1}, [{"epoch": 1}])
    (folder.path / MARK).write_text("")
    with pytest.raises(DataError, match="run.json: not valid JSON .*; remove it: the run goes on from its checkpoint"):
        claimed(folder.path)
    (folder.path / MARK).unlink()
    with pytest.raises(UsageError, match="holds another run; choose"):
        claimed(folder.path, "other")
    (folder.path / MARK).unlink()
    assert claimed(folder.path).restore()["epoch"] == 1 and "run.json: is gone, and written anew" in caplog.text
    assert read_json(folder.path / MARK) == {"encoder": "gru", "identity": "this"}


def test_a_folder_without_run_json_and_with_another_programs_checkpoint_is_the_users(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "checkpoint.pt").write_bytes(b"weights of mine")
    with pytest.raises(UsageError, match="checkpoint.pt: is not what a training has written"):
        claimed(tmp_path / "mine")
    assert [each.name for each in (tmp_path / "mine").iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize("resume", [True, False])
def test_a_link_to_the_model_of_another_run_is_not_written_through(whole, tmp_path, resume):
    other = claimed(tmp_path / "other", "other").path
    (other / MODEL).symlink_to(whole / MODEL)
    before = digest(whole)
    with pytest.raises(DataError, match="other/model: was trained by another run than run.json names"):
        claimed(other, "other", resume)
    assert digest(whole) == before

"""NVIDIA's service that lets several processes share a GPU: when it is started, for whom, and that it ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from snn_asr import devices
from snn_asr.training import gpu_sharing
from snn_asr.training.gpu_sharing import CONTROL, LOGS, PIPES, shared_gpu


@pytest.fixture
def service(monkeypatch, tmp_path):
    """A control program of this name that writes down how it is called; a machine with a GPU."""
    calls = tmp_path / "calls"

    def install(code: int = 0) -> Path:
        program = tmp_path / "bin" / CONTROL
        program.parent.mkdir()
        program.write_text(
            f'#!/bin/sh\necho "$* $(test -z "$1" && cat) pipes=${PIPES}" >> "{calls}"\nexit {code}\n', encoding="utf-8"
        )
        program.chmod(0o755)
        return calls

    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.delenv(PIPES, raising=False)
    monkeypatch.setattr(gpu_sharing, "USUAL_PIPES", tmp_path / "nobody's")
    monkeypatch.setattr(devices, "choose_device", lambda name: "cpu" if name == "cpu" else "cuda")
    monkeypatch.setattr(gpu_sharing, "PROBE", "")
    return install


def test_it_is_there_for_the_block_and_ends_with_it(service):
    calls = service()
    with shared_gpu("auto", 3):
        folder = os.environ[PIPES]
        assert Path(folder).is_dir() and os.environ[LOGS] == folder
    assert calls.read_text(encoding="utf-8").splitlines() == [f"-d  pipes={folder}", f" quit pipes={folder}"]
    assert PIPES not in os.environ and LOGS not in os.environ and not Path(folder).exists()


def test_an_error_in_the_block_ends_it_too(service):
    calls = service()
    with pytest.raises(KeyError), shared_gpu("cuda", 2):
        raise KeyError
    assert "quit" in calls.read_text(encoding="utf-8") and PIPES not in os.environ


@pytest.mark.parametrize(("device", "jobs"), [("cuda", 1), ("cpu", 4)])
def test_it_is_not_started_for_one_job_or_on_a_cpu(service, device, jobs):
    calls = service()
    with shared_gpu(device, jobs):
        assert PIPES not in os.environ
    assert not calls.exists()


def test_one_that_runs_already_is_left_to_its_owner(service, monkeypatch, tmp_path):
    calls = service()
    monkeypatch.setenv(PIPES, str(tmp_path))
    with shared_gpu("cuda", 4):
        assert os.environ[PIPES] == str(tmp_path)
    monkeypatch.delenv(PIPES)
    (tmp_path / "control").touch()
    monkeypatch.setattr(gpu_sharing, "USUAL_PIPES", tmp_path)
    with shared_gpu("cuda", 4):
        assert PIPES not in os.environ
    assert not calls.exists()


def test_one_that_lets_nobody_in_is_done_without(service, monkeypatch, caplog):
    calls = service()
    monkeypatch.setattr(gpu_sharing, "PROBE", "raise SystemExit(1)")
    with shared_gpu("cuda", 4):
        assert PIPES not in os.environ
    assert "quit" in calls.read_text(encoding="utf-8") and "take turns" in caplog.text


def test_without_it_trainings_take_turns(service, caplog):
    with shared_gpu("cuda", 4):
        assert PIPES not in os.environ
    service(code=1)
    with shared_gpu("cuda", 4):
        assert PIPES not in os.environ
    assert "take turns" in caplog.text

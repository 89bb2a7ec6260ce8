"""Calls in processes of their own: order, errors, processes that die, and being told to end."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faults.world import PROGRAM, halves

from snn_asr.errors import DataError, InterruptedRun, SnnAsrError, UsageError
from snn_asr.training.jobs import run_jobs

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


def failing(value: int) -> tuple[int, int]:
    """The value and this process' number, or what is wrong with it."""
    if value == 1:
        raise DataError("bad 1", "file.wav", "repair it")
    if value == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if value == 3:
        raise UsageError("mistaken", "--seeds")
    if value == 6:
        raise MemoryError
    return value, os.getpid()


def lasting(folder: str, value: int) -> None:
    """Tell that it has begun, and when it is interrupted that it has saved."""
    Path(folder, f"begun-{value}").touch()
    try:
        time.sleep(100)
    except KeyboardInterrupt:
        Path(folder, f"saved-{value}").touch()
        raise


@pytest.mark.slow
def test_calls_keep_their_order_and_what_ends_one_does_not_end_the_others():
    errors: list[SnnAsrError] = []
    calls = [{"value": each} for each in (4, 2, 1, 5)]
    for jobs, processes in ((1, 1), (2, 2)):
        errors.clear()
        results = run_jobs(failing, calls if jobs > 1 else calls[2:], jobs, errors.append)
        assert [value for value, _ in results] == [4, 5][-processes:]
        assert (os.getpid() in {process for _, process in results}) == (jobs == 1)
    killed, bad = sorted(errors, key=lambda each: each.what, reverse=True)
    assert killed.what == "its process was ended by signal 9 (SIGKILL)"
    assert (str(bad), bad.exit_code) == ("file.wav: bad 1; repair it", 4)


def test_errors_that_end_all_calls():
    with pytest.raises(DataError, match="file.wav: bad 1; repair it"):
        run_jobs(failing, [{"value": 1}, {"value": 4}], 1)
    errors: list[SnnAsrError] = []
    with pytest.raises(UsageError, match="mistaken"):
        run_jobs(failing, [{"value": 1}, {"value": 3}, {"value": 4}], 1, errors.append)
    assert [each.exit_code for each in errors] == [4]
    assert run_jobs(failing, [{"value": 6}, {"value": 4}], 1, errors.append) == [(4, os.getpid())]
    assert [each.exit_code for each in errors] == [4, 4] and "memory" in str(errors[1])
    copy = pickle.loads(pickle.dumps(InterruptedRun("interrupted", 7, "go on")))
    assert (str(copy), copy.exit_code) == ("7: interrupted; go on", 130)


def _wait_for(paths: list[Path], process: subprocess.Popen) -> None:
    end = time.monotonic() + 300
    while not all(path.exists() for path in paths):
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.02)


def _assert_nobody_is_left(group: int) -> None:
    end = time.monotonic() + 20  # for multiprocessing's own process, which ends when it notices
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < end:
            os.killpg(group, 0)
            time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["parent", "all"])
@pytest.mark.parametrize("kind", SIGNALS, ids=lambda kind: kind.name)
def test_running_calls_save_and_no_other_begins_when_the_program_is_told_to_end(kind, whom, tmp_path):
    program = (
        f"import sys; sys.path[:0] = [{str(Path(__file__).parents[1])!r}, {str(Path(__file__).parent)!r}]\n"
        "from test_jobs import lasting\nfrom snn_asr.interruption import interrupt_when_told_to_end\n"
        "from snn_asr.training.jobs import run_jobs\ninterrupt_when_told_to_end()\n"
        f"calls = [{{'folder': {str(tmp_path)!r}, 'value': each}} for each in range(5)]\n"
        "try:\n    run_jobs(lasting, calls, 2)\nexcept KeyboardInterrupt:\n    sys.exit(130)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    _wait_for([tmp_path / "begun-0", tmp_path / "begun-1"], process)
    (os.kill if whom == "parent" else os.killpg)(process.pid, kind)
    _, errors = process.communicate(timeout=300)
    assert (process.returncode, errors) == (130, "")
    assert {path.name for path in tmp_path.iterdir()} == {"begun-0", "begun-1", "saved-0", "saved-1"}
    _assert_nobody_is_left(process.pid)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SIGNALS, ids=lambda kind: kind.name)
def test_compare_with_jobs_that_is_told_to_end_goes_on_with_the_same_command(kind, tone_recipe, tones, tmp_path):
    def words(name: str) -> list[str]:
        options = ["epochs=6", "hidden_size=8", "batch_frames=200", "cooldown_epochs=1"]
        folders = ["--data-folder", str(tones), "--output-folder", str(tmp_path / name)]
        return ["compare", str(tone_recipe), "--encoders", "improved_v2,gru,lstm", "--jobs", "2", *folders, *options]

    def run(name: str) -> subprocess.Popen:
        return subprocess.Popen(
            [*PROGRAM, *words(name), "--device", "cpu", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, start_new_session=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    whole = run("whole")
    expected, said = whole.communicate(timeout=300)
    assert whole.returncode == 0, said
    ended = run("ended")
    _wait_for([tmp_path / "ended" / f"{each}-seed1" / "checkpoint.pt" for each in ("improved_v2", "gru")], ended)
    os.kill(ended.pid, kind)
    _, said = ended.communicate(timeout=300)
    assert ended.returncode == 130 and "Traceback" not in said and said.splitlines()[-1].startswith("snn-asr: "), said
    _assert_nobody_is_left(ended.pid)
    assert not (tmp_path / "ended" / "lstm-seed1" / "log.jsonl").exists()
    again = run("ended")
    found, said = again.communicate(timeout=300)
    assert again.returncode == 0, said
    for each in ("improved_v2", "gru", "lstm"):
        weights = [tmp_path / name / f"{each}-seed1" / "model" / "weights.safetensors" for name in ("whole", "ended")]
        assert weights[0].read_bytes() == weights[1].read_bytes(), each
        assert len((tmp_path / "ended" / f"{each}-seed1" / "log.jsonl").read_text().splitlines()) == 6
    assert not halves(tmp_path / "ended") and expected and found

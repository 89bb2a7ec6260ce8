"""Several processes give what one gives: shares, statistics, ranges and gradients; whole runs under torchrun (slow)."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snn_asr import processes
from snn_asr.files import read_json
from snn_asr.network import encoders

# Nothing random but the start, and a rate at which rounding does not grow from step to step.
REPEATABLE = {
    "epochs": 3, "hidden_size": 8, "precision": "fp64", "speeds": [1.0], "frame_augmentations": [],
    "spectrogram_drops": [], "learning_rate": 0.001, "range": "moving_average", "batch_frames": 500,
}


@given(st.lists(st.integers(1, 1000), max_size=40), st.integers(1, 6))
def test_shares_hold_every_utterance_once_and_nearly_as_many_frames(lengths, count):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "world", lambda: count)
        shares = processes.share(lengths)
    assert len(shares) == count
    assert sorted(position for each in shares for position in each) == list(range(len(lengths)))
    sums = [sum(lengths[position] for position in each) for each in shares]
    assert max(sums) - min(sums) <= max(lengths, default=0)


def test_one_process_gets_back_what_it_gave():
    values = torch.tensor([3.0, -1.0])
    assert processes.total(values) is values
    assert processes.gather("x") == ["x"]
    assert processes.extremes(values) == (-1.0, 3.0)
    assert processes.extremes(values[:0]) is None
    assert (processes.rank(), processes.world(), processes.is_main()) == (0, 1, True)


def encoded(name: str, rows: slice) -> dict[str, torch.Tensor]:
    """Outputs, gradients and buffers of a training step on some rows of a batch of four, summed over processes."""
    torch.manual_seed(1)
    options = {"range": "moving_average"} if name == "improved_v2" else {}
    encoder = encoders.build(name, 5, 6, 2, dropout=0.0, **options).double()
    x, lengths = torch.randn(4, 7, 5, dtype=torch.float64), torch.tensor([7, 3, 5, 6])
    seen = []
    handle = encoder.layers[1].register_forward_hook(lambda layer, _, result: seen.append((layer, result[0])))
    x, lengths = x[rows], lengths[rows]
    if not len(x):  # as a process does whose share is empty
        x, lengths = torch.zeros(1, 2, 5, dtype=torch.float64), torch.tensor([0])
    y, _ = encoder(x, lengths)
    layer, outputs = seen[0]
    # Every process adds the whole activity, and their gradients are averaged.
    (y.square().sum() + layer.activity(outputs, lengths) / processes.world()).backward()
    handle.remove()
    result = {f"gradient {key}": processes.total(each.grad) for key, each in encoder.named_parameters()}
    return result | dict(encoder.named_buffers())


# Where the batch of four is cut: with 4 the second process has an empty share.
CASES = [("improved_v2", 3), ("improved_v2", 4), ("spiking_lstm", 1), ("radlif", 2)]


def in_process(rank: int, port: int) -> list[dict]:
    """What process ``rank`` of two has of every case."""
    given = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    with pytest.MonkeyPatch.context() as patch:
        for key, value in given.items():
            patch.setenv(key, str(value))
        with processes.joined("cpu"):
            return [encoded(name, slice(cut) if rank == 0 else slice(cut, None)) for name, cut in CASES]


def in_second_process(_: int, port: int, file: Path) -> None:
    torch.set_num_threads(1)
    torch.save(in_process(1, port), file)


@pytest.fixture(scope="module")
def stepped(tmp_path_factory) -> list[list[dict]]:
    """What this process, as the first of two, and the second have of every case."""
    port, file = free_port(), tmp_path_factory.mktemp("processes") / "second.pt"
    second = torch.multiprocessing.spawn(in_second_process, (port, file), join=False)
    first = in_process(0, port)
    second.join()
    return [first, torch.load(file)]


@pytest.mark.thorough
@pytest.mark.parametrize("case", range(len(CASES)), ids=str)
def test_two_processes_step_as_one(case, stepped):
    whole = encoded(CASES[case][0], slice(None))
    for found in (results[case] for results in stepped):
        assert found.keys() == whole.keys()
        for key, value in whole.items():
            torch.testing.assert_close(found[key], value, rtol=1e-9, atol=1e-11)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def torchrun(processes: int, recipe: Path, data: Path, folder: Path, **overrides) -> subprocess.Popen:
    words = [f"{key}={json.dumps(value)}" for key, value in overrides.items()]
    program = f"import sys; sys.argv[1:] = {['train', str(recipe), '--data-folder', str(data), '--output-folder']}"
    script = folder.parent / "program.py"
    script.write_text(f"{program} + sys.argv[1:]\nfrom snn_asr.cli.main import main\nmain()\n", encoding="utf-8")
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--master-port",
        str(free_port()), str(script), str(folder), *words,
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def losses(folder: Path) -> list[float]:
    rows = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [row[key] for row in rows for key in ("train_loss", "dev_loss", "dev_error_rate")]


@pytest.fixture(scope="module")
def one_process(tones, tone_recipe, tmp_path_factory) -> Path:
    from snn_asr.training.run import train  # not for the processes above: it loads SpeechBrain

    return train(tone_recipe, tones, tmp_path_factory.mktemp("runs") / "one", device="cpu", overrides=REPEATABLE)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_loss_curves_do_not_depend_on_the_number_of_processes(processes, tones, tone_recipe, one_process, tmp_path):
    running = torchrun(processes, tone_recipe, tones, tmp_path / "run", **REPEATABLE)
    output, errors = running.communicate(timeout=300)
    assert running.returncode == 0, errors
    assert output.split() == [str(tmp_path / "run" / "model")]  # from the first process alone
    assert errors.count("epoch 1/3") == 1
    assert losses(tmp_path / "run") == pytest.approx(losses(one_process), rel=1e-5)
    assert read_json(tmp_path / "run" / "model" / "metrics.json")["processes"] == processes


@pytest.mark.slow
def test_two_processes_go_on_with_a_model_as_one_does(tones, tone_recipe, one_process, tmp_path):
    from snn_asr.training.run import train

    words = {
        **REPEATABLE, "initial_model": str(one_process), "quantize": "int4", "pruning": 0.5, "pruning_epochs": [0, 2],
        "average_decay": 0.5,
    }
    alone = train(tone_recipe, tones, tmp_path / "alone", device="cpu", overrides=words)
    running = torchrun(2, tone_recipe, tones, tmp_path / "run", **words)
    _, errors = running.communicate(timeout=300)
    assert running.returncode == 0, errors
    assert losses(tmp_path / "run") == pytest.approx(losses(alone), rel=1e-5)
    assert read_json(tmp_path / "run" / "model" / "config.json") == read_json(alone / "model" / "config.json")


@pytest.mark.slow
def test_a_killed_process_ends_all_and_another_number_goes_on(tones, tone_recipe, one_process, tmp_path):
    from snn_asr.training.run import train

    folder, epochs = tmp_path / "run", {**REPEATABLE, "epochs": 3}
    running = torchrun(2, tone_recipe, tones, folder, **epochs)
    while not (folder / "log.jsonl").is_file():
        assert running.poll() is None, running.communicate()
        time.sleep(0.02)
    os.kill(worker_of(running.pid, rank=1), signal.SIGKILL)
    began = time.monotonic()
    running.communicate(timeout=120)
    assert running.returncode != 0 and time.monotonic() - began < 60
    done = len((folder / "log.jsonl").read_text().splitlines())
    assert 1 <= done < 3
    train(tone_recipe, tones, folder, device="cpu", overrides=epochs)
    assert losses(folder) == pytest.approx(losses(one_process), rel=1e-5)


def worker_of(agent: int, rank: int) -> int:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            parent = (folder / "stat").read_text().rsplit(")", 1)[1].split()[1]
            if parent == str(agent) and f"\0RANK={rank}\0" in "\0" + (folder / "environ").read_text():
                return int(folder.name)
    raise AssertionError("no such process")


@pytest.mark.slow
def test_an_error_is_one_line_and_ends_all(tones, tone_recipe, tmp_path):
    running = torchrun(2, tone_recipe, tones, tmp_path / "run", range="moving_average_per_frame")
    _, errors = running.communicate(timeout=120)
    assert running.returncode != 0
    assert "snn-asr: range=moving_average_per_frame: cannot be followed by several processes" in errors

"""A training step asks the device for nothing: it is run where there are no numbers to be had.

Tensors on torch's device "meta" have shapes and no values. Whatever would make the program wait for a GPU (a number,
a condition, the positions of a mask, a copy to the host) is an error there, for every encoder.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pytest
import torch
from marks import graded
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from snn_asr.network import encoders
from snn_asr.network.coder_settings import CoderSettings
from snn_asr.network.layers import driven
from snn_asr.network.ranges import RangeTracker, read_together
from snn_asr.training.loop import brain as training
from snn_asr.training.loop.averaging import AveragedWeights
from snn_asr.training.loop.brain import TRAIN, RecognizerBrain
from snn_asr.training.run import train

STEPS = 2


class WaitingCopies(TorchDispatchMode):
    """Lists the copies from the host that wait until the device has done all before them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        options = options or {}
        if function is torch.ops.aten._to_copy.default and options.get("device") == torch.device("meta"):
            if arguments[0].device.type == "cpu" and not options.get("non_blocking"):
                self.found.append(f"{arguments[0].shape}")
        return function(*arguments, **options)


class Stepped(Exception):
    """The steps were taken."""


@contextmanager
def waiting_is_an_error() -> Iterator[None]:
    """Within the block torch raises where the program would wait for the GPU."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.fixture
def steps_on(monkeypatch, tones, tmp_path):
    """Training steps of an encoder on a device with one batch, all but the first within a context."""

    def run(device: str, context: AbstractContextManager, encoder: str, **overrides: object) -> None:
        def fit(brain: RecognizerBrain, _: object, loader, __: object) -> None:
            brain.device = device
            brain.model.to(device)
            brain.averaged = AveragedWeights(brain.model, 0.5)
            brain.on_fit_start()
            brain.on_stage_start(TRAIN, 1)
            brain.modules.train()
            batch = next(iter(loader))
            for brain.step in range(1, STEPS + 1):
                with context if brain.step == STEPS else nullcontext():  # the first ones send what all others need
                    brain.fit_batch(batch)
            raise Stepped

        overrides = {"encoder": encoder, "hidden_size": 4, "batch_frames": 600, "stack": 8, **overrides}
        monkeypatch.setattr(RecognizerBrain, "fit", fit)
        with pytest.raises(Stepped):
            train("FSDD", tones, tmp_path, device="cpu", overrides=overrides)

    def objective(logits: Tensor, lengths, batch) -> Tensor:  # torch's CTC sends lengths to the device, and waits
        return (logits.log_softmax(-1) * lengths.mask.unsqueeze(-1)).sum()

    monkeypatch.setitem(training.OBJECTIVES, "transcription", objective)
    return run


@pytest.fixture
def steps_without_numbers(monkeypatch, steps_on):
    """Training steps of an encoder on the device without numbers; what copied to it in a way that waits."""

    def run(encoder: str, **overrides: object) -> list[str]:
        watch = WaitingCopies()
        steps_on("meta", watch, encoder, **overrides)
        return watch.found

    monkeypatch.setattr(driven.torch, "autocast", lambda *_, **__: nullcontext())  # it does not know the device
    return run


@pytest.mark.parametrize("encoder", graded(sorted(encoders.ENCODERS), fast=["improved_v2", "gru"]))
def test_a_training_step_reads_nothing_from_the_device(steps_without_numbers, encoder):
    assert steps_without_numbers(encoder) == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("encoder", sorted(encoders.ENCODERS))
def test_a_training_step_waits_for_nothing_on_a_gpu(steps_on, encoder):
    steps_on("cuda", waiting_is_an_error(), encoder)


@pytest.mark.thorough
def test_nor_do_pauses(steps_without_numbers):
    assert steps_without_numbers("gru", pauses=0.9) == []


@pytest.mark.thorough
@pytest.mark.parametrize("options", [
    {"learn_smoothing": True, "recurrent_smoothing": 0.5, "input_coding": "noise", "bidirectional": True},
    {"input_coding": "bernoulli", "front_end": "subsample4", "stack": 4, "head_normalization": "output"},
], ids=["coded both ways", "convolved"])
def test_nor_do_the_options_of_a_layer(steps_without_numbers, options):
    assert steps_without_numbers("improved_v2", range="fixed", **options) == []


def test_ranges_that_follow_the_membranes_are_read_together_and_only_when_they_moved(monkeypatch):
    reads, tolist = [], Tensor.tolist
    monkeypatch.setattr(Tensor, "tolist", lambda values: reads.append(len(values)) or tolist(values))
    trackers = [RangeTracker(CoderSettings()) for _ in range(3)]
    for _ in range(2):
        for each in trackers:
            each.observe(torch.tensor([-0.5, 2.0]))
        read_together(trackers)
        assert [each.value() for each in trackers] == pytest.approx([2.0] * 3)
    assert reads == [9, 9]
    trackers[1].load_state_dict(RangeTracker(CoderSettings()).state_dict())
    assert [each.value() for each in trackers] == pytest.approx([2.0, 1.0, 2.0])
    assert reads == [9, 9, 3]


def test_a_range_by_frame_stays_where_the_membranes_are(monkeypatch):
    encoder = encoders.build("improved_v2", 3, 4, 2, range="moving_average_per_frame", dropout=0.0)
    reads = []
    monkeypatch.setattr(Tensor, "__float__", lambda values: reads.append(values) or values.item())
    monkeypatch.setattr(Tensor, "__int__", lambda values: reads.append(values) or values.item())
    encoder(torch.randn(2, 9, 3), torch.tensor([9, 5]))
    assert reads == []

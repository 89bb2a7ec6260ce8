"""A training step asks the device for nothing: it is run where there are no numbers to be had.

Tensors on torch's device "meta" have shapes and no values. Whatever would make the program wait for a GPU (a number,
a condition, the positions of a mask, a copy to the host) is an error there, for every encoder.
"""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from snn_asr.network import encoders
from snn_asr.network.coder import CoderSettings, RangeTracker, read_together
from snn_asr.network.layers import driven
from snn_asr.training import brain as training
from snn_asr.training.averaging import AveragedWeights
from snn_asr.training.brain import TRAIN, RecognizerBrain
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


@pytest.fixture
def steps_without_numbers(monkeypatch, tones, tmp_path):
    """Some training steps of an encoder on the device without numbers; what copied to it in a way that waits."""
    watch = WaitingCopies()

    def fit(brain: RecognizerBrain, _: object, loader, __: object) -> None:
        brain.device = "meta"
        brain.model.to("meta")
        brain.averaged = AveragedWeights(brain.model, 0.5)
        brain.on_fit_start()
        brain.on_stage_start(TRAIN, 1)
        brain.modules.train()
        for brain.step, batch in enumerate(loader, 1):
            with watch if brain.step > 1 else nullcontext():  # the first one sends what all others need
                brain.fit_batch(batch)
            if brain.step == STEPS:
                raise Stepped

    def objective(logits: Tensor, lengths, batch) -> Tensor:  # torch's CTC has no version without numbers
        return (logits.log_softmax(-1) * lengths.mask.unsqueeze(-1)).sum()

    def run(encoder: str, **overrides: object) -> list[str]:
        overrides = {"encoder": encoder, "hidden_size": 4, "batch_frames": 600, "stack": 8, **overrides}
        with pytest.raises(Stepped):
            train("FSDD", tones, tmp_path, device="cpu", overrides=overrides)
        return watch.found

    monkeypatch.setattr(RecognizerBrain, "fit", fit)
    monkeypatch.setattr(driven.torch, "autocast", lambda *_, **__: nullcontext())  # it does not know the device
    monkeypatch.setitem(training.OBJECTIVES, "transcription", objective)
    return run


@pytest.mark.parametrize("encoder", sorted(encoders.ENCODERS))
def test_a_training_step_reads_nothing_from_the_device(steps_without_numbers, encoder):
    assert steps_without_numbers(encoder) == []


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

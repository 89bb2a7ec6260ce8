"""What the layers of a trained model send while it hears an utterance."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from snn_asr.decoding.recognizer import Recognizer
from snn_asr.efficiency.operations import Record, record_layers
from snn_asr.network.encoders import Encoder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Activity:
    """What one layer sent in an utterance: ``events`` (T, H), one frame every ``step_seconds``."""

    name: str
    events: Tensor
    step_seconds: float

    @property
    def rates_hz(self) -> Tensor:
        """The number of events a second of each unit (H,); their size does not matter."""
        return (self.events != 0).double().mean(dim=0) / self.step_seconds

    @property
    def densities(self) -> Tensor:
        """The share of units that send an event in each frame (T,)."""
        return (self.events != 0).double().mean(dim=1)

    @property
    def density(self) -> float:
        """The share of the outputs that are events."""
        return float((self.events != 0).double().mean())

    @property
    def units(self) -> int:
        """The number of units, H."""
        return self.events.shape[1]

    @property
    def silent_units(self) -> int:
        """The number of units that send no event."""
        return self.units - int((self.events != 0).any(dim=0).sum())


def encoder_input(recognizer: Recognizer, audio: str | Path, longest_frames: int) -> tuple[Tensor, float]:
    """Return the input of the encoder for a recording, (1, T, D), and the seconds between two of its frames.

    At most ``longest_frames`` frames are returned. Raises DataError for a recording that cannot be read.
    """
    model, settings = recognizer.model, recognizer.extractor.settings
    samples = recognizer.samples(audio)
    frames = model.normalization.apply(recognizer.extractor(samples))
    with torch.no_grad():
        whole = model.encoder_input(frames[None], torch.tensor([len(frames)]))[0]
    if whole.shape[1] > longest_frames:
        log.info("%s: only its first %d frames are looked at", audio, longest_frames)
    return whole[:, :longest_frames], settings.step_seconds(len(samples) / settings.sample_rate)


def activity(encoder: Encoder, x: Tensor, step_seconds: float) -> list[Activity]:
    """Return what the layers that send events send on x (1, T, D).

    The two directions of a layer stand side by side in one Activity, both in the order of time.
    """
    with record_layers(encoder) as records, torch.no_grad():
        encoder(x, torch.tensor([x.shape[1]]))
    sent: dict[int, list[Tensor]] = {}
    for each in records:
        if isinstance(each, Record) and each.layer.sends_events:
            outputs = sent.setdefault(int(each.index), [])
            outputs.append(each.sent[0].flip(0) if outputs else each.sent[0])  # the second direction ran backwards
    return [Activity(layer_name(index), torch.cat(outputs, dim=1), step_seconds) for index, outputs in sent.items()]


def layer_name(index: int | str) -> str:
    """Return the name of a layer for people, who count from 1."""
    return f"layer {int(index) + 1}"

"""What ``snn-asr analyze`` finds out about encoders: their gradients (gradients.py), parameters, and what fires.

Of a recipe's encoders the first layers as training starts them; of a trained model every layer.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snn_asr.decoding.recognizer import Recognizer
from snn_asr.efficiency.operations import Record, record_layers
from snn_asr.errors import DataError
from snn_asr.network import encoders
from snn_asr.network.encoders import Bidirectional, Encoder, directions
from snn_asr.network.layers.base import Layer
from snn_asr.network.layers.gated import GatedLayer
from snn_asr.reports.activity import Activity, activity, heard, layer_name
from snn_asr.reports.gradients import (
    FRAMES,
    SEQUENCES,
    Mismatch,
    Reach,
    full_lengths,
    gradient_mismatch,
    gradient_reach,
    has_coder,
)
from snn_asr.training.config import Config

log = logging.getLogger(__name__)

LONGEST_FRAMES = 1000  # of an utterance that are looked at
NOISE = "standard-normal features"


@dataclass(frozen=True)
class Analysis:
    """All findings. ``parameters`` maps layer to name to values (N,); the last two are a trained model's alone."""

    subject: str
    features: str
    seed: int
    reaches: list[Reach]
    mismatches: list[Mismatch]
    activities: list[Activity]
    parameters: dict[str, dict[str, Tensor]]

    def to_json(self) -> dict[str, Any]:
        """JSON values; of parameters and rates their distribution."""
        return {
            "subject": self.subject, "features": self.features, "seed": self.seed,
            "vanishing_gradient": [vars(each) for each in self.reaches],
            "gradient_mismatch": [vars(each) for each in self.mismatches],
            "activity": [
                {
                    "name": each.name, "units": each.events.shape[1], "frames": len(each.events),
                    "density": float((each.events != 0).double().mean()),
                    "silent_units": int((each.rates_hz == 0).sum()), "rates_hz": distribution(each.rates_hz),
                }
                for each in self.activities
            ],
            "parameters": {
                layer: {name: distribution(each) for name, each in named.items()}
                for layer, named in self.parameters.items()
            },
        }


def of_recipe(subject: str, configs: Mapping[str, Config], seed: int) -> Analysis:
    """The first layers of untrained encoders on standard-normal features; ``configs`` are a recipe's, by encoder."""
    probes = []
    for name, config in configs.items():
        x, model = noise(config.features.stacked_size, seed), config.model
        encoder = untrained(name, x, model.hidden_size, model.num_layers, model.encoder_options, seed)
        probes.append((name, layer_inputs(encoder, x)[0]))
    return Analysis(subject, NOISE, seed, *_gradients(probes, seed), [], {})


def of_model(folder: str | Path, seed: int, audio: str | Path | None = None) -> Analysis:
    """Every layer of a trained model, on the utterance in the file ``audio`` (its first LONGEST_FRAMES frames) or else
    on standard-normal features, which are not what it was trained for.

    Of a bidirectional layer the gradients are those of the forward direction. Raises DataError for a model or audio
    that cannot be read, and for less than two frames of audio.
    """
    recognizer = Recognizer(folder)
    model, settings = recognizer.model, recognizer.extractor.settings
    x, features, activities = noise(model.settings.front_end.output_size(settings), seed), NOISE, []
    if audio is not None:
        features = str(audio)
        x, step_seconds = heard(recognizer, audio, LONGEST_FRAMES)
        if x.shape[1] < 2:
            raise DataError("too short to analyse", audio, "give an utterance of a second or more")
        activities = activity(model.encoder, x, step_seconds)
        if not activities:
            log.info("%s: its layers send no events, so none are shown", folder)
    probes = [(layer_name(each.index), each) for each in layer_inputs(model.encoder, x)]
    values = {layer_name(index): parameters(layer) for index, layer in enumerate(model.encoder.layers)}
    return Analysis(str(folder), features, seed, *_gradients(probes, seed), activities, values)


def untrained(
    name: str, x: Tensor, hidden_size: int, num_layers: int, options: Mapping[str, Any], seed: int
) -> Encoder:
    """An encoder as training starts it, after one look at x (B, T, D): a range that moves needs a first batch."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        encoder = encoders.build(name, x.shape[-1], hidden_size, num_layers, **options)
        encoder(x, full_lengths(x))
    return encoder.eval()


def layer_inputs(encoder: Encoder, x: Tensor) -> list[Record]:
    """Layers and their inputs when x (B, T, D) runs through the encoder; of two directions the forward one."""
    with record_layers(encoder) as records, torch.no_grad():
        encoder(x, full_lengths(x))
        return [next(each for each in records if each.index == index) for index in range(len(encoder.layers))]


def parameters(layer: Layer | Bidirectional) -> dict[str, Tensor]:
    """Values (N,) of every parameter by name, without normalisation, two directions together; for gated layers also
    the ``resting decay``: the forget signal of each unit at its mean drive, with nothing fed back."""
    found: dict[str, list[Tensor]] = {}
    for each in directions(layer):
        for name, values in each.named_parameters():
            if not name.startswith("normalization."):
                found.setdefault(name, []).append(values.detach().flatten())
        if isinstance(each, GatedLayer) and each.normalization is not None:
            resting = torch.sigmoid(each.normalization.bias.detach()[: each.output_size])
            found.setdefault("resting decay", []).append(resting)
    return {name: torch.cat(values) for name, values in found.items()}


def noise(size: int, seed: int) -> Tensor:
    """Standard-normal features (SEQUENCES, FRAMES, size)."""
    return torch.randn(SEQUENCES, FRAMES, size, generator=torch.Generator().manual_seed(seed))


def distribution(values: Tensor) -> dict[str, float]:
    """Mean, standard deviation and quantiles of values (N,)."""
    values = values.double()
    quantiles = {"minimum": 0.0, "quarter": 0.25, "median": 0.5, "three_quarters": 0.75, "maximum": 1.0}
    ordered = values.sort().values
    at = {name: float(ordered[round(share * (len(ordered) - 1))]) for name, share in quantiles.items()}
    return {"count": len(values), "mean": float(values.mean()), "deviation": float(values.std(correction=0)), **at}


def _gradients(probes: Sequence[tuple[str, Record]], seed: int) -> tuple[list[Reach], list[Mismatch]]:
    reaches = [gradient_reach(name, each.layer, each.x, seed) for name, each in probes]
    coded = [(name, each) for name, each in probes if has_coder(each.layer)]
    return reaches, [gradient_mismatch(name, each.layer, each.x, seed) for name, each in coded]

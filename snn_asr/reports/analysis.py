"""What ``snn-asr analyze`` finds out about encoders: their gradients (gradients.py), parameters and events.

For a recipe it looks at the first layer of each encoder as training starts it, for a trained model at every layer.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
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
from snn_asr.reports.activity import Activity, activity, encoder_input, layer_name
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
from snn_asr.training.recipes.config import Config

log = logging.getLogger(__name__)

LONGEST_FRAMES = 1000  # of an utterance; later ones are not analysed
NOISE = "standard-normal features"
SHOWN_STEPS = (1, 10, 30)  # before the last frame


@dataclass(frozen=True)
class Distribution:
    """How many values there are, their mean and standard deviation, and their quantiles."""

    count: int
    mean: float
    deviation: float
    minimum: float
    quarter: float
    median: float
    three_quarters: float
    maximum: float


@dataclass(frozen=True)
class Analysis:
    """All findings about one subject.

    ``parameters`` maps the name of a layer to the names and values (N,) of its parameters. ``activities`` and
    ``parameters`` are empty unless the subject is a trained model.
    """

    subject: str
    features: str
    seed: int
    reaches: list[Reach]
    mismatches: list[Mismatch]
    activities: list[Activity]
    parameters: dict[str, dict[str, Tensor]]

    def to_json(self) -> dict[str, Any]:
        """Return JSON values; parameters and firing rates are summarised by their distribution."""
        return {
            "subject": self.subject, "features": self.features, "seed": self.seed,
            "vanishing_gradient": [vars(each) for each in self.reaches],
            "gradient_mismatch": [vars(each) for each in self.mismatches],
            "activity": [
                {
                    "name": each.name, "units": each.units, "frames": len(each.events), "density": each.density,
                    "silent_units": each.silent_units, "rates_hz": vars(distribution(each.rates_hz)),
                }
                for each in self.activities
            ],
            "parameters": {
                layer: {name: vars(distribution(each)) for name, each in named.items()}
                for layer, named in self.parameters.items()
            },
        }


    def describe(self) -> str:
        """Return the findings as text, one line each; the parameters are left out."""
        return "\n".join([f"{self.subject}, on {self.features}", *self._lines()])

    def _lines(self) -> Iterator[str]:
        for reach in self.reaches:
            if reach.whole is None:
                yield f"{reach.name}: no gradient reaches the last frame"
                continue
            yield f"{reach.name}: gradient, relative to the last frame's: {_steps(reach.whole)}"
            if reach.without_current is not None:
                yield f"{reach.name}:   with the synaptic current cut: {_steps(reach.without_current)}"
        for mismatch in self.mismatches:
            shown = zip(mismatch.bits, mismatch.no_threshold, strict=True)
            cosines = [f"{bits} bits {'none' if value is None else f'{value:.4f}'}" for bits, value in shown]
            yield f"{mismatch.name}: cosine of the gradient with that without rounding: {', '.join(cosines)}"
        for each in self.activities:
            mean = float(each.rates_hz.mean())
            yield f"{each.name}: {mean:.2f} events a second and unit, {each.silent_units} of {each.units} units silent"


def of_recipe(subject: str, configs: Mapping[str, Config], seed: int) -> Analysis:
    """Analyse the first layers of untrained encoders on standard-normal features.

    ``configs`` holds the settings of a recipe for each encoder, by its name.
    """
    probes = []
    for name, config in configs.items():
        x, model = noise(config.features.stacked_size, seed), config.model
        encoder = untrained(name, x, model.hidden_size, model.num_layers, model.encoder_options, seed)
        probes.append((name, layer_inputs(encoder, x)[0]))
    return Analysis(subject, NOISE, seed, *_gradients(probes, seed), [], {})


def of_model(folder: str | Path, seed: int, audio: str | Path | None = None) -> Analysis:
    """Analyse every layer of a trained model.

    The layers hear the utterance in the file ``audio`` (its first LONGEST_FRAMES frames). Without one they hear
    standard-normal features, for which they were not trained. In a bidirectional layer only the gradients of the
    forward direction are analysed. Raises DataError if the model or the audio cannot be read, or the audio has fewer
    than two frames.
    """
    recognizer = Recognizer(folder, "cpu")
    model, settings = recognizer.model, recognizer.extractor.settings
    x, features, activities = noise(model.settings.front_end.output_size(settings), seed), NOISE, []
    if audio is not None:
        features = str(audio)
        x, step_seconds = encoder_input(recognizer, audio, LONGEST_FRAMES)
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
    """Return an encoder as training starts it, after it has seen x (B, T, D) once.

    The one look is needed because a moving range takes its first value from a batch.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        encoder = encoders.build(name, x.shape[-1], hidden_size, num_layers, **options)
        encoder(x, full_lengths(x))
    return encoder.eval()


def layer_inputs(encoder: Encoder, x: Tensor) -> list[Record]:
    """Return one record for each layer when x (B, T, D) runs through the encoder, of the forward direction if it has
    two."""
    with record_layers(encoder) as records, torch.no_grad():
        encoder(x, full_lengths(x))
        return [next(each for each in records if each.index == index) for index in range(len(encoder.layers))]


def parameters(layer: Layer | Bidirectional) -> dict[str, Tensor]:
    """Return the values (N,) of every parameter of a layer by name, with those of two directions joined.

    Parameters of normalisations are left out. Gated layers also have a ``resting decay``: the value of each unit's
    forget gate at its mean drive, with nothing fed back.
    """
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
    """Return standard-normal features (SEQUENCES, FRAMES, size)."""
    return torch.randn(SEQUENCES, FRAMES, size, generator=torch.Generator().manual_seed(seed))


def distribution(values: Tensor) -> Distribution:
    """Return the distribution of values (N,)."""
    values = values.double()
    ordered = values.sort().values
    quantiles = (float(ordered[round(share * (len(ordered) - 1))]) for share in (0.0, 0.25, 0.5, 0.75, 1.0))
    return Distribution(len(values), float(values.mean()), float(values.std(correction=0)), *quantiles)


def _gradients(probes: Sequence[tuple[str, Record]], seed: int) -> tuple[list[Reach], list[Mismatch]]:
    reaches = [gradient_reach(name, each.layer, each.x, seed) for name, each in probes]
    coded = [(name, each) for name, each in probes if has_coder(each.layer)]
    return reaches, [gradient_mismatch(name, each.layer, each.x, seed) for name, each in coded]


def _steps(norms: list[float]) -> str:
    return ", ".join(f"{norms[step]:.3g} at k = {step}" for step in SHOWN_STEPS if step < len(norms))

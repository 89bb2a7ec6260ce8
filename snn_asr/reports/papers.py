"""What Ponghiran & Roy (AAAI 2022) argue, measured on a layer: how far gradients reach, how true they are, what fires.

Vanishing gradient. A batch of sequences goes through one layer; the objective is a random projection of its output at
the last frame n alone, r · Y[n]. Reported is |dL/dx[n-k]|, the norm of the gradient that arrives at the layer's input
k steps before, averaged over the sequences and divided by that at k = 0. A second number cuts the synaptic current:
dI[n]/dI[n-1] is set to 0 in the backward, so that a gradient can only run along the membrane and, in v2, through the
recurrent weights. Inside the coder's clamp the membrane passes none (dV[n]/dV[n-1] = 1 - dY/dV = 0). The current of the
conventional neuron starts with τ = 1 and passes everything, whatever was heard; gates at rest halve a gradient at every
step, like those of an LSTM, and have to learn what to keep.

Gradient mismatch. The weights of one layer receive a straight-through gradient as if the coder did not round. On the
same inputs, weights and fixed range it is compared, by the cosine, with the gradient of the layer that practically does
not round (32 bits, no threshold), whose straight-through gradient is the exact one. The loss is the frame-wise
cross-entropy of a random linear head against random classes: it has to bend, for under a linear one the rounded outputs
would not reach the gradient at all.

A layer is probed as it is used after training: batch normalisation frozen, no dropout.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from snn_asr.decoding.recognizer import Recognizer
from snn_asr.efficiency.operations import Record, record_layers
from snn_asr.errors import DataError
from snn_asr.network import encoders
from snn_asr.network.coder import Coder, CoderSettings, RangeTracker
from snn_asr.network.encoders import Bidirectional, Encoder, directions
from snn_asr.network.layers.base import Layer
from snn_asr.network.layers.coded import CodedLayer
from snn_asr.network.layers.gated import GatedLayer
from snn_asr.network.model import AcousticModel
from snn_asr.reports.activity import Activity, activity, heard, layer_name
from snn_asr.training.config import Config

log = logging.getLogger(__name__)

SEQUENCES, FRAMES = 16, 100  # of noise; and so many last frames of an utterance
LONGEST_FRAMES = 1000  # of an utterance that are looked at
BITS = tuple(range(2, 11))
EXACT_BITS = 32  # of the reference, without a threshold: as good as no rounding
NOISE = "standard-normal features"
CLASSES = 40  # of the random head, about a phone set


@dataclass(frozen=True)
class Reach:
    """Relative gradient norm at k = 0, 1, ... steps back, whole and with the current cut (None without a coder).

    ``whole`` is None where no gradient at all reached the last frame: the layer was silent or saturated.
    """

    name: str
    whole: list[float] | None
    without_current: list[float] | None


@dataclass(frozen=True)
class Mismatch:
    """Cosine with the exact gradient for each of ``bits`` (None where a gradient was zero).

    ``scaled_threshold`` keeps the layer's own dead zone: membranes below a share ``dead_zone`` of the range send
    nothing.
    """

    name: str
    bits: tuple[int, ...]
    no_threshold: list[float | None]
    scaled_threshold: list[float | None]
    dead_zone: float


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
        encoder(x, _full_lengths(x))
    return encoder.eval()


def layer_inputs(encoder: Encoder, x: Tensor) -> list[Record]:
    """Layers and their inputs when x (B, T, D) runs through the encoder; of two directions the forward one."""
    with record_layers(encoder) as records, torch.no_grad():
        encoder(x, _full_lengths(x))
        return [next(each for each in records if each.index == index) for index in range(len(encoder.layers))]


def gradient_reach(name: str, layer: nn.Module, x: Tensor, seed: int) -> Reach:
    """Relative gradient norms on x (B, T, D). One row alone is cut at several of its later frames to average over."""
    x, lengths = _several_ends(x)
    whole = _gradient_norms(layer, x, lengths, seed, cut_current=False)
    cut = _gradient_norms(layer, x, lengths, seed, cut_current=True) if _coded(layer) else None
    if whole[0] == 0:
        return Reach(name, None, None)
    return Reach(name, (whole / whole[0]).tolist(), None if cut is None else (cut / whole[0]).tolist())


def gradient_mismatch(name: str, layer: CodedLayer, x: Tensor, seed: int) -> Mismatch:
    """Cosines of the gradients of the layer's core weights on x (B, T, D), its range fixed where it stands.

    One row alone is taken as often as makes a batch of it, with other classes each time.
    """
    if len(x) == 1:
        x = x.expand(max(1, SEQUENCES * FRAMES // x.shape[1]), -1, -1)
    settings = _tracker(layer).settings
    # The first level that is sent is the one behind the threshold.
    share = (settings.threshold + 1) / 2 ** (settings.bits - 1)
    with _coder_of(layer, EXACT_BITS, 0):
        with torch.no_grad():
            y = layer(x, _full_lengths(x))[0]
        head, classes = _random_head(y, seed)
        exact = _weight_gradient(layer, x, head, classes)

    def cosine(bits: int, threshold: int) -> float | None:
        with _coder_of(layer, bits, threshold):
            gradient = _weight_gradient(layer, x, head, classes)
        norms = float(gradient.norm() * exact.norm())
        return min(float(gradient @ exact) / norms, 1.0) if norms else None

    scaled = [cosine(bits, _silent_levels(share, bits)) for bits in BITS]
    return Mismatch(name, BITS, [cosine(bits, 0) for bits in BITS], scaled, share)


def _silent_levels(dead_zone: float, bits: int) -> int:
    """The lowest threshold whose dead zone, with so many bits, is at least this share of the range; but one that leaves
    a level to be sent."""
    levels = 2 ** (bits - 1)
    return min(math.ceil(dead_zone * levels) - 1, levels - 2)


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


def authors_macs_per_second(model: AcousticModel, profile: Mapping[str, Any]) -> float | None:
    """Multiplications a second as the authors' own counter charges v2, from a model's ``profile`` (efficiency/), to be
    compared with the figures of their paper alone: the input of every layer twice, no recurrent product, 8 H a layer
    and frame. None for any other encoder, behind a front end, and where there was no frame.
    """
    layers = [directions(each) for each in model.encoder.layers]
    v2 = (
        isinstance(each, GatedLayer) and each.recurrent_weight is not None and each.tracker is not None
        for of_one in layers for each in of_one
    )
    if model.front_end is not None or not profile["frames"] or not all(v2):
        return None
    frames, sizes = profile["frames"], [sum(each.output_size for each in of_one) for of_one in layers]
    sent = [round(share * size * frames) for share, size in zip(profile["density"], sizes, strict=True)]
    received = [profile["nonzero_inputs"], *sent[:-1]]
    units = sum(4 * size * (count + 2 * frames) for size, count in zip(sizes, received, strict=True))
    return float(units + model.head.out_features * sent[-1]) / max(profile["seconds"], 1e-9)


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
    coded = [(name, each) for name, each in probes if _coded(each.layer)]
    return reaches, [gradient_mismatch(name, each.layer, each.x, seed) for name, each in coded]


def _gradient_norms(layer: nn.Module, x: Tensor, lengths: Tensor, seed: int, cut_current: bool) -> Tensor:
    """Mean over the rows of |d(r · Y[n])/dx[n-k]|, n each row's last frame, for all k that every row has."""
    x = x.detach().requires_grad_()
    if cut_current and isinstance(layer, CodedLayer):
        y = _walk_without_current(layer, x, lengths)
    else:
        y = layer(x, lengths)[0]
    last = y[torch.arange(len(x)), lengths - 1]
    projection = torch.randn(last.shape, generator=torch.Generator().manual_seed(seed))
    (gradient,) = torch.autograd.grad((last * projection).sum(), x)
    frames = lengths.unsqueeze(1) - 1 - torch.arange(int(lengths.min()))
    return gradient.norm(dim=2).gather(1, frames).mean(dim=0)


def _walk_without_current(layer: CodedLayer, x: Tensor, lengths: Tensor) -> Tensor:
    """The layer's outputs (B, T, H), frame by frame, whose gradient does not run from a frame's current to the next."""
    drive = layer.drive(x, lengths)
    given = layer.parameters_for(None, Coder.at(_tracker(layer).settings, _tracker(layer).value()))
    state, outputs = layer.cell.initial_state(len(x), layer.output_size, given, drive), []
    for frame in drive.unbind(1):
        output, state = layer.cell.step(frame, state._replace(current=state.current.detach()), given)
        outputs.append(output)
    return torch.stack(outputs, dim=1)


def _tracker(layer: CodedLayer) -> RangeTracker:
    """The range of a layer that has a coder."""
    assert layer.tracker is not None
    return layer.tracker


def _weight_gradient(layer: CodedLayer, x: Tensor, head: Tensor, classes: Tensor) -> Tensor:
    """Gradient (N,) of the cross-entropy of a linear ``head`` (C, H) with respect to the core weights, double."""
    y, _ = layer(x, _full_lengths(x))
    loss = functional.cross_entropy((y @ head.T).flatten(0, 1), classes.flatten())
    gradients = torch.autograd.grad(loss, layer.core_weights())
    return torch.cat([each.flatten().double() for each in gradients])


def _random_head(y: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """A head (CLASSES, H) that makes logits of deviation 1 of outputs like y (B, T, H), and classes (B, T)."""
    generator = torch.Generator().manual_seed(seed)
    size = y.square().sum(dim=-1).mean().sqrt().clamp(min=torch.finfo(y.dtype).tiny)
    head = torch.randn(CLASSES, y.shape[-1], generator=generator).to(y) / size
    return head, torch.randint(CLASSES, y.shape[:2], generator=generator)


@contextmanager
def _coder_of(layer: CodedLayer, bits: int, threshold: int) -> Iterator[None]:
    """Within the block the layer codes with so many bits, and its range stands still."""
    own = _tracker(layer)
    layer.tracker = RangeTracker(CoderSettings(bits, threshold, "fixed", own.value()))
    try:
        yield
    finally:
        layer.tracker = own


def _several_ends(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and lengths: several rows as they are; one row (1, T, D) again and again, ending in its last third."""
    frames = x.shape[1]
    if len(x) > 1:
        return x, _full_lengths(x)
    lengths = torch.linspace(max(1, frames * 2 // 3), frames, SEQUENCES).round().long().unique()
    return x.expand(len(lengths), -1, -1), lengths


def _full_lengths(x: Tensor) -> Tensor:
    return torch.full((len(x),), x.shape[1])


def _coded(layer: nn.Module) -> bool:
    return isinstance(layer, CodedLayer) and layer.tracker is not None

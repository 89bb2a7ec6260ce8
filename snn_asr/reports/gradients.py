"""Two measurements of the gradient of a layer, after Ponghiran & Roy (AAAI 2022): how far it reaches, and how exact it
is.

Vanishing gradient. A batch of sequences goes through one layer. The objective is a random projection r · Y[n] of the
output at the last frame n only. The result is |dL/dx[n-k]|, the norm of the gradient that arrives at the input of the
layer k steps earlier, averaged over the sequences and divided by that at k = 0. A second result cuts the synaptic
current: dI[n]/dI[n-1] is set to 0 in the backward pass, so a gradient can only run along the membrane and, in v2,
through the recurrent weights. Inside the coder's clamp the membrane passes no gradient (dV[n]/dV[n-1] = 1 - dY/dV = 0).
The current of the conventional neuron starts with τ = 1 and passes the whole gradient, whatever the input. Gates at
rest halve a gradient at every step, like those of an LSTM, and have to learn what to keep.

Gradient mismatch. The weights of a layer receive a straight-through gradient, as if the coder did not round. For the
same inputs, weights and fixed range it is compared, by its cosine, with the gradient of a layer that practically does
not round (32 bits, no threshold), whose straight-through gradient is exact. The loss is the frame-wise cross-entropy of
a random linear head against random classes. It has to be non-linear, because with a linear loss the rounded outputs
would not influence the gradient at all.

A layer is measured as it is used after training: with batch normalisation frozen and without dropout.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from snn_asr.network.coder import Coder
from snn_asr.network.coder_settings import FIXED, LINEAR, CoderSettings
from snn_asr.network.layers.coded import CodedLayer
from snn_asr.network.ranges import RangeTracker

SEQUENCES, FRAMES = 16, 100  # of noise; an utterance gives as many ends, or as many frames in all
BITS = tuple(range(2, 11))
EXACT_BITS = 32  # of the reference, which has no threshold: practically no rounding
CLASSES = 40  # of the random head, about a phone set


@dataclass(frozen=True)
class Reach:
    """The relative norm of the gradient k = 0, 1, ... steps back: whole, and with the current cut (None without a
    coder).

    ``whole`` is None if no gradient reached the last frame, because the layer was silent or saturated.
    """

    name: str
    whole: list[float] | None
    without_current: list[float] | None


@dataclass(frozen=True)
class Mismatch:
    """The cosine with the exact gradient for each number of ``bits`` (None if a gradient was zero).

    ``no_threshold`` is without a threshold. ``scaled_threshold`` keeps the layer's own dead zone: membranes below the
    share ``dead_zone`` of the range send nothing.
    """

    name: str
    bits: tuple[int, ...]
    no_threshold: list[float | None]
    scaled_threshold: list[float | None]
    dead_zone: float


def gradient_reach(name: str, layer: nn.Module, x: Tensor, seed: int) -> Reach:
    """Measure the relative norms of the gradient on x (B, T, D).

    If x has a single row, it is cut at several of its later frames to have something to average over.
    """
    x, lengths = _several_ends(x)
    whole = _gradient_norms(layer, x, lengths, seed, cut_current=False)
    cut = _gradient_norms(layer, x, lengths, seed, cut_current=True) if has_coder(layer) else None
    if whole[0] == 0:
        return Reach(name, None, None)
    return Reach(name, (whole / whole[0]).tolist(), None if cut is None else (cut / whole[0]).tolist())


def gradient_mismatch(name: str, layer: CodedLayer, x: Tensor, seed: int) -> Mismatch:
    """Measure the cosines for the gradients of the layer's core weights on x (B, T, D), with its range fixed.

    If x has a single row, it is repeated to make a batch, with other classes each time.
    """
    if len(x) == 1:
        x = x.expand(max(1, SEQUENCES * FRAMES // x.shape[1]), -1, -1)
    settings = _tracker(layer).settings
    # The first level that is sent is the one behind the threshold.
    share = (settings.threshold + 1) / 2 ** (settings.bits - 1)
    with coder_of(layer, EXACT_BITS, 0):
        with torch.no_grad():
            y = layer(x, full_lengths(x))[0]
        head, classes = random_head(y, seed)
        exact = weight_gradient(layer, x, head, classes)

    def cosine(bits: int, threshold: int) -> float | None:
        with coder_of(layer, bits, threshold, settings.levels):
            gradient = weight_gradient(layer, x, head, classes)
        norms = float(gradient.norm() * exact.norm())
        return min(float(gradient @ exact) / norms, 1.0) if norms else None

    scaled = [cosine(bits, _silent_levels(share, bits)) for bits in BITS]
    return Mismatch(name, BITS, [cosine(bits, 0) for bits in BITS], scaled, share)


def _silent_levels(dead_zone: float, bits: int) -> int:
    """Return the lowest threshold whose dead zone, with so many bits, is at least this share of the range.

    At least one level is left that can be sent.
    """
    levels = 2 ** (bits - 1)
    return min(math.ceil(dead_zone * levels) - 1, levels - 2)


def _gradient_norms(layer: nn.Module, x: Tensor, lengths: Tensor, seed: int, cut_current: bool) -> Tensor:
    """Return the mean over rows of |d(r · Y[n])/dx[n-k]| for all k that every row has; n is the last frame of a row."""
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
    """Return the outputs of the layer (B, T, H), with no gradient from the current of a frame to that of the next."""
    drive = layer.drive(x, lengths)
    coder = Coder.at(_tracker(layer).settings, _tracker(layer).value())
    given = layer.cell_parameters()._replace(coder=coder)
    state, outputs = layer.cell.initial_state(len(x), layer.output_size, given, drive), []
    for frame in drive.unbind(1):
        output, state = layer.cell.step(frame, state._replace(current=state.current.detach()), given)
        outputs.append(output)
    return torch.stack(outputs, dim=1)


def _tracker(layer: CodedLayer) -> RangeTracker:
    """Return the range of a layer that has a coder."""
    assert layer.tracker is not None
    return layer.tracker


def weight_gradient(layer: CodedLayer, x: Tensor, head: Tensor, classes: Tensor) -> Tensor:
    """Return the gradient (N,), in double precision, of the loss with respect to the core weights.

    The loss is the cross-entropy of a linear ``head`` (C, H).
    """
    y, _ = layer(x, full_lengths(x))
    loss = functional.cross_entropy((y @ head.T).flatten(0, 1), classes.flatten())
    gradients = torch.autograd.grad(loss, layer.core_weights())
    return torch.cat([each.flatten().double() for each in gradients])


def random_head(y: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Return a head (CLASSES, H) whose logits for outputs like y (B, T, H) have deviation 1, and classes (B, T)."""
    generator = torch.Generator().manual_seed(seed)
    size = y.square().sum(dim=-1).mean().sqrt().clamp(min=torch.finfo(y.dtype).tiny)
    head = torch.randn(CLASSES, y.shape[-1], generator=generator).to(y) / size
    return head, torch.randint(CLASSES, y.shape[:2], generator=generator)


@contextmanager
def coder_of(layer: CodedLayer, bits: int, threshold: int, levels: str = LINEAR) -> Iterator[None]:
    """Within the block the layer codes with so many bits into such levels, and its range does not move."""
    own = _tracker(layer)
    layer.tracker = RangeTracker(CoderSettings(bits, threshold, FIXED, own.value(), levels=levels))
    try:
        yield
    finally:
        layer.tracker = own


def _several_ends(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows and lengths: several rows unchanged, or one row (1, T, D) repeated, each ending in its last third."""
    frames = x.shape[1]
    if len(x) > 1:
        return x, full_lengths(x)
    lengths = torch.linspace(max(1, frames * 2 // 3), frames, SEQUENCES).round().long().unique()
    return x.expand(len(lengths), -1, -1), lengths


def full_lengths(x: Tensor) -> Tensor:
    """Return the lengths (B,) of sequences x (B, T, D) without padding."""
    return torch.full((len(x),), x.shape[1])


def has_coder(layer: nn.Module) -> bool:
    """Return whether the layer sends levels, so that its gradient passes through rounding."""
    return isinstance(layer, CodedLayer) and layer.tracker is not None

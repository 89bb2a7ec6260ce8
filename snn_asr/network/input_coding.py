"""Input codings: optional modules before the first layer that turn features into events.

    coder      the multi-level coder of coder.py, as in Ponghiran & Roy (2022): V[n] = V[n-1] - Y[n-1] + x[n],
               Y[n] = Q(V[n]); features have signs, so events have too
    bernoulli  1 with probability σ(x): the rate coding of Lotfi Rezaabad & Vishwanath (2020). Their pixels are
               probabilities themselves; normalised features need the logistic function
    delta      each feature keeps its value until it has changed by more than a threshold (changes.py); the changes are
               sent and multiplied
    noise      1[|x| < |N(0, 1)|]: the same authors' coding of speech features

Training draws random numbers from torch's generator. In evaluation a number depends only on SEED, the index of the
frame and the feature, so that the same audio gives the same events, whole, padded, batched or in chunks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy
import torch
from torch import Tensor, nn

from snn_asr.devices import send
from snn_asr.errors import unknown_name
from snn_asr.network.cells import conventional
from snn_asr.network.changes import check_threshold, hold_all
from snn_asr.network.coder import AnyCoder, Coder, FrameCoder
from snn_asr.network.coder_settings import CoderSettings
from snn_asr.network.kernels import choose_backend, run_sequence
from snn_asr.network.lengths import Lengths
from snn_asr.network.ranges import RangeTracker

CODINGS = ("none", "coder", "bernoulli", "noise", "delta")
SEED = 2020  # of the draws in evaluation
_BLOCK_FRAMES = 256


def build(coding: str, settings: CoderSettings, delta_threshold: float = 0.1) -> nn.Module | None:
    """The module for ``coding``, which maps (x (B, T, D), lengths, state) to (y, state); None for ``none``.

    ``settings`` are for ``coder`` and ``delta_threshold`` is for ``delta``. Raises UsageError for an unknown name and
    for a negative threshold.
    """
    check_threshold(delta_threshold, "input_delta_threshold")
    if coding not in CODINGS:
        raise unknown_name("input_coding", coding, CODINGS)
    if coding == "none":
        return None
    if coding == "delta":
        return HeldFeatures(delta_threshold)
    return FeatureCoder(settings) if coding == "coder" else RandomCoding(coding)


class CoderState(NamedTuple):
    """Each (B, D); zero at the start."""

    membrane: Tensor
    output: Tensor


class FeatureCoder(nn.Module):
    """``coder``: the multi-level coder on features, with one range for all of them."""

    sends_changes = False

    def __init__(self, settings: CoderSettings) -> None:
        super().__init__()
        self.tracker, self.backend = RangeTracker(settings), "auto"
        self.additive, self.unit_products = settings.additive, settings.unit_products

    def forward(
        self, x: Tensor, lengths: Tensor | Lengths, state: CoderState | None
    ) -> tuple[Tensor, CoderState]:
        lengths, tracker = Lengths.of(lengths, x), self.tracker
        following = self.training and tracker.settings.follows_membranes
        if following and tracker.settings.follows_every_frame:
            return self._walk(x, lengths, state, FrameCoder(tracker, lengths))[:2]
        if following and not tracker.calibrated:
            tracker.observe(lengths.pack(x))
        y, after, membranes = self._walk(x, lengths, state, Coder.at(tracker.settings, tracker.value()))
        if following:
            tracker.observe(lengths.pack(membranes))
        return y, after

    def _walk(
        self, x: Tensor, lengths: Lengths, state: CoderState | None, coder: AnyCoder
    ) -> tuple[Tensor, CoderState, Tensor]:
        """Events (B, T, D), zero in the padding; the state after each row's end; membranes (B, T, D).

        This coder is a conventional neuron that forgets its current at once (τ = 0), so that cell's kernels run it.
        """
        zeros = torch.zeros_like(x[:, 0])
        start = conventional.State(zeros, *(state or (zeros, zeros)))
        parameters = conventional.Parameters(x.new_zeros(x.shape[2]), None, coder)
        backend = choose_backend(self.backend, x.device, isinstance(coder, FrameCoder))
        y, after, states = run_sequence(conventional, x, lengths, start, parameters, backend)
        _, membranes, _ = states
        return y, CoderState(*after[1:]), membranes


class HeldFeatures(nn.Module):
    """``delta``: features (B, T, D) as they were last sent; the state is the last such frame (B, D)."""

    additive, sends_changes = False, True
    unit_products = 0

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold, self.backend = threshold, "auto"

    def forward(self, x: Tensor, lengths: Tensor | Lengths, state: Tensor | None) -> tuple[Tensor, Tensor]:
        lengths = Lengths.of(lengths, x)
        before = torch.zeros_like(x[:, 0]) if state is None else state
        held = hold_all(x, before, self.threshold, self.backend)
        return lengths.without_padding(held), lengths.last(held.detach(), before)


class RandomCoding(nn.Module):
    """``bernoulli`` or ``noise``; the state (B,) is the number of frames that each row has had."""

    additive, sends_changes = True, False
    unit_products = 0

    def __init__(self, coding: str) -> None:
        super().__init__()
        self.coding = coding

    def forward(self, x: Tensor, lengths: Tensor | Lengths, state: Tensor | None) -> tuple[Tensor, Tensor]:
        lengths = Lengths.of(lengths, x)
        if self.training:
            drawn = torch.rand_like(x) if self.coding == "bernoulli" else torch.randn_like(x)
        else:
            drawn = draws(self.coding, [0] * len(x) if state is None else state.tolist(), x)
        events = drawn < torch.sigmoid(x) if self.coding == "bernoulli" else x.abs() < drawn.abs()
        after = lengths.tensor if state is None else state + lengths.tensor
        return (events & lengths.mask.unsqueeze(-1)).to(x), after


def draws(coding: str, starts: Sequence[int], like: Tensor) -> Tensor:
    """Random numbers (B, T, D) of evaluation, for the frames starts[row] .. starts[row] + T - 1 of each row."""
    rows = []
    for first in starts:
        blocks = range(first // _BLOCK_FRAMES, (first + like.shape[1] - 1) // _BLOCK_FRAMES + 1)
        table = numpy.concatenate([_block(coding, block, like.shape[2]) for block in blocks])
        offset = first - blocks.start * _BLOCK_FRAMES
        rows.append(torch.from_numpy(table[offset : offset + like.shape[1]]))
    return send(torch.stack(rows), like.device).to(like)


@lru_cache(maxsize=64)
def _block(coding: str, block: int, features: int) -> numpy.ndarray:
    generator = numpy.random.Generator(numpy.random.Philox(key=[SEED, block]))
    size = (_BLOCK_FRAMES, features)
    return generator.random(size) if coding == "bernoulli" else generator.standard_normal(size)

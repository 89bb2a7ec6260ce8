"""Features as events: what stands between the features and the first layer, where an encoder asks for it.

    coder      the multi-level coder of coder.py, as in Ponghiran & Roy (2022): V[n] = V[n-1] - Y[n-1] + x[n],
               Y[n] = Q(V[n]); features have signs, so events have too
    bernoulli  1 with probability σ(x): the rate coding of Lotfi Rezaabad & Vishwanath (2020), whose pixels are
               probabilities; of normalised features the logistic function is
    noise      1[|x| < |N(0, 1)|]: the same authors' coding of speech features

Training draws anew from torch's generator. Evaluation draws each number from the seed, the frame since the start and
the feature alone: the same audio gives the same events, whole, padded, batched or in chunks.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy
import torch
from torch import Tensor, nn

from snn_asr.errors import unknown_name
from snn_asr.network.coder import Coder, CoderSettings, FrameCoder, RangeTracker, send
from snn_asr.network.masks import valid_frames

CODINGS = ("none", "coder", "bernoulli", "noise")
SEED = 2020  # of the draws in evaluation
_BLOCK_FRAMES = 256


def build(coding: str, settings: CoderSettings) -> nn.Module | None:
    """The module for ``coding``, which maps (x (B, T, D), lengths, state) to (y, state); None for ``none``.

    Raises UsageError for an unknown name.
    """
    if coding not in CODINGS:
        raise unknown_name("input_coding", coding, CODINGS)
    if coding == "none":
        return None
    return FeatureCoder(settings) if coding == "coder" else RandomCoding(coding)


class CoderState(NamedTuple):
    """Each (B, D); zero at the start."""

    membrane: Tensor
    output: Tensor


class FeatureCoder(nn.Module):
    """The multi-level coder on features, its range shared by all of them."""

    unit_products = 2  # scaling to levels and back

    def __init__(self, settings: CoderSettings) -> None:
        super().__init__()
        self.tracker = RangeTracker(settings)

    @property
    def binary(self) -> bool:
        """One magnitude with either sign: products with it are additions."""
        return self.tracker.settings.bits == 2

    def forward(self, x: Tensor, lengths: Tensor, state: CoderState | None) -> tuple[Tensor, CoderState]:
        valid = valid_frames(lengths, x.shape[1])
        if state is None:
            state = CoderState(*(torch.zeros_like(x[:, 0]) for _ in CoderState._fields))
        following = self.training and self.tracker.settings.range != "fixed"
        if following and self.tracker.settings.range == "moving_average_per_frame":
            return self._walk(x, valid, state, FrameCoder(self.tracker, valid))[:2]
        if following and not self.tracker.calibrated:
            self.tracker.observe(x[valid])
        coder = Coder.at(self.tracker.settings, self.tracker.value())
        y, after, membranes = self._walk(x, valid, state, coder)
        if following:
            self.tracker.observe(membranes)
        return y, after

    def _walk(self, x: Tensor, valid: Tensor, state: CoderState, coder):
        """Events (B, T, D), zero in the padding; the state after each row's end; membranes (N, D) at valid frames."""
        membrane, output = state
        sent, membranes = [], []
        for n, frame in enumerate(x.unbind(1)):
            alive = valid[:, n : n + 1]
            new_output, new_membrane = send(frame, membrane, output, coder)
            membrane, output = torch.where(alive, new_membrane, membrane), torch.where(alive, new_output, output)
            sent.append(new_output * alive)
            membranes.append(new_membrane.detach())
        state = CoderState(membrane.detach(), output.detach())
        return torch.stack(sent, dim=1), state, torch.stack(membranes, dim=1)[valid]


class RandomCoding(nn.Module):
    """``bernoulli`` or ``noise``; the state is the number of frames each row has had, (B,)."""

    binary = True
    unit_products = 0

    def __init__(self, coding: str) -> None:
        super().__init__()
        self.coding = coding

    def forward(self, x: Tensor, lengths: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        start = torch.zeros_like(lengths) if state is None else state
        if self.training:
            drawn = torch.rand_like(x) if self.coding == "bernoulli" else torch.randn_like(x)
        else:
            drawn = draws(self.coding, start, x)
        events = drawn < torch.sigmoid(x) if self.coding == "bernoulli" else x.abs() < drawn.abs()
        return (events & valid_frames(lengths, x.shape[1]).unsqueeze(-1)).to(x), start + lengths


def draws(coding: str, start: Tensor, like: Tensor) -> Tensor:
    """The numbers (B, T, D) of evaluation for frames start[row] .. start[row] + T - 1."""
    rows = []
    for first in start.tolist():
        blocks = range(first // _BLOCK_FRAMES, (first + like.shape[1] - 1) // _BLOCK_FRAMES + 1)
        table = numpy.concatenate([_block(coding, block, like.shape[2]) for block in blocks])
        offset = first - blocks.start * _BLOCK_FRAMES
        rows.append(torch.from_numpy(table[offset : offset + like.shape[1]]))
    return torch.stack(rows).to(like)


@lru_cache(maxsize=64)
def _block(coding: str, block: int, features: int) -> numpy.ndarray:
    generator = numpy.random.Generator(numpy.random.Philox(key=[SEED, block]))
    size = (_BLOCK_FRAMES, features)
    return generator.random(size) if coding == "bernoulli" else generator.standard_normal(size)

"""A trained network whose cell has no compiled form: its layers are called chunk by chunk with explicit state.

It sends and counts the same events as a compiled network, but also multiplies by zeros, and runs frame by frame in
PyTorch, a hundred times slower.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from snn_asr.events.quantization import grids_of, quantized
from snn_asr.events.sources import SourceSize, causal_layers, head_parts, sources_of
from snn_asr.network.integers import FLOAT32
from snn_asr.network.layers.base import Layer
from snn_asr.network.model import AcousticModel


@dataclass
class WalkedState:
    """The state of a stream: for each layer its state and that of its integrator, and the last values of each
    source."""

    layers: list[tuple[Any, Tensor | None]]
    last: list[Tensor | None]
    sent: np.ndarray

    @property
    def nbytes(self) -> int:
        tensors = [each for state, integrated in self.layers for each in (*(state or ()), integrated)]
        return self.sent.nbytes + sum(each.nbytes for each in [*tensors, *self.last] if each is not None)

    def reset(self) -> None:
        self.layers, self.last = [(None, None)] * len(self.layers), [None] * len(self.last)


@dataclass(frozen=True, eq=False)
class WalkedNetwork:
    """The layers of a model. ``head`` has its weights (N, H), scale and offset (N,); ``every`` counts zeros as
    events."""

    precision: str
    every: bool
    model: AcousticModel
    layers: list[Layer]
    head: tuple[Tensor, Tensor, Tensor]

    @classmethod
    @torch.no_grad()
    def of(cls, model: AcousticModel, precision: str = FLOAT32, every: bool = False) -> WalkedNetwork:
        """The network of a model in evaluation mode. Its matrices are rounded to int8 or int4 as in a model folder;
        products are computed in float32.

        Raises what ``quantization.grids_of`` raises.
        """
        if grids_of(model, precision) and not model.grids:
            model = quantized(model, precision)
        return cls(precision, every, model, causal_layers(model.encoder), head_parts(model))

    @property
    def nbytes(self) -> int:
        return sum(each.nbytes for each in self.model.parameters())

    @property
    def sources(self) -> list[SourceSize]:
        return [each.size for each in sources_of(self.model)]

    def initial_state(self) -> WalkedState:
        layers = len(self.layers)
        return WalkedState([(None, None)] * layers, [None] * (layers + 1), np.zeros(layers + 1, np.int64))

    @torch.no_grad()
    def run(self, inputs: np.ndarray, state: WalkedState) -> np.ndarray:
        """The logits (T, N) of float32 inputs (T, D)."""
        x, lengths, after = torch.from_numpy(inputs).unsqueeze(0), torch.tensor([len(inputs)]), []
        outputs, integrators, coder = [x], self.model.encoder.integrators, self.model.encoder.input_coder
        for layer, integrator, (before, integrated) in zip(self.layers, integrators, state.layers, strict=True):
            x, new = layer(x, lengths, before)
            outputs.append(x)
            x, integrated = integrator(x, lengths, integrated)
            after.append((new, integrated))
        changing = [coder is not None and bool(coder.sends_changes), *(each.sends_changes for each in self.layers)]
        rows = zip(outputs, state.last, changing, strict=True)
        state.sent += np.array([self._events(*each) for each in rows])
        state.layers = after
        if len(inputs):
            state.last = [each[:, -1:] for each in outputs]
        weight, scale, offset = self.head
        return (functional.linear(x[0], weight) * scale + offset).numpy()

    def _events(self, x: Tensor, last: Tensor | None, changing: bool) -> int:
        if changing:
            x = torch.diff(x, dim=1, prepend=torch.zeros_like(x[:, :1]) if last is None else last)
        return x.numel() if self.every else int(torch.count_nonzero(x))

"""A trained network as the arrays that compiled code reads (events/kernels), for the cells that have a compiled form.

Frozen batch normalisation becomes a scale and an offset for each output. A leaky integrator behind a layer makes dense
values of events, but a product commutes with it: the product of the events is integrated in its place (integrator.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from snn_asr.events.kernels import stack
from snn_asr.events.parts import Source, causal_layers, head_parts, input_unit, weight_names
from snn_asr.network.encoders import Encoder
from snn_asr.network.layers.base import LayerParts
from snn_asr.network.model import AcousticModel
from snn_asr.network.model_folder import rounded, row_scales

# Cells that have a compiled frame, by the names in their layers' parts.
CELLS = {
    "gated": stack.GATED, "conventional": stack.CONVENTIONAL,
    "leaky_integrate_and_fire": stack.LEAKY_INTEGRATE_AND_FIRE, "spiking_lstm": stack.SPIKING_LSTM,
    "gru": stack.GRU, "lstm": stack.LSTM,
}
ALIGNMENT_BYTES = 64  # a row begins on a cache line
NEURON_ROWS, STATE_ROWS, SUMS_ROWS = 4, 3, 3


def not_compiled(encoder: Encoder) -> list[str]:
    """What the layers and the input coding of an encoder are that has no compiled form. Raises UsageError for a
    bidirectional one."""
    parts = [each.parts() for each in causal_layers(encoder)]
    missing = sorted({each.cell for each in parts} - CELLS.keys())
    if any(each.powers or each.shifting for each in parts):
        missing.append("levels that are powers of two")
    if encoder.input_coder is not None and encoder.input_coder.sends_changes:
        missing.append("features that send changes")
    return missing


@dataclass
class CompiledState:
    """What a stream remembers between frames (events/kernels/stack.py); ``sent`` (L + 1,) counts the events so far."""

    units: np.ndarray
    sums: np.ndarray
    sent: np.ndarray

    @property
    def nbytes(self) -> int:
        return self.units.nbytes + self.sums.nbytes + self.sent.nbytes

    def reset(self) -> None:
        """Back to the zero state; the counts go on."""
        self.units.fill(0)
        self.sums.fill(0)


@dataclass(frozen=True, eq=False)
class CompiledNetwork:
    """Arrays as events/kernels/stack.py names them; ``precision``, float32 or int8, is that of the weights."""

    precision: str
    every: bool
    cell: int
    flag: bool
    input_unit: np.float32
    table: np.ndarray
    weights: np.ndarray
    integers: np.ndarray
    scales: np.ndarray
    affine: np.ndarray
    neurons: np.ndarray
    numbers: np.ndarray

    @classmethod
    @torch.no_grad()
    def of(cls, model: AcousticModel, precision: str = "float32", every: bool = False) -> CompiledNetwork:
        """From a model in evaluation mode. ``every`` takes all products, with zeros too: the dense engine.

        In int8 matrices that lie so on disk are what they are there; others are rounded here, in the same way.

        Raises UsageError for a bidirectional encoder; all layers have one cell, of CELLS.
        """
        parts = [each.parts() for each in causal_layers(model.encoder)]
        fed = [*((each.weight, each.scale, each.offset) for each in parts), head_parts(model)]
        rows = _all_rows(model, [weight for weight, _, _ in fed], [each.back for each in parts], precision)
        coefficients = [float(each.coefficient) for each in model.encoder.integrators]
        numbers = [_numbers(each, coefficient) for each, coefficient in zip(parts, coefficients, strict=True)]
        cell, quantized = CELLS[parts[0].cell], precision == "int8"
        flat = _flat([each.values for each in rows])
        none = np.empty(0, np.float32 if quantized else np.int8)
        return cls(
            precision, every or cell in (stack.GRU, stack.LSTM), cell, parts[0].flag,
            np.float32(input_unit(model.encoder)), _table(rows), none if quantized else flat,
            flat if quantized else none, np.concatenate([each.scales for each in rows]), _affine(fed),
            _neurons(parts, model.settings.hidden_size), np.array(numbers, np.float32),
        )

    @property
    def layers(self) -> int:
        return len(self.table) - 1

    @property
    def classes(self) -> int:
        return int(self.table[-1, stack.OUTPUTS])

    @property
    def nbytes(self) -> int:
        """All that the streams share."""
        arrays = (self.table, self.weights, self.integers, self.scales, self.affine, self.neurons, self.numbers)
        return sum(each.nbytes for each in arrays)

    @property
    def sources(self) -> list[Source]:
        return [Source(int(row[stack.UNITS]), int(row[stack.OUTPUTS] + row[stack.BACK])) for row in self.table]

    def initial_state(self) -> CompiledState:
        units = np.zeros((self.layers, STATE_ROWS, self.neurons.shape[2]), np.float32)
        sums = np.zeros((self.layers, SUMS_ROWS, self.affine.shape[2]), np.float32)
        return CompiledState(units, sums, np.zeros(self.layers + 1, np.int64))

    def run(self, inputs: np.ndarray, state: CompiledState) -> np.ndarray:
        """inputs (T, D) float32, contiguous, to logits (T, N)."""
        logits = np.empty((len(inputs), self.classes), np.float32)
        stack.run(
            inputs, logits, (self.cell, self.flag, self.every, self.precision == "int8"), self.input_unit, self.table,
            self.weights, self.integers, self.scales, self.affine, self.neurons, self.numbers, state.units, state.sums,
            state.sent,
        )
        return logits


Matrix = tuple[Tensor, Tensor | None]  # weights (M, units) and, where they lie in int8 on disk, their scales (M,)


@dataclass(frozen=True)
class _Rows:
    """One row for each unit of a source (units, row length), of what it feeds and what it feeds back to, and the scale
    of each column."""

    outputs: int
    back: int
    values: np.ndarray
    scales: np.ndarray


def _all_rows(model: AcousticModel, fed: list[Tensor], back: list[Tensor | None], precision: str) -> list[_Rows]:
    """Of every source, from W of each layer with the head's at the end, and U (None: it has none) of each layer."""
    names = weight_names(model)
    onward = [(weight, model.scales.get(name)) for weight, (name, *_) in zip(fed, names, strict=True)]
    around = [
        [] if weight is None else [(weight, model.scales.get(own[1]))]
        for weight, own in zip(back, names[:-1], strict=True)
    ]
    return [_aligned_rows([first, *rest], precision) for first, rest in zip(onward, [[], *around], strict=True)]


def _aligned_rows(blocks: list[Matrix], precision: str) -> _Rows:
    """From what a source feeds and, if there is a second block, what it feeds back to."""
    sizes, kind = [len(weight) for weight, _ in blocks], np.dtype(precision)
    multiple = ALIGNMENT_BYTES // kind.itemsize
    length = -(-sum(sizes) // multiple) * multiple
    scales, values, start = np.ones(length, np.float32), np.zeros((blocks[0][0].shape[1], length), kind), 0
    for (weight, stored), size in zip(blocks, sizes, strict=True):
        columns, start = slice(start, start + size), start + size
        if precision == "int8":
            own = row_scales(weight) if stored is None else stored
            scales[columns], weight = own.numpy(), rounded(weight, own)
        values[:, columns] = weight.detach().numpy().T
    return _Rows(sizes[0], sum(sizes[1:]), values, scales)


def _flat(arrays: list[np.ndarray]) -> np.ndarray:
    """All behind one another, the first on a cache line."""
    size = sum(each.nbytes for each in arrays)
    room = np.empty(size + ALIGNMENT_BYTES, np.uint8)
    start = -room.ctypes.data % ALIGNMENT_BYTES
    flat = room[start : start + size].view(arrays[0].dtype)
    np.concatenate([each.ravel() for each in arrays], out=flat)
    return flat


def _table(rows: list[_Rows]) -> np.ndarray:
    table, first = np.zeros((len(rows), 5), np.int64), 0
    for line, each in zip(table, rows, strict=True):
        line[:] = len(each.values), each.outputs, each.back, each.values.shape[1], first
        first += each.values.size
    return table


def _affine(fed: list[tuple[Tensor, Tensor, Tensor]]) -> np.ndarray:
    affine = np.zeros((len(fed), 2, max(len(weight) for weight, _, _ in fed)), np.float32)
    for line, (weight, scale, offset) in zip(affine, fed, strict=True):
        line[0, : len(weight)], line[1, : len(weight)] = scale.detach().numpy(), offset.detach().numpy()
    return affine


def _numbers(parts: LayerParts, smoothing: float) -> list[float]:
    """A row of the stack's ``numbers``; ``smoothing`` is the coefficient of the integrator behind the layer."""
    rest = [0.0] * (stack.FEEDBACK - len(parts.numbers))
    return [*parts.numbers, *rest, parts.smoothing, smoothing, parts.unit]


def _neurons(parts: list[LayerParts], size: int) -> np.ndarray:
    neurons = np.zeros((len(parts), NEURON_ROWS, size), np.float32)
    for layer, each in zip(neurons, parts, strict=True):
        for row, values in zip(layer, each.neurons, strict=False):
            row[:] = values.detach().numpy()
    return neurons

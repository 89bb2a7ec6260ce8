"""A trained network as arrays for the compiled code of events/kernels, if its cell has a compiled form.

Frozen batch normalisation becomes a scale and an offset for each output. A leaky integrator behind a layer would make
events dense, but it commutes with the product, so that the product of the events is integrated instead
(network/integrator.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from snn_asr.events.cells import CELLS
from snn_asr.events.kernels import stack
from snn_asr.events.kernels.delivery import BACK, OUTPUTS, UNITS
from snn_asr.events.parts import (
    Rounded,
    Source,
    causal_layers,
    head_parts,
    input_change,
    input_shifts,
    input_unit,
    recurrence,
    weight_names,
)
from snn_asr.events.quantization import grids_of
from snn_asr.events.storage import Stored, flat, packed, stored
from snn_asr.network.integers import Grid
from snn_asr.network.layers.base import LayerParts
from snn_asr.network.model import AcousticModel


@dataclass
class CompiledState:
    """The state of a stream, in one array: the ``memory`` that events/kernels/stack.py describes.

    ``sent`` (L + 1,), the number of events so far, ``units`` (L, 3, H) and ``sums`` (L, 2, W) are views of it.
    """

    memory: np.ndarray
    sent: np.ndarray
    units: np.ndarray
    sums: np.ndarray

    @classmethod
    def zero(cls, layers: int, size: int, width: int, changes: int) -> CompiledState:
        """The zero state of ``layers`` layers with ``size`` units, which feed at most ``width`` outputs each.

        ``changes`` is how many numbers those sources need that send changes.
        """
        counts = stack.numbers_of_counts(layers + 1)
        middle = counts + layers * stack.STATE_ROWS * size
        end = middle + layers * stack.SUMS_ROWS * width
        memory = flat([np.zeros(end + changes, np.float32)])
        sent = memory[:counts].view(np.int64)[: layers + 1]
        units = memory[counts:middle].reshape(layers, stack.STATE_ROWS, size)
        return cls(memory, sent, units, memory[middle:end].reshape(layers, stack.SUMS_ROWS, width))

    @property
    def nbytes(self) -> int:
        """The size of this stream's own memory in bytes."""
        return self.memory.nbytes

    def reset(self) -> None:
        """Go back to the zero state, without resetting the counts of events."""
        self.memory[stack.numbers_of_counts(len(self.sent)) :].fill(0)


@dataclass(frozen=True, eq=False)
class CompiledNetwork:
    """The arrays of a model that events/kernels/stack.py describes, views of the ``image``.

    ``precision`` is that of the weights: float32, int8 or int4. ``every`` says that all products are taken, including
    those with zeros. ``classes`` is the number of logits and ``layers`` the number of layers; ``changes`` is how many
    numbers a stream needs for sources that send changes.
    """

    precision: str
    every: bool
    classes: int
    layers: int
    changes: int
    image: np.ndarray
    table: np.ndarray
    constants: np.ndarray
    places: np.ndarray
    weights: np.ndarray

    @classmethod
    @torch.no_grad()
    def of(cls, model: AcousticModel, precision: str = "float32", every: bool = False) -> CompiledNetwork:
        """The arrays of a model in evaluation mode, all of whose layers have the same cell of CELLS.

        With ``every`` all products are taken, including those with zeros. A quantised model keeps its whole numbers;
        another one is rounded here to int8 or int4, in the same way. Raises what ``quantization.grids_of`` raises.
        """
        parts = [each.parts() for each in causal_layers(model.encoder)]
        fed = [*((each.weight, each.scale, each.offset) for each in parts), head_parts(model)]
        grids = grids_of(model, precision)
        sources, within = _sources(model, [weight for weight, _, _ in fed], parts, grids, every)
        lines = [*sources, *within]
        coefficients = [float(each.coefficient) for each in model.encoder.integrators]
        numbers = [_numbers(each, coefficient) for each, coefficient in zip(parts, coefficients, strict=True)]
        features = [[0.0] * stack.UNIT + [input_unit(model.encoder), _smallest_change(input_change(model.encoder))]]
        changing = [row[stack.CHANGE] >= 0 for row in (*features, *numbers)]
        changes = sum(each.units + each.length for each, told in zip(sources, changing, strict=True) if told)
        every = every or CELLS[parts[0].cell].dense
        scales = [each.scales for each in lines] if grids else []
        neurons, every_number = _neurons(parts, model.settings.hidden_size), np.array([*features, *numbers])
        constants = [each.ravel() for each in (_affine(fed), neurons, every_number, *scales)]
        image = packed([
            _table(model, lines, parts, every), np.concatenate(constants, dtype=np.float32),
            np.concatenate([each.places for each in lines]), np.concatenate([each.values for each in lines]),
        ])
        return cls(precision, every, model.head.out_features, len(parts), changes, image, *stack.unpack(image))

    @property
    def nbytes(self) -> int:
        """The size in bytes of everything that the streams share."""
        return self.image.nbytes

    @property
    def sources(self) -> list[Source]:
        """The sources of events in their order: the features, and then the layers."""
        rows, within = self.table[: self.layers + 1], self.table[: self.layers, stack.WITHIN]
        fan_outs = rows[:, OUTPUTS] + rows[:, BACK]
        fan_outs[1:] += np.where(within > 0, self.table[within, OUTPUTS], 0)
        return [Source(int(row[UNITS]), int(fan_out)) for row, fan_out in zip(rows, fan_outs, strict=True)]

    def initial_state(self) -> CompiledState:
        """The zero state of a new stream."""
        size, width = int(self.table[1, UNITS]), int(self.table[:, OUTPUTS].max())
        return CompiledState.zero(self.layers, size, width, self.changes)

    def run(self, inputs: np.ndarray, state: CompiledState) -> np.ndarray:
        """The logits (T, N) of contiguous float32 inputs (T, D). The state moves on by T frames."""
        logits = np.empty((len(inputs), self.classes), np.float32)
        stack.run(inputs, logits, self.image, state.memory, self.layers)
        return logits


def _sources(
    model: AcousticModel, fed: list[Tensor], parts: list[LayerParts], grids: dict[str, Grid], every: bool
) -> tuple[list[Stored], list[Stored]]:
    """The stored weights of every source, and those of recurrent products within a step, if there are any.

    ``fed`` has the W of each layer and, at the end, the weights of the head.
    """
    names = weight_names(model)
    onward = [Rounded(weight, grids.get(name)) for weight, (name, *_) in zip(fed, names, strict=True)]
    around = [recurrence(each, grids.get(own[-1])) for each, own in zip(parts, names[:-1], strict=True)]
    waiting = [[], *([] if each.waiting is None else [each.waiting] for each in around)]
    within = [stored([each.within], every) for each in around if each.within is not None]
    dense = [input_unit(model.encoder) == 0 and input_change(model.encoder) is None, *(False for _ in parts)]
    given = zip(onward, waiting, dense, strict=True)
    return [stored([first, *rest], every, always) for first, rest, always in given], within


def _table(model: AcousticModel, lines: list[Stored], parts: list[LayerParts], every: bool) -> np.ndarray:
    """The table that stack.py describes. ``lines`` are the sources, and then the recurrent products within a step."""
    table, first, starts, scales = np.zeros((len(lines), stack.COLUMNS), np.int64), 0, 0, 0
    shifted = [input_shifts(model.encoder), *(each.powers for each in parts)]
    within = len(shifted) if len(lines) > len(shifted) else 0
    for place, (line, each) in enumerate(zip(table, lines, strict=True)):
        shifts = place < len(shifted) and shifted[place] and not every  # there is no shift for a zero
        of_layer = (0, False, every, False, False, scales, 0)
        if place < len(parts):
            fed, inner = parts[place], within + place if within else 0
            flag = fed.clamped or fed.adaptive or fed.kept  # the one option of its cell
            of_layer = (CELLS[fed.cell].number, flag, every, fed.powers, fed.shifting, scales, inner)
        given = (each.units, each.outputs, each.back, each.back_at, each.length, first, each.kind, starts, shifts)
        line[:] = (*given, *of_layer)
        first, starts, scales = first + each.values.size, starts + each.places.size, scales + each.length
    return table


def _affine(fed: list[tuple[Tensor, Tensor, Tensor]]) -> np.ndarray:
    """The block ``affine`` of the constants, from the weights, scale and offset of each layer and of the head."""
    affine = np.zeros((len(fed), 2, max(len(weight) for weight, _, _ in fed)), np.float32)
    for line, (weight, scale, offset) in zip(affine, fed, strict=True):
        line[0, : len(weight)], line[1, : len(weight)] = scale.detach().numpy(), offset.detach().numpy()
    return affine


def _numbers(parts: LayerParts, smoothing: float) -> list[float]:
    """A row of the block ``numbers``; ``smoothing`` is the coefficient of the integrator behind the layer."""
    numbers = [] if parts.threshold is None else [parts.threshold]
    if (coder := parts.coder) is not None:
        numbers = [coder.range, coder.scale, coder.unit, coder.threshold]
    rest = [0.0] * (stack.FEEDBACK - len(numbers))
    return [*numbers, *rest, parts.smoothing, smoothing, parts.unit, _smallest_change(parts.change)]


def _smallest_change(threshold: float | None) -> float:
    """The value in the column CHANGE of a source that sends changes above a ``threshold``, or of one that does not."""
    return -1.0 if threshold is None else threshold / 2


def _neurons(parts: list[LayerParts], size: int) -> np.ndarray:
    """The block ``neurons`` of the constants."""
    neurons = np.zeros((len(parts), stack.NEURON_ROWS, size), np.float32)
    for layer, each in zip(neurons, parts, strict=True):
        for row, values in zip(layer, each.neurons.values(), strict=False):
            row[:] = values.detach().numpy()
    return neurons

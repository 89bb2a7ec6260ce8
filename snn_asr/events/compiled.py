"""A trained network as arrays for the compiled code of events/kernels, if its cell has a compiled form.

Frozen batch normalisation becomes an offset for each output; its scale is in the weights (levels.py). A leaky
integrator behind a layer would make events dense, but it commutes with the product, so that the product of the events
is integrated instead (network/integrator.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from snn_asr.events.cells import CELLS
from snn_asr.events.kernels import stack
from snn_asr.events.kernels.delivery import BACK, OUTPUTS, UNITS
from snn_asr.events.levels import in_levels
from snn_asr.events.quantization import grids_of
from snn_asr.events.sources import Source, SourceSize, layers_of, sources_of
from snn_asr.events.storage import Stored, flat, packed, stored
from snn_asr.network.integers import FLOAT32
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
    numbers a stream needs for sources that send changes. The states of coders are in units of their levels (levels.py),
    which ``level_units`` (L, 1) has; it is 1 for layers without a coder.
    """

    precision: str
    every: bool
    classes: int
    layers: int
    changes: int
    level_units: np.ndarray
    image: np.ndarray
    table: np.ndarray
    constants: np.ndarray
    places: np.ndarray
    weights: np.ndarray

    @classmethod
    @torch.no_grad()
    def of(cls, model: AcousticModel, precision: str = FLOAT32, every: bool = False) -> CompiledNetwork:
        """The arrays of a model in evaluation mode, all of whose layers have the same cell of CELLS.

        With ``every`` all products are taken, including those with zeros. A quantised model keeps its whole numbers;
        another one is rounded here to int8 or int4, in the same way. Raises what ``quantization.grids_of`` raises.
        """
        grids = grids_of(model, precision)
        plain = sources_of(model, grids)
        sources = in_levels(plain)
        lines, layers = _stored(sources, every), layers_of(sources)
        every = every or CELLS[layers[0].cell].dense
        coefficients = [0.0, *(float(each.coefficient) for each in model.encoder.integrators)]
        numbers = [_numbers(*each) for each in zip(sources, coefficients, strict=True)]
        changing = [each.values.change is not None for each in sources]
        changes = sum(each.units + each.length for each, told in zip(lines, changing, strict=False) if told)
        scales = [each.scales for each in lines] if grids else []
        blocks = [_offsets(sources), _neurons(layers, model.settings.hidden_size), np.array(numbers), *scales]
        image = packed([
            _table(sources, lines, every), np.concatenate([each.ravel() for each in blocks], dtype=np.float32),
            np.concatenate([each.places for each in lines]), np.concatenate([each.values for each in lines]),
        ])
        coders = [each.coder for each in layers_of(plain)]
        units = np.array([[1.0 if each is None else each.unit] for each in coders], np.float32)
        arrays = units, image, *stack.unpack(image)
        return cls(precision, every, model.head.out_features, len(layers), changes, *arrays)

    @property
    def nbytes(self) -> int:
        """The size in bytes of everything that the streams share."""
        return self.image.nbytes

    @property
    def sources(self) -> list[SourceSize]:
        """The sources of events in their order: the features, and then the layers."""
        rows, within = self.table[: self.layers + 1], self.table[: self.layers, stack.WITHIN]
        fan_outs = rows[:, OUTPUTS] + rows[:, BACK]
        fan_outs[1:] += np.where(within > 0, self.table[within, OUTPUTS], 0)
        return [SourceSize(int(row[UNITS]), int(fan_out)) for row, fan_out in zip(rows, fan_outs, strict=True)]

    def initial_state(self) -> CompiledState:
        """The zero state of a new stream."""
        size, width = int(self.table[1, UNITS]), int(self.table[:, OUTPUTS].max())
        return CompiledState.zero(self.layers, size, width, self.changes)

    def run(self, inputs: np.ndarray, state: CompiledState) -> np.ndarray:
        """The logits (T, N) of contiguous float32 inputs (T, D). The state moves on by T frames."""
        logits = np.empty((len(inputs), self.classes), np.float32)
        stack.run(inputs, logits, self.image, state.memory, self.layers)
        return logits


def _stored(sources: list[Source], every: bool) -> list[Stored]:
    """The stored weights of every source, and then those of recurrent products within a step, if there are any."""
    lines = []
    for each in sources:
        given = [each.onward, *([] if each.around is None else [each.around])]
        lines.append(stored(given, every, each.values.dense))
    return lines + [stored([each.within], every) for each in sources if each.within is not None]


def _table(sources: list[Source], lines: list[Stored], every: bool) -> np.ndarray:
    """The table that stack.py describes. ``lines`` are those of ``_stored``."""
    table, first, starts, scales = np.zeros((len(lines), stack.COLUMNS), np.int64), 0, 0, 0
    for place, (line, each) in enumerate(zip(table, lines, strict=True)):
        shifts = place < len(sources) and sources[place].values.shifts and not every  # there is no shift for a zero
        fed = sources[place + 1].layer if place + 1 < len(sources) else None
        of_layer = (0, False, every, False, False, scales, 0)
        if fed is not None:
            flag = fed.adaptive or fed.kept  # the one option of its cell
            inner = len(sources) + place if len(lines) > len(sources) else 0
            of_layer = (CELLS[fed.cell].number, flag, every, fed.powers, fed.shifting, scales, inner)
        given = (each.units, each.outputs, each.back, each.back_at, each.length, first, each.kind, starts, shifts)
        line[:] = (*given, *of_layer)
        first, starts, scales = first + each.values.size, starts + each.places.size, scales + each.length
    return table


def _offsets(sources: list[Source]) -> np.ndarray:
    """The block ``offsets`` of the constants."""
    offsets = np.zeros((len(sources), max(len(each.offset) for each in sources)), np.float32)
    for line, each in zip(offsets, sources, strict=True):
        line[: len(each.offset)] = each.offset.numpy()
    return offsets


def _numbers(source: Source, smoothing: float) -> list[float]:
    """A row of the block ``numbers``; ``smoothing`` is the coefficient of the integrator behind the layer."""
    layer, change = source.layer, source.values.smallest_change
    shared = [smoothing, source.values.unit, -1.0 if change is None else change]
    if layer is None:
        return [0.0] * (stack.FEEDBACK + 1) + shared
    coder = layer.coder
    own = (coder.range, coder.threshold) if coder is not None else (layer.threshold or 0.0, 0.0)
    return [*own, layer.highest, layer.smoothing, *shared]


def _neurons(layers: list[LayerParts], size: int) -> np.ndarray:
    """The block ``neurons`` of the constants."""
    neurons = np.zeros((len(layers), stack.NEURON_ROWS, size), np.float32)
    for block, each in zip(neurons, layers, strict=True):
        for row, values in zip(block, each.neurons.values(), strict=False):
            row[:] = values.detach().numpy()
    return neurons

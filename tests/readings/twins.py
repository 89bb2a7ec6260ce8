"""Readings that take a layer's parameters by name and remember, from batch to batch, what a layer remembers.

A twin is called with ``numbers`` (each parameter of the layer taken apart, by its name), the inputs, the lengths and
whether it trains. It knows the layers' parameters by name and shape only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from .adaptive_lif import Neurons, adaptive_lif
from .coder import Coder, coded_features
from .gated import Gate, Normalisation, conventional, gated, li_gru
from .scalars import Sequences
from .spiking_lstm import BACKWARDS, SLOPES, SpikingGate, spiking_lstm

Numbers = dict[str, list]


@dataclass
class Twin(ABC):
    """Base: ``size`` units, and one batch normalisation a gate."""

    size: int
    coder: Coder | None = None
    normalisations: dict[int, Normalisation] = field(default_factory=dict)

    def gate(self, numbers: Numbers, block: int) -> Gate:
        """Give the gate of one block of ``size`` rows; recurrent weights where the layer has some."""
        rows = slice(block * self.size, (block + 1) * self.size)
        weight, bias = numbers["normalization.weight"][rows], numbers["normalization.bias"][rows]
        before = self.normalisations.get(block, Normalisation(weight, bias))
        following = Normalisation(weight, bias, before.running_mean, before.running_variance)
        self.normalisations[block] = following
        recurrent = numbers["recurrent_weight"][rows] if "recurrent_weight" in numbers else None
        return Gate(numbers["input_weight"][rows], following, recurrent)

    @abstractmethod
    def __call__(self, numbers: Numbers, inputs: Sequences, lengths: list[int], training: bool) -> Sequences:
        """Run one batch."""


class FeatureCoderTwin(Twin):
    """Of the coder on the features; ``size`` of them."""

    def __call__(self, numbers: Numbers, inputs: Sequences, lengths: list[int], training: bool) -> Sequences:
        return coded_features(inputs, lengths, self.coder, training)


class ConventionalTwin(Twin):
    """Of the conventional layer."""

    def __call__(self, numbers: Numbers, inputs: Sequences, lengths: list[int], training: bool) -> Sequences:
        return conventional(inputs, lengths, self.gate(numbers, 0), numbers["decay"], self.coder, training)


@dataclass
class GatedTwin(Twin):
    """Of v1 and v2."""

    shape: str = "relu"

    def __call__(self, numbers: Numbers, inputs: Sequences, lengths: list[int], training: bool) -> Sequences:
        forget, candidate = self.gate(numbers, 0), self.gate(numbers, 1)
        return gated(inputs, lengths, forget, candidate, self.shape, self.coder, training)


class LiGruTwin(Twin):
    """Of the Li-GRU."""

    def __call__(self, numbers: Numbers, inputs: Sequences, lengths: list[int], training: bool) -> Sequences:
        return li_gru(inputs, lengths, self.gate(numbers, 0), self.gate(numbers, 1), training)


@dataclass
class AdaptiveLifTwin(Twin):
    """Of the adaptive LIF family; what adapts and what recurs shows in the parameters that are there."""

    stable: bool = False

    def __call__(self, numbers: Numbers, inputs: Sequences, lengths: list[int], training: bool) -> Sequences:
        own = (numbers.get(name) for name in ("decay", "adaptation_decay", "coupling", "jump", "recurrent_weight"))
        return adaptive_lif(inputs, lengths, self.gate(numbers, 0), Neurons(*own, stable=self.stable), training)


@dataclass
class SpikingLstmTwin(Twin):
    """Of the spiking LSTM; ``backward`` None is the cell that keeps a."""

    slopes: str = "speech"
    backward: str | None = "straight"

    def __call__(self, numbers: Numbers, inputs: Sequences, lengths: list[int], training: bool) -> Sequences:
        gates = {name: self._spiking_gate(numbers, block) for block, name in enumerate("fiog")}
        backward = BACKWARDS[self.backward] if self.backward is not None else None
        return spiking_lstm(inputs, lengths, gates, SLOPES[self.slopes], backward, training)

    def _spiking_gate(self, numbers: Numbers, block: int) -> SpikingGate:
        if "bias" not in numbers:
            gate = self.gate(numbers, block)
            return SpikingGate(gate.weights, gate.recurrent, None, gate.normalisation)
        rows = slice(block * self.size, (block + 1) * self.size)
        own = [numbers[name][rows] for name in ("input_weight", "recurrent_weight", "bias")]
        return SpikingGate(*own, None)


def stacked(twins: dict[str, Twin], numbers: Numbers, inputs: Sequences, lengths: list[int], training: bool):
    """Chain twins; ``twins`` maps the prefix of each layer's parameters to its twin."""
    for prefix, twin in twins.items():
        own = {name.removeprefix(prefix): each for name, each in numbers.items() if name.startswith(prefix)}
        inputs = twin(own, inputs, lengths, training)
    return inputs

"""The interface of a layer, as the encoder, training, the counting of operations and the event engine use it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from snn_asr.network.coder import Coder
from snn_asr.network.ranges import RangeTracker


@dataclass(frozen=True, eq=False)
class LayerParts:
    """A trained layer as tensors and numbers, for engines that run it without its module.

    With G gates, H units and D inputs, the drive of a frame is ``scale`` · W x + ``offset`` (G H,), to which the
    recurrent product U y is added. W is ``weight`` (G H, D), and U is ``recurrent`` (G H, H) or None; ``smoothing`` is
    the coefficient of a leaky integrator on U y.

    ``cell`` names the neuron behind the drive. ``neurons`` has the values that each unit has for itself, (H,) each, by
    their names among the Parameters of the cell. ``coder`` turns membranes into levels, if the layer has one, and
    ``threshold`` is the θ of the spiking LSTM or the Θ of the delta GRU. The other fields are options of single cells:
    the ``highest`` candidate and whether the input gate is ``shifting``, a power of two (gated), whether the neurons
    are ``adaptive`` (leaky integrate-and-fire), and whether cells are ``kept`` (spiking LSTM).

    All values that are sent are multiples of ``unit``; 0 means that they can be any numbers. ``change`` is the
    threshold of a layer that sends the changes of its outputs, and None for one that sends the outputs.
    """

    cell: str
    weight: Tensor
    recurrent: Tensor | None
    scale: Tensor
    offset: Tensor
    smoothing: float = 0.0
    neurons: Mapping[str, Tensor] = field(default_factory=dict)
    coder: Coder | None = None
    threshold: float | None = None
    highest: float = math.inf
    shifting: bool = False
    adaptive: bool = False
    kept: bool = False
    unit: float = 0.0
    change: float | None = None

    @property
    def powers(self) -> bool:
        """Whether the levels of the coder are powers of two."""
        return self.coder is not None and self.coder.powers


class Layer(nn.Module, ABC):
    """One layer in one direction: ``layer(x (B, T, D), lengths (B,), state) -> (y (B, T, output_size), state)``.

    ``tracker`` holds the range of the layer's coder, and is None in a layer without one. ``backend`` names the kernels
    that run the layer, if it has any.
    """

    tracker: RangeTracker | None

    def __init__(self, output_size: int, backend: str = "auto") -> None:
        super().__init__()
        self.output_size, self.backend = output_size, backend
        self.tracker = None

    @property
    @abstractmethod
    def binary(self) -> bool:
        """Whether all non-zero outputs have one magnitude."""

    @property
    def additive(self) -> bool:
        """Whether a product with an output needs no multiplication, because outputs are binary or powers of two (which
        shift what they are multiplied by)."""
        return self.binary

    @property
    @abstractmethod
    def unit_products(self) -> int:
        """The number of multiplications inside each unit at each frame, as the event engine takes them."""

    @abstractmethod
    def core_weights(self) -> list[Tensor]:
        """The matrices of the input and recurrent products: W (G H, D), and then U (G H, H) if there is one."""

    @abstractmethod
    def parts(self) -> LayerParts:
        """The layer in evaluation as tensors and numbers, with its normalisation folded into scale and offset."""

    @property
    def sends_events(self) -> bool:
        """Whether the outputs are events, which are mostly zero, and not the values of a dense layer."""
        return False

    @property
    def sends_changes(self) -> bool:
        """Whether the layer holds its outputs and sends their changes from frame to frame (changes.py)."""
        return False

    def activity(self, outputs: Tensor, lengths: Any) -> Tensor | None:
        """How much the layer sends: a scalar with gradient that training can penalise, or None for a layer that always
        sends everything. ``outputs`` (B, T, H) are zero in the padding, and ``lengths`` (B,) count valid frames."""
        return None

"""What a network does for a second of speech: its operations, and the bytes that it reads and writes.

Every network, spiking or dense, is assumed to run frame by frame on the same machine:

- The weights of a source (the features, or a layer) are stored in rows. The row of a unit holds the weights for all
  that the unit feeds and feeds back to. A value that is sent fetches its row; a zero does not. A matrix with enough
  zeros is stored as one bit for each weight plus the weights that are not zero. In other matrices zeros are
  multiplied like all other weights.
- Sums have 32 bits. SUMS_IN_REGISTERS of them are computed at a time and stay in registers, so the values of a source
  are read once for each such group. Finished sums are written, and later read by the units that they belong to.
- Layers of events send lists: an index and a value, or only an index if all values are one. Others send all values.
- Every unit reads and writes its state at every frame, whether it sends something or not, and every sum has an offset.
- Sums of whole numbers are scaled in float32. Units compute in float32, with one addition for each number of their
  state, or for each multiplication where these are more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from snn_asr.network.integers import FLOAT32, INT4, INT8

WEIGHT_BITS = {FLOAT32: 32, INT8: 8, INT4: 4}
VALUE_BYTES = {FLOAT32: 4, INT8: 1, INT4: 1}
SUMS_IN_REGISTERS = 64
NUMBER_BYTES, INDEX_BYTES = 4, 2  # of a sum, a state, a constant; of a unit's index in a list of events


@dataclass(frozen=True)
class Work:
    """The operations and bytes of a second of speech, with weights of ``precision`` and units in float32.

    Bytes are read or written. Constants are offsets, scales and the parameters of each neuron. ``listed_sums_bytes``
    would be moved in addition if every event of a list were added to its sums in memory one by one.
    ``weights_memory_bytes`` is the size of a memory for weights and constants, ``state_memory_bytes`` that of a second
    one for all else.
    """

    precision: str
    multiplications: float
    additions: float
    unit_multiplications: float
    unit_additions: float
    weights_bytes: float
    constants_bytes: float
    values_bytes: float
    states_bytes: float
    sums_bytes: float
    listed_sums_bytes: float
    weights_memory_bytes: float
    state_memory_bytes: float


@dataclass(frozen=True)
class MatrixShape:
    """A matrix of weights (outputs, units) with ``bits`` for each weight, of which ``nonzero`` are not zero."""

    outputs: int
    units: int
    bits: int
    nonzero: int

    @property
    def thin(self) -> bool:
        """Whether one bit for each weight plus the non-zero weights take less room than all weights."""
        return self.nonzero * self.bits + self.outputs * self.units < self.outputs * self.units * self.bits

    @property
    def products(self) -> int:
        """The number of stored weights, which is the number of products if all units send one value."""
        return self.nonzero if self.thin else self.outputs * self.units

    @property
    def nbytes(self) -> float:
        return (self.products * self.bits + (self.outputs * self.units if self.thin else 0)) / 8


@dataclass(frozen=True)
class SourceShape:
    """A source and the matrices that it feeds, of which the first one leads to the next layer (or the head).

    ``listed`` says that it sends lists of events, ``binary`` that all of them have the same value, and ``additive``
    that a product with a value is an addition.
    """

    units: int
    matrices: tuple[MatrixShape, ...]
    listed: bool = False
    binary: bool = False
    additive: bool = False

    @property
    def outputs(self) -> int:
        """The number of sums in the next layer that it feeds, without those that it feeds back to."""
        return self.matrices[0].outputs

    @property
    def fan_out(self) -> int:
        return sum(each.outputs for each in self.matrices)

    def products(self, events: float) -> float:
        """Return the number of products for ``events`` values that are not zero."""
        return events * sum(each.products for each in self.matrices) / self.units

    def fetched(self, events: float) -> float:
        """Return the bytes of weights that are fetched for ``events`` values that are not zero."""
        return events * sum(each.nbytes for each in self.matrices) / self.units

    def value_bytes(self, precision: str) -> int:
        """Return the bytes of one value that is sent, including its index in a list."""
        if not self.listed:
            return VALUE_BYTES[precision]
        return INDEX_BYTES + (0 if self.binary else VALUE_BYTES[precision])

    def moved(self, events: float, precision: str) -> float:
        """Return the bytes of values in a frame: they are written once and read for every group of sums."""
        count = events if self.listed else self.units
        return count * self.value_bytes(precision) * (1 + math.ceil(self.fan_out / SUMS_IN_REGISTERS))

    def dense(self, precision: str, last: bool) -> SourceShape:
        """Return the same source with all values sent and all weights stored."""
        bits = [bits_of(precision, last and place == 0) for place in range(len(self.matrices))]
        whole = [
            replace(each, bits=of, nonzero=each.outputs * each.units)
            for each, of in zip(self.matrices, bits, strict=True)
        ]
        return SourceShape(self.units, tuple(whole))


@dataclass(frozen=True)
class NetworkShape:
    """All that the work of a network depends on, apart from its events.

    At each frame the units read and write ``state_numbers``, read ``neuron_numbers``, and do ``unit_operations``
    multiplications inside the units.
    """

    precision: str
    sources: tuple[SourceShape, ...]
    unit_operations: int
    state_numbers: int
    neuron_numbers: int

    @property
    def sums(self) -> int:
        """The number of sums in a frame."""
        return sum(each.fan_out for each in self.sources)

    @property
    def listed_units(self) -> int:
        """The number of units that send lists of events."""
        return sum(each.units for each in self.sources if each.listed)

    def listed_events(self, events: Sequence[float]) -> float:
        """Return how many of the ``events``, one number for each source, are sent in lists."""
        return sum(count for each, count in zip(self.sources, events, strict=True) if each.listed)

    def without_lists(self, events: Sequence[float]) -> list[float]:
        """Return ``events`` with those that are sent in lists left out."""
        return [0.0 if each.listed else count for each, count in zip(self.sources, events, strict=True)]

    def work(self, events: Sequence[float], frames: float) -> Work:
        """Return the work for ``frames`` a second and, on average, ``events`` of each source in a frame."""
        sources, scaled = list(zip(self.sources, events, strict=True)), self.precision != FLOAT32
        products = [each.products(count) for each, count in sources]
        offsets = sum(each.outputs for each in self.sources)
        constants = NUMBER_BYTES * (offsets + scaled * self.sums + self.neuron_numbers)
        multiplied = sum(n for n, each in zip(products, self.sources, strict=True) if not each.additive)
        listed = sum(n for n, each in zip(products, self.sources, strict=True) if each.listed)
        room = sum(each.units * each.value_bytes(self.precision) for each in self.sources)
        return Work(
            precision=self.precision,
            multiplications=frames * multiplied,
            additions=frames * sum(products),
            unit_multiplications=frames * (self.unit_operations + scaled * self.sums),
            unit_additions=frames * (max(self.unit_operations, self.state_numbers) + self.sums),
            weights_bytes=frames * sum(each.fetched(count) for each, count in sources),
            constants_bytes=frames * constants,
            values_bytes=frames * sum(each.moved(count, self.precision) for each, count in sources),
            states_bytes=frames * 2 * NUMBER_BYTES * self.state_numbers,
            sums_bytes=frames * 2 * NUMBER_BYTES * self.sums,
            listed_sums_bytes=frames * 2 * NUMBER_BYTES * listed,
            weights_memory_bytes=sum(matrix.nbytes for each in self.sources for matrix in each.matrices) + constants,
            state_memory_bytes=NUMBER_BYTES * (self.state_numbers + self.sums) + room,
        )

    def every_product(self, frames: float, precision: str | None = None) -> Work:
        """Return the work of the same network if all values are sent, all weights stored and all products computed.

        ``precision`` is that of the weights, by default that of this network.
        """
        precision = precision or self.precision
        dense = [each.dense(precision, each is self.sources[-1]) for each in self.sources]
        shape = replace(self, precision=precision, sources=tuple(dense))
        return shape.work([each.units for each in dense], frames)


def bits_of(precision: str, of_head: bool) -> int:
    """Return the bits of a weight; in an int4 network the head has int8 weights (events/quantization.py)."""
    return WEIGHT_BITS[INT8 if of_head and precision == INT4 else precision]

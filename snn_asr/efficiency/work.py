"""What a network does for a second of speech: operations, and bytes that it reads and writes.

Every network, spiking or dense, is thought to run frame by frame on one machine:

- The weights of a source (the features, or a layer) stand in rows, one a unit, for all that the unit feeds and feeds
  back to. A value that is sent fetches its row, one that is zero does not. A matrix whose zeros are worth leaving out
  has one bit for each weight and the weights that are not zero; in others zeros are multiplied by like all else.
- Sums are of 32 bits. SUMS_IN_REGISTERS of them are worked out at a time and stay in registers, so that what a source
  sends is read once for each so many. Finished sums are written, and read by the units that they are for.
- Layers of events send lists: an index and a value, or an index alone where all values are one. Others send all values.
- Every unit reads and writes its state at every frame, whether it sends something or not, and every sum has an offset.
- Sums of whole numbers are scaled in float32; what units do is in float32, each multiplication with an addition.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from snn_asr.network.integers import INT4, INT8

FLOAT32 = "float32"
WEIGHT_BITS = {FLOAT32: 32, INT8: 8, INT4: 4}
VALUE_BYTES = {FLOAT32: 4, INT8: 1, INT4: 1}
SUMS_IN_REGISTERS = 64
NUMBER_BYTES, INDEX_BYTES = 4, 2  # of a sum, a state, a constant; of a unit's index in a list of events


@dataclass(frozen=True)
class Work:
    """Of a second of speech: operations with weights of ``precision``, float32 ones in units, and bytes.

    ``constants`` are offsets, scales and what each neuron has for itself; ``listed_sums`` the bytes that would be read
    and written, besides, if every event of a list were added to its sums in memory by itself. One memory has weights
    and constants, the other all else; their sizes are in bytes.
    """

    precision: str
    multiplications: float
    additions: float
    unit_multiplications: float
    unit_additions: float
    weights: float
    constants: float
    values: float
    states: float
    sums: float
    listed_sums: float
    weights_memory: float
    state_memory: float


@dataclass(frozen=True)
class MatrixShape:
    """Weights (outputs, units) of so many ``bits``, of which ``nonzero`` are not zero."""

    outputs: int
    units: int
    bits: int
    nonzero: int

    @property
    def thin(self) -> bool:
        """A bit for each weight and the weights that are not zero take less than all weights."""
        return self.nonzero * self.bits + self.outputs * self.units < self.outputs * self.units * self.bits

    @property
    def products(self) -> int:
        """As many as weights are stored: those of all units, each with one value."""
        return self.nonzero if self.thin else self.outputs * self.units

    @property
    def nbytes(self) -> float:
        return (self.products * self.bits + (self.outputs * self.units if self.thin else 0)) / 8


@dataclass(frozen=True)
class SourceShape:
    """A source with the matrices behind it, the one that it feeds first. ``listed``: it sends lists of events;
    ``binary``: of one value; ``additive``: a product with a value is an addition."""

    units: int
    matrices: tuple[MatrixShape, ...]
    listed: bool = False
    binary: bool = False
    additive: bool = False

    @property
    def outputs(self) -> int:
        """Sums that it feeds, without those that it feeds back to."""
        return self.matrices[0].outputs

    @property
    def fan_out(self) -> int:
        return sum(each.outputs for each in self.matrices)

    def products(self, events: float) -> float:
        """Of so many values that are not zero."""
        return events * sum(each.products for each in self.matrices) / self.units

    def fetched(self, events: float) -> float:
        """Bytes of weights for them."""
        return events * sum(each.nbytes for each in self.matrices) / self.units

    def value_bytes(self, precision: str) -> int:
        """Of a value on its way, with its index in a list."""
        if not self.listed:
            return VALUE_BYTES[precision]
        return INDEX_BYTES + (0 if self.binary else VALUE_BYTES[precision])

    def moved(self, events: float, precision: str) -> float:
        """Bytes of values in a frame, written once and read for every part of the sums."""
        count = events if self.listed else self.units
        return count * self.value_bytes(precision) * (1 + math.ceil(self.fan_out / SUMS_IN_REGISTERS))

    def dense(self, precision: str, last: bool) -> SourceShape:
        """The same with all values sent and all weights stored."""
        bits = [bits_of(precision, last and place == 0) for place in range(len(self.matrices))]
        whole = [
            replace(each, bits=of, nonzero=each.outputs * each.units)
            for each, of in zip(self.matrices, bits, strict=True)
        ]
        return SourceShape(self.units, tuple(whole))


@dataclass(frozen=True)
class NetworkShape:
    """All that the work of a network depends on but for its events. At each frame units read and write
    ``state_numbers``, read ``neuron_numbers``, and multiply by themselves ``unit_operations`` times."""

    precision: str
    sources: tuple[SourceShape, ...]
    unit_operations: int
    state_numbers: int
    neuron_numbers: int

    @property
    def sums(self) -> int:
        """Sums of a frame."""
        return sum(each.fan_out for each in self.sources)

    @property
    def listed_units(self) -> int:
        """Units that send lists of events."""
        return sum(each.units for each in self.sources if each.listed)

    def listed_events(self, events: Sequence[float]) -> float:
        """Events in lists, of so many of each source."""
        return sum(count for each, count in zip(self.sources, events, strict=True) if each.listed)

    def without_lists(self, events: Sequence[float]) -> list[float]:
        """The same values sent, but for those in lists."""
        return [0.0 if each.listed else count for each, count in zip(self.sources, events, strict=True)]

    def work(self, events: Sequence[float], frames: float) -> Work:
        """Of so many ``frames`` a second with so many ``events`` of each source in a frame, on average."""
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
            unit_additions=frames * (self.unit_operations + self.sums),
            weights=frames * sum(each.fetched(count) for each, count in sources),
            constants=frames * constants,
            values=frames * sum(each.moved(count, self.precision) for each, count in sources),
            states=frames * 2 * NUMBER_BYTES * self.state_numbers,
            sums=frames * 2 * NUMBER_BYTES * self.sums,
            listed_sums=frames * 2 * NUMBER_BYTES * listed,
            weights_memory=sum(matrix.nbytes for each in self.sources for matrix in each.matrices) + constants,
            state_memory=NUMBER_BYTES * (self.state_numbers + self.sums) + room,
        )

    def every_product(self, frames: float, precision: str | None = None) -> Work:
        """Of the same network where all values are sent, all weights stored and all products taken, with weights of
        another precision if one is given."""
        precision = precision or self.precision
        dense = [each.dense(precision, each is self.sources[-1]) for each in self.sources]
        shape = replace(self, precision=precision, sources=tuple(dense))
        return shape.work([each.units for each in dense], frames)


def bits_of(precision: str, of_head: bool) -> int:
    """Bits of a weight; in int4 the head is int8 (events/quantization.py)."""
    return WEIGHT_BITS[INT8 if of_head and precision == INT4 else precision]

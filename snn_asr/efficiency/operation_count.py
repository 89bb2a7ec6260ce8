"""The totals of all operations that were counted, and their rates for each second of speech.

The counting itself is done in operations.py.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, field
from typing import Any

INPUT, CORE, HEAD = "input", "core", "head"
TIMELINE = 10  # parts of an utterance in the histogram of density over time


@dataclass
class Products:
    """Multiplications of one kind: ``dense`` is all of them, ``macs`` and ``acs`` are those whose input is not zero."""

    dense: int = 0
    macs: int = 0
    acs: int = 0

    def add(self, dense: int, effective: int, additive: bool) -> None:
        """Add ``dense`` products, of which only ``effective`` have to be computed.

        ``additive`` products are additions of a weight, so they count as ACs and not as MACs.
        """
        self.dense += dense
        if additive:
            self.acs += effective
        else:
            self.macs += effective


@dataclass(frozen=True)
class Rates:
    """Operations for each second of speech, each frame and each utterance, and the density of each layer.

    ``dense_macs_per_second`` also counts the products with zeros, and ``core`` is what lies within and between layers.
    ``element_wise_per_second`` are the multiplications inside the units. ``nonzero_inputs``, ``density``,
    ``density_over_time`` and ``products`` are those of the OperationCount.
    """

    seconds: float
    frames: int
    macs_per_second: float
    acs_per_second: float
    dense_macs_per_second: float
    core_macs_per_second: float
    core_acs_per_second: float
    element_wise_per_second: float
    macs_per_frame: float
    acs_per_frame: float
    macs_per_utterance: float
    acs_per_utterance: float
    nonzero_inputs: int
    density: list[float]
    density_over_time: list[list[float]]
    products: dict[str, Products]


@dataclass
class OperationCount:
    """Totals over all utterances that were counted.

    ``products`` holds the products with the features (input), those within and between layers (core) and those of the
    head. ``element_wise`` counts the multiplications inside the units. ``nonzero`` and ``outputs`` hold one number for
    each layer: how many of the values that it sent were not zero, and how many values it sent. ``nonzero_inputs``
    counts the features that were not zero, after input coding if there is one. ``timeline`` (layers, 2, TIMELINE) holds
    the non-zero and all outputs in TIMELINE equal parts of the utterances, from first to last.
    """

    products: dict[str, Products] = field(default_factory=lambda: {each: Products() for each in (INPUT, CORE, HEAD)})
    element_wise: int = 0
    frames: int = 0
    nonzero: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    timeline: list[list[list[int]]] = field(default_factory=list)
    utterances: int = 0
    nonzero_inputs: int = 0

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations of input, core and head."""
        return sum(each.macs for each in self.products.values())

    @property
    def acs(self) -> int:
        """Accumulate operations (additions of a weight) of input, core and head."""
        return sum(each.acs for each in self.products.values())

    @property
    def dense(self) -> int:
        """All products, including those with zeros: the cost of a network that makes no use of zeros."""
        return sum(each.dense for each in self.products.values())

    @property
    def density(self) -> list[float]:
        """The share of outputs that are not zero, one number for each layer."""
        return [nonzero / max(total, 1) for nonzero, total in zip(self.nonzero, self.outputs, strict=True)]

    @property
    def density_over_time(self) -> list[list[float]]:
        """The density in TIMELINE equal parts of the utterances, one list for each layer."""
        pairs = (zip(*layer, strict=True) for layer in self.timeline)
        return [[nonzero / max(total, 1) for nonzero, total in layer] for layer in pairs]

    def __add__(self, other: OperationCount) -> OperationCount:
        """Return the sum of two counts. They may cover different utterances, but need the same layers unless one is
        empty."""
        both = (self, other)
        products = {
            name: Products(*map(sum, zip(*(astuple(each.products[name]) for each in both), strict=True)))
            for name in self.products
        }
        return OperationCount(
            products, self.element_wise + other.element_wise, self.frames + other.frames,
            _sum_nested(self.nonzero, other.nonzero), _sum_nested(self.outputs, other.outputs),
            _sum_nested(self.timeline, other.timeline), self.utterances + other.utterances,
            self.nonzero_inputs + other.nonzero_inputs,
        )

    def rates(self, seconds: float) -> Rates:
        """Return the rates, if all utterances together take so many ``seconds``."""
        core, divisor = self.products[CORE], max(seconds, 1e-9)
        return Rates(
            seconds=seconds,
            frames=self.frames,
            macs_per_second=self.macs / divisor,
            acs_per_second=self.acs / divisor,
            dense_macs_per_second=self.dense / divisor,
            core_macs_per_second=core.macs / divisor,
            core_acs_per_second=core.acs / divisor,
            element_wise_per_second=self.element_wise / divisor,
            macs_per_frame=self.macs / max(self.frames, 1),
            acs_per_frame=self.acs / max(self.frames, 1),
            macs_per_utterance=self.macs / max(self.utterances, 1),
            acs_per_utterance=self.acs / max(self.utterances, 1),
            nonzero_inputs=self.nonzero_inputs,
            density=self.density,
            density_over_time=self.density_over_time,
            products=self.products,
        )


def _sum_nested(first: list[Any], second: list[Any]) -> list[Any]:
    """Add two nested lists element by element; an empty list counts as zeros."""
    if not first or not second:
        return first or second
    nested = isinstance(first[0], list)
    return [_sum_nested(*pair) if nested else sum(pair) for pair in zip(first, second, strict=True)]

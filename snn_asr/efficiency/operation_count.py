"""The sum of all operations that were counted: multiplications, additions, what was sent, and their rates a second.

operations.py counts them.
"""

from __future__ import annotations

from dataclasses import asdict, astuple, dataclass, field
from typing import Any

INPUT, CORE, HEAD = "input", "core", "head"
TIMELINE = 10  # parts of an utterance in the histogram of density over time


@dataclass
class Products:
    """Multiplications of one kind of product: dense, and those that a zero input leaves to do."""

    dense: int = 0
    macs: int = 0
    acs: int = 0

    def add(self, dense: int, effective: int, additive: bool) -> None:
        """Add products of which ``effective`` are to be done; ``additive`` ones are additions of weights (ACs)."""
        self.dense += dense
        if additive:
            self.acs += effective
        else:
            self.macs += effective


@dataclass
class OperationCount:
    """Totals over everything counted. ``core`` is recurrent and inter-layer products alone.

    ``nonzero`` and ``outputs``, one number a layer, count what it sends: values that are not zero, and all values.
    ``element_wise`` counts the products within units, ``nonzero_inputs`` the features, coded or as they are, that are
    not zero. ``timeline`` is (layers, 2, TIMELINE): non-zero and all outputs in equal parts of the utterances, from the
    first to the last.
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
        """Multiply-accumulates, of input, core and head."""
        return sum(each.macs for each in self.products.values())

    @property
    def acs(self) -> int:
        """Accumulates, of input, core and head."""
        return sum(each.acs for each in self.products.values())

    @property
    def dense(self) -> int:
        """All products, zeros among them: what a network pays that does not look at its events."""
        return sum(each.dense for each in self.products.values())

    @property
    def density(self) -> list[float]:
        """Share of non-zero outputs, one number a layer."""
        return [nonzero / max(total, 1) for nonzero, total in zip(self.nonzero, self.outputs, strict=True)]

    @property
    def density_over_time(self) -> list[list[float]]:
        """Density in TIMELINE equal parts of the utterances, one list a layer."""
        pairs = (zip(*layer, strict=True) for layer in self.timeline)
        return [[nonzero / max(total, 1) for nonzero, total in layer] for layer in pairs]

    def __add__(self, other: OperationCount) -> OperationCount:
        """Both counts together, which may be of different utterances on the same layers, or empty."""
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

    def per_second(self, seconds: float) -> dict[str, object]:
        """JSON values: rates for each second of speech, and the density of each layer."""
        core, divisor = self.products[CORE], max(seconds, 1e-9)
        return {
            "seconds": seconds,
            "frames": self.frames,
            "macs_per_second": self.macs / divisor,
            "acs_per_second": self.acs / divisor,
            "dense_macs_per_second": self.dense / divisor,
            "core_macs_per_second": core.macs / divisor,
            "core_acs_per_second": core.acs / divisor,
            "element_wise_per_second": self.element_wise / divisor,
            "macs_per_frame": self.macs / max(self.frames, 1),
            "acs_per_frame": self.acs / max(self.frames, 1),
            "macs_per_utterance": self.macs / max(self.utterances, 1),
            "acs_per_utterance": self.acs / max(self.utterances, 1),
            "nonzero_inputs": self.nonzero_inputs,
            "density": self.density,
            "density_over_time": self.density_over_time,
            "products": {name: asdict(each) for name, each in self.products.items()},
        }


def _sum_nested(first: list[Any], second: list[Any]) -> list[Any]:
    """Element by element; an empty list is all zeros."""
    if not first or not second:
        return first or second
    nested = isinstance(first[0], list)
    return [_sum_nested(*pair) if nested else sum(pair) for pair in zip(first, second, strict=True)]

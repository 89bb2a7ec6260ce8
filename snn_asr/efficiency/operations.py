"""What inference costs: multiply-accumulates (MACs), accumulates (ACs) and the density of what is sent.

A product with a zero input or a zero weight costs nothing; a product with a binary input is an addition (AC). Per layer
with G gates, H units and D inputs, over the valid frames of an utterance, where no weight is zero:

    effective MACs = G H · nnz(x)  +  G H · nnz(y[0 .. T-2])         the last output is fed back to no frame
    dense MACs     = G H · D T     +  G H · H T

The definitions are NeuroBench's (effective synaptic operations). Batch normalisation folds into the weights after
training and is not charged. Padding never counts.

The convolutions of a front end are products of the input: for each of F' bands of an output frame, a matrix of C' rows
times the C k k values that it sees, zeros beside the edges and before the first frame among the dense.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from snn_asr.network.encoders import Encoder, directions
from snn_asr.network.front_end import Convolution, FrontEnd
from snn_asr.network.masks import valid_frames

INPUT, CORE, HEAD = "input", "core", "head"
TIMELINE = 10  # parts of an utterance in the histogram of density over time


@dataclass
class Products:
    """Multiplications of one kind of product: dense, and those that a zero input leaves to do."""

    dense: int = 0
    macs: int = 0
    acs: int = 0

    def add(self, weights: Tensor, frames: int, events: Tensor, binary: bool) -> None:
        """Products of weights (M, D) over ``frames``; ``events`` (D,) counts the non-zero values of each input."""
        effective = int(((weights != 0).sum(0) * events).sum())
        self.dense += weights.numel() * frames
        if binary:
            self.acs += effective
        else:
            self.macs += effective


@dataclass
class OperationCount:
    """Totals over everything counted. ``core`` is recurrent and inter-layer products alone.

    ``nonzero`` and ``outputs`` count the outputs of each layer; ``element_wise`` the products within units;
    ``timeline`` is (layers, 2, TIMELINE): non-zero and all outputs in equal parts of the utterances, first to last;
    ``authors_macs`` is what the counter of Ponghiran & Roy charges v2, to compare with their figures alone: the input
    of every layer twice, no recurrent product, 8 H a layer and frame. None where another layer has run.
    """

    products: dict[str, Products] = field(default_factory=lambda: {each: Products() for each in (INPUT, CORE, HEAD)})
    element_wise: int = 0
    frames: int = 0
    nonzero: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    timeline: list[list[list[int]]] = field(default_factory=list)
    utterances: int = 0
    authors_macs: int | None = 0

    @property
    def macs(self) -> int:
        return sum(each.macs for each in self.products.values())

    @property
    def acs(self) -> int:
        return sum(each.acs for each in self.products.values())

    @property
    def dense(self) -> int:
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
        authors = None if None in (self.authors_macs, other.authors_macs) else self.authors_macs + other.authors_macs
        products = {
            name: Products(*map(sum, zip(*(astuple(each.products[name]) for each in both), strict=True)))
            for name in self.products
        }
        return OperationCount(
            products, self.element_wise + other.element_wise, self.frames + other.frames,
            *(_sum_nested(getattr(self, name), getattr(other, name)) for name in ("nonzero", "outputs", "timeline")),
            self.utterances + other.utterances, authors,
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
            "authors_macs_per_second": None if self.authors_macs is None else self.authors_macs / divisor,
            "macs_per_frame": self.macs / max(self.frames, 1),
            "acs_per_frame": self.acs / max(self.frames, 1),
            "macs_per_utterance": self.macs / max(self.utterances, 1),
            "acs_per_utterance": self.acs / max(self.utterances, 1),
            "density": self.density,
            "density_over_time": self.density_over_time,
            "products": {name: asdict(each) for name, each in self.products.items()},
        }


def _sum_nested(first: list, second: list) -> list:
    """Element by element; an empty list is all zeros."""
    if not first or not second:
        return first or second
    nested = isinstance(first[0], list)
    return [_sum_nested(*pair) if nested else sum(pair) for pair in zip(first, second, strict=True)]


class Record(NamedTuple):
    """One layer of one forward: ``index`` is its place in the stack, shared by the two directions of a layer.

    ``smoothed``: a leaky integrator stands behind the layer, one multiplication for each drive it feeds and frame.
    ``coder`` is what coded the features (None for features as they are).
    """

    index: int
    layer: nn.Module
    x: Tensor
    lengths: Tensor
    y: Tensor
    smoothed: bool
    coder: nn.Module | None


class Convolved(NamedTuple):
    """One convolution of one forward: ``weights`` (C', D) met D = C k k values ``times`` often; ``events`` (D,) counts
    those that were not zero."""

    weights: Tensor
    times: int
    events: Tensor


@contextmanager
def record_layers(encoder: Encoder, front_end: FrontEnd | None = None) -> Iterator[list[Record | Convolved]]:
    """Within the block, the list holds the records of the last forward, in the order of the layers: those of the
    encoder, behind those of the front end if it is given."""
    records: list[Record | Convolved] = []

    def keep(index: int):
        def hook(layer: nn.Module, given: tuple, result: tuple) -> None:
            records.append(Record(index, layer, given[0], given[1], result[0], encoder.smoothed, encoder.input_coder))

        return hook

    def keep_convolution(layer: Convolution, given: tuple, _: tuple) -> None:
        records.append(_convolved(layer, *given))

    first = encoder if front_end is None else front_end
    handles = [first.register_forward_pre_hook(lambda *_: records.clear())]
    handles += [each.register_forward_hook(keep_convolution) for each in (front_end.layers if front_end else ())]
    for index, layer in enumerate(encoder.layers):
        handles += [each.register_forward_hook(keep(index)) for each in directions(layer)]
    try:
        yield records
    finally:
        for handle in handles:
            handle.remove()


def count_batch(records: list[Record | Convolved], classes: int, total: OperationCount) -> None:
    """Add one recorded forward to ``total``; ``classes`` is the number of the head's outputs.

    A batch too short for a single frame left no records, and costs nothing.
    """
    for each in records:
        if isinstance(each, Convolved):
            total.products[INPUT].add(each.weights, each.times, each.events, binary=False)
            total.authors_macs = None
    records = [each for each in records if isinstance(each, Record)]
    if not records:
        return
    layers = records[-1].index + 1
    total.nonzero = total.nonzero or [0] * layers
    total.outputs = total.outputs or [0] * layers
    total.timeline = total.timeline or [[[0] * TIMELINE, [0] * TIMELINE] for _ in range(layers)]
    lengths, coder = records[-1].lengths, records[0].coder
    frames = int(lengths.sum())
    total.frames += frames
    total.utterances += int((lengths > 0).sum())
    stack = [[each for each in records if each.index == index] for index in range(layers)]
    # Between layers the events count, also where a leaky integrator made them dense: it works on their product.
    events = [_events(records[0].x, lengths), *(torch.cat([_events(each.y, lengths) for each in of]) for of in stack)]
    binary = [coder is not None and coder.binary, *(all(each.layer.binary for each in of) for of in stack)]
    for record in records:
        _count_layer(record, events[record.index], binary[record.index], frames, total)
    if coder is not None:
        total.element_wise += coder.unit_products * records[0].x.shape[-1] * frames
    for index in range(layers):
        total.nonzero[index] += int(events[index + 1].sum())
    head = torch.ones(classes, len(events[-1]), device=lengths.device)
    total.products[HEAD].add(head, frames, events[-1], binary[-1])
    total.element_wise += classes * frames if records[-1].smoothed else 0
    if total.authors_macs is not None:
        total.authors_macs += classes * int(events[-1].sum())


def _count_layer(record: Record, events: Tensor, binary: bool, frames: int, total: OperationCount) -> None:
    """One layer, or one direction of it; ``events`` (D,) are those of its inputs."""
    layer, index = record.layer, record.index
    input_weight, *recurrent_weights = layer.core_weights()
    total.products[CORE if index else INPUT].add(input_weight, frames, events, binary)
    for recurrent_weight in recurrent_weights:
        back = _events(record.y, record.lengths - 1)
        total.products[CORE].add(recurrent_weight, frames, back, layer.binary)
    total.element_wise += layer.unit_products * layer.output_size * frames
    total.element_wise += len(input_weight) * frames if record.smoothed and index else 0
    total.outputs[index] += layer.output_size * frames
    _count_timeline(record, total.timeline[index])
    if not getattr(layer, "counted_by_authors", False):
        total.authors_macs = None
    elif total.authors_macs is not None:
        total.authors_macs += 4 * layer.output_size * int(events.sum()) + 8 * layer.output_size * frames


def _convolved(layer: Convolution, x: Tensor, lengths: Tensor, state: Tensor | None) -> Convolved:
    windows = layer.windows(layer.padded(x, state))  # (B, T', F', C, k, k)
    valid = valid_frames(lengths // layer.time_stride, windows.shape[1])[:, :, None, None]
    kernel = range(layer.kernel)
    events = [((windows[..., i, j] != 0) & valid).sum((0, 1, 2)) for i in kernel for j in kernel]  # (C,) each
    weights = layer.convolution.weight.flatten(1)
    return Convolved(weights, int(valid.sum()) * windows.shape[2], torch.stack(events, dim=1).flatten())


def _count_timeline(record: Record, timeline: list[list[int]]) -> None:
    """Add a layer's outputs to ``timeline`` (2, TIMELINE)."""
    valid = valid_frames(record.lengths, record.y.shape[1])
    part = torch.arange(record.y.shape[1], device=valid.device) * TIMELINE // record.lengths.clamp(min=1).unsqueeze(1)
    sent = (record.y != 0).sum(-1)
    for each in range(TIMELINE):
        chosen = valid & (part == each)
        timeline[0][each] += int(sent[chosen].sum())
        timeline[1][each] += int(chosen.sum()) * record.y.shape[2]


def _events(x: Tensor, lengths: Tensor) -> Tensor:
    """Non-zero values of each input (D,) of x (B, T, D) within the lengths (negative ones count as 0)."""
    return ((x != 0) & valid_frames(lengths, x.shape[1]).unsqueeze(-1)).sum((0, 1))

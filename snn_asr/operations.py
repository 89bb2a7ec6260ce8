"""What inference costs: multiply-accumulates (MACs), accumulates (ACs) and the density of what is sent.

A product with a zero input costs nothing; a product with a binary input is an addition (AC). Per layer with G gates,
H units and D inputs, over the valid frames of an utterance:

    effective MACs = G H · nnz(x)  +  G H · nnz(y[0 .. T-2])         the last output is fed back to no frame
    dense MACs     = G H · D T     +  G H · H T

The definitions are NeuroBench's (effective synaptic operations). Batch normalisation folds into the weights after
training and is not charged. Padding never counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

from torch import Tensor, nn

from snn_asr.encoders import Encoder, directions
from snn_asr.kernels import valid_frames

INPUT, CORE, HEAD = "input", "core", "head"


@dataclass
class Products:
    """Multiplications of one kind of product: dense, and those that a zero input leaves to do."""

    dense: int = 0
    macs: int = 0
    acs: int = 0

    def add(self, fan_out: int, inputs: int, nonzero: int, binary: bool) -> None:
        self.dense += fan_out * inputs
        if binary:
            self.acs += fan_out * nonzero
        else:
            self.macs += fan_out * nonzero


@dataclass
class OperationCount:
    """Totals over everything counted. ``core`` is recurrent and inter-layer products alone.

    ``nonzero`` and ``outputs`` count the outputs of each layer; ``element_wise`` the products within units.
    """

    products: dict[str, Products] = field(default_factory=lambda: {each: Products() for each in (INPUT, CORE, HEAD)})
    element_wise: int = 0
    frames: int = 0
    nonzero: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

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
            "density": self.density,
            "products": {name: asdict(each) for name, each in self.products.items()},
        }


class Record(NamedTuple):
    """One layer of one forward: ``index`` is its place in the stack, shared by the two directions of a layer.

    ``smoothed``: a leaky integrator stands behind the layer, one multiplication for each drive it feeds and frame.
    """

    index: int
    layer: nn.Module
    x: Tensor
    lengths: Tensor
    y: Tensor
    smoothed: bool


@contextmanager
def record_layers(encoder: Encoder) -> Iterator[list[Record]]:
    """Within the block, the list holds the records of the encoder's last forward, in the order of the layers."""
    records: list[Record] = []

    def keep(index: int):
        def hook(layer: nn.Module, given: tuple, result: tuple) -> None:
            records.append(Record(index, layer, given[0], given[1], result[0], encoder.smoothing > 0))

        return hook

    handles = [encoder.register_forward_pre_hook(lambda *_: records.clear())]
    for index, layer in enumerate(encoder.layers):
        handles += [each.register_forward_hook(keep(index)) for each in directions(layer)]
    try:
        yield records
    finally:
        for handle in handles:
            handle.remove()


def count_batch(records: list[Record], classes: int, total: OperationCount) -> None:
    """Add one recorded forward to ``total``; ``classes`` is the number of the head's outputs.

    A batch too short for a single frame left no records, and costs nothing.
    """
    if not records:
        return
    layers = records[-1].index + 1
    total.nonzero = total.nonzero or [0] * layers
    total.outputs = total.outputs or [0] * layers
    frames = int(records[-1].lengths.sum())
    total.frames += frames
    sent = [sum(_nonzero(each.y, each.lengths) for each in records if each.index == index) for index in range(layers)]
    binary = [all(each.layer.binary for each in records if each.index == index) for index in range(layers)]
    for record in records:
        layer, index = record.layer, record.index
        input_weight, *recurrent_weights = layer.core_weights()
        products = total.products[CORE if index else INPUT]
        # Between layers the events count, also where a leaky integrator made them dense: it works on their product.
        nonzero = sent[index - 1] if index else _nonzero(record.x, record.lengths)
        products.add(len(input_weight), record.x.shape[-1] * frames, nonzero, index > 0 and binary[index - 1])
        for recurrent_weight in recurrent_weights:
            back = _nonzero(record.y, record.lengths - 1)
            total.products[CORE].add(len(recurrent_weight), layer.output_size * frames, back, layer.binary)
        total.element_wise += layer.unit_products * layer.output_size * frames
        total.element_wise += len(input_weight) * frames if record.smoothed and index else 0
        total.outputs[index] += layer.output_size * frames
    for index, each in enumerate(sent):
        total.nonzero[index] += each
    outputs = sum(each.layer.output_size for each in records if each.index == layers - 1)
    total.products[HEAD].add(classes, outputs * frames, sent[-1], binary[-1])
    total.element_wise += classes * frames if records[-1].smoothed else 0


def _nonzero(x: Tensor, lengths: Tensor) -> int:
    """Non-zero elements of x (B, T, D) within the lengths (negative ones count as 0)."""
    return int(((x != 0) & valid_frames(lengths, x.shape[1]).unsqueeze(-1)).sum())

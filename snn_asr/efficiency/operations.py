"""Counts the operations of inference: multiply-accumulates (MACs), accumulates (ACs), and the density of what is sent.

A product costs nothing if its input or its weight is zero. A product with a binary input only adds the weight, so it is
an AC; the same holds for an input that is a power of two, which adds a shifted weight. For a layer with G gates, H
units and D inputs, over the T valid frames of an utterance, and if no weight is zero:

    effective MACs = G H · nnz(x)  +  G H · nnz(y[0 .. T-2])         the last output is not fed back to any frame
    dense MACs     = G H · D T     +  G H · H T

nnz counts values that are not zero. If a source sends changes (network/changes.py), nnz counts the changes, because
only their products are added to the sums of the frame before.

These are the definitions of NeuroBench (effective synaptic operations). Batch normalisation is folded into the weights
after training and is not counted. Padding is never counted.

The convolutions of a front end count as products of the input. Each of the F' bands of an output frame is a matrix of
C' rows times the C k k values that it sees; zeros beyond the edges and before the first frame are among the dense ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from snn_asr.efficiency.operation_count import CORE, HEAD, INPUT, TIMELINE, OperationCount, Products
from snn_asr.network.changes import changes
from snn_asr.network.encoders import Encoder, directions
from snn_asr.network.front_end import Convolution, FrontEnd
from snn_asr.network.lengths import Lengths


class Record(NamedTuple):
    """One layer in one forward pass; ``index`` is its place in the stack, the same for both directions of a layer.

    ``smoothed`` says that a leaky integrator follows the layer, which costs one multiplication a frame for each drive
    that the layer feeds. ``coder`` is what coded the features, or None if they are fed as they are.
    """

    index: int  # type: ignore[assignment]  # a tuple has a method of that name
    layer: Any
    x: Tensor
    lengths: Tensor | Lengths
    y: Tensor
    smoothed: bool
    coder: Any

    @property
    def sent(self) -> Tensor:
        """What the layer sends (B, T, H), in the order in which it walked the frames: its outputs, or their changes."""
        return changes(self.y) if self.layer.sends_changes else self.y


class Convolved(NamedTuple):
    """One convolution in one forward pass.

    ``weights`` (C', D) were multiplied ``times`` times by D = C k k values; ``events`` (D,) counts those values that
    were not zero.
    """

    weights: Tensor
    times: int
    events: Tensor


@contextmanager
def record_layers(encoder: Encoder, front_end: FrontEnd | None = None) -> Iterator[list[Record | Convolved]]:
    """Within the block, the yielded list holds the records of the last forward pass, in the order of the layers.

    If ``front_end`` is given, its convolutions come before the layers of the encoder.
    """
    records: list[Record | Convolved] = []

    def keep(index: int) -> Callable[[nn.Module, tuple, tuple], None]:
        def hook(layer: nn.Module, given: tuple, result: tuple) -> None:
            smoothed, coder = encoder.integration_multiplies, encoder.input_coder
            records.append(Record(index, layer, given[0], given[1], result[0], smoothed, coder))

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


def count_batch(records: list[Record | Convolved], head: Tensor, total: OperationCount) -> None:
    """Add one recorded forward pass to ``total``; ``head`` (N, H) are the weights of the head.

    A batch that is too short for a single frame has no records and costs nothing.
    """
    counts = _Counts()
    for each in records:
        if isinstance(each, Convolved):
            counts.products(total.products[INPUT], each.weights, each.times, each.events, additive=False)
    layers = [each for each in records if isinstance(each, Record)]
    if layers:
        _count_layers(layers, head, counts, total)
    counts.read()


class _Counts:
    """Counts on the device, each with a function to call with its value; all are read from the device at once."""

    def __init__(self) -> None:
        self._asked: list[tuple[Tensor, Callable[[list[int]], None]]] = []

    def ask(self, numbers: Tensor, use: Callable[[list[int]], None]) -> None:
        """Register ``use`` to be called with the whole numbers (N,) once they are read."""
        self._asked.append((numbers, use))

    def products(self, of: Products, weights: Tensor, frames: int, events: Tensor, additive: bool) -> None:
        """Register the products of weights (M, D) over ``frames``; ``events`` (D,) counts each input's non-zero values.
        """
        effective = ((weights != 0).sum(0) * events).sum(0, keepdim=True)
        self.ask(effective, lambda found: of.add(weights.numel() * frames, found[0], additive))

    def read(self) -> None:
        if not self._asked:
            return
        numbers = iter(torch.cat([each for each, _ in self._asked]).tolist())
        for asked, use in self._asked:
            use([next(numbers) for _ in range(len(asked))])


def _count_layers(records: list[Record], head: Tensor, counts: _Counts, total: OperationCount) -> None:
    layers = records[-1].index + 1
    total.nonzero = total.nonzero or [0] * layers
    total.outputs = total.outputs or [0] * layers
    total.timeline = total.timeline or [[[0] * TIMELINE, [0] * TIMELINE] for _ in range(layers)]
    lengths, coder = Lengths.of(records[-1].lengths, records[-1].x), records[0].coder
    total.frames += lengths.total
    total.utterances += sum(each > 0 for each in lengths.counts)
    stack = [[each for each in records if each.index == index] for index in range(layers)]
    additive = [coder is not None and coder.additive, *(all(each.layer.additive for each in of) for of in stack)]
    for index, of in enumerate(stack):
        for backwards, each in enumerate(of):
            below = _events_of(stack[index - 1], lengths, bool(backwards)) if index else _features(each, lengths)
            _count_layer(each, below, additive[index], lengths, counts, total)
    if coder is not None:
        total.element_wise += coder.unit_products * records[0].x.shape[-1] * lengths.total
    counts.products(total.products[HEAD], head, lengths.total, _events_of(stack[-1], lengths), additive[-1])
    total.element_wise += len(head) * lengths.total if records[-1].smoothed else 0

    own = [torch.cat([_events(each.sent, lengths.mask) for each in of]).sum() for of in stack]
    sums = torch.stack([_features(records[0], lengths).sum(), *own])

    def use(found: list[int]) -> None:
        total.nonzero_inputs += found[0]
        for index in range(layers):
            total.nonzero[index] += found[index + 1]

    counts.ask(sums, use)


def _count_layer(
    record: Record, events: Tensor, additive: bool, lengths: Lengths, counts: _Counts, total: OperationCount
) -> None:
    """Count one layer, or one direction of it; ``events`` (D,) are those of its inputs."""
    layer, index = record.layer, record.index
    input_weight, *recurrent_weights = layer.core_weights()
    counts.products(total.products[CORE if index else INPUT], input_weight, lengths.total, events, additive)
    for recurrent_weight in recurrent_weights:
        back = _events(record.sent[:, :-1], lengths.mask[:, 1:])
        counts.products(total.products[CORE], recurrent_weight, lengths.total, back, layer.additive)
    total.element_wise += layer.unit_products * layer.output_size * lengths.total
    total.element_wise += len(input_weight) * lengths.total if record.smoothed and index else 0
    total.outputs[index] += layer.output_size * lengths.total
    _count_timeline(record.sent, lengths, counts, total.timeline[index])


def _convolved(
    layer: Convolution, x: Tensor, lengths: Tensor | Lengths, state: Tensor | None
) -> Convolved:
    steps = Lengths.of(lengths, x).divided(layer.time_stride)
    windows = layer.windows(layer.padded(x, state))  # (B, T', F', C, k, k)
    valid, kernel = steps.mask[:, :, None, None], range(layer.kernel)
    events = [((windows[..., i, j] != 0) & valid).sum((0, 1, 2)) for i in kernel for j in kernel]  # (C,) each
    weights = layer.convolution.weight.flatten(1)
    return Convolved(weights, steps.total * windows.shape[2], torch.stack(events, dim=1).flatten())


def _count_timeline(y: Tensor, lengths: Lengths, counts: _Counts, timeline: list[list[int]]) -> None:
    """Add the outputs y (B, T, H) of a layer to ``timeline`` (2, TIMELINE)."""
    frame = torch.arange(y.shape[1], device=y.device)
    part = (frame * TIMELINE // lengths.tensor.clamp(min=1).unsqueeze(1)).clamp(max=TIMELINE - 1).flatten()
    sent, valid = (y != 0).sum(-1) * lengths.mask, lengths.mask.to(torch.int64) * y.shape[2]
    both = torch.stack((sent.flatten(), valid.flatten()))
    sums = both.new_zeros(2, TIMELINE).index_add(1, part, both)

    def use(found: list[int]) -> None:
        for row, numbers in enumerate((found[:TIMELINE], found[TIMELINE:])):
            timeline[row] = [before + each for before, each in zip(timeline[row], numbers, strict=True)]

    counts.ask(sums.flatten(), use)


def _features(record: Record, lengths: Lengths) -> Tensor:
    """Return the number of events (D,) of each feature that the first layer received."""
    changing = record.coder is not None and record.coder.sends_changes
    return _events(changes(record.x) if changing else record.x, lengths.mask)


def _events_of(layer: list[Record], lengths: Lengths, backwards: bool = False) -> Tensor:
    """Return the number of events of each unit (D,) of a layer, of both directions if it has two.

    The layer above may walk the frames forwards or ``backwards``, which matters because changes depend on the order in
    which they are seen. If a leaky integrator made the outputs dense, the events are still those of the layer's own
    outputs, because the integrator works on their products.
    """
    found = []
    for behind, each in enumerate(layer):
        other = each.layer.sends_changes and bool(behind) != backwards
        seen = each._replace(y=lengths.reversed(each.y)) if other else each
        found.append(_events(seen.sent, lengths.mask))
    return torch.cat(found)


def _events(x: Tensor, valid: Tensor) -> Tensor:
    """Return the number of non-zero values of each input (D,) of x (B, T, D), where a frame is ``valid`` (B, T)."""
    return ((x != 0) & valid.unsqueeze(-1)).sum((0, 1))

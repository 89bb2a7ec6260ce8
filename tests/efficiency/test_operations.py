"""Operation counts against a counter that walks every weight and every input, one by one."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from trained_encoders import trained_encoder

from snn_asr.efficiency.operation_count import CORE, HEAD, INPUT, OperationCount, Products
from snn_asr.efficiency.operations import Record, count_batch, record_layers
from snn_asr.network import encoders
from snn_asr.training.loop.pruning import keep_largest, matrices

NAMES = sorted(encoders.ENCODERS)
CASES = [
    *((name, {}) for name in NAMES),
    ("improved_v2", {"bits": 2, "threshold": 0}),
    ("improved_v2", {"smoothing": 0.5}),
    ("improved_v2", {"levels": "powers_of_two", "input_coding": "coder"}),
    ("lif", {"levels": "powers_of_two", "input_coding": "coder", "input_levels": "linear"}),
    ("improved_v2", {"input_coding": "coder"}),
    ("lif", {"input_coding": "coder", "input_bits": 2, "input_threshold": 0}),
    ("gru", {"input_coding": "noise"}),
    ("delta_gru", {"input_coding": "delta", "smoothing": 0.5}),
    ("improved_v2", {"input_coding": "delta", "input_delta_threshold": 1.0}),
]
CLASSES = 3
HEAD_WEIGHT = torch.ones(CLASSES, 4)
LENGTHS = [5, 2, 0, 1]
trained = partial(trained_encoder, input_size=3, hidden_size=4)


def sparse_input(frames: int = 6, size: int = 3) -> torch.Tensor:
    """(rows, frames, size), about half zeros; what stands in the padding is not zero."""
    x = 4 * torch.randn(len(LENGTHS), frames, size)
    x[torch.rand_like(x) < 0.5] = 0
    for row, length in enumerate(LENGTHS):
        x[row, length:] = 7.0
    return x


@torch.no_grad()
def counted(encoder: encoders.Encoder, x: torch.Tensor, lengths: torch.Tensor) -> OperationCount:
    total = OperationCount()
    with record_layers(encoder) as records:
        encoder(x, lengths)
    count_batch(records, torch.ones(CLASSES, encoder.output_size), total)
    return total


class Walker:
    """Counts one multiplication at a time, over utterances without padding."""

    def __init__(self, encoder: encoders.Encoder) -> None:
        self.encoder = encoder
        self.products = {each: Products() for each in (INPUT, CORE, HEAD)}
        self.nonzero, self.outputs = [0] * len(encoder.layers), [0] * len(encoder.layers)

    def multiply(self, products: Products, weights: list[list[float]], vector: list[float], additive: bool) -> None:
        for row in weights:
            for weight, value in zip(row, vector, strict=True):
                products.dense += 1
                if weight != 0 and value != 0 and additive:
                    products.acs += 1
                elif weight != 0 and value != 0:
                    products.macs += 1

    @torch.no_grad()
    def walk(self, x: torch.Tensor) -> None:
        """x (T, D): one utterance."""
        additive = changing = False
        if self.encoder.input_coder is not None:
            coded, _ = self.encoder.input_coder(x.unsqueeze(0), torch.tensor([len(x)]), None)
            x, additive, changing = coded[0], self.encoder.input_coder.additive, self.encoder.input_coder.sends_changes
        given = x
        for index, layer in enumerate(self.encoder.layers):
            sides = []
            for backwards, side in enumerate(encoders.directions(layer)):
                ordered = x.flip(0) if backwards else x
                y, _ = side(ordered.unsqueeze(0), torch.tensor([len(x)]), None)
                received = self.sent(given.flip(0) if backwards else given, changing)
                sent = self.sent(y[0], side.sends_changes)
                self.walk_layer(index, side, received, sent, additive)
                self.nonzero[index] += sum(value != 0 for frame in sent for value in frame)
                sides.append(y[0].flip(0) if backwards else y[0])
            given, side = torch.cat(sides, dim=1), encoders.directions(layer)[0]
            additive, changing = side.additive, side.sends_changes
            self.outputs[index] += given.numel()
            x = self.integrate(given)
        for frame in self.sent(given, changing):
            self.multiply(self.products[HEAD], [[1.0] * len(frame)] * CLASSES, frame, additive)

    def sent(self, values: torch.Tensor, changing: bool) -> list[list[float]]:
        """What goes over the wires for the values (T, D), in this order."""
        if not changing:
            return values.tolist()
        return torch.cat([values[:1], values[1:] - values[:-1]]).tolist()

    def integrate(self, sent: torch.Tensor) -> torch.Tensor:
        """What the next layer sees; products are those of the events, with which the integrator commutes."""
        frames, last, kept = [], torch.zeros(sent.shape[1]), self.encoder.options["smoothing"]
        for frame in sent:
            last = kept * last + (1 - kept) * frame
            frames.append(last)
        return torch.stack(frames)

    def walk_layer(self, index: int, layer, x: list, y: list, additive: bool) -> None:
        from_below, *recurrent = layer.core_weights()
        before = [0.0] * layer.output_size
        for given, sent in zip(x, y, strict=True):
            self.multiply(self.products[CORE if index else INPUT], from_below.tolist(), given, additive)
            for from_before in recurrent:
                self.multiply(self.products[CORE], from_before.tolist(), before, layer.additive)
            before = sent


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_counts_are_those_of_walking_every_weight_and_input(name, options, bidirectional):
    """Also where all matrices are pruned, each to another share: a product with a weight of zero costs nothing."""
    encoder = trained(name, bidirectional, **options)
    x, lengths = sparse_input(), torch.tensor(LENGTHS)
    with torch.no_grad():
        for place, weight in enumerate(matrices(encoder).values()):
            weight.mul_(keep_largest(weight, 0.2 + 0.6 * (place % 3) / 2))
    total = counted(encoder, x, lengths)
    walker = Walker(encoder)
    for row, length in enumerate(LENGTHS):
        if length:
            walker.walk(x[row, :length])
    assert total.products == walker.products
    assert (total.nonzero, total.outputs) == (walker.nonzero, walker.outputs)
    assert total.frames == sum(LENGTHS)
    assert total.macs == sum(each.macs for each in walker.products.values())
    assert total.dense == sum(each.dense for each in walker.products.values())
    sources = [*encoder.one_way_layers, encoder.input_coder]
    assert (total.acs > 0) == any(each.additive for each in sources if each is not None)
    assert [sum(layer[0]) for layer in total.timeline] == total.nonzero
    assert [sum(layer[1]) for layer in total.timeline] == total.outputs
    assert total.density == [part / whole for part, whole in zip(walker.nonzero, walker.outputs, strict=True)]


def test_timeline_is_by_tenths_of_each_utterance():
    """Twenty frames and ten: the events of frames 0 and 1 of the first are in one bin with frame 0 of the second."""
    encoder = encoders.build("improved_v2", 3, 4, 1)
    y = torch.zeros(2, 20, 4)
    y[0, :2], y[0, 19], y[1, 0, :3], y[1, 15] = 1, 1, 1, 1  # the last lies in the padding
    record = Record(0, encoder.layers[0], torch.zeros(2, 20, 3), torch.tensor([20, 10]), y, False, None)
    total = OperationCount()
    count_batch([record], HEAD_WEIGHT, total)
    assert total.timeline == [[[11, *[0] * 8, 4], [12] * 10]]


def test_weights_of_zero_cost_nothing_in_the_head_either():
    encoder, x, lengths = trained("gru"), sparse_input(), torch.tensor(LENGTHS)
    whole, pruned, silent = OperationCount(), OperationCount(), OperationCount()
    half = HEAD_WEIGHT.clone()
    half[:, ::2] = 0
    with record_layers(encoder) as records, torch.no_grad():
        encoder(x, lengths)
    for head, total in ((HEAD_WEIGHT, whole), (half, pruned), (0 * HEAD_WEIGHT, silent)):
        count_batch(records, head, total)
    found = [each.products[HEAD] for each in (whole, pruned, silent)]
    assert len({each.dense for each in found}) == 1
    assert found[0].macs > found[1].macs > found[2].macs == 0


@pytest.mark.parametrize("name", NAMES)
def test_padding_and_company_cost_nothing(name):
    encoder = trained(name)
    x, lengths = sparse_input(), torch.tensor(LENGTHS)
    together, apart = counted(encoder, x, lengths), OperationCount()
    for row, length in enumerate(LENGTHS):
        with record_layers(encoder) as records, torch.no_grad():
            encoder(x[row : row + 1, :length], lengths[row : row + 1])
        count_batch(records, HEAD_WEIGHT, apart)
    assert together == apart


@pytest.mark.parametrize(("name", "core"), [("gru", 9), ("lstm", 12), ("improved_v2", 6), ("ligru", 6)])
def test_published_core_products_a_frame(name, core):
    """Two layers of H units: G H² for each recurrence and G H² between them, G gates."""
    size, frames = 8, 11
    encoder = encoders.build(name, 5, size, 2).eval()
    total = counted(encoder, torch.randn(1, frames, 5), torch.tensor([frames]))
    assert total.products[CORE].dense == core * size**2 * frames
    assert total.products[INPUT].dense == core // 3 * size * 5 * frames
    assert total.products[HEAD].dense == CLASSES * size * frames
    if name in ("gru", "lstm"):  # every output counts, except that nothing is fed back to the first frame
        assert total.products[CORE].macs == core * size**2 * frames - 2 * core // 3 * size**2
        assert total.density == [1.0, 1.0]


def test_silent_inputs_cost_the_input_product_nothing():
    total = counted(trained("gru"), torch.zeros(4, 6, 3), torch.tensor(LENGTHS))
    assert total.products[INPUT].macs == 0
    assert total.products[INPUT].dense > 0


def test_a_batch_without_a_frame_costs_nothing():
    encoder = trained("improved_v2")
    assert counted(encoder, torch.zeros(2, 0, 3), torch.tensor([0, 0])) == OperationCount()
    assert OperationCount().rates(0.0).macs_per_second == 0


def test_records_are_of_the_last_forward_and_the_hooks_go():
    encoder = trained("improved_v2", bidirectional=True)
    with record_layers(encoder) as records:
        encoder(torch.randn(1, 4, 3), torch.tensor([4]))
        encoder(torch.randn(1, 7, 3), torch.tensor([7]))
    assert [(each.index, each.x.shape[1]) for each in records] == [(0, 7), (0, 7), (1, 7), (1, 7)]
    encoder(torch.randn(1, 5, 3), torch.tensor([5]))
    assert len(records) == 4 and all(each.x.shape[1] == 7 for each in records)


def test_rates_for_each_second():
    total = counted(trained("improved_v2"), sparse_input(), torch.tensor(LENGTHS))
    rates = total.rates(0.5)
    assert rates.macs_per_second == 2 * total.macs
    assert rates.dense_macs_per_second == 2 * total.dense
    assert rates.core_macs_per_second == 2 * total.products[CORE].macs
    assert rates.element_wise_per_second == 2 * 1 * 2 * 4 * sum(LENGTHS)  # 1 product a unit, 2 layers of 4 units
    smoothed = counted(trained("improved_v2", smoothing=0.6), sparse_input(), torch.tensor(LENGTHS))
    assert smoothed.element_wise - total.element_wise == (8 + CLASSES) * sum(LENGTHS)  # the drives it integrates
    assert rates.density == total.density and len(total.density) == 2


@pytest.mark.parametrize(("options", "products"), [({}, 2), ({"input_levels": "powers_of_two"}, 0)])
def test_coding_a_feature_multiplies_by_the_scale_and_by_the_unit(options, products):
    x, lengths = sparse_input(), torch.tensor(LENGTHS)
    plain, coded = (
        counted(trained("radlif", input_coding=coding, **options), x, lengths) for coding in ("none", "coder")
    )
    assert coded.element_wise - plain.element_wise == products * 3 * sum(LENGTHS)


@pytest.mark.parametrize(("name", "products"), [
    ("gru", 2), ("lstm", 3), ("bn_gru", 2), ("bn_lstm", 3), ("delta_gru", 2), ("ligru", 1), ("improved_v1", 1),
    ("lif", 1), ("spiking_lstm", 0), ("adaptive_lif", 2), ("rlif", 2), ("adlif", 4), ("radlif", 4), ("hard_rlif", 2),
])
def test_multiplications_inside_a_unit_are_those_that_the_event_engine_takes(name, products):
    total = counted(trained(name), sparse_input(), torch.tensor(LENGTHS))
    assert total.element_wise == products * 2 * 4 * sum(LENGTHS)


@pytest.mark.parametrize("name", ["gru", "lstm", "ligru"])
def test_a_pruned_dense_network_multiplies_by_what_is_left_alone(name):
    """All values are sent: as many products as weights are left, and no product within units less."""
    encoder, frames = trained(name), 6
    x, lengths = torch.randn(1, frames, 3), torch.tensor([frames])
    whole = counted(encoder, x, lengths)
    with torch.no_grad():
        for weight in matrices(encoder).values():
            weight.mul_(keep_largest(weight, 0.75))
    pruned = counted(encoder, x, lengths)
    layers = [each.core_weights() for each in encoder.layers]
    left = [[int((weight != 0).sum()) for weight in own] for own in layers]
    assert sum(map(sum, left)) == sum(round(0.25 * each.numel()) for own in layers for each in own)
    if name != "ligru":  # its units may be silent
        assert pruned.products[INPUT].macs == left[0][0] * frames
        fed_back = (left[0][1] + left[1][1]) * (frames - 1)
        assert pruned.products[CORE].macs == left[1][0] * frames + fed_back
        assert pruned.products[HEAD] == whole.products[HEAD]
    for kind in (INPUT, CORE, HEAD):
        assert pruned.products[kind].dense == whole.products[kind].dense
    assert pruned.element_wise == whole.element_wise > 0

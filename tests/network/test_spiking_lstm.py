"""The spiking LSTM: sequences and gradients worked out by hand, exactness of the backends, options of the layer."""

from __future__ import annotations

import math

import pytest
import torch

from snn_asr.errors import UsageError
from snn_asr.network import encoders
from snn_asr.network.cells import spiking_lstm
from snn_asr.network.kernels import load, run_sequence
from snn_asr.network.layers.folding import fold
from snn_asr.network.layers.spiking_lstm import SpikingLstmLayer
from snn_asr.network.surrogates import SURROGATES, choose
from snn_asr.training.recipes import recipe

BACKENDS = ["reference", "cpu"]
VARIANTS = [("thresholded", each) for each in spiking_lstm.CELL_GRADIENTS] + [("kept", "straight")]
WIDTHS = (4.0, 0.3, 1.5)  # gates, candidate, cell


def parameters(recurrent: torch.Tensor, cell: str, cell_gradient: str = "straight", threshold: float = 0.1):
    slopes = (choose("gaussian", width) for width in WIDTHS)
    return spiking_lstm.Parameters(recurrent, threshold, cell, cell_gradient, *slopes)


def run(drive: torch.Tensor, given: spiking_lstm.Parameters, backend: str, lengths=None):
    state = spiking_lstm.initial_state(len(drive), drive.shape[-1] // 4, given, drive)
    lengths = torch.full((len(drive),), drive.shape[1]) if lengths is None else lengths
    return run_sequence(spiking_lstm, drive, lengths, state, given, backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("cell", "cells", "outputs"),
    [
        ("thresholded", [1, 1, 1, 1, 0, 0, 1], [1, 0, 1, 1, 0, 0, 1]),
        ("kept", [1, 2, 3, 3, 0, 0, 1], [1, 0, 3, 3, 0, 0, 1]),
    ],
)
def test_gates_select_and_a_kept_cell_goes_on_counting(backend, cell, cells, outputs):
    opened = ["i g o", "f i g", "f i g o", "f i o", "i o", "f g o", "f i g o"]
    drive = torch.tensor([[0.2 if gate in each.split() else -0.3 for gate in "fiog"] for each in opened])
    sent, final, states = run(drive.unsqueeze(0), parameters(torch.zeros(4, 1), cell), backend)
    assert sent.flatten().tolist() == outputs
    assert states.cell.flatten().tolist() == cells
    assert (final.cell.item(), final.output.item()) == (cells[-1], outputs[-1])


@pytest.mark.parametrize("backend", BACKENDS)
def test_outputs_come_back_through_u_and_the_threshold_itself_does_not_fire(backend):
    """Unit 0 fires at the first frame and then falls silent; unit 1 sits at θ and needs the least from unit 0."""
    recurrent = torch.zeros(8, 2)
    recurrent[[1, 3, 5, 7], 0] = 2.0**-10
    drive = torch.full((1, 3, 8), 0.125)
    drive[0, 0, ::2] = 1.0
    sent, _, _ = run(drive, parameters(recurrent, "thresholded", threshold=0.125), backend)
    assert sent[0].tolist() == [[1, 0], [0, 1], [0, 0]]


def gaussian(u: float, width: float) -> float:
    return math.exp(-u * u / width) / math.sqrt(math.pi * width)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("cell", "cell_gradient"), VARIANTS)
def test_each_path_through_the_cell_has_its_own_derivative(backend, cell, cell_gradient):
    """A cell set at frame 0, kept and sent at frame 1: the gradient of that output, by hand."""
    drive = torch.tensor([[[-0.4, 0.5, -0.6, 0.2], [0.7, -0.2, 0.3, 0.4]]], dtype=torch.float64, requires_grad=True)
    given = parameters(torch.zeros(4, 1, dtype=torch.float64), cell, cell_gradient)
    sent, _, _ = run(drive, given, backend)
    assert sent.flatten().tolist() == [0, 1]
    (gradient,) = torch.autograd.grad(sent[0, 1, 0], drive)
    through = 1.0 if cell == "kept" else gaussian(1 - 0.1, WIDTHS[2])
    output = through if cell_gradient == "speech" else 1.0
    memory = through if cell_gradient == "surrogate" else 1.0
    slopes = [[gaussian(u - 0.1, WIDTHS[k == 3]) for k, u in enumerate(frame)] for frame in drive[0].tolist()]
    now, before = output * through, output * memory * through
    wanted = [
        [0, before * slopes[0][1], 0, before * slopes[0][3]],  # through i and g; no cell to forget yet, nothing sent
        [now * slopes[1][0], now * slopes[1][1], slopes[1][2], 0],  # through f, i, o; the candidate is shut out
    ]
    torch.testing.assert_close(gradient[0], torch.tensor(wanted, dtype=torch.float64))


@pytest.mark.parametrize("threshold", [0.1, 0.125])
@pytest.mark.parametrize(("cell", "cell_gradient"), VARIANTS)
def test_backends_agree_bit_for_bit_where_sums_are_exact(cell, cell_gradient, threshold):
    """Weights and drives on a dyadic grid, cells and outputs whole numbers: every sum is exact in any order."""
    torch.manual_seed(5)
    size, lengths = 13, torch.tensor([29, 7, 0, 28])
    recurrent = (torch.randint(-4, 5, (4 * size, size)) / 16.0).requires_grad_()
    drive = (torch.randint(-16, 17, (4, 29, 4 * size)) / 16.0).requires_grad_()
    results, gradients, weight = [], [], torch.randn(4, 29, size)
    for backend in BACKENDS:
        sent, final, _ = run(drive, parameters(recurrent, cell, cell_gradient, threshold), backend, lengths)
        results.append((sent, *final))
        gradients.append(torch.autograd.grad((sent * weight).sum(), (drive, recurrent)))
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))
    values = set(results[0][0].unique().tolist())
    assert values == {0, 1} if cell == "thresholded" else {0, 1, 2} <= values
    for got, wanted in zip(*gradients, strict=True):
        assert wanted.any()
        assert (got - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@pytest.mark.parametrize("backend", BACKENDS)
def test_sums_are_kept_as_they_were_compared(backend):
    """With θ at one of the sums of frame 1, the next rounding would open that gate for the backward alone."""
    torch.manual_seed(7)
    size = 65
    drive, recurrent = torch.randn(1, 5, 4 * size), torch.randn(4 * size, size) / 8
    drive[:, 0] = 10 * drive[:, 0].sign()  # outputs of frame 0 that no θ between -1 and 1 changes
    start = spiking_lstm.initial_state(1, size, parameters(recurrent, "kept"), drive)
    forward, lengths = load(backend, spiking_lstm).forward, torch.tensor([5])
    sums = forward(drive, lengths, start, parameters(recurrent, "kept")).sums[:, 1]
    for threshold in sums[sums.abs() < 0.9].tolist()[:40]:
        given = parameters(recurrent, "kept", threshold=threshold)
        trace, state = forward(drive, lengths, start, given), start
        for n in range(5):
            _, state = spiking_lstm.fire(trace.sums[:, n], state, given)
            assert torch.equal(state.cell, trace.states.cell[:, n])
            assert torch.equal(state.output, trace.states.output[:, n])


@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_every_surrogate_derivative_is_compiled(name, dtype):
    torch.manual_seed(11)
    size, options = 9, {"area_width": 0.7} if name == "gaussian" else {}
    slopes = [choose(name, width, **options) for width in WIDTHS]
    recurrent = (torch.randn(4 * size, size, dtype=dtype) / 3).requires_grad_()
    given = spiking_lstm.Parameters(recurrent, 0.1, "thresholded", "surrogate", *slopes)
    drive = torch.randn(3, 40, 4 * size, dtype=dtype).requires_grad_()
    found = [torch.autograd.grad(run(drive, given, each)[0].square().sum(), (drive, recurrent)) for each in BACKENDS]
    for wanted, got in zip(*found, strict=True):
        assert wanted.any()
        assert (got - wanted).abs().max() <= (1e-5 if dtype == torch.float32 else 1e-12) * wanted.abs().max()


def test_a_derivative_that_is_not_compiled_is_refused():
    given = parameters(torch.zeros(4, 1, requires_grad=True), "kept")._replace(gate_slope=torch.ones_like)
    sent = run(torch.ones(1, 2, 4), given, "cpu")[0]
    with pytest.raises(TypeError, match="only the derivatives of surrogates.choose"):
        sent.sum().backward()


@pytest.mark.parametrize("preset", ["speech", "characters", "images"])
def test_presets_are_the_published_gaussians(preset):
    given = SpikingLstmLayer(3, 2, surrogates=preset).cell_parameters()
    u = torch.tensor(0.5, dtype=torch.float64)
    found = [float(slope(u)) for slope in (given.gate_slope, given.candidate_slope, given.cell_slope)]
    wide, narrow = math.exp(-0.25 / 4) / math.sqrt(4 * math.pi), math.exp(-0.25 / 0.3) / math.sqrt(0.3 * math.pi)
    flat = math.exp(-0.25) / math.sqrt(0.3 * math.pi)
    assert found == pytest.approx([narrow, flat, flat] if preset == "images" else [wide, narrow, wide])
    assert given.threshold == 0.1


def test_initial_weights_have_the_published_deviation():
    torch.manual_seed(0)
    layer = SpikingLstmLayer(100, 200, normalize=False, recurrent_gain=0.5)
    deviation = math.sqrt(2 / 300)
    for weight, wanted in ((layer.input_weight, deviation), (layer.recurrent_weight, deviation / 2)):
        assert weight.std().item() == pytest.approx(wanted, rel=0.02)
        assert weight.mean().abs().item() < 0.02 * wanted
        assert weight.abs().max().item() > 3.5 * wanted  # a normal distribution has tails, a uniform one none
    assert layer.normalization is None and not layer.bias.any()
    assert SpikingLstmLayer(3, 2).bias is None


def test_a_bias_shifts_the_drive_where_nothing_is_normalised():
    layer = SpikingLstmLayer(3, 2, normalize=False).eval()
    x, lengths = torch.zeros(1, 4, 3), torch.tensor([3])
    assert not layer(x, lengths)[0].any()
    with torch.no_grad():
        layer.bias.fill_(5.0)
        layer.recurrent_weight.zero_()
    assert layer(x, lengths)[0][0].tolist() == [[1, 1]] * 3 + [[0, 0]]


def trained(backend: str, layer: SpikingLstmLayer, x: torch.Tensor, lengths: torch.Tensor, state=None):
    """Outputs, state, running statistics and all gradients of a training step, with the weights of ``layer``."""
    twin = SpikingLstmLayer(
        x.shape[-1], layer.output_size, normalize=layer.normalization is not None, dropout=0.0, backend=backend
    ).to(x.dtype)
    twin.load_state_dict(layer.state_dict())
    x = x.clone().requires_grad_()
    sent, after = twin(x, lengths, state)
    weight = torch.randn(sent.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1))
    (sent * weight).sum().backward()
    return [sent.detach(), *after, *twin.buffers()], [x.grad, *(each.grad for each in twin.parameters())]


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("lengths", [[30, 30, 30], [30, 11, 0]], ids=str)
def test_a_training_step_folds_the_normalisation_and_changes_nothing(normalize, lengths):
    """The compiled layer keeps no drive; the reference's is torch's product, batch normalisation and sequence."""
    torch.manual_seed(9)
    layer, x = SpikingLstmLayer(7, 70, normalize=normalize).double(), 3 + torch.randn(3, 30, 7, dtype=torch.float64)
    with torch.no_grad():
        for each in layer.parameters():
            each += torch.randn_like(each) / 10
    state = spiking_lstm.State(*torch.randint(0, 2, (2, 3, 70)).double())
    (values, gradients), (wanted, wanted_gradients) = (
        trained(each, layer, x, torch.tensor(lengths), state) for each in ("cpu", "reference")
    )
    assert 0.05 < wanted[0].mean() < 0.5
    assert all(torch.equal(*pair) for pair in zip(values[:3], wanted[:3], strict=True))
    for got, each in zip(values[3:] + gradients, wanted[3:] + wanted_gradients, strict=True):
        torch.testing.assert_close(got, each, rtol=1e-9, atol=1e-10)


def test_padding_reaches_nothing_in_a_training_step():
    layer, x, lengths, found = SpikingLstmLayer(5, 20), torch.randn(2, 12, 5), torch.tensor([12, 4]), []
    for filler in (0.0, math.nan):
        x[1, 4:] = filler
        values, gradients = trained("cpu", layer, x, lengths)
        found.append(values + gradients)
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


def test_features_far_from_zero_are_normalised_as_well():
    """Variances come from the covariance of centred frames: x² itself has no digits left for them in float32."""
    torch.manual_seed(4)
    x, lengths = 1000 + torch.randn(2, 50, 6), torch.tensor([50, 50])
    weight, normalization = torch.randn(8, 6), torch.nn.BatchNorm1d(8)
    folded, bias = fold(x, lengths, weight, normalization)
    found = x.double().flatten(0, 1) @ folded.double().T + bias.double()
    exact = torch.nn.BatchNorm1d(8).double()(x.double().flatten(0, 1) @ weight.double().T)
    assert (found.std(0) - exact.std(0)).abs().max() < 1e-5
    assert (found - exact).abs().max() < 2e-3  # b' is some thousand, in float32
    with pytest.raises(ValueError, match="at least two valid frames"):
        fold(x, torch.tensor([1, 0]), weight, normalization)


def test_a_second_backward_is_refused_for_the_sums_are_gone():
    sent, _ = SpikingLstmLayer(3, 4, backend="cpu")(torch.randn(2, 6, 3), torch.tensor([6, 6]))
    sent.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        sent.sum().backward()


def test_dropout_is_one_mask_a_sequence_outside_of_the_recurrence():
    torch.manual_seed(2)
    layer, plain = SpikingLstmLayer(6, 40, dropout=0.5), SpikingLstmLayer(6, 40, dropout=0.0)
    plain.load_state_dict(layer.state_dict())
    x, lengths = torch.randn(3, 25, 6), torch.tensor([25, 25, 11])
    (dropped, state), (whole, wanted) = layer(x, lengths), plain(x, lengths)
    assert all(torch.equal(*pair) for pair in zip(state, wanted, strict=True))
    active = whole.any(dim=1)
    left = dropped.any(dim=1)
    assert 0.3 < (left & active).sum() / active.sum() < 0.7
    assert torch.equal(dropped, 2 * whole * left.unsqueeze(1))


def test_activity_is_the_mean_output_over_valid_frames():
    layer = SpikingLstmLayer(3, 2)
    outputs = torch.tensor([[[1.0, 0], [1, 1], [0, 1]], [[1, 1], [0, 0], [0, 0]]], requires_grad=True)
    activity = layer.activity(outputs, torch.tensor([3, 1]))
    assert activity.item() == 6 / 8
    assert torch.equal(torch.autograd.grad(activity, outputs)[0], torch.full_like(outputs, 1 / 8))
    assert layer.activity(torch.zeros(1, 2, 2), torch.tensor([0])).item() == 0


def test_binary_outputs_are_additions_and_no_unit_multiplies():
    thresholded, kept = SpikingLstmLayer(3, 2), SpikingLstmLayer(3, 2, cell="kept")
    assert (thresholded.binary, kept.binary) == (True, False)
    assert thresholded.unit_products == kept.unit_products == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": "thresholdet"}, "did you mean 'thresholded'"),
        ({"cell_gradient": "strait"}, "did you mean 'straight'"),
        ({"surrogates": "image"}, "did you mean 'images'"),
        ({"cell": "kept", "cell_gradient": "surrogate"}, "a kept cell has none; choose straight"),
        ({"threshold": 1.0}, r"threshold=1.0 must lie in \[0, 1\)"),
        ({"threshold": -0.1}, "threshold=-0.1"),
        ({"threshold": math.nan}, "threshold=nan"),
        ({"recurrent_gain": -1.0}, "recurrent_gain=-1.0 must not be negative"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"bits": 2}, "unknown option of encoder spiking_lstm 'bits'"),
    ],
)
def test_mistakes_are_one_line(options, message):
    with pytest.raises(UsageError, match=message):
        encoders.build("spiking_lstm", 3, 2, 1, **options)


def test_the_recipe_block_builds_the_encoder_it_describes():
    given = {"bidirectional": True, "dropout": 0.3, "cell": "kept", "normalize": False, "firing_threshold": 0.2}
    chosen = recipe.load("FSDD", {"encoder": "spiking_lstm", **given})
    encoder = encoders.build("spiking_lstm", 3, 4, 2, **chosen.model.encoder_options)
    layer = encoder.layers[1].directions[0]
    assert (layer.dropout, layer.binary, layer.normalization) == (0.3, False, None)
    assert layer.cell_parameters().threshold == 0.2
    assert encoder.options["smoothing"] == 0.6 and encoder.output_size == 8

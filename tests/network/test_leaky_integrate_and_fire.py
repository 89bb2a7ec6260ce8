"""The adaptive LIF family against sequences worked by hand, and what its layer keeps to: intervals, diagonal, rates."""

from __future__ import annotations

import math

import pytest
import torch
from kernel_cases import CASES, Problem, problem, run

from snn_asr.errors import UsageError
from snn_asr.network import encoders
from snn_asr.network.cells import leaky_integrate_and_fire
from snn_asr.network.cells.leaky_integrate_and_fire import Parameters
from snn_asr.network.kernels import run_sequence
from snn_asr.network.layers.leaky_integrate_and_fire import (
    ADAPTATION_DECAYS,
    COUPLINGS,
    DECAYS,
    JUMPS,
    LeakyIntegrateAndFireLayer,
)
from snn_asr.network.surrogates import choose

BACKENDS = ["reference", "cpu"]
MEMBERS = {
    "LIF": {}, "adLIF": {"adaptive": True}, "RLIF": {"recurrent": True},
    "RadLIF": {"adaptive": True, "recurrent": True},
}
INTERVALS = {"decay": DECAYS, "adaptation_decay": ADAPTATION_DECAYS, "coupling": COUPLINGS, "jump": JUMPS}

# Drives 4, 1, 1, 3 with α = β = a = 1/2 and b = V = 1: potentials and adaptations frame by frame.
BY_HAND = {
    "LIF": ([2, 1, 1, 2], [], [1, 0, 0, 1]),  # a potential of 1 is not above the threshold
    "adLIF": ([2, 0, 0, 1.25], [0, 2, 1, 0.5], [1, 0, 0, 1]),
    "RLIF": ([2, 1.5, 1.25, 2.125], [], [1, 1, 1, 1]),
    "RadLIF": ([2, 0.5, 0.125, 1.21875], [0, 2, 1.25, 0.6875], [1, 0, 0, 1]),
}


def parameters(member: str, size: int = 1, dtype=torch.float32) -> Parameters:
    half, one = torch.full((size,), 0.5, dtype=dtype), torch.ones(size, dtype=dtype)
    flags = MEMBERS[member]
    adaptation = (half, half, one) if "adaptive" in flags else (None, None, None)
    weights = torch.ones(size, size, dtype=dtype) if "recurrent" in flags else None
    return Parameters(half, *adaptation, weights, choose("boxcar", 0.5))


def layer(member: str = "RadLIF", **options) -> LeakyIntegrateAndFireLayer:
    torch.manual_seed(0)
    return LeakyIntegrateAndFireLayer(5, 12, **MEMBERS[member], **{"dropout": 0.0} | options)


def put_outside(made: LeakyIntegrateAndFireLayer) -> None:
    """Parameters of the first two neurons below and above their intervals."""
    for name in INTERVALS:
        getattr(made, name).data[:2] = torch.tensor([-7.0, 7.0])


def descend(made: LeakyIntegrateAndFireLayer, loss: torch.Tensor, rate: float) -> None:
    """A step of sign descent with weight decay: what Adam does, without seconds to import an optimizer."""
    made.zero_grad()
    loss.backward()
    for each in made.parameters():
        each.data -= rate * (each.grad.sign() + 0.1 * each.data)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("member", MEMBERS)
def test_four_frames_of_one_neuron_worked_by_hand(member, backend):
    given, drive = parameters(member), torch.tensor([4.0, 1.0, 1.0, 3.0]).reshape(1, 4, 1)
    state = leaky_integrate_and_fire.initial_state(1, 1, given, drive)
    outputs, final, states = run_sequence(leaky_integrate_and_fire, drive, torch.tensor([4]), state, given, backend)
    found = (states.potential, states.adaptation, outputs)
    assert tuple(each.flatten().tolist() for each in found) == BY_HAND[member]
    assert [each.flatten().tolist() for each in final] == [each[-1:] for each in BY_HAND[member]]


@pytest.mark.parametrize("member", MEMBERS)
def test_backends_agree_bit_for_bit_where_sums_are_exact(member):
    """Halvings and a dyadic grid: in float64, 21 frames stay exact in any order."""
    torch.manual_seed(1)
    size, given = 13, parameters(member, 13, torch.float64)
    drive = torch.randint(-32, 48, (4, 21, size)).double() / 8
    if given.recurrent is not None:
        given = given._replace(recurrent=torch.randint(-8, 9, (size, size)).double() / 16)
    state = leaky_integrate_and_fire.initial_state(4, size, given, drive)
    problem = Problem(leaky_integrate_and_fire, drive, torch.tensor([21, 5, 0, 20]), state, given)
    results = [run(problem, each) for each in BACKENDS]
    assert torch.equal(results[0][0], results[1][0])
    assert 0.05 < results[0][0].mean() < 0.95
    assert all(torch.equal(*pair) for pair in zip(results[0][1], results[1][1], strict=True))


@pytest.mark.parametrize("case", [each for each in CASES if "LIF boxcar" in each])
def test_gradients_agree_in_float32(case):
    given = problem(case, 3, 20, 24, seed=1, dtype=torch.float32)
    weight, outputs = torch.randn(3, 20, 24), [run(given, each)[0] for each in BACKENDS]
    assert torch.equal(*outputs) and outputs[0].any()
    found = [torch.autograd.grad((each * weight).sum(), given.trained) for each in outputs]
    for got, wanted in zip(*found, strict=True):
        assert (got - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@pytest.mark.parametrize("stable", [True, False])
def test_parameters_start_inside_the_published_intervals_and_are_held_there(stable):
    made = layer(stable=stable)
    time_constants = [-1 / math.log(each) for each in DECAYS + ADAPTATION_DECAYS]
    assert time_constants == pytest.approx([5, 25, 30, 120])
    for name, (low, high) in INTERVALS.items():
        value = getattr(made, name).data
        lowest = made.adaptation_decay.data - 1 if stable and name == "coupling" else torch.full((12,), low)
        assert ((lowest <= value) & (value <= high)).all()
        assert value.max() - value.min() > 0.5 * (high - lowest.min())
        assert torch.equal(getattr(made.cell_parameters(), name), value)
    put_outside(made)
    bounds = {name: getattr(made.cell_parameters(), name)[:2].tolist() for name in INTERVALS}
    assert bounds.pop("coupling") == pytest.approx([ADAPTATION_DECAYS[0] - 1 if stable else -1, 1])
    assert bounds == {name: pytest.approx(each) for name, each in INTERVALS.items() if name != "coupling"}


def test_outside_its_interval_a_parameter_gets_no_gradient():
    made = layer(surrogate="straight_through")
    put_outside(made)
    made(4 * torch.randn(3, 20, 5), torch.tensor([20, 20, 20]))[0].sum().backward()
    for name in INTERVALS:
        gradient = getattr(made, name).grad
        assert not gradient[:2].any() and gradient[2:].any()


def test_stable_neurons_stay_bounded_and_published_ones_run_away_without_spoiling_the_gradients():
    torch.manual_seed(0)
    x, lengths = torch.randn(2, 900, 5), torch.tensor([900, 700])
    largest = {}
    for stable in (True, False):
        made = layer("adLIF", stable=stable)
        made.coupling.data.fill_(-1.0)
        outputs, state = made(x, lengths)
        (outputs * torch.randn_like(outputs)).sum().backward()
        assert all(each.grad.isfinite().all() for each in made.parameters())
        assert outputs.any() and set(outputs.unique().tolist()) == {0, 1}
        largest[stable] = float(state.potential.abs().max())
    assert largest[True] < 1e3 and largest[False] > 1e30


def test_the_diagonal_of_the_recurrent_weights_stays_zero():
    made = layer("RLIF")
    orthogonal = made.recurrent_weight.detach().clone()
    x, lengths = 4 * torch.randn(3, 20, 5), torch.tensor([20, 20, 20])
    for _ in range(4):
        descend(made, made(x, lengths)[0].sum(), rate=0.1)
    others = ~torch.eye(12, dtype=torch.bool)
    assert not made.recurrent_weight.diagonal().any()
    assert (made.recurrent_weight != orthogonal)[others].all()
    before = made.eval()(x, lengths)[0]
    made.recurrent_weight.data.fill_diagonal_(50.0)  # whatever comes to stand there is not used
    assert torch.equal(made(x, lengths)[0], before)
    assert not made.cell_parameters().recurrent.diagonal().any()


def test_recurrent_weights_start_orthogonal_but_for_the_diagonal():
    weights = LeakyIntegrateAndFireLayer(5, 200, recurrent=True).recurrent_weight.detach()
    torch.testing.assert_close(weights @ weights.T, torch.eye(200), atol=0.25, rtol=0)


def test_regulariser_is_for_rates_below_a_hundredth_and_above_a_half():
    outputs = torch.zeros(2, 8, 3)
    outputs[0, :6, 0], outputs[0, :3, 1] = 1, 1  # rates 6/8, 3/8, 0 over the eight valid frames
    outputs.requires_grad_()
    penalty = layer().activity(outputs, torch.tensor([6, 2]))
    assert penalty.item() == pytest.approx(0.5 * (0.25 + 0.0 + 0.01) / 3)
    penalty.backward()
    assert torch.equal(outputs.grad.sign(), torch.tensor([1.0, 0.0, -1.0]).expand(2, 8, 3))
    assert float(layer().activity(torch.zeros(2, 4, 3), torch.tensor([0, 0]))) == pytest.approx(0.5 * 0.01)


def test_regulariser_wakes_silent_neurons():
    made = layer("LIF", drive_gain=1.0, surrogate="atan")
    x, lengths, silent = torch.randn(4, 30, 5), torch.full((4,), 30), []
    for _ in range(25):
        outputs, _ = made(x, lengths)
        silent.append(int((outputs.sum((0, 1)) == 0).sum()))
        descend(made, made.activity(outputs, lengths), rate=0.05)
    assert silent[0] >= 8 and silent[-1] == 0


def test_dropout_is_outside_of_the_recurrence_and_keeps_the_mean_rate():
    dropped, whole = layer(dropout=0.5), layer(dropout=0.0)
    x, lengths = 4 * torch.randn(1, 30, 5).expand(400, -1, -1), torch.full((400,), 30)
    outputs, expected = dropped(x, lengths)[0], whole(x, lengths)[0]
    assert set(outputs.unique().tolist()) == {0, 2} and set(expected.unique().tolist()) == {0, 1}
    sent = outputs.sum(1) != 0
    assert torch.equal(outputs, 2 * expected * sent.unsqueeze(1))  # all of a row's neuron or nothing
    torch.testing.assert_close(outputs.mean((0, 1)), expected.mean((0, 1)), atol=0.05, rtol=0.15)
    assert set(dropped.eval()(x[:2], lengths[:2])[0].unique().tolist()) <= {0, 1}


def test_names_are_the_flags_of_one_layer():
    names = {"adaptive_lif": "LIF", "adlif": "adLIF", "rlif": "RLIF", "radlif": "RadLIF"}
    x, lengths = torch.randn(2, 9, 5), torch.tensor([9, 4])
    for name, member in names.items():
        built = []
        for each, options in ((name, {}), ("adaptive_lif", MEMBERS[member])):
            torch.manual_seed(2)
            built.append(encoders.build(each, 5, 8, 2, dropout=0.0, **options))
        assert torch.equal(built[0](x, lengths)[0], built[1](x, lengths)[0])
        assert list(built[0].state_dict()) == list(built[1].state_dict())
        made = built[0].layers[0]
        assert (made.coupling is not None, made.recurrent_weight is not None) == ("ad" in member, "R" in member)
        assert made.binary and made.unit_products == (4 if "ad" in member else 2)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("adaptive_lif", {"surrogate": "boxcat"}, "did you mean 'boxcar'"),
        ("rlif", {"surrogate_width": 0.0}, "width 0.0 .* must be positive"),
        ("adlif", {"drive_gain": 0.0}, "drive_gain=0.0 must be positive"),
        ("radlif", {"adaptive": False}, "unknown option of encoder radlif 'adaptive'"),
        ("adaptive_lif", {"adaptiv": True}, "did you mean 'adaptive'"),
        ("adlif", {"dropout": 1.0}, "dropout"),
    ],
)
def test_mistakes_are_named(name, options, message):
    with pytest.raises(UsageError, match=message):
        encoders.build(name, 4, 4, 1, **options)

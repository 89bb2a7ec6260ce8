"""Where the compiled kernels may differ from the reference: nowhere on dyadic numbers, in float32 by rounding alone."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import CASES, Problem, problem, run

from snn_asr.network.cells import conventional, delta_gru, gated, spiking_lstm
from snn_asr.network.cells import leaky_integrate_and_fire as leaky
from snn_asr.network.coder import Coder
from snn_asr.network.kernels.reference import walk
from snn_asr.network.surrogates import choose

CODER = Coder(range=4.0, scale=8.0, unit=0.125, threshold=3)  # a power of two as unit: what is sent is dyadic too
POWERS = Coder(range=4.0, scale=8.0, unit=0.125, threshold=3, powers=True)
NEAR = 1e-5  # of a level, relative to what a membrane is compared with


def dyadic(*shape: int, steps: int = 8, unit: float = 1 / 16) -> torch.Tensor:
    return torch.randint(-steps, steps + 1, shape, dtype=torch.float64) * unit


def recurrent_gates(batch: int, frames: int, size: int, candidate: str, coder: Coder = CODER):
    """The forget gate is 0, 1/2 or 1."""
    recurrent, drive = dyadic(2 * size, size), dyadic(batch, frames, 2 * size, steps=32)
    recurrent[:size] = 0
    drive[..., :size] = dyadic(batch, frames, size, steps=1, unit=1024.0)
    return gated, drive, gated.Parameters(recurrent, None, coder, candidate)


def shifting_gates(batch: int, frames: int, size: int):
    """What the gate lets in is a power of two down to 1/8, whatever its drive."""
    cell, drive, parameters = recurrent_gates(batch, frames, size, "clamp", POWERS)
    drive[..., :size] = dyadic(batch, frames, size, steps=32)
    return cell, drive, parameters._replace(shifting=True)


def conventional_neurons(batch: int, frames: int, size: int):
    parameters = conventional.Parameters(torch.full((size,), 0.5).double(), None, CODER)
    return conventional, dyadic(batch, frames, size, steps=32), parameters


def long_short(batch: int, frames: int, size: int, cell: str):
    slopes = (choose("gaussian", 1.0),) * 3
    parameters = spiking_lstm.Parameters(dyadic(4 * size, size), 0.1, cell, "straight", *slopes)
    return spiking_lstm, dyadic(batch, frames, 4 * size, steps=32), parameters


def adaptive(batch: int, frames: int, size: int):
    half = torch.full((size,), 0.5).double()
    recurrent = dyadic(size, size, steps=16)
    parameters = leaky.Parameters(half, half, -half / 4, half, recurrent, choose("boxcar", 0.5))
    return leaky, dyadic(batch, frames, size, steps=64), parameters


DRAWS = {
    "v2 relu": partial(recurrent_gates, candidate="relu"), "v2 clamp": partial(recurrent_gates, candidate="clamp"),
    "v2 powers": partial(recurrent_gates, candidate="clamp", coder=POWERS), "v2 shifting": shifting_gates,
    "lif": conventional_neurons,
    "spiking_lstm": partial(long_short, cell="thresholded"), "spiking_lstm kept": partial(long_short, cell="kept"),
    "RadLIF": adaptive,
}


@settings(max_examples=30)
@given(
    name=st.sampled_from(sorted(DRAWS)), batch=st.integers(1, 4), frames=st.integers(1, 10), size=st.integers(1, 140),
    seed=st.integers(0, 99),
)
def test_spikes_are_those_of_the_reference_bit_for_bit_on_dyadic_numbers(name, batch, frames, size, seed):
    """Every sum is exact, in any order; sizes cross the borders of panels and of blocks."""
    torch.manual_seed(seed)
    cell, drive, parameters = DRAWS[name](batch, frames, size)
    lengths = torch.randint(0, frames + 1, (batch,))
    each = Problem(cell, drive, lengths, cell.initial_state(batch, size, parameters, drive), parameters)
    (expected, final, _), (found, final_found, _) = run(each, "reference"), run(each, "cpu")
    assert torch.equal(found, expected)
    assert all(torch.equal(*pair) for pair in zip(final_found, final, strict=True))


def levels_nearby(given: Problem, sums: torch.Tensor, states, held: torch.Tensor) -> torch.Tensor:
    """Where (N, H) an output of the reference hangs on rounding: a membrane within NEAR of a level, or a change of what
    was ``held`` within NEAR of the threshold."""
    if given.cell is spiking_lstm:
        close = (sums - given.parameters.threshold).abs() < NEAR * sums.abs().clamp(min=1)
        return close.unflatten(-1, (spiking_lstm.GATES, -1)).any(-2)
    if given.cell is leaky:
        return (states.potential - leaky.THRESHOLD).abs() < NEAR * states.potential.abs().clamp(min=1)
    if given.cell is delta_gru:
        return ((states.hidden - held).abs() - given.parameters.threshold).abs() < NEAR
    if given.parameters.coder is None:
        return torch.ones_like(states.output, dtype=torch.bool)
    levels = states.membrane.abs() * given.parameters.coder.scale
    return (levels - levels.round()).abs() < NEAR * levels.clamp(min=1)


@pytest.mark.parametrize("case", CASES)
def test_in_float32_each_step_differs_only_within_rounding_of_a_level(case):
    """Every frame of the reference's walk is the one frame of a row of its own: errors cannot add up."""
    given = problem(case, 4, 40, 70, seed=2, dtype=torch.float32)
    with torch.no_grad():
        states = walk(given.cell, given.drive, given.state, given.parameters)
    pairs = zip(given.state, states, strict=True)
    before = [torch.cat([first.unsqueeze(1), each[:, :-1]], dim=1) for first, each in pairs]
    parameters = given.parameters
    if getattr(parameters, "mask", None) is not None:
        parameters = parameters._replace(mask=parameters.mask.repeat_interleave(40, dim=0))
    alone = Problem(
        given.cell, given.drive.detach().flatten(0, 1).unsqueeze(1), torch.ones(160, dtype=torch.int64),
        type(given.state)(*(each.flatten(0, 1) for each in before)), parameters,
    )
    outputs, final, _ = run(alone, "cpu")
    expected = type(given.state)(*(each.flatten(0, 1) for each in states))
    sums = alone.drive.squeeze(1)
    if given.cell is spiking_lstm:
        sums = sums + alone.state.output @ parameters.recurrent.detach().T
    differs = (outputs.squeeze(1) - expected.output).abs() > 1e-6 * expected.output.abs().clamp(min=1)
    assert not (differs & ~levels_nearby(given, sums, expected, alone.state.output)).any()
    assert differs.sum() <= 5  # of 11,200
    sent = ("change", "output")  # compared above
    for name, got, wanted in zip(final._fields, final, expected, strict=True):
        if name in sent:
            continue
        if given.cell is not spiking_lstm:  # its cell is 0 or 1, and follows from the gates that are compared above
            torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "case", ["v2 6 bits smoothed", "v1 6 bits clamp", "lif 6 bits", "spiking_lstm kept", "RadLIF atan"]
)
def test_threads_and_repetitions_change_nothing(case):
    given, results, threads = problem(case, 5, 70, 66, seed=4, dtype=torch.float32), [], torch.get_num_threads()
    try:
        for each in (1, 3, 3):
            torch.set_num_threads(each)
            outputs = run(given, "cpu")[0]
            results.append([outputs, *torch.autograd.grad(outputs.square().sum(), given.trained)])
    finally:
        torch.set_num_threads(threads)
    for first, *others in zip(*results, strict=True):
        assert all(torch.equal(first, other) for other in others)

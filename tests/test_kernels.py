"""Whole-sequence kernels against the loop over the plain step, and against each other."""

from __future__ import annotations

import pytest
import torch

from snn_asr import kernels
from snn_asr.cells.improved_v2 import CANDIDATES, Parameters, State, step
from snn_asr.coders import Coder, CoderSettings
from snn_asr.errors import UsageError
from snn_asr.kernels import cpu, reference

CODERS = {
    "off": None,
    "6 bits": Coder.at(CoderSettings(6, 3), range=0.7),
    "4 bits": Coder.at(CoderSettings(4, 1), range=2.5),
    "binary": Coder.at(CoderSettings(2, 0), range=1.0),
}
SIZES = [(1, 1, 1), (3, 7, 5), (2, 33, 17)]


def problem(batch: int, frames: int, size: int, seed: int, masked: bool, dtype=torch.float64):
    torch.manual_seed(seed)
    drive = torch.randn(batch, frames, 2 * size, dtype=dtype, requires_grad=True)
    recurrent = torch.randn(2 * size, size, dtype=dtype, requires_grad=True)
    mask = torch.bernoulli(torch.full((batch, size), 0.7, dtype=dtype)) / 0.7 if masked else None
    lengths = torch.randint(0, frames + 1, (batch,))
    lengths[0] = frames
    state = State(*(torch.rand(batch, size, dtype=dtype) for _ in range(3)))
    return drive, recurrent, mask, lengths, state


def looped(drive, lengths, state, parameters):
    """Outputs (B, T, H) of the plain step, zero beyond the lengths, and each row's state at its length."""
    states = [state]
    for frame in drive.unbind(1):
        states.append(step(frame, states[-1], parameters)[1])
    outputs = torch.stack([each.output for each in states[1:]], dim=1)
    fields = zip(*states, strict=True)
    final = State(*(torch.stack([each[int(n)][row] for row, n in enumerate(lengths)]) for each in fields))
    return outputs * kernels.valid_frames(lengths, drive.shape[1]).unsqueeze(-1), final


@pytest.mark.parametrize("backend", [reference, cpu], ids=["reference", "cpu"])
@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("candidate", CANDIDATES)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("masked", [False, True])
def test_outputs_and_gradients_equal_autograd_of_the_step(backend, coder, candidate, size, masked):
    drive, recurrent, mask, lengths, state = problem(*size, seed=sum(size), masked=masked)
    parameters = Parameters(recurrent, mask, CODERS[coder], candidate)
    outputs, final, _ = kernels.gated_sequence(drive, lengths, state, parameters, backend)
    expected, expected_final = looped(drive, lengths, state, parameters)
    torch.testing.assert_close(outputs, expected, rtol=1e-9, atol=1e-12)
    for got, wanted in zip(final, expected_final, strict=True):
        torch.testing.assert_close(got, wanted.detach(), rtol=1e-9, atol=1e-12)
    weight = torch.randn_like(outputs)
    gradients = torch.autograd.grad((outputs * weight).sum(), [drive, recurrent])
    wanted = torch.autograd.grad((expected * weight).sum(), [drive, recurrent])
    for got, each in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(got, each, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("candidate", CANDIDATES)
def test_backends_agree_bit_for_bit_where_sums_are_exact(candidate):
    """Weights and drives on a dyadic grid, the forget gate at 0, 1/2 or 1: every sum is exact in any order."""
    torch.manual_seed(3)
    size, coder = 13, Coder.at(CoderSettings(6, 3), range=4.0)
    recurrent = torch.randint(-8, 9, (2 * size, size)) / 16.0
    recurrent[:size] = 0
    drive = torch.randint(-32, 33, (4, 21, 2 * size)) / 16.0
    drive[..., :size] = torch.randint(-1, 2, (4, 21, size)) * 256.0
    # A power of two as unit keeps what is sent on the grid too.
    coder = Coder(range=4.0, scale=8.0, unit=0.125, threshold=coder.threshold)
    lengths, state = torch.tensor([21, 5, 0, 20]), State(*(torch.zeros(4, size) for _ in range(3)))
    parameters = Parameters(recurrent, None, coder, candidate)
    results = [kernels.gated_sequence(drive, lengths, state, parameters, each) for each in (reference, cpu)]
    assert torch.equal(results[0][0], results[1][0])
    assert 0.05 < (results[0][0] != 0).float().mean() < 0.95
    assert all(torch.equal(*pair) for pair in zip(results[0][1], results[1][1], strict=True))


def test_gradients_agree_in_float32():
    drive, recurrent, mask, lengths, state = problem(3, 20, 24, seed=1, masked=True, dtype=torch.float32)
    weight, found = torch.randn(3, 20, 24), []
    for backend in (reference, cpu):
        outputs = kernels.gated_sequence(drive, lengths, state, Parameters(recurrent, mask, None, "clamp"), backend)[0]
        found.append(torch.autograd.grad((outputs * weight).sum(), [drive, recurrent]))
    for got, wanted in zip(*found, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_event_driven_product_equals_the_dense_one():
    inputs = torch.randn(11, 7, dtype=torch.float64) * (torch.rand(11, 7) < 0.3)
    weights = torch.randn(5, 7, dtype=torch.float64)
    torch.testing.assert_close(cpu.linear(inputs, weights), inputs @ weights.T)


def test_unknown_and_impossible_backends_are_refused():
    with pytest.raises(UsageError, match="did you mean 'reference'"):
        kernels.choose_backend("refrence", torch.device("cpu"))
    with pytest.raises(UsageError, match="cannot run on cuda"):
        kernels.choose_backend("cpu", torch.device("cuda"))

"""Whole-sequence kernels against the loop over the plain step, and against each other."""

from __future__ import annotations

import gc

import pytest
import torch
from kernel_cases import CASES, Problem, problem, run

from snn_asr.errors import UsageError
from snn_asr.network import kernels
from snn_asr.network.cells import delta_gru, gated
from snn_asr.network.coder import Coder, FrameCoder
from snn_asr.network.coder_settings import CoderSettings
from snn_asr.network.kernels import cpu
from snn_asr.network.kernels.reference import walk
from snn_asr.network.lengths import Lengths
from snn_asr.network.ranges import RangeTracker

BACKENDS = ["reference", "cpu"]
SIZES = [(1, 1, 1), (3, 7, 5), pytest.param((2, 33, 17), marks=pytest.mark.slow)]


def looped(given: Problem):
    """Outputs (B, T, H) of the plain step, zero beyond the lengths, and each row's state at its length."""
    states = walk(given.cell, given.drive, given.state, given.parameters)
    ends = [torch.cat([first.unsqueeze(1), each], dim=1) for first, each in zip(given.state, states, strict=True)]
    final = type(given.state)(*(each[torch.arange(len(given.lengths)), given.lengths] for each in ends))
    return states.output * Lengths.of(given.lengths, given.drive).mask.unsqueeze(-1), final


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_outputs_and_gradients_equal_autograd_of_the_step(backend, case, size):
    given = problem(case, *size, seed=sum(size))
    outputs, final, _ = run(given, backend)
    expected, expected_final = looped(given)
    torch.testing.assert_close(outputs, expected, rtol=1e-9, atol=1e-12)
    for got, wanted in zip(final, expected_final, strict=True):
        torch.testing.assert_close(got, wanted.detach(), rtol=1e-9, atol=1e-12)
    weight = torch.randn_like(outputs)
    gradients = torch.autograd.grad((outputs * weight).sum(), given.trained)
    wanted = torch.autograd.grad((expected * weight).sum(), given.trained)
    for got, each in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(got, each, rtol=1e-9, atol=1e-10)


@pytest.fixture(scope="module")
def only_new_objects():
    """What is there already is not looked at again when garbage is collected: there is much of it."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("only_new_objects")
@pytest.mark.parametrize("case", CASES)
def test_a_call_keeps_nothing_of_what_it_made(case):
    def tensors_after_a_call() -> int:
        given = problem(case, 2, 5, 4, seed=1)
        outputs, _, _ = run(given, "cpu")
        torch.autograd.grad(outputs.sum(), given.trained)
        del given, outputs
        gc.collect()
        return sum(type(each) is torch.Tensor for each in gc.get_objects())

    tensors_after_a_call()
    assert len({tensors_after_a_call() for _ in range(3)}) == 1


@pytest.mark.parametrize("candidate", gated.CANDIDATES)
def test_backends_agree_bit_for_bit_where_sums_are_exact(candidate):
    """Weights and drives on a dyadic grid, the forget gate at 0, 1/2 or 1: every sum is exact in any order."""
    torch.manual_seed(3)
    size = 13
    recurrent = torch.randint(-8, 9, (2 * size, size)) / 16.0
    recurrent[:size] = 0
    drive = torch.randint(-32, 33, (4, 21, 2 * size)) / 16.0
    drive[..., :size] = torch.randint(-1, 2, (4, 21, size)) * 256.0
    # A power of two as unit keeps what is sent on the grid too.
    coder = Coder(range=4.0, scale=8.0, unit=0.125, threshold=3)
    parameters = gated.Parameters(recurrent, None, coder, candidate)
    given = Problem(
        gated, drive, torch.tensor([21, 5, 0, 20]), gated.initial_state(4, size, parameters, drive), parameters
    )
    results = [run(given, each) for each in BACKENDS]
    assert torch.equal(results[0][0], results[1][0])
    assert 0.05 < (results[0][0] != 0).float().mean() < 0.95
    assert all(torch.equal(*pair) for pair in zip(results[0][1], results[1][1], strict=True))


def relative_error(got: torch.Tensor, wanted: torch.Tensor) -> float:
    """The largest difference by the largest value."""
    return ((got - wanted).abs().max() / wanted.abs().max()).item()


@pytest.mark.parametrize("case", CASES)
def test_gradients_agree_in_float32(case):
    """To 1e-5 of the largest gradient of each tensor, where no spike differs: these draws come near no level."""
    given = problem(case, 3, 20, 24, seed=1, dtype=torch.float32)
    weight = torch.randn(3, 20, 24)
    expected, outputs = (run(given, each)[0] for each in BACKENDS)
    if " off" in case or given.cell is delta_gru:  # what is sent is no level but a number of its own, and rounded
        assert relative_error(outputs, expected) <= 1e-5
    else:
        assert torch.equal(outputs, expected) and 0.02 < (outputs != 0).float().mean() < 0.98
    gradients = [torch.autograd.grad((each * weight).sum(), given.trained) for each in (expected, outputs)]
    for wanted, got in zip(*gradients, strict=True):
        assert relative_error(got, wanted) <= 1e-5


@pytest.mark.parametrize("case", ["v2 6 bits relu", "lif 6 bits"])
def test_range_that_moves_at_every_frame_has_the_gradients_of_its_own_steps(case):
    """The paper's range: the same averages, outputs and gradients as autograd of the plain loop."""
    given, results = problem(case, 3, 11, 6, seed=5), []
    for road in (lambda each: run(each, "reference")[0], lambda each: looped(each)[0]):
        tracker = RangeTracker(CoderSettings(range="moving_average_per_frame"))
        coder = FrameCoder(tracker, Lengths.of(given.lengths, given.drive))
        outputs = road(given._replace(parameters=given.parameters._replace(coder=coder)))
        assert int(tracker.updates) == 11
        gradients = torch.autograd.grad(outputs.square().sum(), given.trained)
        results.append((outputs, torch.tensor(coder.ranges), *gradients))
    assert len(set(results[0][1].tolist())) == 11
    for got, wanted in zip(*results, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-10)


def test_event_driven_product_equals_the_dense_one():
    inputs = torch.randn(11, 7, dtype=torch.float64) * (torch.rand(11, 7) < 0.3)
    weights = torch.randn(5, 7, dtype=torch.float64)
    torch.testing.assert_close(cpu.linear(inputs, weights), inputs @ weights.T)


def test_unknown_and_impossible_backends_are_refused():
    with pytest.raises(UsageError, match="did you mean 'reference'"):
        kernels.choose_backend("refrence", torch.device("cpu"))
    with pytest.raises(UsageError, match="cannot run on cuda"):
        kernels.choose_backend("cpu", torch.device("cuda"))
    with pytest.raises(UsageError, match="range that moves at every frame"):
        kernels.choose_backend("cpu", torch.device("cpu"), frame_by_frame=True)
    assert kernels.choose_backend("auto", torch.device("cpu"), frame_by_frame=True) == "reference"


def test_the_fastest_backend_is_taken_and_refused_where_it_cannot_run(monkeypatch):
    device, found, capability = torch.device("cuda", 0), {"triton"}, (9, 0)
    monkeypatch.setattr(kernels, "is_installed", lambda package: package.split(".")[0] in found)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)

    def chosen(requested: str, **given) -> str:
        kernels.missing_for.cache_clear()
        return kernels.choose_backend(requested, device, **given)

    assert chosen("auto") == chosen("triton") == "triton"
    with pytest.raises(UsageError, match="'triton' cannot run on cpu"):
        kernels.choose_backend("triton", torch.device("cpu"))
    with pytest.raises(UsageError, match="range that moves at every frame"):
        chosen("triton", frame_by_frame=True)
    assert chosen("auto", frame_by_frame=True) == "reference"
    with pytest.raises(UsageError, match="needs the package cuda-core"):
        chosen("cuda")
    found.add("cuda")
    assert chosen("auto") == chosen("cuda") == "cuda"
    capability = (8, 0)
    assert chosen("auto") == "triton"
    with pytest.raises(UsageError, match="compute capability"):
        chosen("cuda")
    found.clear()
    assert chosen("auto") == "reference"
    with pytest.raises(UsageError, match="needs the package triton"):
        chosen("triton")
    kernels.missing_for.cache_clear()


def test_what_a_fast_backend_does_not_know_runs_on_the_reference_and_says_so_once(monkeypatch, caplog):
    """Powers of two, and the delta network: no kernels of theirs are for a GPU."""
    monkeypatch.setattr(kernels, "has_kernel", lambda backend, cell: cell is not delta_gru or backend != "triton")
    kernels.warn_once.cache_clear()
    with caplog.at_level("WARNING"):
        for case, fallback in (
            ("v2 powers of two clamp", True), ("v2 6 bits shifting gates", True), ("delta_gru 0.2", True),
            ("v2 6 bits clamp", False),
        ):
            given = problem(case, 1, 1, 1, seed=0)
            for backend in ("triton", "triton"):
                found = kernels.backend_of(backend, given.cell, given.parameters)
                assert found == ("reference" if fallback else backend)
    assert [each.getMessage() for each in caplog.records] == [
        "gated with powers of two has no kernels for backend 'triton': it runs on 'reference'",
        "delta_gru has no kernels for backend 'triton': it runs on 'reference'",
    ]
    assert kernels.backend_of("cpu", given.cell, given.parameters) == "cpu"

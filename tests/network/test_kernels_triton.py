"""The Triton backend: in Triton's interpreter against the reference, through its compiler, and on a GPU where one is.

The interpreter takes milliseconds an operation, so sizes are small; those beyond one tile are marked slow.
"""

from __future__ import annotations

import importlib
import sys

import pytest
import torch
from dyadic_cases import DYADIC, assert_narrow_does_as_well, assert_same, differing_spikes, dyadic, narrow, on
from kernel_cases import CASES, problem, run
from marks import graded
from torch import Tensor

from snn_asr.network import kernels

pytest.importorskip("triton", reason="triton is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in exp")  # of a forget gate that is exactly 0

MODULES = (
    ".tiles", ".products", ".slopes", ".walking", ".scanning", ".gated_scan", ".leaky_scan", ".integrator", ".changes",
)
PACKAGE = "snn_asr.network.kernels.triton"
THOROUGH = ("v2 off", "v1", "lif", "adLIF", "RadLIF", "spiking_lstm", "v2 off smoothed", "v2 binary clamp")


def _forget(patch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.startswith(PACKAGE)]:
        patch.delitem(sys.modules, name)


@pytest.fixture(scope="module")
def interpreted_modules():
    """The backend's modules as Triton interprets them on the CPU, which is decided as they are imported."""
    cells = {"." + cell.__name__.rpartition(".")[2] for cell, _ in DYADIC.values()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        _forget(patch)
        found = {PACKAGE + each: importlib.import_module(PACKAGE + each) for each in ("", *MODULES, *cells)}
        for name in found:
            del sys.modules[name]
    return found


@pytest.fixture
def interpreted(monkeypatch, interpreted_modules):
    """In this test the backend runs in the interpreter; gives its module ``walking``."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    _forget(monkeypatch)
    for name, module in interpreted_modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return interpreted_modules[f"{PACKAGE}.walking"]


@pytest.mark.parametrize("name", graded(DYADIC, fast=["v2"], thorough=THOROUGH))
def test_bit_for_bit_the_reference_where_sums_are_exact(interpreted, name):
    given = dyadic(name, 3, 4, 5, seed=2)
    assert_same(given, given)
    assert (run(given, "reference")[0] != 0).float().mean() > 0.02


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", DYADIC)
def test_bit_for_bit_the_reference_over_random_sizes(interpreted, name, seed):
    """Beyond one tile of rows, of units, and of the depth of a product."""
    generator = torch.Generator().manual_seed(seed)
    batch, frames, size = ((1, 1, 1), (19, 5, 70))[seed] if seed < 2 else (
        int(torch.randint(1, most, (), generator=generator)) for most in (20, 8, 40)
    )
    assert_same(*2 * [dyadic(name, batch, frames, size, seed)])


@pytest.mark.parametrize("case", graded(CASES, fast=["v2"], thorough=THOROUGH))
def test_outputs_and_gradients_are_the_references_in_float64(interpreted, case):
    given = problem(case, 2, 4, 5, seed=1)
    (outputs, final, _), (found, found_final, _) = run(given, "reference"), run(given, "triton")
    weight = torch.randn_like(outputs)
    wanted, gradients = (torch.autograd.grad((each * weight).sum(), given.trained) for each in (outputs, found))
    for got, each in zip((found, *found_final, *gradients), (outputs, *final, *wanted), strict=True):
        torch.testing.assert_close(got, each, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", ["v2 smoothed", "spiking_lstm"])
def test_a_sequence_longer_than_a_graph_goes_on_where_the_clock_stands(interpreted, monkeypatch, name):
    monkeypatch.setattr(interpreted, "FRAMES", 2)
    given = dyadic(name, 1, 3, 4, seed=6)
    assert_same(given, given)


@pytest.mark.parametrize("name", ["v2", "lif"])
def test_chunks_with_the_state_between_them_give_what_the_whole_gives(interpreted, name):
    given = dyadic(name, 2, 4, 5, seed=3)._replace(lengths=torch.tensor([4, 4]))
    whole, end, _ = run(given, "triton")
    first, state, _ = run(given._replace(drive=given.drive[:, :3], lengths=torch.tensor([3, 3])), "triton")
    second, last, _ = run(given._replace(drive=given.drive[:, 3:], lengths=torch.tensor([1, 1]), state=state), "triton")
    assert torch.equal(torch.cat([first, second], dim=1), whole)
    assert all(torch.equal(*pair) for pair in zip(end, last, strict=True))


@pytest.mark.parametrize("narrowed", ["drive", "weights"])
def test_narrow_operands_keep_wide_states(interpreted, narrowed):
    """In float16: of bfloat16 the interpreter multiplies the bits."""
    given = dyadic("v2", 2, 3, 5, seed=4)
    assert_narrow_does_as_well(given, narrow(given, narrowed, torch.float16))


def test_in_float32_a_step_differs_only_where_a_membrane_lies_at_a_level(interpreted):
    differing = differing_spikes(problem("v2 6 bits relu", 4, 4, 9, seed=3, dtype=torch.float32), "cpu")
    assert len(differing) <= 2 and all(each < 1e-3 for each in differing)


def smoothed(backend: str, kind: torch.dtype, coefficient: float | None, device: str = "cpu") -> list[Tensor]:
    """Result and gradients of the leaky integrator over ragged rows, one of them empty (None: learned coefficient)."""
    torch.manual_seed(5)
    events, start = torch.randn(3, 37, 5, dtype=kind), torch.randn(3, 5, dtype=kind)
    weight, lengths = torch.randn_like(events), torch.tensor([37, 0, 21])
    events, start, weight, lengths = (each.to(device) for each in (events, start, weight, lengths))
    trained = [events.requires_grad_()]
    if coefficient is None:
        trained.append(torch.tensor(0.6, dtype=kind, device=device, requires_grad=True))
    z = kernels.load(backend).low_pass(events, lengths, coefficient or trained[1], start)
    return [z.detach().cpu(), *(each.cpu() for each in torch.autograd.grad((z * weight).sum(), trained))]


def assert_integrates(device: str) -> None:
    for kind, error in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        for coefficient in (0.3, 0.7, None):
            found = zip(smoothed("triton", kind, coefficient, device), smoothed("cpu", kind, coefficient), strict=True)
            assert all((got - wanted).abs().max() <= error * wanted.abs().max() for got, wanted in found)


def assert_holds(device: str) -> None:
    """Values that are sent when they have changed are the reference's bit for bit."""
    torch.manual_seed(6)
    for kind in (torch.float32, torch.float64):
        values, start = torch.randn(3, 37, 5, dtype=kind).mul(4).round() / 8, torch.randn(3, 5, dtype=kind)
        wanted = kernels.load("reference").hold(values, 0.375, start)
        found = kernels.load("triton").hold(values.to(device), 0.375, start.to(device))
        assert torch.equal(found.cpu(), wanted) and not torch.equal(wanted, values)


def product_errors(products, device: str, rows: int, inner: int, outer: int) -> list[float]:
    """Of a product of float32 by two fp16 parts and its two gradients: the largest difference from float64, relative to
    the largest value. The operands lie in ranges far apart."""
    torch.manual_seed(0)
    inputs, weights = (torch.randn(rows, inner) * 1e-3).to(device), (torch.randn(outer, inner) * 30).to(device)
    gradient = (torch.randn(rows, outer) * 1e-6).to(device)
    found = []
    for kind, product in ((torch.float32, products._Linear.apply), (torch.float64, torch.nn.functional.linear)):
        x, w = (each.to(kind).requires_grad_() for each in (inputs, weights))
        y = product(x, w, kind) if kind == torch.float32 else product(x, w)
        found.append([y.detach(), *torch.autograd.grad(y, [x, w], gradient.to(kind))])
    return [float((got - wanted).abs().max() / wanted.abs().max()) for got, wanted in zip(*found, strict=True)]


def test_products_of_two_parts_are_those_of_float32(interpreted, monkeypatch):
    """In place of the tensor cores the parts are multiplied in float32."""
    products, whole = sys.modules[f"{PACKAGE}.products"], (torch.mm, torch.bmm)
    monkeypatch.setattr(products, "PIECE", 16)
    for name, product in zip(("mm", "bmm"), whole, strict=True):
        monkeypatch.setattr(torch, name, lambda a, b, out_dtype, product=product: product(a.float(), b.float()))
    for shape in ((70, 13, 22), (5, 8, 16)):
        assert max(product_errors(products, "cpu", *shape)) < 1e-6


@pytest.mark.thorough
def test_the_leaky_integrator_is_the_cpus(interpreted):
    assert_integrates("cpu")


def test_values_are_held_as_by_the_reference(interpreted):
    assert_holds("cpu")


def launches_kept(kept: dict):
    """In place of a launch: remember it, with what it was given."""
    def keep(launch, arguments):
        kept.setdefault(launch, arguments)

    return keep


def machine_code(launch, arguments, capability: int) -> bytes:
    """What Triton compiles a launch to, for a GPU of this compute capability that need not be there."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    types = {torch.int64: "*i64", torch.float32: "*fp32", torch.bfloat16: "*bf16"}
    options = dict(launch.options)
    kinds = {each: types[given.dtype] if isinstance(given, Tensor) else "i32" for each, given in arguments.items()}
    signature = {each: "constexpr" if each in options else kinds[each] for each in launch.kernel.arg_names}
    source = ASTSource(launch.kernel, signature, {each: options[each] for each in signature if each in options})
    settings = {"num_warps": options["num_warps"], "enable_fp_fusion": False}
    return compile(source, target=GPUTarget("cuda", capability, 32), options=settings).asm["cubin"]


@pytest.fixture
def launches(monkeypatch, tmp_path):
    """The launches that would have gone to a GPU, with their arguments."""
    from snn_asr.network.kernels.triton import walking

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(walking.Launch, "__call__", launches_kept(kept := {}))
    return kept


@pytest.mark.slow
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", [each for each in DYADIC if " " not in each or each == "v2 smoothed"])
def test_kernels_compile_for_a_gpu(launches, name, kind):
    """What the interpreter is blind to: types, layouts, machine code (for Ampere and Hopper, at a size of practice)."""
    given = dyadic(name, 2, 1, 550, seed=0)
    run(given._replace(drive=given.drive.to(kind)), "triton")[0].sum().backward()
    assert len(launches) == 2
    assert all(machine_code(*each, capability) for each in launches.items() for capability in (80, 90))


@pytest.mark.slow
def test_the_kernel_of_held_values_compiles_for_a_gpu(launches):
    kernels.load("triton").hold(torch.zeros(2, 5, 96), 0.4, torch.zeros(2, 96))
    assert all(machine_code(*each, capability) for each in launches.items() for capability in (80, 90)) and launches


class TestOnAGpu:
    pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

    @pytest.mark.parametrize("name", DYADIC)
    def test_bit_for_bit_the_reference_where_sums_are_exact(self, name):
        """The second batch and the third run on the graph of the first, with other frames, lengths and numbers."""
        for seed, (batch, frames) in enumerate([(33, 70), (40, 32), (35, 1)]):
            given = dyadic(name, batch, frames, 70, seed)
            assert_same(given, on(given, "cuda"))

    def test_products_of_two_parts_are_those_of_float32(self):
        products = importlib.import_module(f"{PACKAGE}.products")
        for shape in ((10_000, 550, 1100), (2_100, 120, 70), (64, 13, 22)):
            assert max(product_errors(products, "cuda", *shape)) < 1e-5

    def test_the_leaky_integrator_is_the_cpus(self):
        assert_integrates("cuda")

    def test_values_are_held_as_by_the_reference(self):
        assert_holds("cuda")

    @pytest.mark.parametrize("case", [each for each in CASES if " off " in each])
    def test_gradients_agree_in_float32(self, case):
        given = problem(case, 5, 20, 40, seed=1, dtype=torch.float32)
        weight, found = torch.randn(5, 20, 40), []
        for each, backend in ((given, "reference"), (on(given, "cuda"), "triton")):
            outputs = run(each, backend)[0]
            found.append(torch.autograd.grad((outputs * weight.to(outputs)).sum(), each.trained))
        for wanted, got in zip(*found, strict=True):
            assert (got.cpu() - wanted).abs().max() <= 1e-5 * wanted.abs().max()

    def test_in_float32_a_step_differs_only_where_a_membrane_lies_at_a_level(self):
        differing = differing_spikes(problem("v2 6 bits relu", 16, 50, 130, seed=3, dtype=torch.float32), "cuda")
        assert len(differing) < 1e-4 * 16 * 50 * 130 and all(each < 1e-3 for each in differing)

    @pytest.mark.parametrize("narrowed", ["drive", "weights"])
    @pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16], ids=str)
    def test_narrow_operands_keep_wide_states(self, kind, narrowed):
        given = dyadic("v2", 20, 9, 70, seed=4)
        assert_narrow_does_as_well(given, on(narrow(given, narrowed, kind), "cuda"))

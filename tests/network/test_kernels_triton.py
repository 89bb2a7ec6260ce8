"""The Triton backend: in Triton's interpreter against the reference, through its compiler, and on a GPU where one is.

The interpreter takes milliseconds an operation, so sizes are small; those beyond one tile are marked slow.
"""

from __future__ import annotations

import importlib
import sys
from functools import partial

import pytest
import torch
from kernel_cases import CASES, Problem, problem
from torch import Tensor

from snn_asr.errors import UsageError
from snn_asr.network import kernels
from snn_asr.network.cells import conventional, gated, spiking_lstm
from snn_asr.network.cells import leaky_integrate_and_fire as leaky
from snn_asr.network.coder import Coder
from snn_asr.network.kernels import run_sequence
from snn_asr.network.surrogates import choose

pytest.importorskip("triton", reason="triton is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in exp")  # of a forget gate that is exactly 0

MODULES = (".tiles", ".products", ".slopes", ".walking", ".scanning", ".gated_scan", ".leaky_scan", ".integrator")
PACKAGE = "snn_asr.network.kernels.triton"
FAST = ("v2", "v2 off", "v1", "lif", "adLIF", "RadLIF", "spiking_lstm", "v2 off smoothed", "v2 binary clamp")
# A power of two as unit keeps what is sent on the grid.
CODER = Coder(range=4.0, scale=8.0, unit=0.125, threshold=3)


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


def grid(*shape: int, low: int, high: int, step: float) -> Tensor:
    return torch.randint(low, high + 1, shape) * step


def dyadic_improved(batch, size, coder=CODER, candidate="relu", recurrent=True, masked=True, smoothing=0.0):
    """Recurrent weights of the forget gate are 0: with the drives of ``dyadic`` it is exactly 0, 1/2 or 1."""
    weights = None
    if recurrent:
        weights = torch.cat([torch.zeros(size, size), grid(size, size, low=-1, high=1, step=1.0)])
    mask = grid(batch, size, low=0, high=1, step=2.0) if masked else None
    return gated.Parameters(weights, mask, coder, candidate, smoothing)


def dyadic_lif(batch, size, coder=CODER, masked=True):
    mask = grid(batch, size, low=0, high=1, step=2.0) if masked else None
    return conventional.Parameters(grid(size, low=1, high=4, step=0.25), mask, coder)


def dyadic_adaptive(batch, size, adaptive, recurrent):
    adaptation = (grid(size, low=1, high=3, step=0.25) for _ in range(3)) if adaptive else (None, None, None)
    weights = grid(size, size, low=-8, high=8, step=0.125) if recurrent else None
    return leaky.Parameters(grid(size, low=1, high=3, step=0.25), *adaptation, weights, choose("atan", 0.5))


def dyadic_lstm(batch, size, cell):
    weights, slopes = grid(4 * size, size, low=-8, high=8, step=0.125), [choose("gaussian", w) for w in (4.0, 0.3, 1.5)]
    return spiking_lstm.Parameters(weights, 0.1, cell, "straight", *slopes)


DYADIC = {
    "v2": (gated, dyadic_improved),
    "v2 clamp unmasked": (gated, partial(dyadic_improved, candidate="clamp", masked=False)),
    "v2 smoothed": (gated, partial(dyadic_improved, smoothing=0.5)),
    "v2 off": (gated, partial(dyadic_improved, coder=None)),
    "v1": (gated, partial(dyadic_improved, recurrent=False)),
    "v1 off clamp": (gated, partial(dyadic_improved, recurrent=False, coder=None, candidate="clamp")),
    "lif": (conventional, dyadic_lif),
    "lif off unmasked": (conventional, partial(dyadic_lif, coder=None, masked=False)),
    "LIF": (leaky, partial(dyadic_adaptive, adaptive=False, recurrent=False)),
    "adLIF": (leaky, partial(dyadic_adaptive, adaptive=True, recurrent=False)),
    "RLIF": (leaky, partial(dyadic_adaptive, adaptive=False, recurrent=True)),
    "RadLIF": (leaky, partial(dyadic_adaptive, adaptive=True, recurrent=True)),
    "spiking_lstm": (spiking_lstm, partial(dyadic_lstm, cell="thresholded")),
    "spiking_lstm kept": (spiking_lstm, partial(dyadic_lstm, cell="kept")),
}


# Beyond these frames float32 cannot hold all bits of what the recurrent weights or the smoothing make.
MOST_FRAMES = {"v2 off": 3, "v2 smoothed": 8}


def dyadic(name: str, batch: int, frames: int, size: int, seed: int) -> Problem:
    """A problem in float32 with every sum of a recurrent product exact in any order, a state that is not zero, and
    ragged lengths: a full row, then one of no frames."""
    torch.manual_seed(seed)
    cell, draw = DYADIC[name]
    frames = min(frames, MOST_FRAMES.get(name, frames))
    parameters = draw(batch, size)
    drive = grid(batch, frames, cell.GATES * size, low=-16, high=16, step=0.125)
    if cell is gated:
        drive[..., :size] = grid(batch, frames, size, low=-1, high=1, step=256.0)
    lengths = torch.randint(1, frames + 1, (batch,))
    lengths[0], lengths[1:2] = frames, 0
    zero = cell.initial_state(batch, size, parameters, drive)
    state = type(zero)(*(grid(*each.shape, low=0, high=8, step=0.125) for each in zero))
    if cell is gated:
        state.feedback[:, :size] = 0  # of the forget gate: see its weights
    for each in (drive, *(getattr(parameters, field) for field in cell.TRAINED)):
        if each is not None:
            each.requires_grad_()
    return Problem(cell, drive, lengths, state, parameters)


def run(given: Problem, backend: str):
    return run_sequence(given.cell, given.drive, given.lengths, given.state, given.parameters, backend)


def on(given: Problem, device: str) -> Problem:
    """The problem on another device, its leaves new ones."""
    def move(each):
        return each.detach().to(device).requires_grad_(each.requires_grad) if isinstance(each, Tensor) else each

    cell, drive, lengths, state, parameters = given
    moved = (type(each)(*map(move, each)) for each in (state, parameters))
    return Problem(cell, move(drive), move(lengths), *moved)


def assert_same(given: Problem, other: Problem, backend: str = "triton") -> None:
    """Outputs and states bit for bit, gradients to 1e-5 of their largest."""
    (outputs, final, _), (found, found_final, _) = run(given, "reference"), run(other, backend)
    assert torch.equal(found.cpu(), outputs), (found.cpu() - outputs).abs().max()
    assert all(torch.equal(got.cpu(), wanted) for got, wanted in zip(found_final, final, strict=True))
    weight = torch.randn_like(outputs)
    wanted = torch.autograd.grad((outputs * weight).sum(), given.trained)
    gradients = torch.autograd.grad((found * weight.to(found)).sum(), other.trained)
    for got, each in zip(gradients, wanted, strict=True):
        assert (got.cpu() - each).abs().max() <= 1e-5 * each.abs().max()


def some_slow(names) -> list:
    return [pytest.param(each, marks=[] if each in FAST else pytest.mark.slow) for each in names]


@pytest.mark.parametrize("name", some_slow(DYADIC))
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


@pytest.mark.parametrize("case", some_slow(CASES))
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


def narrow(given: Problem, narrowed: str, kind: torch.dtype) -> Problem:
    """The problem with its drive or its recurrent weights in a narrow type."""
    if narrowed == "drive":
        return given._replace(drive=given.drive.detach().to(kind).requires_grad_())
    weights = given.parameters.recurrent.detach().to(kind).requires_grad_()
    return given._replace(parameters=given.parameters._replace(recurrent=weights))


def assert_narrow_does_as_well(given: Problem, other: Problem) -> None:
    """Where narrow numbers hold all operands exactly: outputs as in float32, gradients in the operands' own types."""
    outputs = run(other, "triton")[0]
    assert outputs.dtype == torch.float32
    assert torch.equal(outputs.cpu(), run(given, "reference")[0])
    outputs.sum().backward()
    assert all(each.grad.dtype == each.dtype for each in other.trained)


@pytest.mark.parametrize("narrowed", ["drive", "weights"])
def test_narrow_operands_keep_wide_states(interpreted, narrowed):
    """In float16: of bfloat16 the interpreter multiplies the bits."""
    given = dyadic("v2", 2, 3, 5, seed=4)
    assert_narrow_does_as_well(given, narrow(given, narrowed, torch.float16))


def differing_spikes(given: Problem, device: str, backend: str = "triton") -> list[float]:
    """Every frame as a row of its own, from the reference's state before it: where outputs differ, how far the
    reference's membrane lies from a level, in levels."""
    _, _, states = run(given, "reference")
    before = type(states)(*(
        torch.cat([first.unsqueeze(1), each[:, :-1]], dim=1).detach().flatten(0, 1)
        for first, each in zip(given.state, states, strict=True)
    ))
    rows, mask = given.drive.flatten(0, 1).unsqueeze(1), given.parameters.mask
    steps = Problem(
        given.cell, rows, torch.ones(len(rows), dtype=torch.int64), before,
        given.parameters._replace(mask=mask.repeat_interleave(given.drive.shape[1], 0)),
    )
    wanted, _, after = run(steps, "reference")
    scaled = after.membrane[run(on(steps, device), backend)[0].cpu() != wanted].double() * given.parameters.coder.scale
    return (scaled - scaled.round()).abs().tolist()


def test_in_float32_a_step_differs_only_where_a_membrane_lies_at_a_level(interpreted):
    differing = differing_spikes(problem("v2 6 bits relu", 4, 4, 9, seed=3, dtype=torch.float32), "cpu")
    assert len(differing) <= 2 and all(each < 1e-3 for each in differing)


def test_the_fastest_backend_is_taken_and_refused_where_it_cannot_run(monkeypatch):
    device, found, capability = torch.device("cuda", 0), {"triton"}, (9, 0)
    monkeypatch.setattr(kernels, "_installed", lambda package: package.split(".")[0] in found)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)

    def chosen(requested: str, **given) -> str:
        kernels._lack.cache_clear()
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
    kernels._lack.cache_clear()


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


def test_the_leaky_integrator_is_the_cpus(interpreted):
    assert_integrates("cpu")


def launches_kept(kept: dict):
    """In place of a launch: remember it, with what it was given."""
    def keep(launch, arguments):
        kept.setdefault(launch, arguments)

    return keep


@pytest.mark.slow
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", [each for each in DYADIC if " " not in each or each == "v2 smoothed"])
def test_kernels_compile_for_a_gpu(monkeypatch, tmp_path, name, kind):
    """What the interpreter is blind to: types, layouts, machine code (for Hopper, at a size of practice)."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    from snn_asr.network.kernels.triton import walking

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(walking.Launch, "__call__", launches_kept(launches := {}))
    given = dyadic(name, 2, 1, 550, seed=0)
    run(given._replace(drive=given.drive.to(kind)), "triton")[0].sum().backward()
    assert len(launches) == 2
    types = {torch.int64: "*i64", torch.float32: "*fp32", torch.bfloat16: "*bf16"}
    for launch, arguments in launches.items():
        options = dict(launch.options)
        kinds = {each: types[given.dtype] if isinstance(given, Tensor) else "i32" for each, given in arguments.items()}
        signature = {each: "constexpr" if each in options else kinds[each] for each in launch.kernel.arg_names}
        source = ASTSource(launch.kernel, signature, {each: options[each] for each in signature if each in options})
        settings = {"num_warps": options["num_warps"], "enable_fp_fusion": False}
        assert compile(source, target=GPUTarget("cuda", 90, 32), options=settings).asm["cubin"]


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

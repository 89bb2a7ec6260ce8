"""The cuda backend: layouts and the compiler everywhere, its numbers on a GPU."""

from __future__ import annotations

import pytest
import torch
from dyadic_cases import assert_same, differing_spikes, dyadic, on
from kernel_cases import problem, run

from snn_asr.network.kernels.cuda import plan
from snn_asr.network.surrogates import choose

pytest.importorskip("triton", reason="triton is not installed")
compiling = pytest.importorskip("snn_asr.network.kernels.cuda.compiling", reason="cuda-core is not installed")
PROCESSORS = 132  # of a Hopper GPU
CELLS = {  # gates, and the definitions of their own
    "gated.cu": (2, {"CLAMPED": 1, "MASKED": 1}),
    "leaky_integrate_and_fire.cu": (1, {"ADAPTIVE": 1, "SLOPE": 1}),
    "spiking_lstm.cu": (4, {"SURROGATE": 0, "SPEECH": 0, "GATE_SLOPE": 1, "CANDIDATE_SLOPE": 1, "CELL_SLOPE": 1}),
}


def layouts(gates: int, size: int, rows: int = 64):
    for way in ("forward", "backward"):
        for parts in (1, 2):
            found = plan.best(way, size, gates, parts, rows, PROCESSORS)
            if found is not None:
                yield found


@pytest.mark.parametrize("gates", [1, 2, 4])
def test_layouts_hold_all_weights_and_fit(gates):
    for size in (1, 8, 70, 128, 256, 550, 1024):
        for found in layouts(gates, size):
            assert found.cluster * found.units >= size and found.cluster <= plan.LARGEST_CLUSTER
            assert 0 < found.held <= found.held + found.kept <= found.slots and found.shared <= plan.SHARED
    assert len(list(layouts(2, 550))) == 4
    assert not list(layouts(2, 4096)), "the weights of 4096 units fit on no cluster"


def test_many_rows_take_small_clusters_and_few_rows_large_ones():
    few, many = (plan.best("forward", 550, 2, 1, rows, PROCESSORS) for rows in (16, 64))
    assert few.cluster > many.cluster == 9


def definitions(found: plan.Plan, flags: dict[str, int]) -> dict[str, object]:
    half = {"HALF": int(found.parts == 2)} if found.way == "forward" else {}
    return {**found.definitions, found.way.upper(): 1, **half, **flags}


def test_machine_code_is_kept_on_disk_or_where_there_is_room(monkeypatch, tmp_path):
    found, calls = next(layouts(2, 8)), []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(compiling.tempfile, "gettempdir", lambda: str(tmp_path))
    program = compiling.Program
    monkeypatch.setattr(compiling, "Program", lambda *given: calls.append(given) or program(*given))
    given = "gated.cu", definitions(found, CELLS["gated.cu"][1]), "sm_90"
    code = compiling.compiled(*given)
    assert code[:4] == b"\x7fELF" and compiling.compiled(*given) == code and len(calls) == 1
    (tmp_path / "blocked").write_text("a file where a folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "blocked"))
    assert compiling.compiled(*given) == compiling.compiled(*given) and len(calls) == 2


@pytest.mark.slow
@pytest.mark.parametrize("size", [70, 256, 550, 1024])
@pytest.mark.parametrize("source", CELLS)
def test_kernels_compile_for_hopper_and_hardly_spill(monkeypatch, tmp_path, source, size):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    gates, flags = CELLS[source]
    for found in layouts(gates, size):
        assert compiling.compiled(source, definitions(found, flags), "sm_90")


class TestOnAGpu:
    pytestmark = [
        pytest.mark.gpu,
        pytest.mark.skipif(
            not torch.cuda.is_available() or torch.cuda.get_device_capability() < (9, 0), reason="no Hopper GPU"
        ),
    ]

    @pytest.mark.parametrize("size", [1, 70, 130, 550])
    @pytest.mark.parametrize("name", ["v2", "v2 clamp unmasked", "RLIF", "RadLIF", "spiking_lstm"])
    def test_bit_for_bit_the_reference_where_sums_are_exact(self, name, size):
        for seed, (batch, frames) in enumerate([(33, 40), (5, 17), (64, 3)]):
            given = dyadic(name, batch, frames, size, seed)
            assert_same(given, on(given, "cuda"), "cuda")

    @pytest.mark.parametrize("size", [70, 550, 1024])
    def test_narrow_weights_that_are_exact_give_the_same_outputs(self, size):
        given = dyadic("v2", 20, 9, size, seed=4)
        weights = given.parameters.recurrent.detach().bfloat16().requires_grad_()
        narrow = on(given._replace(parameters=given.parameters._replace(recurrent=weights)), "cuda")
        assert torch.equal(run(narrow, "cuda")[0].cpu(), run(given, "reference")[0])

    def test_chunks_with_the_state_between_them_give_what_the_whole_gives(self):
        given = on(dyadic("v2", 9, 12, 70, seed=3)._replace(lengths=torch.full((9,), 12)), "cuda")
        whole, end, _ = run(given, "cuda")
        begun = given._replace(drive=given.drive[:, :5], lengths=torch.full_like(given.lengths, 5))
        first, state, _ = run(begun, "cuda")
        rest = given._replace(drive=given.drive[:, 5:], lengths=torch.full_like(given.lengths, 7), state=state)
        second, last, _ = run(rest, "cuda")
        assert torch.equal(torch.cat([first, second], dim=1), whole)
        assert all(torch.equal(*pair) for pair in zip(end, last, strict=True))

    def test_in_float32_a_step_differs_only_where_a_membrane_lies_at_a_level(self):
        given = problem("v2 6 bits relu", 16, 50, 130, seed=3, dtype=torch.float32)
        differing = differing_spikes(given, "cuda", "cuda")
        assert len(differing) < 1e-4 * 16 * 50 * 130 and all(each < 1e-3 for each in differing)

    @pytest.mark.parametrize("surrogate", ["boxcar", "gaussian", "atan", "fast_sigmoid", "straight_through"])
    @pytest.mark.parametrize("name", ["RLIF", "RadLIF"])
    def test_every_surrogate(self, name, surrogate):
        given = dyadic(name, 9, 20, 70, seed=1)
        parameters = given.parameters._replace(derivative=choose(surrogate, 0.5))
        given = given._replace(parameters=parameters)
        assert_same(given, on(given, "cuda"), "cuda")

"""Weights that pruning has left: in whichever form they lie, the engine gives the same bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from event_cases import DENSE, FEATURES, SPIKING, trained

from snn_asr.events import storage
from snn_asr.events.engine import event_network
from snn_asr.events.kernels.by_output import LOOKS_UP
from snn_asr.events.kernels.delivery import BY_OUTPUT, KIND, LANES, ROWS
from snn_asr.network.model import AcousticModel
from snn_asr.training.loop.pruning import keep_largest, matrices

KINDS = (*LANES, BY_OUTPUT) if LOOKS_UP else LANES


@torch.no_grad()
def pruned(case: str, share: float = 0.8, block: int = 8, **options) -> AcousticModel:
    model = trained(case, **options)
    for weight in matrices(model.encoder).values():
        weight.mul_(keep_largest(weight, share, block))
    return model


def run(model: AcousticModel, precision: str, kind: int, monkeypatch) -> tuple[np.ndarray, np.ndarray]:
    """Logits and the last state of 40 frames with all weights in that form."""
    monkeypatch.setattr(storage, "quickest", lambda rows, dense: kind)
    network = event_network(model, precision)
    assert (network.table[:, KIND] == kind).all()
    state = network.initial_state()
    x = torch.randn(40, FEATURES, generator=torch.Generator().manual_seed(1))
    x[5:9] = 0
    return network.run(x.numpy(), state), state.memory


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("case", [*SPIKING, *DENSE])
def test_all_forms_give_the_same_bits(case, precision, monkeypatch):
    """Also where the outputs are no multiple of the blocks, and a unit has no weight left."""
    _compare_kinds(pruned(case, size=21, smoothing=0.3), precision, monkeypatch)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_all_forms_of_many_units_give_the_same_bits(precision, monkeypatch):
    """More than fit one table of by_output.py, scattered."""
    _compare_kinds(pruned("improved_v2", 0.9, 1, size=140, smoothing=0.3), precision, monkeypatch)


def _compare_kinds(model: AcousticModel, precision: str, monkeypatch) -> None:
    with torch.no_grad():
        model.encoder.layers[1].core_weights()[0][:, 3] = 0
    expected = run(model, precision, ROWS, monkeypatch)
    for kind in KINDS:
        for got, wanted in zip(run(model, precision, kind, monkeypatch), expected, strict=True):
            assert np.array_equal(got, wanted), kind
    assert np.isfinite(expected[0]).all() and expected[1].any()


def kinds(model: AcousticModel, precision: str = "float32", every: bool = False) -> list[int]:
    return event_network(model, precision, every).table[:, KIND].tolist()


def test_what_is_expected_to_be_quickest_is_taken():
    """Rows for dense weights and for scattered ones of a small network; blocks where training has pruned in blocks; of
    features, which are never silent, sums by output where a processor can."""
    by_output = BY_OUTPUT if LOOKS_UP else None
    for precision in ("float32", "int8"):
        assert kinds(trained("improved_v2", size=128), precision) == [ROWS] * 3
        assert kinds(pruned("improved_v2", 0.8, 1, size=128), precision) == [by_output or ROWS, ROWS, ROWS]
        assert kinds(pruned("improved_v2", 0.9, 16, size=128), precision)[1:] == [16] * 2
        assert kinds(pruned("improved_v2", 0.9, 16, size=128), precision, every=True) == [ROWS] * 3
    assert kinds(pruned("improved_v2", 0.9, 8, size=128))[1:] == [8] * 2
    far = np.zeros((600, 2048), np.float32)
    far[:, ::10] = 1
    assert storage.quickest(far) == 1 and storage.quickest(far[:100]) == ROWS
    for kind in (np.float32, np.int8):  # what no pruning has touched, in the second cache or far from it
        assert storage.quickest(np.ones((600, 2048), kind)) == storage.quickest(np.ones((60, 256), kind)) == ROWS


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_pruned_weights_take_no_memory(precision):
    whole = event_network(trained("improved_v2", size=128), precision)
    small = event_network(pruned("improved_v2", 0.9, 16, size=128), precision)
    assert small.nbytes < (0.25 if precision == "float32" else 0.5) * whole.nbytes
    assert small.weights.ctypes.data % storage.ALIGNMENT_BYTES == 0

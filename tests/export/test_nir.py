"""Exported NIR graphs, read back and run by the format's own equations: spikes equal, and what NIR cannot say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from event_cases import CLASSES, FEATURES, trained

from snn_asr.data.tokens import WordTokens
from snn_asr.efficiency.operations import Record, record_layers
from snn_asr.errors import DataError, UsageError
from snn_asr.export.nir import NETWORK, export_nir
from snn_asr.network.model_folder import LoadedModel

nir = pytest.importorskip("nir", reason="the extra 'nir' is not installed")
FRAMES = 50


def exported(model, folder):
    tokens = WordTokens([f"word {number}" for number in range(1, CLASSES)])
    export_nir(LoadedModel(model, tokens, {}, "0" * 64), folder)
    return nir.read(str(folder / NETWORK))


def simulated(graph, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spikes of the layers (L, T, H) and outputs (T, N): forward Euler with steps of dt, every edge of a cycle a step
    late."""
    names = [name for name, node in graph.nodes.items() if isinstance(node, nir.LIF)]
    potential = {name: np.zeros(len(graph.nodes[name].tau)) for name in names}
    spikes = {name: np.zeros(len(graph.nodes[name].tau)) for name in names}
    history, outputs = {name: [] for name in names}, []
    for x in inputs:
        for name in names:
            node, affine = graph.nodes[name], graph.nodes[f"{name}.input"]
            current = affine.weight @ x + affine.bias
            if f"{name}.recurrent" in graph.nodes:
                assert (name, f"{name}.recurrent") in graph.edges and (f"{name}.recurrent", name) in graph.edges
                current = current + graph.nodes[f"{name}.recurrent"].weight @ spikes[name]
            step = float(node.metadata["dt"]) / node.tau
            potential[name] += step * (node.v_leak - potential[name] + node.r * current)
            spikes[name] = (potential[name] > node.v_threshold).astype(float)
            potential[name] = np.where(spikes[name] > 0, node.v_reset, potential[name])
            history[name].append(spikes[name])
            x = spikes[name]
        outputs.append(graph.nodes["head"].weight @ x + graph.nodes["head"].bias)
    return np.stack([history[name] for name in names]), np.stack(outputs)


@pytest.mark.parametrize("recurrent", [True, False])
@torch.no_grad()
def test_spikes_of_fifty_steps_are_equal(recurrent, tmp_path):
    model = trained("hard_rlif", head="output", recurrent=recurrent)
    torch.manual_seed(1)
    inputs = 2 * torch.randn(FRAMES, FEATURES)
    with record_layers(model.encoder) as records:
        logits, _, _ = model(inputs[None], torch.tensor([FRAMES]))
        expected = np.stack([each.y[0].numpy() for each in records if isinstance(each, Record)])
    spikes, outputs = simulated(exported(model, tmp_path), inputs.numpy().astype(float))
    assert 0.02 < expected.mean() < 0.9
    assert np.array_equal(spikes, expected)
    np.testing.assert_allclose(outputs, logits[0].numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("improved_v2", "NIR has no gates and graded spikes"), ("lif", "NIR has no graded spikes"),
        ("radlif", "NIR has no reset that subtracts"), ("gru", "NIR has no gates"),
        ("spiking_lstm", "NIR has no gates"),
    ],
)
def test_what_nir_cannot_say_is_named(case, reason, tmp_path):
    with pytest.raises(UsageError, match=reason):
        exported(trained(case), tmp_path)


def test_integrators_are_named(tmp_path):
    with pytest.raises(UsageError, match="no coded input and no integrators"):
        exported(trained("hard_rlif", smoothing=0.5), tmp_path)


def test_the_users_own_file_is_left_alone(tmp_path):
    model = trained("hard_rlif", head="output")
    exported(model, tmp_path)
    exported(model, tmp_path)  # over one of its own
    (tmp_path / NETWORK).write_text("mine")
    with pytest.raises(DataError, match="was not exported"):
        exported(model, tmp_path)
    assert (tmp_path / NETWORK).read_text() == "mine"


@pytest.mark.slow
@pytest.mark.parametrize("recurrent", [True, False])
@torch.no_grad()
def test_norse_reads_the_graph_and_gives_what_we_give_on_fifty_steps(recurrent, tmp_path):
    norse = pytest.importorskip("norse.torch", reason="norse is not installed")
    graph, step, inputs, expected = case_of(trained("hard_rlif", head="output", recurrent=recurrent), tmp_path)
    network, state, outputs = norse.from_nir(graph, dt=step), None, []
    for frame in inputs:
        output, state = network(frame[None], state)
        outputs.append(output[0])
    torch.testing.assert_close(torch.stack(outputs), expected, rtol=1e-3, atol=1e-3)  # a spike moves it by a weight


@pytest.mark.slow
@pytest.mark.parametrize("recurrent", [True, False])
@torch.no_grad()
def test_so_does_spikingjelly_where_all_neurons_have_one_decay(recurrent, tmp_path):
    spikingjelly = pytest.importorskip(
        "spikingjelly.activation_based.nir_exchange", reason="spikingjelly is not installed"
    )
    model = trained("hard_rlif", head="output", recurrent=recurrent)
    graph, step, *_ = case_of(model, tmp_path)
    with pytest.raises(ValueError, match="uniform"):
        spikingjelly.import_from_nir(graph, dt=step)
    for name, parameter in model.named_parameters():
        if "decay" in name:
            parameter.fill_(0.9)
    graph, step, inputs, expected = case_of(model, tmp_path)
    network, state, outputs = spikingjelly.import_from_nir(graph, dt=step), None, []
    for frame in inputs:
        output, state = network(frame[None], state)
        outputs.append(output[0])
    torch.testing.assert_close(torch.stack(outputs), expected, rtol=1e-3, atol=1e-3)


def case_of(model, folder):
    """The graph of a model, its step in seconds, inputs (T, D), and the model's outputs (T, N) for them."""
    torch.manual_seed(1)
    inputs = 2 * torch.randn(FRAMES, FEATURES)
    graph = exported(model, folder)
    step = next(float(node.metadata["dt"]) for node in graph.nodes.values() if isinstance(node, nir.LIF))
    return graph, step, inputs, model(inputs[None], torch.tensor([FRAMES]))[0][0]

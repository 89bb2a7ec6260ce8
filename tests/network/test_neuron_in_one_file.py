"""A neuron in one file, one line of registry and one block of recipe: it trains, resumes, decodes, streams, is counted
and goes into int8, by nothing but its own step."""

from __future__ import annotations

import copy
import importlib
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from event_cases import CLASSES, FEATURES
from tones import RATE_HZ, speak, write_recipe

from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.normalization import Normalization
from snn_asr.decoding.recognizer import Recognizer
from snn_asr.efficiency.operations import Record, record_layers
from snn_asr.efficiency.profile import profile
from snn_asr.errors import InterruptedRun, UsageError
from snn_asr.events.engine import event_network
from snn_asr.events.quantization import quantize_folder, quantized
from snn_asr.network import encoders, kernels
from snn_asr.network.layers.declared import layer_of
from snn_asr.network.model import AcousticModel, ModelSettings
from snn_asr.training import run as training
from snn_asr.training.run import train

CELL = '''
"""A leaky neuron that forgets everything when it fires.

    v[n] = d v[n-1] (1 - s[n-1]) + D[n] + U s[n-1],   s[n] = 1[v[n] > threshold]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from snn_asr.errors import UsageError
from snn_asr.network.surrogates import Derivative, choose, spike

GATES, TRAINED = 1, ("decay", "recurrent")
BINARY, UNIT_PRODUCTS = True, 1


class State(NamedTuple):
    membrane: Tensor
    output: Tensor


class Parameters(NamedTuple):
    decay: Tensor
    recurrent: Tensor
    threshold: float
    derivative: Derivative


@dataclass(frozen=True)
class Options:
    threshold: float = 1.0
    decay: float = 0.8

    def __post_init__(self) -> None:
        if not 0 <= self.decay <= 1:
            raise UsageError(f"decay={self.decay} must lie in [0, 1]", "decay")


def starting_values(units: int, options: Options) -> dict[str, Tensor]:
    return {"decay": torch.full((units,), options.decay), "recurrent": 0.1 * torch.randn(units, units)}


def parameters(learned: Mapping[str, Tensor], options: Options) -> Parameters:
    decay = learned["decay"].clamp(0, 1)
    return Parameters(decay, learned["recurrent"], options.threshold, choose("atan", 0.5))


def initial_state(batch: int, size: int, parameters: Parameters, like: Tensor) -> State:
    return State(like.new_zeros(batch, size), like.new_zeros(batch, size))


def step(drive: Tensor, state: State, parameters: Parameters) -> tuple[Tensor, State]:
    kept = parameters.decay * state.membrane * (1 - state.output)
    membrane = kept + drive + state.output @ parameters.recurrent.T
    output = spike(membrane - parameters.threshold, parameters.derivative)
    return output, State(membrane, output)
'''
BLOCK = """\
# forgetful: a toy
decay: 0.7
encoder_options:
    dropout: !ref <dropout>
    decay: !ref <decay>
"""
SHORT = {"encoder": "forgetful", "epochs": 3, "hidden_size": 8, "dropout": 0.1, "batch_frames": 1000}


@pytest.fixture(autouse=True)
def cell(tmp_path, monkeypatch):
    """The neuron: its file, and its line in the registry."""
    (tmp_path / "forgetful_neuron.py").write_text(CELL)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("forgetful_neuron")
    monkeypatch.setitem(encoders.ENCODERS, "forgetful", layer_of(module))
    return module


@pytest.fixture
def recipe(tmp_path) -> Path:
    file = write_recipe(tmp_path / "recipes")
    (file.parent.parent / "encoders" / "forgetful.yaml").write_text(BLOCK)
    return file


def acoustic_model(**options) -> AcousticModel:
    torch.manual_seed(0)
    settings = ModelSettings(FeatureSettings(mels=FEATURES, stack=1), "forgetful", 12, 2, options)
    model = AcousticModel(settings, Normalization(torch.zeros(FEATURES), torch.ones(FEATURES)), CLASSES).train()
    for _ in range(3):
        model(2 * torch.randn(4, 12, FEATURES), torch.tensor([12, 12, 7, 3]), normalized=True)
    return model.eval()


@pytest.mark.thorough
def test_it_trains_resumes_decodes_streams_and_is_counted(recipe, tones, tmp_path, monkeypatch):
    whole = train(recipe, tones, tmp_path / "whole", device="cpu", overrides=SHORT)
    rows = [json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines()]
    assert len(rows) == 3 and rows[-1]["train_loss"] < rows[0]["train_loss"]

    original, calls = training.RecognizerBrain.on_fit_batch_end, []

    def interrupted(self, *given):
        calls.append(1)
        if len(calls) == 10:
            raise KeyboardInterrupt
        return original(self, *given)

    with monkeypatch.context() as patch, pytest.raises((InterruptedRun, KeyboardInterrupt)):
        patch.setattr(training.RecognizerBrain, "on_fit_batch_end", interrupted)
        train(recipe, tones, tmp_path / "resumed", device="cpu", overrides=SHORT)
    assert not (tmp_path / "resumed" / "model").exists()
    resumed = train(recipe, tones, tmp_path / "resumed", device="cpu", overrides=SHORT)
    name = "model/weights.safetensors"
    assert (resumed / name).read_bytes() == (whole / name).read_bytes()

    recognizer = Recognizer(whole, "cpu")
    samples = speak(["low", "high"], seed=3)
    batch = recognizer.transcribe(samples)
    stream = recognizer.stream()
    for chunk in samples.split(RATE_HZ // 7):
        stream.accept(chunk)
    stream.finish()
    assert stream.sent[1:].sum() > 0
    recognizer.use_engine("event")
    assert recognizer.transcribe(samples).text == batch.text

    recognizer.use_engine("batch")
    result = profile(recognizer, sorted((tones / "audio" / "test").glob("*.wav")))
    assert result.rates.acs_per_second > 0 and 0 < result.rates.density[0] < 1
    before, after = quantize_folder(whole, tmp_path / "small")
    assert after < before and Recognizer(tmp_path / "small", "cpu").model.precision == "int8"


@torch.no_grad()
def test_the_event_engine_sends_the_same_spikes(caplog):
    model = acoustic_model(smoothing=0.5)
    x = 2 * torch.randn(20, FEATURES)
    with record_layers(model.encoder) as records:
        logits, _, _ = model(x.unsqueeze(0), torch.tensor([20]), normalized=True)
        sent = [FEATURES * 20, *(int((each.y != 0).sum()) for each in records if isinstance(each, Record))]
    with caplog.at_level(logging.WARNING):
        network = event_network(model)
    assert "forgetful_neuron" in caplog.text and "slow" in caplog.text
    state = network.initial_state()
    found = np.concatenate([network.run(frame[None], state) for frame in x.numpy()])
    np.testing.assert_allclose(found, logits[0].numpy(), rtol=1e-4, atol=1e-4)
    assert state.sent.tolist() == sent and state.nbytes > 0
    assert [tuple(each) for each in network.sources] == [(FEATURES, 12), (12, 24), (12, 12 + CLASSES)]
    state.reset()
    again = network.run(np.ascontiguousarray(x.numpy()), state)
    np.testing.assert_allclose(again, found, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_int8_rounds_its_matrices(cell):
    model, x = acoustic_model(), torch.randn(6, FEATURES)
    small, rounded = event_network(model, "int8"), quantized(model)
    expected, _, _ = rounded(x.unsqueeze(0), torch.tensor([6]), normalized=True)
    found = small.run(x.numpy(), small.initial_state())
    np.testing.assert_allclose(found, expected[0].numpy(), rtol=1e-4, atol=1e-4)
    assert not np.allclose(found, event_network(model).run(x.numpy(), event_network(model).initial_state()))


def test_the_walk_is_the_step_and_says_once_that_it_is_slow(cell, caplog):
    kernels.warn_once.cache_clear()
    layer = encoders.build("forgetful", 3, 4, 1, dropout=0.0).layers[0].double()
    torch.manual_seed(1)
    x, lengths = 3 * torch.randn(2, 5, 3, dtype=torch.float64), torch.tensor([5, 2])
    layer.eval().normalization.weight.data.fill_(2.0)
    with caplog.at_level(logging.WARNING):
        outputs, after = layer(x, lengths)
        layer(x, lengths)
    assert [each.getMessage() for each in caplog.records if "slow" in each.getMessage()] == [
        "forgetful_neuron has no kernels: its own step is walked frame by frame, which is slow"
    ]
    outputs.sum().backward()
    assert layer.recurrent_weight.grad.abs().sum() > 0 and layer.learned["decay"].grad.abs().sum() > 0
    drive, given = layer.drive(x, lengths), layer.cell_parameters()
    state = cell.initial_state(2, 4, given, drive)
    for n in range(5):
        sent, state = cell.step(drive[:, n], state, given)
        assert torch.equal(outputs[0, n], sent[0])
        if n == 1:
            assert torch.equal(after.membrane[1], state.membrane[1].detach())
    assert not outputs[1, 2:].any()


def test_chunks_with_the_state_give_what_the_whole_gives():
    encoder = encoders.build("forgetful", 3, 8, 2, smoothing=0.3)
    encoder(torch.randn(4, 9, 3), torch.full((4,), 9))
    encoder.eval()
    x = 3 * torch.randn(1, 12, 3)
    with torch.no_grad():
        whole, _ = encoder(x, torch.tensor([12]))
        state, parts = None, []
        for part in x.split(5, dim=1):
            y, state = encoder(part, torch.tensor([part.shape[1]]), state)
            parts.append(y)
    assert whole.any() and torch.equal(torch.cat(parts, dim=1), whole)


def test_options_are_those_of_the_cell(cell):
    assert {"decay", "threshold", "dropout", "smoothing"} <= encoders.option_names("forgetful")
    with pytest.raises(UsageError, match="did you mean 'decay'"):
        encoders.build("forgetful", 3, 4, 1, decey=0.5)
    with pytest.raises(UsageError, match="must lie in"):
        encoders.build("forgetful", 3, 4, 1, decay=2.0)
    copied = copy.deepcopy(encoders.build("forgetful", 3, 4, 2))
    assert copied.layers[0].cell is cell and copied.core_parameters() == 3 * 4 + 3 * 4 * 4

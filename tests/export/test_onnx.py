"""Exported ONNX graphs in ONNX Runtime against the event engine: levels, logits, words; steps and whole sequences."""

from __future__ import annotations

import ast
import copy
import json

import numpy as np
import pytest
import torch
from event_cases import CLASSES, DENSE, FEATURES, SPIKING, dyadic, trained
from test_readme import example
from tones import speak

from snn_asr.data.tokens import WordTokens
from snn_asr.errors import UsageError
from snn_asr.events.engine import event_network
from snn_asr.export.onnx import SEQUENCE, STEP, export_onnx
from snn_asr.network.model_folder import LoadedModel, load

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")
pytest.importorskip("onnx", reason="the extra 'onnx' is not installed")
FRAMES = 40


def exported(model, folder):
    tokens = WordTokens([f"word {number}" for number in range(1, CLASSES)])
    export_onnx(LoadedModel(model, tokens, {}, "0" * 64), folder)
    options = {"providers": ["CPUExecutionProvider"]}
    return [onnxruntime.InferenceSession(str(folder / name), **options) for name in (STEP, SEQUENCE)]


def zeros(session, suffix: str = "") -> dict[str, np.ndarray]:
    """The states before the first step, by name."""
    given = [each for each in session.get_inputs() if each.name not in ("features", "frames")]
    return {each.name: np.zeros((1, each.shape[1]), np.float32) for each in given}


def stepped(session, inputs: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Logits (T, N), and all states after every step (T, size) by name."""
    names = [each.name for each in session.get_outputs()]
    state, logits, states = zeros(session), [], []
    for frame in inputs:
        found = dict(zip(names, session.run(None, {"features": frame[None], **state}), strict=True))
        logits.append(found["logits"][0])
        state = {name: found[f"{name}.next"] for name in state}
        states.append({name: each[0] for name, each in state.items()})
    return np.stack(logits), {name: np.stack([each[name] for each in states]) for name in states[0]}


def engine(model, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits (T, N) and outputs of the layers (T, L, H)."""
    network = event_network(model)
    state, outputs, logits = network.initial_state(), [], []
    for frame in inputs:
        logits.append(network.run(frame[None], state)[0])
        outputs.append(state.units[:, 0] * network.level_units)
    return np.stack(logits), np.stack(outputs)


POWERS = ("improved_v2 powers", "improved_v1 shifts", "lif powers")


@pytest.mark.parametrize("case", POWERS)
def test_levels_that_are_powers_of_two_say_why(case, tmp_path):
    with pytest.raises(UsageError, match="ONNX export has no levels and gates that are powers of two"):
        exported(trained(case), tmp_path)


@pytest.mark.parametrize("case", [case for case in SPIKING if case not in POWERS])
def test_levels_equal_where_products_are_exact(case, tmp_path):
    model = dyadic(case, 1, smoothing=0.5, head="output")
    torch.manual_seed(0)
    inputs = (torch.randint(-8, 9, (FRAMES, FEATURES)) / 4.0).numpy()
    step, sequence = exported(model, tmp_path)
    logits, states = stepped(step, inputs)
    expected, outputs = engine(model, inputs)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)
    for place in (1, 2):
        if f"layer{place}.output" in states:
            assert np.array_equal(states[f"layer{place}.output"], outputs[:, place - 1])
    whole = sequence.run(["logits"], {"frames": inputs[:, None], **zeros(sequence)})[0][:, 0]
    np.testing.assert_allclose(whole, logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", DENSE)
def test_dense_networks_agree_to_rounding(case, tmp_path):
    model, inputs = trained(case), torch.randn(FRAMES, FEATURES).numpy()
    np.testing.assert_allclose(
        stepped(exported(model, tmp_path)[0], inputs)[0], engine(model, inputs)[0], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("options", [{}, {"input_coding": "delta", "input_delta_threshold": 0.5, "smoothing": 0.5}])
def test_units_that_hold_their_outputs_agree_to_rounding(options, tmp_path):
    model = trained("delta_gru", **options)
    inputs = (0.5 * torch.randn(FRAMES, FEATURES)).cumsum(0)
    coder = model.encoder.input_coder
    held = inputs if coder is None else coder(inputs[None], torch.tensor([FRAMES]), None)[0][0]
    assert not held.equal(inputs) or coder is None
    logits, states = stepped(exported(model, tmp_path)[0], inputs.numpy())
    expected, outputs = engine(model, held.numpy())
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(states["layer2.output"], outputs[:, 1], rtol=1e-4, atol=1e-5)
    assert (np.diff(outputs, axis=0) == 0).mean() > 0.05


def test_metadata_tell_all_that_is_needed(tmp_path):
    step, _ = exported(trained("improved_v2"), tmp_path)
    about = step.get_modelmeta().custom_metadata_map
    assert json.loads(about["labels"])[:2] == ["<blank>", "word 1"]
    assert json.loads(about["features"])["mels"] == FEATURES and about["task"] == "transcription"
    assert len(json.loads(about["normalization"])["mean"]) == FEATURES


def test_the_example_of_the_documentation_hears_what_decode_does(tone_run, recognizer, tmp_path, monkeypatch, capsys):
    (tmp_path / "an4-onnx").mkdir()
    export_onnx(load(tone_run), tmp_path / "an4-onnx")
    monkeypatch.chdir(tmp_path)
    samples, whole = speak(["low", "high", "mid"], 1), copy.copy(recognizer)
    whole.endpointing = None
    names = {"samples": samples.double()}
    exec(compile(example("docs/devices.md", "A complete recogniser around it:"), "docs/devices.md", "exec"), names)
    assert ast.literal_eval(capsys.readouterr().out) == [each.label for each in whole.transcribe(samples).tokens] != []


def test_the_command_and_what_it_refuses(run, tone_run, tmp_path):
    code, out, errors = run("export", tone_run, "--format", "onnx", "--output-folder", tmp_path)
    assert (code, errors) == (0, []) and out == f"{STEP}, {SEQUENCE}\n" and (tmp_path / SEQUENCE).is_file()
    code, out, (line,) = run("export", tone_run, "--format", "onnx", "--precision", "int8", "--output-folder", tmp_path)
    assert (code, out) == (2, "") and "float32 alone" in line
    (tmp_path / STEP).write_text("mine")
    code, out, (line,) = run("export", tone_run, "--format", "onnx", "--output-folder", tmp_path)
    assert (code, out) == (4, "") and "was not exported" in line and (tmp_path / STEP).read_text() == "mine"

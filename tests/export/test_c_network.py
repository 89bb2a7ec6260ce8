"""The network of exported C frame by frame against the event engine: bits where products are exact, else logits."""

from __future__ import annotations

import subprocess
from itertools import product

import numpy as np
import pytest
import torch
from event_cases import CLASSES, DENSE, FEATURES, SPIKING, dyadic, trained
from exported import built
from marks import graded

from snn_asr.data.tokens import WordTokens
from snn_asr.events.engine import event_network
from snn_asr.export.c.export_c import export_c
from snn_asr.network.changes import hold_all
from snn_asr.network.coder_settings import CoderSettings
from snn_asr.network.model_folder import LoadedModel

SIZE, LAYERS, FRAMES = 12, 2, 40
# Takes frames of the encoder's input, tells what each layer sends and the logits; includes the source, to reach inside.
PROBE = r"""
#include <stdio.h>
#include "recognizer.c"

static recognizer state;

int main(void)
{
    float input[INPUT], logits[CLASSES];
    int layer;

    recognizer_init(&state, NULL, NULL);
    while (fread(input, sizeof input, 1, stdin) == 1) {
        run_network(&state, input, logits);
        for (layer = 0; layer < LAYERS; layer++)
            fwrite(state.units[layer][OUTPUT], sizeof(float), HIDDEN, stdout);
        fwrite(logits, sizeof logits, 1, stdout);
    }
    return 0;
}
"""


def in_c(model, folder, inputs: np.ndarray, precision: str) -> tuple[np.ndarray, np.ndarray]:
    """Outputs of the layers (T, L, H), in units of levels where they have a coder, and logits (T, N)."""
    words = WordTokens([f"word {number}" for number in range(1, CLASSES)])
    export_c(LoadedModel(model, words, {}, "0" * 64), folder, precision, None)
    program = built(folder, source=PROBE)
    result = subprocess.run([program], input=inputs.tobytes(), capture_output=True)
    assert result.returncode == 0, result.stderr.decode()
    told = np.frombuffer(result.stdout, np.float32).reshape(len(inputs), -1)
    return told[:, :-CLASSES].reshape(len(inputs), LAYERS, SIZE), told[:, -CLASSES:]


def in_python(model, inputs: np.ndarray, precision: str) -> tuple[np.ndarray, np.ndarray]:
    """The same of the event engine."""
    network = event_network(model, precision)
    state, outputs, logits = network.initial_state(), [], []
    for frame in inputs:
        logits.append(network.run(frame[None], state)[0])
        outputs.append(state.units[:, 0].copy())
    return np.stack(outputs), np.stack(logits)


@pytest.mark.parametrize(
    ("case", "precision"),
    graded(
        product(SPIKING, ("float32", "int8", "int4")), fast=[("improved_v2 relu", "float32"), ("lif", "int8")],
        thorough=[("radlif", "float32"), ("spiking_lstm", "float32"), ("hard_rlif", "int4")],
    ),
)
def test_spikes_equal_the_event_engine_bit_for_bit_where_products_are_exact(case, precision, tmp_path):
    model = dyadic(case, 1, smoothing=0.5, head="output")
    torch.manual_seed(0)
    inputs = (torch.randint(-8, 9, (FRAMES, FEATURES)) / 4.0).numpy()
    outputs, logits = in_c(model, tmp_path, inputs, precision)
    expected, expected_logits = in_python(model, inputs, precision)
    assert 0.01 < (expected != 0).mean() < 0.99
    assert np.array_equal(outputs, expected)
    np.testing.assert_allclose(logits, expected_logits, rtol=1e-5, atol=1e-5)


def test_the_highest_level_of_the_finest_powers_of_two_keeps_its_sign(tmp_path):
    model = dyadic("lif powers", 1)
    for layer in model.encoder.layers:
        layer.tracker.settings = CoderSettings(bits=32, threshold=0, range="fixed", levels="powers_of_two")
    torch.manual_seed(0)
    inputs = (torch.randint(-8, 9, (FRAMES, FEATURES)) / 4.0).numpy()
    outputs, _ = in_c(model, tmp_path, inputs, "float32")
    expected, _ = in_python(model, inputs, "float32")
    assert (expected == 2.0**31).any() and (expected == -(2.0**31)).any(), "the highest level"
    assert np.array_equal(outputs, expected)


def test_more_levels_than_a_byte_holds_are_rounded_as_the_engine_rounds_them(tmp_path):
    model = dyadic("lif", 1, bits=12)
    torch.manual_seed(0)
    inputs = (torch.randint(-8, 9, (FRAMES, FEATURES)) / 4.0).numpy()
    outputs, logits = in_c(model, tmp_path, inputs, "int8")
    expected, expected_logits = in_python(model, inputs, "int8")
    assert np.abs(expected).max() > 127
    np.testing.assert_allclose(outputs, expected, rtol=1e-6)
    np.testing.assert_allclose(logits, expected_logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("precision", graded(("float32", "int8", "int4"), fast=["float32"], thorough=["int4"]))
def test_a_matrix_without_a_weight_left_is_c_too(precision, tmp_path):
    model = dyadic("improved_v2", 1)
    with torch.no_grad():
        model.encoder.layers[1].recurrent_weight.zero_()
    torch.manual_seed(0)
    inputs = (torch.randint(-8, 9, (FRAMES, FEATURES)) / 4.0).numpy()
    outputs, _ = in_c(model, tmp_path, inputs, precision)
    expected, _ = in_python(model, inputs, precision)
    assert expected.any() and np.array_equal(outputs, expected)


@pytest.mark.thorough
@pytest.mark.parametrize("coding", ["none", "delta"])
@pytest.mark.parametrize("precision", ["float32", "int8", pytest.param("int4", marks=pytest.mark.slow)])
def test_changes_agree_to_rounding_over_many_frames(precision, coding, tmp_path):
    model = trained("delta_gru", input_coding=coding, input_delta_threshold=0.5)
    inputs = (0.2 * torch.randn(FRAMES * 10, FEATURES)).cumsum(0)
    inputs = (inputs - inputs.mean(0)).numpy()
    outputs, logits = in_c(model, tmp_path, inputs, precision)
    held = inputs if coding == "none" else _held(inputs, 0.5)
    expected, expected_logits = in_python(model, held, precision)
    assert 0.05 < (np.diff(outputs, axis=0) != 0).mean() < 0.9
    np.testing.assert_allclose(outputs[:100], expected[:100], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(logits[:100], expected_logits[:100], rtol=1e-4, atol=1e-5)
    # In whole numbers a change may be rounded to the next level from then on; what is left of it is told later.
    assert np.abs(outputs - expected).mean() < 1e-2


def _held(inputs: np.ndarray, threshold: float) -> np.ndarray:
    """What a stream gives the engine for features (T, D) that are sent when they change."""
    values = torch.from_numpy(inputs).unsqueeze(0)
    return hold_all(values, torch.zeros_like(values[:, 0]), threshold)[0].numpy()


@pytest.mark.parametrize("case", graded(DENSE, fast=["gru"], thorough=["bn_gru"]))
def test_dense_networks_agree_to_rounding(case, tmp_path):
    model, inputs = trained(case), torch.randn(FRAMES, FEATURES).numpy()
    outputs, logits = in_c(model, tmp_path, inputs, "float32")
    expected, expected_logits = in_python(model, inputs, "float32")
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(logits, expected_logits, rtol=1e-4, atol=1e-5)

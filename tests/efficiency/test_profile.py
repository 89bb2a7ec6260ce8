"""What a model costs on given audio."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch
from tones import RATE_HZ, speak

from snn_asr.data.audio import write_audio
from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.manifest import read_manifest
from snn_asr.data.normalization import Normalization
from snn_asr.efficiency.operation_count import OperationCount
from snn_asr.efficiency.operations import count_batch, record_layers
from snn_asr.efficiency.profile import authors_macs_per_second, describe, profile
from snn_asr.errors import DataError
from snn_asr.files import read_json
from snn_asr.network.model import AcousticModel, ModelSettings


def test_the_test_set_costs_what_training_counted(recognizer, tones, tone_run):
    paths = [each.wav for each in read_manifest(tones / "test.json").values()]
    result = profile(recognizer, paths)
    counted = read_json(tone_run / "model" / "metrics.json")["test"]["operations"]
    found = asdict(result.rates)
    for key in ("macs_per_second", "dense_macs_per_second", "core_macs_per_second", "density", "products"):
        assert found[key] == pytest.approx(counted[key]) if key != "products" else found[key] == counted[key]
    assert found["frames"] == counted["frames"]
    assert (result.files, result.encoder, result.device) == (6, "improved_v2", "cpu")


def test_size_and_sparsity(recognizer, tones):
    path = tones / "audio" / "test" / "test-02.wav"
    result = profile(recognizer, [path])
    model, size, rates = recognizer.model, result.footprint, result.rates
    stored = sum(each.numel() * each.element_size() for each in (*model.parameters(), *model.buffers()))
    assert size.footprint_bytes == stored
    assert size.parameters == sum(each.numel() for each in model.parameters())
    assert size.core_parameters == 64 * 30 + 64 * 32 + 64 * 32 + 64 * 32  # 2 gates of 32 units; 3 x 10 features
    assert size.connection_sparsity == 0
    assert result.activation_sparsity == pytest.approx(1 - sum(rates.density) / 2)
    assert 0 < result.real_time_factor < 10
    assert rates.macs_per_second < rates.dense_macs_per_second


def test_the_json_has_all_values_side_by_side_in_one_order(recognizer, tones):
    result = profile(recognizer, [tones / "audio" / "test" / "test-02.wav"]).to_json()
    assert json.loads(json.dumps(result)) == result
    assert list(result) == [
        "encoder", "files", "seconds", "frames", "macs_per_second", "acs_per_second", "dense_macs_per_second",
        "core_macs_per_second", "core_acs_per_second", "element_wise_per_second", "macs_per_frame", "acs_per_frame",
        "macs_per_utterance", "acs_per_utterance", "nonzero_inputs", "density", "density_over_time", "products",
        "parameters", "core_parameters", "footprint_bytes", "stored_bytes", "connection_sparsity",
        "activation_sparsity", "real_time_factor", "device", "authors_macs_per_second",
    ]
    assert {name: list(each) for name, each in result["products"].items()} == dict.fromkeys(
        ("input", "core", "head"), ["dense", "macs", "acs"]
    )


def test_people_read_the_same(recognizer, tones):
    result = profile(recognizer, [tones / "audio" / "test" / "test-02.wav"])
    text = describe(result)
    assert f"{result.footprint.core_parameters:,} in the core" in text
    assert f"density by layer     {result.rates.density[0]:.3f}, {result.rates.density[1]:.3f}" in text


@torch.no_grad()
@pytest.mark.parametrize("name", ["improved_v2", "improved_v1", "ligru", "gru"])
def test_the_authors_count_is_their_formula_for_v2_and_nothing_for_others(name):
    """4H·nnz(x) + 4H·nnz(Y1) + N·nnz(Y2) + 16H a frame, two layers of H = 4 units, N = 3 classes."""
    features = FeatureSettings(sample_rate=8000, mels=6, stack=2)
    x, operations = torch.randn(2, 9, 12, generator=torch.Generator().manual_seed(1)), OperationCount()
    x[:, ::2] = 0
    normalization = Normalization(torch.zeros(6), torch.ones(6))
    model = AcousticModel(ModelSettings(features, name, 4, 2, {}), normalization, 3).eval()
    with record_layers(model.encoder) as records:
        model.encoder(x, torch.tensor([9, 9]))
        count_batch(records, model.head.weight, operations)
    found = authors_macs_per_second(model, operations.rates(2.0))
    first, second = operations.nonzero
    expected = 16 * int((x != 0).sum()) + 16 * first + 3 * second + 64 * 18
    assert found == (expected / 2 if name == "improved_v2" else None)


@pytest.mark.parametrize("samples", [0, 100, 8000])
def test_silence_or_too_little_audio_is_no_error(samples, recognizer, tmp_path):
    write_audio(tmp_path / "quiet.wav", torch.zeros(samples), RATE_HZ)
    result = profile(recognizer, [tmp_path / "quiet.wav"])
    assert result.rates.seconds == pytest.approx(samples / RATE_HZ)
    assert describe(result)
    assert result.rates.frames == (0 if samples < 440 else 32)


def test_nothing_to_profile_with_is_one_line(recognizer, tmp_path):
    with pytest.raises(DataError, match="no audio to profile with"):
        profile(recognizer, [])
    write_audio(tmp_path / "good.wav", speak(["low"]), RATE_HZ)
    with pytest.raises(DataError, match=r"absent\.wav"):
        profile(recognizer, [tmp_path / "good.wav", tmp_path / "absent.wav"])

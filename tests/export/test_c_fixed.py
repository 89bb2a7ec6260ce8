"""Exported C with features in whole numbers: within a bound of those in floating point, whatever the sound."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from exported import built, export, recording, save_speller, told
from marks import graded
from tones import RATE_HZ

from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.features import FeatureExtractor

PROBE = Path(__file__).parents[2] / "benchmarks" / "boards" / "features.c"
KINDS = {"fbank": {}, "mfcc": {"kind": "mfcc", "deltas": True, "coefficients": 6}}


def sounds() -> dict[str, np.ndarray]:
    generator, time = np.random.default_rng(0), np.arange(RATE_HZ)
    return {
        "speech": recording().astype(np.float64),
        "clipped noise": np.where(generator.random(RATE_HZ) < 0.5, -32768, 32767),
        "a loud tone": 32767 * np.sin(2 * np.pi * 440 / RATE_HZ * time),
        "hiss of a bit": generator.integers(-1, 2, RATE_HZ),
        "an offset": 20000 + 50 * generator.standard_normal(RATE_HZ),
        "silence": np.zeros(RATE_HZ),
    }


@pytest.mark.parametrize("kind", graded(KINDS, fast=["fbank"]))
def test_features_are_within_their_bound(kind, tmp_path):
    settings = FeatureSettings(sample_rate=RATE_HZ, mels=10, high_hz=3800, stack=2, **KINDS[kind])
    export(save_speller(tmp_path / "model", "lif", settings), tmp_path / "c", features="fixed")
    program, extractor = built(tmp_path / "c", source=PROBE.read_text()), FeatureExtractor(settings)
    for name, sound in sounds().items():
        samples = np.rint(sound).clip(-32768, 32767).astype("<i2")
        result = subprocess.run([program], input=samples.tobytes(), capture_output=True)
        assert result.returncode == 0, result.stderr.decode()
        found = np.frombuffer(result.stdout, np.float32).reshape(-1, settings.base_size)
        expected = extractor.base_frames(torch.from_numpy(samples.astype(np.float32) / 32768)).numpy()
        apart = np.abs(found - expected)
        if kind == "fbank":  # bands that are more than 60 dB below the loudest may be further apart
            heard = expected > expected.max(axis=1, keepdims=True) - 6 * np.log(10)
            assert apart[heard].max() < 0.01, name
        elif name != "a loud tone":
            assert apart.max() < 0.1, name
        assert np.median(apart) < 1e-3 or name == "a loud tone", name


@pytest.mark.thorough
def test_words_are_told_and_the_rest_is_as_it_was(tone_run, tmp_path):
    model, samples = tone_run / "model", recording()
    fixed = export(model, tmp_path / "fixed", features="fixed")
    plain = export(model, tmp_path / "float")
    programs = [built(tmp_path / each) for each in ("fixed", "float")]
    texts = [[text for *_, text in told(program, samples)[0]] for program in programs]
    assert texts[0] == texts[1] and len(texts[0]) > 8
    assert fixed.state <= plain.state


def test_a_mistake_is_one_line(run, tone_run, tmp_path):
    words = ("export", tone_run, "--output-folder", tmp_path / "c", "--features")
    code, out, (line,) = run(*words, "fixd")
    assert (code, out) == (2, "") and "did you mean 'fixed'?" in line and not (tmp_path / "c").exists()
    code, out, (line,) = run(*words, "fixed", "--format", "onnx")
    assert (code, out) == (2, "") and "onnx computes no features" in line

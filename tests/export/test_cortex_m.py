"""Exported C on Cortex-M processors in QEMU: the words of a stream."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from exported import export
from tones import RATE_HZ, speak

from snn_asr.decoding.recognizer import Recognizer

pytestmark = pytest.mark.slow
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def cortex_m(monkeypatch):
    for program in ("arm-none-eabi-gcc", "qemu-system-arm"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program}")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import cortex_m

    return cortex_m


@pytest.mark.parametrize("target", ["M4F", "M7", "M0+"])
def test_words_and_sizes(target, cortex_m, tone_run, tmp_path):
    samples = np.rint(speak(["low", "high", "mid"], 1).numpy() * 32767).astype("<i2")
    made = export(tone_run / "model", tmp_path, "int8")
    found = cortex_m.run(tmp_path, target, samples)
    assert found.words == cortex_m.expected_words(Recognizer(tone_run, "cpu"), samples, "int8") and found.words
    assert found.numbers["state"] == made.state
    assert made.constants < found.flash < made.constants + 24_000
    assert 0 < found.numbers["stack"] < 1000
    assert 0 < found.numbers["kiloinstructions"] < 20_000 * 100 * len(samples) / RATE_HZ

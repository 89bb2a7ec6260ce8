"""The README's and the documentation's examples in Python run as they stand."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
import torch
from tones import RATE_HZ, speak

from snn_asr.data.audio import write_audio

ROOT = Path(__file__).parents[1]
INDENTED = re.compile(r"(?:^(?: {4}.*)?\n)+", re.MULTILINE)


def example(path: str, heading: str) -> str:
    """The indented block behind a line of a document."""
    _, _, behind = (ROOT / path).read_text(encoding="utf-8").partition(f"{heading}\n\n")
    assert behind, f"no '{heading}' in {path}"
    return textwrap.dedent(INDENTED.match(behind)[0])


@pytest.mark.parametrize(
    ("path", "heading"), [("README.md", "From Python:"), ("docs/streaming.md", "## From Python")]
)
def test_examples_run(path, heading, tone_run, tmp_path, monkeypatch, capsys):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "v2").symlink_to(tone_run)
    write_audio(tmp_path / "digits.wav", speak(["low", "high"], 1), RATE_HZ)
    monkeypatch.chdir(tmp_path)
    names = {
        "samples": speak(["mid", "high"], 2), "x": torch.randn(2, 9, 120), "lengths": torch.tensor([9, 4]),
        "array": speak(["mid"], 3).numpy(),
    }
    code = example(path, heading)
    exec(compile(code, path, "exec"), {"snn_asr": __import__("snn_asr")} | names, names)
    if path == "README.md":
        assert names["model"].transcribe("digits.wav").text in capsys.readouterr().out
        assert names["y"].shape == (2, 9, 256)

"""The README's and the documentation's examples in Python run as they stand; links and named files are there."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
import torch
from tones import RATE_HZ, speak

from snn_asr.data.audio import write_audio

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(each.relative_to(ROOT).as_posix() for each in (ROOT / "README.md", *ROOT.glob("docs/*.md")))
LINK = re.compile(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)")
NAMED = re.compile(r"`([\w./-]+/[\w./-]+\.(?:py|yaml|c|cu|json|md))`|python (benchmarks/\w+\.py)")
FOLDERS = (ROOT, ROOT / "snn_asr")  # from which files are named
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


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    path = ROOT / document
    for file, heading in LINK.findall(path.read_text(encoding="utf-8")):
        target = path.parent / file if file else path
        assert target.exists(), file
        if heading:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = [re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings]
            assert heading in anchors, f"{file}#{heading}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_that_are_named_are_there(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    names = [name or script for name, script in NAMED.findall(text) if "NAME" not in name]
    assert [each for each in names if not any((folder / each).exists() for folder in FOLDERS)] == []

"""The program where standard streams are closed, full or in an encoding that lacks most letters."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = "from snn_asr.cli.main import main; main()"
needs_full = pytest.mark.skipif(not os.access("/dev/full", os.W_OK), reason="no /dev/full")


def _run(words: str, redirections: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = f"exec '{sys.executable}' -c '{CODE}' {words} {redirections}"
    return subprocess.run(
        ["sh", "-c", command], cwd=folder, env={**os.environ, **environment}, capture_output=True, timeout=60
    )


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    (tmp_path / "r").write_text("u1 é\n", encoding="utf-8")
    (tmp_path / "h").write_text("u1 o\n")
    return tmp_path


def test_a_closed_standard_output_takes_nothing_and_is_no_error(texts: Path) -> None:
    result = _run("score r h --alignments a.txt", ">&-", texts)
    assert (result.returncode, result.stderr) == (0, b"")
    assert "#csid 0 1 0 0" in (texts / "a.txt").read_text(encoding="utf-8")


@pytest.mark.thorough
@pytest.mark.parametrize("redirections", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_errors_that_cannot_be_said_keep_their_code(texts: Path, redirections: str) -> None:
    result = _run("score r absent", redirections, texts)
    assert result.returncode == 4
    assert result.stdout == b""


@pytest.mark.thorough
@needs_full
@pytest.mark.parametrize("words", ["recipes list", "score r h", "--version", "score --help"])
def test_a_full_standard_output_is_one_line(texts: Path, words: str) -> None:
    result = _run(words, ">/dev/full", texts)
    assert result.returncode == 4
    expected = "snn-asr: standard output: no space left on device; free some space, or choose another disk\n"
    assert result.stderr.decode() == expected


@pytest.mark.thorough
@pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_an_encoding_that_lacks_letters_gets_their_escapes(texts: Path, environment: dict[str, str]) -> None:
    result = _run("score r h", "", texts, PYTHONCOERCECLOCALE="0", **environment)
    assert (result.returncode, result.stderr) == (0, b"")
    assert rb"REF: \u00e9" in result.stdout


def test_names_that_are_not_utf_8_are_no_error(texts: Path) -> None:
    os.rename(texts / "h", os.fsencode(texts) + b"/h\xff")
    result = _run("score r h*", "", texts)
    assert result.returncode == 0
    assert _run("score r g*$(printf '\\377')", "", texts).returncode == 4


@pytest.mark.thorough
@pytest.mark.parametrize("words", ["stream tone", "decode tone -"])
def test_a_closed_standard_input_is_one_line(words: str, tone_run: Path, tmp_path: Path) -> None:
    (tmp_path / "tone").symlink_to(tone_run)
    result = _run(words, "<&-", tmp_path)
    assert result.returncode == 4
    assert result.stderr.decode().splitlines()[-1].startswith("snn-asr: standard input: is closed; ")


@pytest.mark.thorough
def test_a_list_on_standard_input_may_begin_with_a_mark_of_byte_order(tone_run: Path, tmp_path: Path) -> None:
    (tmp_path / "tone").symlink_to(tone_run)
    (tmp_path / "list").write_bytes(b"\xef\xbb\xbfabsent.wav\n")
    result = _run("decode tone -", "<list", tmp_path)
    assert result.returncode in (3, 4)
    assert b"absent.wav" in result.stderr and b"\xef\xbb\xbf" not in result.stderr and b"ufeff" not in result.stderr

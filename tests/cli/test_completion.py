"""What a shell is told when it asks how a word goes on, and what --install-completion writes for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from marks import graded

PROGRAM = (sys.executable, "-c", "import sys; sys.argv[0] = 'snn-asr'; from snn_asr.cli.main import main; main()")


def completed(words: str) -> list[str]:
    """The answers for the last of the words on a command line of bash, without importing anything heavy."""
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1), "_SNN_ASR_COMPLETE": "complete_bash"}
    result = subprocess.run(PROGRAM, env={**os.environ, **asked}, capture_output=True, text=True, check=True)
    return result.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    graded(
        [
            ("snn-asr al", ["align"]), ("snn-asr compare --repo", ["--report"]), ("snn-asr prepare ti", ["timit"]),
            ("snn-asr train FSDDI", ["FSDDIsolated"]), ("snn-asr recipes sh", ["show"]), ("snn-asr train no-such", []),
            ("snn-asr decode an4-", ["an4-letters"]),
        ],
        fast=[("snn-asr al", ["align"]), ("snn-asr train FSDDI", ["FSDDIsolated"])],
    ),
)
def test_words_are_completed(words: str, expected: list[str]) -> None:
    assert completed(words) == expected


@pytest.mark.parametrize(
    ("shell", "file"),
    [
        ("bash", ".bash_completions/snn-asr.sh"), ("zsh", ".zfunc/_snn-asr"),
        ("fish", ".config/fish/completions/snn-asr.fish"),
    ],
)
def test_one_command_installs_it(shell: str, file: str, tmp_path: Path, monkeypatch, run) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")  # pytest is no shell
    code, out, _ = run("--install-completion", shell)
    assert code == 0 and shell in out
    assert "_SNN_ASR_COMPLETE=" in (tmp_path / file).read_text()

"""What a run says of the program and the machine that made it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from snn_asr.training.run_folder import environment


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A checkout with one commit, from which the program seems to run."""
    for name in ("snn_asr/__init__.py", "cli/main.py", "recipes/a.yaml", "pyproject.toml", "docs/a.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    git(tmp_path, "init", "-q")
    commit_all(tmp_path)
    monkeypatch.setattr(environment.snn_asr, "__file__", str(tmp_path / "snn_asr" / "__init__.py"))
    return tmp_path


def git(folder: Path, *words: str) -> str:
    own = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", "-C", str(folder), *own, *words], check=True, capture_output=True, text=True
    ).stdout.strip()


def commit_all(folder: Path) -> str:
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "a")
    return git(folder, "rev-parse", "--short=12", "HEAD")


def found() -> str | None:
    return environment.commit.__wrapped__()


def test_the_commit_is_that_of_the_programs_last_change(checkout):
    first = git(checkout, "rev-parse", "--short=12", "HEAD")
    assert found() == first
    (checkout / "docs" / "a.md").write_text("more")
    assert found() == first
    commit_all(checkout)
    assert found() == first, "documentation is not the program"
    (checkout / "cli" / "main.py").write_text("more")
    assert found() == f"{first}+"
    assert found() == f"{first}+"
    second = commit_all(checkout)
    assert found() == second
    (checkout / "snn_asr" / "new.py").write_text("")
    assert found() == f"{second}+", "a new module is a change, too"


def test_there_is_no_commit_without_a_checkout_or_git(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert found() is None
    monkeypatch.undo()
    monkeypatch.setattr(environment.snn_asr, "__file__", str(checkout / "docs" / "b" / "c.py"))
    assert found() is None


def test_the_processor_has_a_name_and_cores():
    told = environment.environment("cpu")
    assert told["gpu"] is None and told["python"].startswith("3.")
    assert " core" in told["processor"] and not told["processor"].startswith(",")

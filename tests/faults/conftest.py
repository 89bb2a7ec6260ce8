"""The world of a fault, and the summary by kind."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from faults.table import Tally, all_faults
from faults.world import SHORT, World


@pytest.fixture(scope="session")
def made(tones: Path, tone_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data/ and a finished run/ that all faults share."""
    from snn_asr.cli.options import parse_overrides
    from snn_asr.training.run import train

    folder = tmp_path_factory.mktemp("made")
    shutil.copytree(tones, folder / "data")
    train(tone_recipe, folder / "data", folder / "run", device="cpu", overrides=parse_overrides(SHORT))
    return folder


@pytest.fixture
def world(made: Path, tone_recipe: Path, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, made, tone_recipe, run, monkeypatch)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    kinds, tally = {each.name: each.kind for each in all_faults()}, Tally()
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.getreports(outcome):
            name = report.nodeid.partition("test_a_fault_ends_as_it_should[")[2].removesuffix("]")
            if name in kinds and (report.when == "call" or outcome != "passed"):
                tally.add(kinds[name], outcome == "passed")
    if tally.tried:
        terminalreporter.section("faults by kind")
        for line in tally.lines():
            terminalreporter.write_line(line)

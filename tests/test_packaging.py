"""The package as users get it: wheel and editable install hold every file, and ``cli`` never becomes a module."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from marks import graded

CHECKOUT = Path(__file__).resolve().parents[1]
INSIDE = {"snn_asr": "snn_asr", "cli": "snn_asr/cli", "recipes": "snn_asr/recipes"}
PATTERNS = {
    "snn_asr": (
        "*.py", "*.txt", "*.cu", "*.cuh", "*.c", "*.h", "Makefile", "*.html", "*.css", "*.svg", "*.safetensors",
        "*.json", "*.md", "*.yaml",
    ),
    "cli": ("*.py",), "recipes": ("*.yaml",),
}
RUN = """\
import sys
from importlib.metadata import entry_points
(command,) = (each for each in entry_points(group="console_scripts") if each.name == "snn-asr")
sys.exit(command.load()())
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, so that building leaves nothing in the checkout."""
    folder = tmp_path_factory.mktemp("source")
    for path in (*CHECKOUT.glob("*.toml"), *CHECKOUT.glob("*.md"), CHECKOUT / "LICENSE"):
        shutil.copy(path, folder)
    for name in INSIDE:
        shutil.copytree(CHECKOUT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def build(hook: str, source: Path) -> Path:
    """The wheel that the build backend's ``hook`` (build_wheel or build_editable) makes."""
    dist = source / hook
    code = f"from setuptools import build_meta; print(build_meta.{hook}({str(dist)!r}))"
    dist.mkdir()
    result = subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True, text=True)
    return dist / result.stdout.split()[-1]


def install(wheel: Path, folder: Path) -> Path:
    """An environment that sees our dependencies and has unpacked ``wheel``; returns its Python."""
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    site = Path(output(python, "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")  # a .pth there is not followed
    return python


def output(python: Path, code: str, *arguments: str, cwd: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [python, "-c", code, *arguments]
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("hook", graded(["build_wheel", "build_editable"], fast=["build_wheel"]))
def test_an_installed_package_runs_from_anywhere(hook: str, source: Path, tmp_path: Path) -> None:
    python = install(build(hook, source), tmp_path / "environment")
    names = {path.parent.name for path in CHECKOUT.glob("recipes/*/train.yaml")}
    listed = output(python, RUN, "recipes", "list", cwd=tmp_path)
    assert {line.split("\t")[0] for line in listed.splitlines()} == names
    where = output(python, "import snn_asr.cli.main as main; print(main.__file__)", cwd=tmp_path).strip()
    assert Path(where).is_relative_to(tmp_path if hook == "build_wheel" else source)
    found = "import importlib.util as u; print([name for name in ('cli', 'recipes', 'tests') if u.find_spec(name)])"
    assert output(python, found, cwd=tmp_path).strip() == "[]"


def test_the_wheel_holds_every_module_recipe_and_table(source: Path) -> None:
    expected = {
        f"{inside}/{path.relative_to(source / name).as_posix()}"
        for name, inside in INSIDE.items()
        for pattern in PATTERNS[name]
        for path in (source / name).rglob(pattern)
    }
    wheel = next((source / "build_wheel").glob("*.whl"), None) or build("build_wheel", source)
    with zipfile.ZipFile(wheel) as archive:
        content = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata_names = {Path(name).name for name in archive.namelist()}
    assert content == expected
    assert "LICENSE" in metadata_names

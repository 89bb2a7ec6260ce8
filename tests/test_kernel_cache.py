"""Compiled kernels are kept where numba would keep them, or else in a folder that nobody else can write to."""

from __future__ import annotations

import os
import re
import runpy
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import numba
import pytest
from numba.core import event

import snn_asr
from snn_asr import kernel_cache
from snn_asr.kernel_cache import VARIABLE, provide_kernel_cache


@pytest.fixture(autouse=True)
def nowhere_to_write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the installation nor the home folder can be written; ``tmp_path`` is the temporary folder."""
    writable = kernel_cache.is_writable
    monkeypatch.setattr(kernel_cache, "is_writable", lambda folder: tmp_path in folder.parents and writable(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")


def test_a_temporary_folder_of_the_users_own_is_taken_and_told(tmp_path, caplog):
    caplog.set_level("INFO", "snn_asr")
    for _ in range(2):  # the second call finds the variable set, as processes started later do
        provide_kernel_cache()
    folder = Path(os.environ[VARIABLE])
    assert folder.parent == tmp_path and stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert numba.config.CACHE_DIR == str(folder), "numba is imported by then, and has read the variable"
    assert len(caplog.records) == 1 and str(folder) in caplog.text


@pytest.mark.parametrize("kind", ["open to all", "a link", "a file"])
def test_a_folder_that_others_may_have_prepared_is_not_taken(kind, tmp_path):
    prepared = tmp_path / f"snn-asr-kernels-{os.getuid()}"
    if kind == "open to all":
        prepared.mkdir()
        prepared.chmod(0o777)
    elif kind == "a link":
        (tmp_path / "elsewhere").mkdir()
        prepared.symlink_to(tmp_path / "elsewhere")
    else:
        prepared.write_text("")
    provide_kernel_cache()
    assert Path(os.environ[VARIABLE]) != prepared and Path(os.environ[VARIABLE]).parent == tmp_path


def _twice(x):
    return x + x


def test_the_first_compilation_is_told_once_and_functions_from_the_disk_are_not(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "snn_asr")
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    with event.install_listener(kernel_cache.COMPILING, kernel_cache.TellOfCompiling()):
        assert numba.njit(_twice)(3) == 6  # which is not kept
        assert not caplog.records
        function = numba.njit(cache=True)(_twice)
        assert (function(3), function(1.5)) == (6, 3.0)  # two compilations
    assert [each.message for each in caplog.records] == [
        "compiling for this processor: it takes up to a minute, and is kept for the next time"
    ]
    with event.install_listener(kernel_cache.COMPILING, kernel_cache.TellOfCompiling()):
        assert numba.njit(cache=True)(_twice)(3) == 6
    assert len(caplog.records) == 1


def test_a_place_that_can_be_written_is_left_to_numba(tmp_path, monkeypatch):
    monkeypatch.setattr(kernel_cache, "beside_the_code", lambda: tmp_path / "code" / "__pycache__")
    provide_kernel_cache()
    assert os.environ[VARIABLE] == ""


def test_a_command_that_compiles_nothing_looks_for_no_place():
    program = (
        "import sys; from snn_asr.cli.main import run; run(['--help'])\n"
        "print('snn_asr.kernel_cache' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert found.stdout.endswith("False\n")


def test_what_was_compiled_from_other_sources_is_compiled_anew(tmp_path, monkeypatch):
    package = tmp_path / "package"
    called = package / "network" / "cells" / "gated.py"
    called.parent.mkdir(parents=True)
    monkeypatch.setattr(kernel_cache, "__file__", str(package / "kernel_cache.py"))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "kernels"))
    monkeypatch.setattr(numba.config, "CACHE_DIR", os.environ[VARIABLE])
    caller = tmp_path / "caller.py"
    caller.write_text("def twice(number):\n    return 2 * number\n")

    def found_compiled(text: str) -> bool:
        called.write_text(text)
        kernel_cache.digest_of_sources.cache_clear()
        twice = kernel_cache.njit(cache=True)(runpy.run_path(str(caller))["twice"])
        assert twice(2) == 4
        return sum(twice.stats.cache_hits.values()) == 1

    try:
        assert not found_compiled("one") and found_compiled("one")
        assert not found_compiled("two") and found_compiled("two")
    finally:
        kernel_cache.digest_of_sources.cache_clear()


def test_whatever_kernels_import_counts_as_their_source():
    package = Path(snn_asr.__file__).parent
    sources = {path for pattern in kernel_cache.SOURCES for path in package.glob(pattern)}
    compiled = [path for path in sources if "kernels" in path.parts]
    assert len(compiled) > 20
    uncompiled = {"kernel_cache", "errors", "network", "network.kernels", "network.lengths", "network.surrogates"}
    for path in compiled:
        for name in re.findall(r"^from snn_asr\.(\S+) import", path.read_text(), re.MULTILINE):
            found = {package / (name.replace(".", "/") + end) for end in (".py", "/__init__.py")} & sources
            assert found or name in uncompiled, f"{path.name} imports {name}"


ONE_STEP = """
import hashlib, sys, torch
from snn_asr import encoders
torch.manual_seed(0)
encoder = encoders.build(sys.argv[1], input_size=20, hidden_size=64, num_layers=1, smoothing=0.5).train()
output, _ = encoder(torch.randn(4, 40, 20), torch.tensor([40, 35, 30, 5]))
output.square().sum().backward()
numbers = [output, *(each.grad for each in encoder.parameters())]
print(hashlib.sha256(b"".join(each.detach().numpy().tobytes() for each in numbers)).hexdigest())
"""
SLOWER = ("improved_v1", "lif", "radlif", "spiking_lstm", "delta_gru", "ligru")


@pytest.mark.thorough
@pytest.mark.parametrize("encoder", ["improved_v2", *(pytest.param(each, marks=pytest.mark.slow) for each in SLOWER)])
def test_kernels_that_are_found_compiled_give_the_bits_of_those_just_compiled(encoder, tmp_path):
    told = {**os.environ, VARIABLE: str(tmp_path / "kernels")}
    first, second = (
        subprocess.run([sys.executable, "-c", ONE_STEP, encoder], env=told, capture_output=True, text=True, check=True)
        for _ in range(2)
    )
    assert first.stdout == second.stdout != ""

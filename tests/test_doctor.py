"""The doctor: every check guarded, mismatches explained, the exit code."""

from __future__ import annotations

import importlib
import json
from importlib import metadata

import pytest

from snn_asr import doctor
from snn_asr.cli.main import run
from snn_asr.doctor import BROKEN, MISSING, OK, Finding

REAL_IMPORT, REAL_VERSION = importlib.import_module, metadata.version


@pytest.fixture
def installation(monkeypatch: pytest.MonkeyPatch):
    """Pretend that importing some modules raises and that some distributions have other versions."""

    def pretend(errors: dict[str, Exception], versions: dict[str, str] | None = None) -> None:
        def import_module(name: str):
            if name in errors:
                raise errors[name]
            return object() if name == "speechbrain" else REAL_IMPORT(name)  # the real one takes seconds

        monkeypatch.setattr(importlib, "import_module", import_module)
        monkeypatch.setattr(metadata, "version", lambda name: (versions or {}).get(name) or REAL_VERSION(name))

    return pretend


def by_name() -> dict[str, Finding]:
    return {finding.name: finding for finding in doctor.examine()}


def test_what_is_installed_is_found(installation) -> None:
    installation({})
    findings = by_name()
    assert findings["torch"].detail == REAL_VERSION("torch")
    assert "libsndfile" in findings["soundfile"].detail
    assert "threads" in findings["cpu"].detail
    assert findings["backend reference"] == Finding("backend reference", OK, "loads", True)
    assert not findings["cuda"].required


def test_no_broken_import_stops_it(installation) -> None:
    names = ("torch", "torchaudio", "speechbrain", "soundfile", "numba", "triton", "snn_asr.network.kernels", "kenlm")
    installation({name: OSError(f"{name} is broken\nin detail") for name in names})
    findings = by_name()
    assert findings["torch"].detail == "OSError: torch is broken"
    assert findings["numba"].status == findings["cpu"].status == findings["kenlm"].status == BROKEN
    assert findings["python"].status == OK
    assert not doctor.healthy(list(findings.values()))


def test_a_missing_package_says_how_to_get_it(installation) -> None:
    installation({"numba": ModuleNotFoundError("No module named 'numba'", name="numba")})
    assert by_name()["numba"] == Finding("numba", MISSING, "not installed", True, "pip install numba")


def test_a_missing_extra_is_no_illness(installation) -> None:
    missing = ModuleNotFoundError("No module named 'espeakng_loader'", name="espeakng_loader")
    installation({"espeakng_loader": missing})
    extra = by_name()["espeakng-loader"]
    assert (extra.status, extra.required, extra.todo) == (MISSING, False, "pip install 'snn-asr[demo]'")


def test_a_package_that_lacks_another_is_broken_not_missing(installation) -> None:
    installation({"speechbrain": ModuleNotFoundError("No module named 'scipy'", name="scipy")})
    finding = by_name()["speechbrain"]
    assert finding.status == BROKEN and "scipy" in finding.detail


def test_a_torchaudio_that_does_not_load_is_explained_by_the_versions(installation) -> None:
    installation({"torchaudio": OSError("undefined symbol: _ZN3c10")}, {"torch": "2.11.0", "torchaudio": "2.8.0"})
    finding = by_name()["torchaudio"]
    assert finding.detail == "does not load: torchaudio 2.8.0 is not of torch's release 2.11.0"
    assert finding.todo.endswith("pip install -U torch==2.11.0 torchaudio==2.11.0")
    installation({"torchaudio": OSError("undefined symbol: _ZN3c10")}, {"torch": "2.11.0", "torchaudio": "2.11.0"})
    assert by_name()["torchaudio"].detail == "does not load: OSError: undefined symbol: _ZN3c10"


@pytest.mark.parametrize(
    ("torch", "torchaudio", "words"),
    [
        ("2.11.0", "2.11.0", ""),
        ("2.11.1+cu130", "2.11.0+cu130", ""),
        ("2.11.0", "2.1.0", "release"),
        ("2.11.0+cpu", "2.11.0", "built differently"),
        ("2.11.0+cpu", "2.11.0+cu130", "built differently"),
    ],
)
def test_releases_and_builds_have_to_agree(torch: str, torchaudio: str, words: str) -> None:
    mismatch = doctor.release_mismatch(torch, torchaudio)
    assert words in mismatch and bool(mismatch) == bool(words)


def test_the_exit_code_and_the_two_forms(monkeypatch, capsys) -> None:
    well = Finding("a", OK, "1.0", True)
    absent = Finding("extra", MISSING, "not installed", False, "pip install extra")
    ill = Finding("b", BROKEN, "OSError: x", True, "reinstall b")
    monkeypatch.setattr(doctor, "examine", lambda: [well, absent])
    assert run(["doctor"]) == 0
    out = capsys.readouterr().out
    assert out == "ok       a      1.0\nmissing  extra  not installed -> pip install extra\n"
    monkeypatch.setattr(doctor, "examine", lambda: [well, ill])
    assert run(["doctor", "--json"]) == 4
    captured = capsys.readouterr()
    assert json.loads(captured.out)[1]["todo"] == "reinstall b"
    assert captured.err == "snn-asr: installation: not in order: b; do what stands after the arrows\n"

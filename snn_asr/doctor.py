"""What ``snn-asr doctor`` finds: what is installed, what runs, what is missing, and how to get it.

Every check runs, whatever happens to the others.
"""

from __future__ import annotations

import importlib
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata

import snn_asr

OK, MISSING, BROKEN, UNUSED = "ok", "missing", "broken", "unused"
PACKAGES = ("speechbrain", "hyperpyyaml", "sentencepiece", "safetensors", "numba")
GPU_BACKENDS = ("triton", "cuda")
EXTRAS = {
    "espeakng-loader": ("speaks the demo corpus (GPL)", "pip install 'snn-asr[demo]'"),
    "matplotlib": ("draws the figures of analyze", "pip install 'snn-asr[figures]'"),
    "kenlm": ("n-gram language models for decoding", "pip install 'snn-asr[lm]' (compiles from source)"),
    "onnx": ("export of models to ONNX", "pip install 'snn-asr[onnx]'"),
    "nir": ("export of models to NIR", "pip install 'snn-asr[nir]'"),
}
AUDIO_FORMATS = ("WAV", "FLAC", "OGG", "MP3", "NIST")


@dataclass(frozen=True)
class Finding:
    """One row. ``status`` is ok, missing, broken, or unused, which means working but of no use on this machine."""

    name: str
    status: str
    detail: str
    required: bool
    todo: str = ""


class Unfit(Exception):
    """Raised by a check to give another status than ok."""

    def __init__(self, status: str, detail: str, todo: str = "") -> None:
        super().__init__(detail)
        self.status, self.detail, self.todo = status, detail, todo


def examine() -> list[Finding]:
    """The findings of all checks. This imports torch and speechbrain, which takes seconds."""
    required: list[tuple[str, Callable[[], str]]] = [
        ("python", platform.python_version),
        ("snn-asr", lambda: snn_asr.__version__),
        ("torch", partial(_package, "torch")),
        ("torchaudio", _torchaudio),
        ("soundfile", _soundfile),
        *((name, partial(_package, name)) for name in PACKAGES),
        ("cpu", _cpu),
    ]
    optional: list[tuple[str, Callable[[], str]]] = [
        ("cuda", _cuda), ("triton", _triton), *((name, partial(_extra, name)) for name in EXTRAS),
    ]
    findings = [_finding(name, True, check) for name, check in required]
    findings += [_finding(f"backend {name}", name not in GPU_BACKENDS, partial(_backend, name)) for name in _backends()]
    return findings + [_finding(name, False, check) for name, check in optional]


def healthy(findings: list[Finding]) -> bool:
    """Whether everything that is required works."""
    return all(finding.status == OK for finding in findings if finding.required)


def release_mismatch(torch_version: str, torchaudio_version: str) -> str:
    """Why these two versions do not fit, or "". Each is a release and, after ``+``, a build (cpu, cu130, ...)."""
    torch_release, _, torch_build = torch_version.partition("+")
    torchaudio_release, _, torchaudio_build = torchaudio_version.partition("+")
    if torch_release.split(".")[:2] != torchaudio_release.split(".")[:2]:
        return f"torchaudio {torchaudio_release} is not of torch's release {torch_release}"
    if torch_build != torchaudio_build:
        return f"torch {torch_version} and torchaudio {torchaudio_version} are built differently"
    return ""


def _finding(name: str, required: bool, check: Callable[[], str]) -> Finding:
    """The finding of ``check``, which returns a string if all is well. Imports may raise any error."""
    try:
        return Finding(name, OK, check(), required)
    except Unfit as answer:
        return Finding(name, answer.status, answer.detail, required, answer.todo)
    except Exception as error:
        return Finding(name, BROKEN, _first_line(error), required, f"reinstall {name}")


def _package(name: str) -> str:
    """Import the module of a distribution (its name, with underscores) and return its version."""
    module = name.replace("-", "_")
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name == module:
            raise Unfit(MISSING, "not installed", f"pip install {name}") from error
        raise
    return metadata.version(name)


def _extra(name: str) -> str:
    purpose, todo = EXTRAS[name]
    try:
        return f"{_package(name)}: {purpose}"
    except Unfit as answer:
        raise Unfit(answer.status, f"{answer.detail}: {purpose}", todo) from answer


def _torchaudio() -> str:
    """Check that torchaudio loads. Its compiled part needs the torch that it was built for, so versions tell why
    not."""
    version = metadata.version("torchaudio")
    mismatch = release_mismatch(metadata.version("torch"), version)
    release = metadata.version("torch").partition("+")[0]
    todo = f"install both of one release from one source: pip install -U torch=={release} torchaudio=={release}"
    try:
        importlib.import_module("torchaudio")
    except Exception as error:
        raise Unfit(BROKEN, f"does not load: {mismatch or _first_line(error)}", todo) from error
    if mismatch:
        raise Unfit(BROKEN, mismatch, todo)
    return f"{version}, of torch's release"


def _soundfile() -> str:
    soundfile = importlib.import_module("soundfile")
    version = f"{soundfile.__version__}, libsndfile {soundfile.__libsndfile_version__}"
    lacking = [name for name in AUDIO_FORMATS if name not in soundfile.available_formats()]
    if lacking:
        raise Unfit(BROKEN, f"{version}, cannot read {', '.join(lacking)}", "pip install -U soundfile")
    return version


def _cpu() -> str:
    threads = importlib.import_module("torch").get_num_threads()
    return f"{os.cpu_count()} cores, torch uses {threads} threads"


def _cuda() -> str:
    torch = importlib.import_module("torch")
    if not torch.cuda.is_available():
        built = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "for the CPU only"
        raise Unfit(UNUSED, f"no device (torch is built {built})")
    devices = (torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    return f"{', '.join(devices)} (CUDA {torch.version.cuda})"


def _triton() -> str:
    version = _package("triton")
    if not importlib.import_module("torch").cuda.is_available():
        raise Unfit(UNUSED, f"{version}, needs a CUDA device")
    return version


def _backends() -> tuple[str, ...]:
    """The names of the backends without "auto", which chooses among them; those of the CPU if they cannot be loaded."""
    try:
        names = importlib.import_module("snn_asr.network.kernels").BACKENDS
    except Exception:  # the error then becomes the finding of each backend
        names = ("reference", "cpu")
    return tuple(name for name in names if name != "auto")


def _backend(name: str) -> str:
    if name in GPU_BACKENDS and not importlib.import_module("torch").cuda.is_available():
        raise Unfit(UNUSED, "needs a CUDA device")
    importlib.import_module(f"snn_asr.network.kernels.{name}")
    return "loads"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__

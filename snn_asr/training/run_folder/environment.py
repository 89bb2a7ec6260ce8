"""The machine, versions and commit of a training, which are needed to repeat its figures."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from pathlib import Path

import torch

import snn_asr
from snn_asr import devices

_PROGRAM = ("snn_asr", "cli", "recipes")  # folders of the checkout
_GIT_SECONDS = 5  # that git may take; without an answer a run has no commit


def environment(device: str) -> dict[str, str | None]:
    """Names and versions, for people and for tables: ``commit`` (as the function of this name gives it), ``processor``,
    ``system``, ``gpu`` (None on the CPU) and ``python``."""
    return {
        "commit": commit(), "processor": processor(), "system": f"{platform.system()} {platform.machine()}",
        "gpu": torch.cuda.get_device_name() if device.startswith("cuda") else None,
        "python": platform.python_version(),
    }


@cache
def commit() -> str | None:
    """The last commit of the checkout that changed the program, in twelve digits, with ``+`` if the files differ from
    it.

    None if the program was installed without a checkout, or if git does not answer. Commits that change only
    documentation and tests do not count, because the program is the same before and after them.
    """
    root = Path(snn_asr.__file__).resolve().parents[1]
    if not (root / ".git").exists() or not (root / "pyproject.toml").is_file():
        return None
    found = _git(root, "log", "-1", "--format=%h", "--abbrev=12", "--", *_PROGRAM)
    changes = _git(root, "status", "--porcelain", "--", *_PROGRAM)
    return None if not found or changes is None else found + ("+" if changes else "")


def _git(root: Path, *words: str) -> str | None:
    try:
        result = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=_GIT_SECONDS, check=True
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()


def processor() -> str:
    """The processor's name and how many of its cores this process may use, such as ``AMD EPYC 7R13, 2 cores``."""
    cores = devices.available_processors()
    return f"{_processor_name()}, {cores} {'core' if cores == 1 else 'cores'}"


def _processor_name() -> str:
    """The processor's name, from Linux or else from Python."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next((each for each in names if each), "") or platform.processor() or platform.machine()

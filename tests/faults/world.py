"""The world that a fault is brought about in: a folder with data and a trained run, commands, and broken machines."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from snn_asr.files import read_json_object, sha256, write_json, writing

PROGRAM = (sys.executable, "-c", "from snn_asr.cli.start import main; main()")
INJECT = Path(__file__).parent / "inject"


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    output: str
    errors: str

    @property
    def last_line(self) -> str:
        return self.errors.rstrip().rpartition("\n")[2]


@dataclass
class World:
    """A fresh folder for one fault.

    ``folder`` is empty; ``data()`` and ``model_run()`` copy what the session has made into it. ``run`` is a command in
    this process (fast), ``process`` one in a process of its own, which may be killed or given a small disk.
    """

    folder: Path
    made: Path  # data/ and run/, shared: not to be changed
    recipe: Path
    in_process: Callable[..., tuple[int, str, list[str]]]
    monkeypatch: pytest.MonkeyPatch

    def __post_init__(self) -> None:
        self._kept: dict[Path, str] = {}

    def data(self, name: str = "data") -> Path:
        """A copy of the folder of manifests and audio."""
        return Path(shutil.copytree(self.made / "data", self.folder / name))

    def model_run(self, name: str = "run") -> Path:
        """A copy of a finished run of ``train()`` on ``data()``."""
        self.data_beside(name)
        return Path(shutil.copytree(self.made / "run", self.folder / name))

    def data_beside(self, name: str) -> None:
        if not (self.folder / "data").exists():
            self.data()

    def unfinish(self, run: Path) -> Path:
        """Take away from a finished run what is written when its training is done."""
        shutil.rmtree(run / "model")
        (run / "test.json").unlink()
        return run

    def recording(self, name: str = "a.wav") -> Path:
        """A copy of a recording of some words."""
        source = next((self.made / "data" / "audio" / "test").glob("*-03.wav"))
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copyfile(source, self.folder / name))

    def training(self, run: Path | str, *words: object, data: Path | str | None = None) -> list[str]:
        """The words of the training that ``model_run`` is of, into ``run``; ``words`` go before its own options."""
        given = {str(word).partition("=")[0] for word in words}
        own = [each for each in SHORT if each.partition("=")[0] not in given]
        return [
            "train", str(self.recipe), "--data-folder", str(data or self.folder / "data"), "--output-folder",
            str(self.folder / run), "--device", "cpu", *own, *map(str, words),
        ]

    def run(self, *words: object) -> Outcome:
        """A command in this process."""
        writing.remove_dead_halves.cache_clear()  # as a new process would
        code, output, errors = self.in_process(*words)
        return Outcome(code, output, "\n".join(errors))

    def train(self, run: Path | str, *words: object, data: Path | str | None = None) -> Outcome:
        return self.run(*self.training(run, *words, data=data))

    def process(
        self, *words: object, kill: str = "", environment: dict[str, str] | None = None, largest_file: int = 0,
        before: Sequence[str] = (), timeout_seconds: float = 120, program: str = "",
    ) -> Outcome:
        """A command in a process of its own.

        ``kill`` is "CALL:NUMBER:SIGNAL", such as "replace:3:9": just before its third ``os.replace`` the process gets
        signal 9. ``largest_file`` (bytes) stands for a full disk: no file may grow larger. ``before`` are words before
        the command, such as of ``setpriv``; ``program`` is Python that runs instead of the command's entry point.
        """
        start = (sys.executable, "-c", program) if program else PROGRAM
        done = subprocess.run(
            [*before, *start, *map(str, words)], capture_output=True, text=True, errors="replace",
            stdin=subprocess.DEVNULL, timeout=timeout_seconds, cwd=self.folder,
            env=self.environment(kill) | (environment or {}),
            preexec_fn=(lambda: _limit_files(largest_file)) if largest_file else None,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def environment(self, kill: str = "") -> dict[str, str]:
        """The environment of a process of ``process``."""
        own = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        injected = {"PYTHONPATH": str(INJECT), "KILL_AT": kill} if kill else {}
        return {**os.environ, **own, **injected}

    def keep(self, *paths: Path) -> None:
        """These files must be there and unchanged when the fault has passed."""
        self._kept |= {path: sha256(path) for path in paths}

    def assert_kept(self) -> None:
        for path, digest in self._kept.items():
            assert path.is_file(), f"{path} is gone"
            assert sha256(path) == digest, f"{path} has another content"

    def edit_json(self, path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
        """Change the object of a JSON file in place."""
        value = read_json_object(path)
        change(value)
        write_json(path, value)

    def rechecksum(self, model: Path) -> None:
        """Make a model folder's checksums right again: as if somebody had written this model so."""
        path = model / "checksums.json"
        present = [name for name in read_json_object(path) if (model / name).is_file()]
        write_json(path, {name: sha256(model / name) for name in present})

    @contextmanager
    def refusing(self, folder: Path, code: int = errno.ENOSPC, after: int = 0) -> Iterator[None]:
        """Within the block, files written to ``folder`` (or below it) meet an error of the machine, but the first
        ``after``."""
        left = [after]
        wanted = str(folder)

        def refuse(path: object) -> None:
            if str(path).startswith(wanted):
                left[0] -= 1
                if left[0] < 0:
                    raise OSError(code, os.strerror(code))

        fsync, mkstemp = os.fsync, tempfile.mkstemp

        def failing_fsync(handle: int) -> None:
            refuse(os.readlink(f"/proc/self/fd/{handle}"))
            fsync(handle)

        def failing_mkstemp(*arguments: Any, **options: Any) -> tuple[int, str]:
            if code in (errno.EACCES, errno.EROFS):
                refuse(options.get("dir"))
            return mkstemp(*arguments, **options)

        with self.monkeypatch.context() as patch:
            patch.setattr(os, "fsync", failing_fsync)
            patch.setattr(tempfile, "mkstemp", failing_mkstemp)
            yield


SHORT = ("epochs=2", "hidden_size=8", "batch_frames=1000", "cooldown_epochs=1")


def _limit_files(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def flip_bit(path: Path, position: int | None = None) -> None:
    """Turn one bit of a file: in its middle, or at a byte's position."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if position is None else position] ^= 0x40
    path.write_bytes(content)


def halves(folder: Path) -> list[str]:
    """What interrupted writing may have left in a folder."""
    return [str(path.relative_to(folder)) for path in folder.rglob(".*") if path.is_file()]


def digest(folder: Path) -> dict[str, str]:
    """Name to content of every file in a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*")) if path.is_file()
    }

"""Frames on disk: computed once, then read through memory maps by every epoch of every run on the same audio.

    features/  fbank40-speed0.9-5f0c0b6a17d2/  3b1d60fe25c94a70....safetensors  ...

A folder holds frames of one kind (settings, speed, and the code that computes them), and a shard those of consecutive
utterances. The name of a shard is the digest of their audio files (path, size, times of change), so that other audio
makes another shard. A shard is one safetensors file, whose header has the index, the checksums of its tensors, and its
own name. It is renamed into place when it is complete, and compared with its header whenever a run opens it. The
cache may be deleted while no run is starting.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import safetensors
import safetensors.torch
import torch
import torchaudio
from torch import Tensor

from snn_asr.data import (
    audio,
    containers,
    features,
    mpeg_frames,
    ogg_pages,
    patched_file,
    resampling,
    sample_rates,
    sound_file,
    spectra,
)
from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.errors import DataError, of_every
from snn_asr.files import sha256, utf8_path, write_bytes
from snn_asr.files.locks import locked

CODE = (  # that computes frames from the bytes of a recording; other code gets a folder of its own
    audio, sound_file, sample_rates, containers, mpeg_frames, ogg_pages, patched_file, resampling, features, spectra,
)
CHECKSUMS = "checksums"
SHARD_BYTES = 128 << 20  # 100 hours of 80 features are some 90 shards; writing one needs three times its memory

log = logging.getLogger(__name__)


class CachedFrames:
    """Frames (T, F) by index, as views of memory-mapped shards that must not be changed."""

    def __init__(self, shards: Sequence[_Shard]) -> None:
        self._places = {
            index: (shard, str(position)) for shard in shards for position, index in enumerate(shard.indices)
        }

    def __getitem__(self, index: int) -> Tensor:
        shard, name = self._places[index]
        assert shard.tensors is not None
        return shard.tensors.get_tensor(name)


class FeatureCache:
    """A folder of frames that any number of processes may share at the same time."""

    def __init__(self, folder: str | Path, shard_bytes: int = SHARD_BYTES) -> None:
        self.folder, self.shard_bytes = Path(folder), shard_bytes

    def open(
        self, paths: Sequence[Path], settings: FeatureSettings, speed: float, frame_counts: Sequence[int],
        compute: Callable[[int], Tensor],
    ) -> CachedFrames | None:
        """The frames of ``paths`` at ``speed``; ``compute(index)`` gives those that no shard holds.

        The expected ``frame_counts`` determine how they are divided into shards. Shards that another process is writing
        are left to it, and waited for at the end. If shards cannot be written, a warning says so and the result is
        None, because a missing cache may cost a run time but must not end it.
        """
        folder = self.folder / _folder_name(settings, speed)
        shards = self._divide(folder, paths, [each * settings.size * 4 for each in frame_counts])
        try:
            missing = [each for each in shards if not each.load()]
            if missing:
                self._write(folder, missing, speed, compute)
        except (OSError, safetensors.SafetensorError) as error:
            log.warning(
                "%s: features are not kept there (%s), but computed again in every run; "
                "choose another folder with feature_cache=FOLDER, or none", self.folder, error,
            )
            return None
        return CachedFrames(shards)

    def _divide(self, folder: Path, paths: Sequence[Path], sizes: Sequence[int]) -> list[_Shard]:
        starts = [before // self.shard_bytes for before in _sums_before(sizes)]
        groups = (list(group) for _, group in groupby(range(len(paths)), key=starts.__getitem__))
        return [
            _Shard(folder, group, _digest([_source(paths[index]) for index in group]), sum(sizes[i] for i in group))
            for group in groups
        ]

    def _write(self, folder: Path, missing: list[_Shard], speed: float, compute: Callable[[int], Tensor]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        needed, free = sum(each.expected_bytes for each in missing), shutil.disk_usage(folder).free
        if needed > free:
            raise OSError(f"{needed / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free")
        utterances = sum(len(each.indices) for each in missing)
        log.info("%s: computing features of %d utterances at speed %g, once", self.folder, utterances, speed)
        for wait in (False, True):
            left = [each for each in missing if each.tensors is None]
            if wait and left:
                log.info("%s: waiting for %d shards that another run computes", self.folder, len(left))
            for number, shard in enumerate(left, 1):
                if shard.write(compute, wait) and len(left) > 1:
                    log.info("%s: shard %d of %d written", self.folder, number, len(left))
        if any(each.tensors is None for each in missing):
            raise OSError("what was written cannot be read")


class _Shard:
    """The frames of the utterances ``indices``, named in the file by their position in it."""

    def __init__(self, folder: Path, indices: list[int], name: str, expected_bytes: int) -> None:
        self.indices, self.expected_bytes = indices, expected_bytes
        self.path = folder / f"{name}.safetensors"
        self.tensors: safetensors.safe_open | None = None

    def load(self) -> bool:
        """Open the file. Returns False if it is absent, or was damaged after it was written and is removed.

        The whole file is read once to compare checksums; later reads come from the system's page cache.
        """
        if not self.path.is_file():
            return False
        try:
            with utf8_path(self.path) as path:
                tensors = safetensors.safe_open(path, framework="pt")
            found = {name: tensors.get_tensor(name) for name in tensors.keys()}
            whole = (tensors.metadata() or {}).get(CHECKSUMS) == self._checksums(found)
            problem = None if whole and len(found) == len(self.indices) else "its checksums are not of its content"
        except (safetensors.SafetensorError, ValueError, RuntimeError) as error:
            problem = str(error)
        if problem is not None:
            log.warning("%s: damaged (%s), computed anew", self.path, problem)
            self.path.unlink(missing_ok=True)
            return False
        self.tensors = tensors
        return True

    def _checksums(self, tensors: Mapping[str, Tensor]) -> str:
        """The CRC-32 of each tensor's bytes and shape, by name: it finds every flipped bit, at some GB a second. The
        file's own name is added, because the shard of other recordings in its place would be whole, too."""
        sums = {name: zlib.crc32(each.numpy().tobytes(), math.prod(each.shape)) for name, each in tensors.items()}
        return json.dumps({"shard": f"{self.path.parent.name}/{self.path.stem}", **dict(sorted(sums.items()))})

    def write(self, compute: Callable[[int], Tensor], wait: bool) -> bool:
        """Write and open the file, or open it if another process has written it. Returns whether this one did.

        If another process is writing it now, this one may ``wait``; otherwise the shard is left as it is.
        """
        lock = self.path.with_name(f".{self.path.stem}.lock")
        with locked(lock, wait) as mine:
            if not mine or self.load():
                return False
            for left_by_a_killed_process in self.path.parent.glob(f".{self.path.stem}-*"):
                left_by_a_killed_process.unlink(missing_ok=True)
            tensors = {str(position): frames for position, frames in enumerate(of_every(compute, self.indices))}
            content = safetensors.torch.save(tensors, {CHECKSUMS: self._checksums(tensors)})
            try:
                write_bytes(self.path, content)
            except DataError as error:
                raise OSError(error.what) from error  # about the folder of the cache, without which a run can go on
            return self.load()


def _sums_before(sizes: Sequence[int]) -> Iterator[int]:
    total = 0
    for size in sizes:
        yield total
        total += size


def _source(path: Path) -> list:
    """What distinguishes an audio file from a changed one. A missing file becomes an error when it is read.

    The time of modification alone would not do: copies and archives set it to that of another file.
    """
    path = Path(os.path.abspath(path))
    status = path.stat() if path.is_file() else None
    return [str(path), *((status.st_size, status.st_mtime_ns, status.st_ctime_ns) if status else ())]


def _folder_name(settings: FeatureSettings, speed: float) -> str:
    # Stacking and normalisation come after the frames that are kept.
    plain = {**settings.to_dict(), "stack": 1, "normalization": "global"}
    code = [sha256(str(module.__file__)) for module in CODE]
    kind = _digest([plain, speed, code, torch.__version__, torchaudio.__version__])
    return f"{settings.kind}{settings.size}-speed{speed:g}-{kind[:12]}"


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]

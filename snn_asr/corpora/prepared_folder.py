"""The folder that a preparation writes: which of its files belong to it, and whether all of them are there.

    prepared.json      the mark: the options, the SHA-256 of every manifest, the size of every audio file
    train.json, ...    the manifests
    audio/             what the corpus writes itself, if it does
    .prepare-shards/   during a preparation: what shards have made so far
    .prepare-earlier/  during a preparation: the one with other options that it replaces
    .prepare.lock      during a preparation: the lock of its process; each shard has one of its own

The mark is written before the manifests and removed after the files that it lists. So whenever a preparation is
interrupted, the next one recognises its files, and never takes a file of the user's for one of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from snn_asr.data.manifest import Utterance, manifest_text
from snn_asr.errors import DataError, UsageError, describing
from snn_asr.files import encoded, read_json, remove_leftovers, sha256, write_bytes, write_json
from snn_asr.files.locks import alone, made, refuse_held
from snn_asr.sharding import Shard

MARK, SHARDS, AUDIO = "prepared.json", ".prepare-shards", "audio"
EARLIER = ".prepare-earlier"
_SUFFIX = ".flac"  # of all audio that preparations write
LOCK, _SHARD_LOCKS = ".prepare.lock", ".prepare-*-of-*.lock"


class PreparedFolder:
    """The folder ``path`` of a preparation with ``options`` (JSON values); ``manifests`` are names without suffix."""

    def __init__(self, path: str | Path, options: Mapping[str, Any], manifests: Iterable[str] = ()) -> None:
        self.path, self._options = Path(path), json.loads(json.dumps(options))
        self._names = [f"{each}.json" for each in manifests]
        digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()
        self.parts = self.path / SHARDS / digest[:16]  # named by the options, so that preparations cannot mix
        self._foreign_audio: set[Path] | None = None  # audio that stayed when an earlier preparation was set aside

    @property
    def finished(self) -> bool:
        """Whether the folder holds a preparation with exactly these options, with all its files as they were written.
        """
        mark = self._mark()
        return self._is_with_options(mark) and all(self._is_own(name, mark) for name in mark["files"])

    @property
    def of_others(self) -> bool:
        """Whether the mark is that of a preparation with other options."""
        return (self.path / MARK).exists() and not self._is_with_options(self._mark())

    @contextmanager
    def held(self, shard: Shard | None) -> Iterator[None]:
        """A block in which no other preparation works here, apart from the other shards of this one.

        The folder is made if it is absent. Raises UsageError if another preparation is at work, because each would
        remove or replace what the other writes.
        """
        work, todo = "preparation", "choose another --output-folder"
        with made(self.path, todo), alone(self.path / _lock(shard), work, todo):
            if shard is not None:
                refuse_held(self.path / LOCK, work, todo)
            for left in self.path.glob(_SHARD_LOCKS) if shard is None else ():
                refuse_held(left, work, todo)
                with suppress(OSError):
                    left.unlink()  # of a killed shard
            yield

    def refuse_foreign(self, writes_audio: bool) -> None:
        """Raise UsageError if a file that no preparation wrote is in the place of one to be written."""
        audio = next(self._audio(), None) if writes_audio else None
        begun = (self.path / SHARDS).is_dir()
        mark = self._mark()  # read last: a shard that starts now writes its mark or parts first
        foreign = [MARK] if (self.path / MARK).exists() and not mark else []
        foreign += [name for name in self._names if (self.path / name).exists() and not self._is_own(name, mark)]
        if audio is not None and not mark and not begun:
            foreign.append(str(audio.relative_to(self.path)))
        if foreign:
            what = "is there already, and not as prepare wrote it"
            raise UsageError(what, self.path / foreign[0], "choose another --output-folder, or move it away")

    def set_aside(self) -> None:
        """Move what an earlier preparation recorded as its own into a hidden folder, until ``tidy`` removes it there or
        ``bring_back`` restores it; and remove incomplete files that killed preparations left.

        The mark is moved last: as long as any of its files is there, it can be recognised.
        """
        mark = self._mark()
        for name in mark.get("files", ()):
            # The mark of an earlier version may also list manifests of the user's.
            sure = "manifests" in mark or name in self._names or self.is_audio(self.path / name)
            if sure and self._is_own(name, mark):
                _move(self.path / name, self.path / EARLIER / name)
        if mark:
            _move(self.path / MARK, self.path / EARLIER / MARK)
        self.remove_halves()
        self._foreign_audio = set(self._audio())

    def bring_back(self) -> None:
        """Restore the earlier preparation that was set aside for one that has failed or was killed, without what this
        one, if it has failed, has written since."""
        earlier = self.path / EARLIER
        names = sorted(path.relative_to(earlier) for path in earlier.rglob("*") if path.is_file())
        for name in sorted(names, key=lambda each: each == Path(MARK)):
            _move(earlier / name, self.path / name)
        shutil.rmtree(earlier, ignore_errors=True)
        if names and self._foreign_audio is not None:
            restored = {self.path / name for name in names}
            for path in set(self._audio()) - self._foreign_audio - restored:
                if path.suffix == _SUFFIX:
                    with suppress(OSError):
                        path.unlink()

    def remove_halves(self) -> None:
        """Remove incomplete files that killed preparations left."""
        for name in (MARK, *self._names, f"{AUDIO}/**/*{_SUFFIX}"):
            remove_leftovers(self.path, name)

    def write(self, manifests: Mapping[str, Sequence[Utterance]], audio: Iterable[Path]) -> None:
        """Write the mark, then the manifests; the last of them finishes the preparation.

        ``audio`` are the files that the preparation has written below the folder; other files there are not its own.
        """
        contents = {f"{name}.json": encoded(manifest_text(self.path, each)) for name, each in manifests.items()}
        sizes = {name: len(content) for name, content in contents.items()}
        for path in sorted(audio):
            sizes[path.relative_to(self.path).as_posix()] = path.stat().st_size
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        write_json(self.path / MARK, {"options": self._options, "files": sizes, "manifests": sums})
        for name, content in contents.items():
            write_bytes(self.path / name, content)

    def is_audio(self, path: Path) -> bool:
        """Return whether the path lies below the folder's audio."""
        return path.is_relative_to(self.path / AUDIO)

    def tidy(self) -> None:
        """Remove the parts of shards, and what was set aside."""
        for name in (SHARDS, EARLIER):
            shutil.rmtree(self.path / name, ignore_errors=True)

    def _mark(self) -> dict[str, Any]:
        """Return the mark, or an empty one if there is none or it was not written by a preparation."""
        path = self.path / MARK
        if not path.is_file():
            return {}
        try:
            mark = read_json(path, file_names=True)
        except DataError:
            return {}
        if not isinstance(mark, dict) or "options" not in mark or not isinstance(mark.get("manifests", {}), dict):
            return {}
        files = mark.get("files")
        return mark if isinstance(files, dict) and all(map(_is_inside, files)) else {}

    def _is_with_options(self, mark: Mapping[str, Any]) -> bool:
        return "options" in mark and mark["options"] == self._options

    def _is_own(self, name: str, mark: Mapping[str, Any]) -> bool:
        """Return whether the file is as the preparation wrote it, by its SHA-256 if the mark has one, else by its size.
        """
        path, known = self.path / name, mark.get("files", {})
        if name not in known or not path.is_file() or path.stat().st_size != known[name]:
            return False
        sums = mark.get("manifests", {})  # a mark of an earlier version has none
        return name not in sums or sha256(path) == sums[name]

    def _audio(self) -> Iterator[Path]:
        return (path for path in (self.path / AUDIO).rglob("[!.]*") if path.is_file())


def _move(source: Path, target: Path) -> None:
    with describing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, target)


def _lock(shard: Shard | None) -> str:
    return LOCK if shard is None else shard.file_name(LOCK)


def _is_inside(name: str) -> bool:
    """Return whether a name in a mark is that of a file in the folder itself or below its audio, and nowhere else."""
    parts = PurePosixPath(name).parts
    return ".." not in parts and (parts == (name,) or parts[:1] == (AUDIO,))

"""The folder that a preparation writes: which of its files are its own, and whether they are all there.

    prepared.json      the mark: the options, the SHA-256 of every manifest, the size of every file of audio
    train.json, ...    the manifests
    audio/             what the corpus writes itself, where it does
    .prepare-shards/   as long as a preparation is under way: what shards have made so far

The mark is written before the manifests, and goes after the files that it knows: whenever a preparation is ended, the
next one knows its files, and never takes somebody else's for them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from snn_asr.data.manifest import Utterance, manifest_text
from snn_asr.errors import DataError, UsageError
from snn_asr.files import encoded, read_json, remove_leftovers, sha256, write_bytes, write_json

MARK, SHARDS, AUDIO = "prepared.json", ".prepare-shards", "audio"


class PreparedFolder:
    """The folder ``path`` of a preparation with ``options`` (JSON values) that writes ``manifests`` (names without
    suffix)."""

    def __init__(self, path: str | Path, options: Mapping[str, Any], manifests: Iterable[str] = ()) -> None:
        self.path, self._options = Path(path), json.loads(json.dumps(options))
        self._names = [f"{each}.json" for each in manifests]
        digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()
        self.parts = self.path / SHARDS / digest[:16]  # of this preparation: others' cannot be mixed with them

    @property
    def finished(self) -> bool:
        """The folder holds a preparation with exactly these options, all its files as they were written."""
        mark = self._mark()
        return self._is_with_options(mark) and all(self._is_own(name, mark) for name in mark["files"])

    @property
    def of_others(self) -> bool:
        """The mark is of a preparation with other options."""
        return (self.path / MARK).exists() and not self._is_with_options(self._mark())

    def refuse_foreign(self, writes_audio: bool) -> None:
        """Raise UsageError where a file that no preparation wrote stands in the place of one to be written."""
        audio = next(self._audio(), None) if writes_audio else None
        begun = (self.path / SHARDS).is_dir()
        mark = self._mark()  # read after the others: a shard that begins now writes its mark, or its parts, before them
        foreign = [MARK] if (self.path / MARK).exists() and not mark else []
        foreign += [name for name in self._names if (self.path / name).exists() and not self._is_own(name, mark)]
        if audio is not None and not mark and not begun:
            foreign.append(str(audio.relative_to(self.path)))
        if foreign:
            what = "is there already, and not as prepare wrote it"
            raise UsageError(what, self.path / foreign[0], "choose another --output-folder, or move it away")

    def discard(self) -> None:
        """Remove what an earlier preparation recorded as its own, and halves of files that killed ones left.

        The mark goes last: as long as any of its files is there, it is known whose it is.
        """
        mark = self._mark()
        for name in mark.get("files", ()):
            # A mark of an earlier version may list a user's manifests, too.
            sure = "manifests" in mark or name in self._names or self.is_audio(self.path / name)
            if sure and self._is_own(name, mark):
                (self.path / name).unlink()
        if mark:
            (self.path / MARK).unlink()
        self.remove_halves()

    def remove_halves(self) -> None:
        """Remove halves of files that killed preparations left."""
        for name in (MARK, *self._names, f"{AUDIO}/**/*.flac"):
            remove_leftovers(self.path, name)

    def write(self, manifests: Mapping[str, Sequence[Utterance]], audio: Iterable[Path]) -> None:
        """Write the mark, then the manifests: with the last of them the preparation is finished.

        ``audio`` are the files that it has written below the folder; others there are somebody else's.
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
        """The path is one below the folder's audio."""
        return path.is_relative_to(self.path / AUDIO)

    def tidy(self) -> None:
        """Remove the parts of shards."""
        shutil.rmtree(self.path / SHARDS, ignore_errors=True)

    def _mark(self) -> dict[str, Any]:
        """The mark; empty where there is none, or none of ours."""
        path = self.path / MARK
        if not path.is_file():
            return {}
        try:
            mark = read_json(path)
        except DataError:
            return {}
        if not isinstance(mark, dict) or "options" not in mark or not isinstance(mark.get("manifests", {}), dict):
            return {}
        files = mark.get("files")
        return mark if isinstance(files, dict) and all(map(_is_inside, files)) else {}

    def _is_with_options(self, mark: Mapping[str, Any]) -> bool:
        return "options" in mark and mark["options"] == self._options

    def _is_own(self, name: str, mark: Mapping[str, Any]) -> bool:
        """The file is as the preparation of the mark wrote it: by its sum where it is noted, else by its size."""
        path, known = self.path / name, mark.get("files", {})
        if name not in known or not path.is_file() or path.stat().st_size != known[name]:
            return False
        sums = mark.get("manifests", {})  # a mark of an earlier version has none
        return name not in sums or sha256(path) == sums[name]

    def _audio(self) -> Iterator[Path]:
        return (path for path in (self.path / AUDIO).rglob("[!.]*") if path.is_file())


def _is_inside(name: str) -> bool:
    """A name of a mark is that of a file in the folder itself or below its audio, and leads nowhere else."""
    parts = PurePosixPath(name).parts
    return ".." not in parts and (parts == (name,) or parts[:1] == (AUDIO,))

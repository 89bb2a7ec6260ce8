"""What preparations of all corpora share: making utterances in threads and shards, writing manifests, a summary."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import track

from snn_asr.corpora.prepared_folder import PreparedFolder
from snn_asr.data.manifest import Utterance
from snn_asr.errors import DataError, UsageError, blames_the_disk, readable_name, unusable
from snn_asr.files import read_json_object
from snn_asr.files.journals import append_json_line, mend_journal, read_journal
from snn_asr.sharding import Shard

Item = TypeVar("Item")
Result = TypeVar("Result")

log = logging.getLogger(__name__)

_CLAIM = "manifests-claimed"

# Of all entries of a manifest.
_MEASURES: dict[str, Callable[[list[dict[str, Any]]], object]] = {
    "utterances": len,
    "hours": lambda entries: round(sum(entry["duration"] for entry in entries) / 3600, 3),
    "speakers": lambda entries: len({entry["speaker"] for entry in entries}),
    "words": lambda entries: sum(len(entry["text"].split()) for entry in entries),
}


@dataclass(frozen=True)
class Preparation:
    """The description of how a corpus is prepared; ``run`` does it.

    ``options`` (JSON values) determine the result. ``items`` returns for every name in ``manifests`` the items that
    become its utterances, in the same order on every machine. ``make`` turns an item into an utterance and writes its
    audio if there is any; it depends on nothing else, so any shard may do it. ``complete``, if given, is called with
    the utterances of all manifests before these are written. If ``make`` raises DataErrors, one error names all these
    recordings after the others are made; with ``leave_out_unreadable`` they are left out with a warning each.
    ``writes_audio`` says whether ``make`` writes audio. ``files`` names the files written below the folder ``audio`` if
    these are not just those of the utterances.
    """

    options: dict[str, Any]
    manifests: Sequence[str]
    items: Callable[[], Mapping[str, Sequence[Any]]]
    make: Callable[[Any], Utterance]
    title: str
    threads: int = 1
    complete: Callable[[dict[str, list[Utterance]]], None] | None = None
    measures: Sequence[str] = ("utterances", "hours", "speakers")
    leave_out_unreadable: bool = False
    writes_audio: bool = True
    files: Callable[[], Iterable[Path]] | None = None

    def run(self, output_folder: Path, shard: Shard | None) -> dict[str, Any]:
        """Write the manifests unless they are there, and return ``measures`` of each of them.

        Files that no preparation wrote are never touched. If one is in the way, UsageError is raised first. What an
        earlier preparation wrote with other options is replaced only if this one succeeds.

        A shard makes its part of the utterances and records them in a hidden folder, from which a killed shard can
        continue. The shard that finds all utterances there writes the manifests; the others return how many are still
        missing.
        """
        folder = PreparedFolder(output_folder, self.options, self.manifests)
        with folder.held(shard):
            if shard is not None:
                return self._run(folder, shard)
            if not folder.finished:
                folder.bring_back()  # what one that was killed was to replace
            try:
                return self._run(folder, shard)
            except BaseException:
                folder.bring_back()
                raise

    def _run(self, folder: PreparedFolder, shard: Shard | None) -> dict[str, Any]:
        if shard is not None:
            _release(folder.parts, shard)
        if not folder.finished:
            self._refuse_others(folder, shard)
            items = self.items()
            if shard is None and self.writes_audio:  # an earlier preparation is replaced
                folder.set_aside()
            if self.writes_audio:
                folder.parts.mkdir(parents=True, exist_ok=True)
            in_order = [item for name in self.manifests for item in items[name]]
            utterances = self._make(folder, in_order, shard)
            missing = len(in_order) - len(utterances)
            if not folder.finished:  # else another shard has finished it and removed the parts
                if missing or (shard is not None and not _claim(folder.parts, shard)):
                    log.info("shard %s is done; the manifests are written when the others are", shard)
                    return {"shard": str(shard), "missing_utterances": missing}
                self._finish(folder, {name: len(items[name]) for name in self.manifests}, utterances)
        folder.tidy()
        return summary(folder.path, self.manifests, self.measures)

    def _make(
        self, folder: PreparedFolder, items: list[Any], shard: Shard | None
    ) -> dict[int, Utterance | None]:
        """Return utterances by the rank of their item: those that shards have made so far, and the others of this
        shard.

        None stands for a recording that is left out.
        """
        utterances = _read_parts(folder)
        todo = [rank for rank in range(len(items)) if rank not in utterances and (shard is None or shard.owns(rank))]
        title = self.title if shard is None else f"{self.title} (shard {shard})"
        tried = in_threads(self._try_to_make, [items[rank] for rank in todo], self.threads, title)
        made = self._readable(zip(todo, tried, strict=True))
        if shard is None:
            return utterances | dict(made)
        own = folder.parts / shard.file_name("made.jsonl")
        mend_journal(own)
        for rank, utterance in made:
            entry = {"left_out": True} if utterance is None else _to_json(utterance, folder.path)
            append_json_line(own, {"rank": rank, **entry})
        self._refuse_others(folder, shard)
        return _read_parts(folder)

    def _try_to_make(self, item: object) -> Utterance | DataError:
        """Return what ``make`` returns, or the error of the recording. A full disk is raised, as no recording is to
        blame."""
        try:
            return self.make(item)
        except DataError as error:
            if blames_the_disk(error):
                raise
            return error

    def _readable(self, tried: Iterable[tuple[int, Utterance | DataError]]) -> Iterator[tuple[int, Utterance | None]]:
        """Yield what was made, one after another, and at the end raise one DataError about everything that was not."""
        errors: list[str] = []
        for rank, made in tried:
            if isinstance(made, Utterance):
                yield rank, made
                continue
            errors.append(f"{readable_name(made.where)}: {made.what}")
            if self.leave_out_unreadable:
                log.warning("%s; left out", errors[-1])
                yield rank, None
        if errors and not self.leave_out_unreadable:
            raise unusable(errors)

    def _finish(self, folder: PreparedFolder, sizes: dict[str, int], utterances: dict[int, Utterance | None]) -> None:
        in_order = (utterances[rank] for rank in range(len(utterances)))
        every = {name: [next(in_order) for _ in range(size)] for name, size in sizes.items()}
        manifests = {name: [each for each in members if each is not None] for name, members in every.items()}
        if empty := [name for name, members in manifests.items() if not members]:
            raise DataError(f"no recording that can be read for {', '.join(empty)}", folder.path, "restore them")
        if self.complete is not None:
            self.complete(manifests)
        folder.refuse_foreign(self.writes_audio)
        if folder.of_others:
            folder.set_aside()
        folder.remove_halves()
        recordings = (each.wav for members in manifests.values() for each in members)
        own = self.files() if self.files is not None else (each for each in recordings if folder.is_audio(each))
        folder.write(manifests, own if self.writes_audio else ())

    def _refuse_others(self, folder: PreparedFolder, shard: Shard | None) -> None:
        """Raise UsageError if other files are in the way.

        Shards remove nothing, since others may be at work. They need a folder without another preparation.
        """
        folder.refuse_foreign(self.writes_audio)
        if shard is None:
            return
        todo = "give all shards the same options and paths and a folder of their own, or leave out --shard"
        if any(path != folder.parts for path in folder.parts.parent.glob("*")):
            raise UsageError("unfinished shards with other options or data", folder.parts.parent, todo)
        if folder.of_others:
            raise UsageError("another preparation is here", folder.path, todo)


def in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], threads: int, title: str
) -> Iterator[Result]:
    """Yield ``function`` of every item in order, with progress on a terminal. After an interrupt it stops soon."""
    console = Console(stderr=True)
    executor = ThreadPoolExecutor(threads)
    try:
        results: Iterable[Result] = executor.map(function, items)
        if console.is_terminal:
            results = track(results, title, len(items), console=console, transient=True)
        yield from results
    finally:
        executor.shutdown(cancel_futures=True)


def summary(output_folder: Path, manifests: Iterable[str], measures: Sequence[str]) -> dict[str, Any]:
    """Return the ``measures`` of every manifest."""
    summaries: dict[str, dict[str, object]] = {}
    for name in manifests:
        entries = list(read_json_object(output_folder / f"{name}.json", file_names=True).values())
        summaries[name] = {measure: _MEASURES[measure](entries) for measure in measures}
    return summaries


def _claim(parts: Path, shard: Shard) -> bool:
    """Return whether this shard is to write the manifests: of shards that end together only one can make the file."""
    try:
        with open(parts / _CLAIM, "x", encoding="utf-8") as file:
            file.write(str(shard))
    except (FileExistsError, FileNotFoundError):  # another shard is writing them, or has just done so
        return False
    return True


def _release(parts: Path, shard: Shard) -> None:
    """Give up the claim that this shard made before it was killed, so that it can be made again.

    A claim without a name is that of a shard that was killed, or met a full disk, before it could write its own.
    """
    claim = parts / _CLAIM
    if claim.is_file() and claim.read_text(encoding="utf-8") in ("", str(shard)):
        claim.unlink(missing_ok=True)


def _read_parts(folder: PreparedFolder) -> dict[int, Utterance | None]:
    """Return the utterances of all shards by rank, without those whose audio is gone; None for those left out."""
    rows = [row for path in sorted(folder.parts.glob("*.jsonl")) for row in read_journal(path)]
    utterances = {row.pop("rank"): None if "left_out" in row else _from_json(row, folder.path) for row in rows}
    return {rank: each for rank, each in utterances.items() if each is None or each.wav.is_file()}


def _to_json(utterance: Utterance, output_folder: Path) -> dict[str, Any]:
    """Return an utterance whose audio is named relative to the output folder, which may have another path elsewhere."""
    inside = utterance.wav.is_relative_to(output_folder)
    return asdict(utterance) | {"wav": str(utterance.wav.relative_to(output_folder) if inside else utterance.wav)}


def _from_json(row: dict[str, Any], output_folder: Path) -> Utterance:
    phones = row["phones"]
    phones = None if phones is None else tuple((label, end) for label, end in phones)
    return Utterance(**row | {"wav": output_folder / row["wav"], "phones": phones})

"""What preparations of all kinds share: work in threads with its progress, and the summary they return."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from snn_asr.files import read_json

Item, Result = TypeVar("Item"), TypeVar("Result")

# Of all entries of a manifest.
_MEASURES: dict[str, Callable[[list[dict]], object]] = {
    "utterances": len,
    "hours": lambda entries: round(sum(entry["duration"] for entry in entries) / 3600, 3),
    "speakers": lambda entries: len({entry["speaker"] for entry in entries}),
    "words": lambda entries: sum(len(entry["text"].split()) for entry in entries),
}


def in_threads(function: Callable[[Item], Result], items: Sequence[Item], threads: int, title: str) -> list[Result]:
    """``function`` of every item, in their order, with progress on a terminal. Interrupted, it stops soon."""
    console = Console(stderr=True)
    executor = ThreadPoolExecutor(threads)
    try:
        results = executor.map(function, items)
        if console.is_terminal:
            results = track(results, title, len(items), console=console, transient=True)
        return list(results)
    finally:
        executor.shutdown(cancel_futures=True)


def summary(
    output_folder: Path, manifests: Iterable[str], measures: Sequence[str] = ("utterances", "hours", "speakers")
) -> dict[str, dict[str, object]]:
    """``measures`` (also "words") of every manifest."""
    summaries = {}
    for name in manifests:
        entries = list(read_json(output_folder / f"{name}.json").values())
        summaries[name] = {measure: _MEASURES[measure](entries) for measure in measures}
    return summaries

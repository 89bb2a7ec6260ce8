"""How far the times of words, or phones, lie from marks beside the recordings: of decode, and of forced alignment.

    python benchmarks/word_times.py runs/model FOLDER [--json FILE]

FOLDER holds recordings with .WRD (or, for a model of phones, .PHN) beside them, as TIMIT has them: lines of first
sample, end sample and label at 16 kHz. Of decode the words count that it got right.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np

import snn_asr
from snn_asr.data.audio_folder import find_audio
from snn_asr.decoding.recognizer import Recognizer

MARK_RATE_HZ = 16000
WITHIN_SECONDS = (0.02, 0.05, 0.1)
Span = tuple[str, float, float]  # label, begin and end in seconds


def marks(audio: Path, recognizer: Recognizer) -> list[Span]:
    """What is said when, in the words or phones that the model has; empty where nothing is marked."""
    phones = recognizer.tokens.kind == "phones"
    files = {path.name.upper(): path for path in audio.parent.iterdir()}
    path = files.get(f"{audio.stem.upper()}.{'PHN' if phones else 'WRD'}")
    rows = [] if path is None else [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    spans = ((label, int(begin) / MARK_RATE_HZ, int(end) / MARK_RATE_HZ) for begin, end, label in rows)
    named = ((recognizer.tokens.normalize(label), begin, end) for label, begin, end in spans)
    return [each for each in named if each[0]]


def differences(found: list[Span], marked: list[Span]) -> list[tuple[float, float]]:
    """Begin and end of each word found, minus those marked, where both have the same words."""
    labels = [[label.lower() for label, *_ in spans] for spans in (found, marked)]
    rows = []
    for place, other, size in SequenceMatcher(None, *labels, autojunk=False).get_matching_blocks():
        for (_, begin, end), (_, true_begin, true_end) in zip(
            found[place : place + size], marked[other : other + size], strict=True
        ):
            rows.append((begin - true_begin, end - true_end))
    return rows


def summary(rows: list[tuple[float, float]], of: int) -> dict[str, object]:
    """Medians and 95 % quantiles in seconds, and the share of ends within each of WITHIN_SECONDS."""
    begins, ends = np.abs(np.array(rows).reshape(-1, 2)).T
    figures = {}
    for name, errors in (("begin", begins), ("end", ends)):
        if len(errors):
            median, most = np.percentile(errors, [50, 95])
            figures |= {f"{name} median": round(float(median), 3), f"{name} 95 %": round(float(most), 3)}
    shares = {f"ends within {limit:g} s": round(float((ends <= limit).mean()), 3) for limit in WITHIN_SECONDS if rows}
    return {"words": len(rows), "of": of, **figures, **shares}


def measure(model: str | Path, recordings: Iterable[Path]) -> dict[str, dict[str, object]]:
    """Summaries of decode and of align."""
    recognizer = snn_asr.load_model(model)
    rows: dict[str, list[tuple[float, float]]] = {"decode": [], "align": []}
    total = 0
    for audio in recordings:
        marked = marks(audio, recognizer)
        if not marked:
            continue
        total += len(marked)
        text = " ".join(label for label, *_ in marked)
        for name, hypothesis in (("decode", recognizer.transcribe(audio)), ("align", recognizer.align(audio, text))):
            rows[name] += differences([(each.text, each.start, each.end) for each in hypothesis.words], marked)
    return {name: summary(each, total) for name, each in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    results = measure(chosen.model, find_audio(chosen.folder).files)
    for name, figures in results.items():
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in figures.items()))
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

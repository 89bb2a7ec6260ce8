"""Transcripts in subtitles: SubRip (.srt) and WebVTT (.vtt)."""

from __future__ import annotations

import html
import re
from pathlib import Path

from snn_asr.errors import DataError
from snn_asr.files import read_text

TIMING = re.compile(r"(?:\d+:)?\d\d?:\d\d[.,]\d+\s+-->\s+(?:\d+:)?\d\d?:\d\d[.,]\d+.*")
_TAGS = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")


def subtitle_text(path: Path) -> str:
    """Return the words of subtitles in the order of time, without numbers, notes and tags.

    Raises DataError for a block without times, and for times that do not follow an empty line.
    """
    cues: list[tuple[float, list[str]]] = []
    vtt = path.suffix.lower() == ".vtt"
    for block in re.split(r"\n[ \t]*\n", read_text(path)):
        lines = block.strip().split("\n")
        start = next((index for index, line in enumerate(lines[:2]) if TIMING.fullmatch(line.strip())), None)
        if start is None:
            if not block.strip() or (vtt and re.match(r"WEBVTT|NOTE|STYLE|REGION|X-TIMESTAMP", lines[0])):
                continue
            what = f"no times 'begin --> end' before '{lines[0][:40]}'"
            raise DataError(what, path, "write blocks of times and text, apart by empty lines")
        if any(TIMING.fullmatch(line.strip()) for line in lines[start + 1 :]):
            raise DataError(f"no empty line before the times that follow '{lines[start]}'", path, "put one there")
        text = _TAGS.sub("", " ".join(lines[start + 1 :]))
        cues.append((_cue_start(lines[start]), (html.unescape(text) if vtt else text).split()))
    return " ".join(word for _, words in sorted(cues, key=lambda cue: cue[0]) for word in words)


def _cue_start(times: str) -> float:
    """Return the seconds at which a cue begins."""
    seconds = 0.0
    for part in times.split()[0].replace(",", ".").split(":"):
        seconds = 60 * seconds + float(part)
    return seconds

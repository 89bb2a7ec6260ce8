"""Output formats for decoded utterances: plain text, JSON, NIST trn and ctm, SubRip and WebVTT subtitles, TextGrid."""

from __future__ import annotations

import html
import json
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from snn_asr.data.transcripts.line_formats import nist_id
from snn_asr.decoding.hypothesis import Alternative, Hypothesis, Word, words
from snn_asr.errors import UsageError, unknown_name

FORMATS = {
    "txt": ".txt", "json": ".json", "trn": ".trn", "ctm": ".ctm", "srt": ".srt", "vtt": ".vtt", "textgrid": ".TextGrid",
}
NIST_FORMATS = ("trn", "ctm")

CUE_LINE_CHARACTERS = 42  # the usual limits of subtitles: two lines of 42 characters, one to seven seconds
CUE_LINES = 2
CUE_MAXIMUM_SECONDS = 7.0
CUE_MINIMUM_SECONDS = 1.0
CUE_PAUSE_SECONDS = 1.0
TEXTGRID_GAP_SECONDS = 0.0005  # a shorter gap cannot be written


def render(hypothesis: Hypothesis, format: str) -> str:
    """The hypothesis in one of FORMATS, with a line feed at the end (or empty, if the format has nothing to say).

    Raises UsageError for an unknown format.
    """
    renderers: dict[str, Callable[[], str]] = {
        "txt": lambda: "\n".join(_one_line(each) for each in _texts(hypothesis)) + "\n",
        "json": lambda: json.dumps(record(hypothesis), indent=2, ensure_ascii=False) + "\n",
        "trn": lambda: f"{_one_line(hypothesis.text)} ({nist_id(hypothesis.id)})".lstrip() + "\n",
        "ctm": lambda: _ctm(hypothesis),
        "srt": lambda: _srt(hypothesis),
        "vtt": lambda: _vtt(hypothesis),
        "textgrid": lambda: _textgrid(hypothesis),
    }
    if format not in renderers:
        raise unknown_name("format", format, renderers)
    return renderers[format]()


def render_among(hypothesis: Hypothesis, format: str, count: int) -> str:
    """The hypothesis as ``render`` gives it, but as one of ``count`` that are written one after the other.

    JSON is then a line for each, which ``score`` and other programs can read.
    """
    if format == "json" and count > 1:
        return json.dumps(record(hypothesis), ensure_ascii=False) + "\n"
    return render(hypothesis, format)


def require_different_ids(names: Iterable[str], format: str) -> None:
    """Raise UsageError if two of these names, written one after the other, would have one id in the format."""
    if format not in NIST_FORMATS:
        return
    for identifier, count in Counter(map(nist_id, names)).items():
        if count > 1:
            what, todo = f"{count} inputs would be called '{identifier}'", "give --output-folder, or rename one"
            raise UsageError(what, f"--format {format}", todo)


def record(hypothesis: Hypothesis) -> dict[str, Any]:
    """The hypothesis as JSON values: times to the millisecond, confidences and scores to four digits."""
    record = {
        "id": hypothesis.id,
        "text": hypothesis.text,
        "duration": round(hypothesis.duration_seconds, 3),
        "tokens": [
            {
                "label": token.label,
                "start": round(token.start_seconds, 3),
                "end": round(token.end_seconds, 3),
                **_sure(token.confidence),
            }
            for token in hypothesis.tokens
        ],
        "words": [_timed(each.text, each.start, each.end) | _sure(each.confidence) for each in hypothesis.words],
        "segments": [
            _timed(each.text, each.start_seconds, each.end_seconds) | _nbest(each.alternatives)
            for each in hypothesis.segments
        ],
    }
    return record | _nbest(hypothesis.alternatives)


def _timed(text: str, start: float, end: float) -> dict[str, Any]:
    return {"text": text, "start": round(start, 3), "end": round(end, 3)}


def _sure(confidence: float) -> dict[str, Any]:
    return {"confidence": round(confidence, 4)}


def _nbest(alternatives: Sequence[Alternative]) -> dict[str, Any]:
    """The n-best list, if there is one."""
    rows = [
        {"text": each.text, "score": round(each.score, 4), "acoustic_score": round(each.acoustic_score, 4)}
        for each in alternatives
    ]
    return {"nbest": rows} if rows else {}


def _texts(hypothesis: Hypothesis) -> list[str]:
    """The texts of the segments, or the whole text if there is only one segment."""
    return [each.text for each in hypothesis.segments] if len(hypothesis.segments) > 1 else [hypothesis.text]


def _ctm(hypothesis: Hypothesis) -> str:
    """A line for each word: id, channel, start and duration in seconds, word, confidence."""
    lines = []
    for word in hypothesis.words:
        start, end = round(word.start, 3), round(word.end, 3)
        times = f"{start:.3f} {end - start:.3f}"
        lines.append(f"{nist_id(hypothesis.id)} 1 {times} {word.text} {word.confidence:.4f}\n")
    return "".join(lines)


def _srt(hypothesis: Hypothesis) -> str:
    blocks = [
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{text}\n"
        for number, (start, end, text) in enumerate(_cues(hypothesis), start=1)
    ]
    return "\n".join(blocks)


def _vtt(hypothesis: Hypothesis) -> str:
    blocks = [
        f"{_clock(start, '.')} --> {_clock(end, '.')}\n{html.escape(text, quote=False)}\n"
        for start, end, text in _cues(hypothesis)
    ]
    return "\n".join(["WEBVTT\n", *blocks])


def _textgrid(hypothesis: Hypothesis) -> str:
    """Praat's text format: a tier of words and, if words are spelled by tokens, a tier of tokens without white
    space."""
    spelt = [(each.start, each.end, each.text) for each in hypothesis.words]
    tiers = [("phones" if hypothesis.kind == "phones" else "words", spelt)]
    if hypothesis.kind in ("characters", "sentencepiece"):
        spoken = (each for each in hypothesis.tokens if not each.label.isspace())
        tiers.append((hypothesis.kind, [(each.start_seconds, each.end_seconds, each.label) for each in spoken]))
    end = max([hypothesis.duration_seconds, *(stop for _, spans in tiers for _, stop, _ in spans)])
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {end:.3f}"]
    lines += ["tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, (name, spans) in enumerate(tiers, start=1):
        intervals = _without_gaps(spans, end)
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f'        name = "{name}"']
        lines += ["        xmin = 0", f"        xmax = {end:.3f}", f"        intervals: size = {len(intervals)}"]
        for index, (start, stop, text) in enumerate(intervals, start=1):
            quoted = text.replace('"', '""')
            lines += [f"        intervals [{index}]:", f"            xmin = {start:.3f}"]
            lines += [f"            xmax = {stop:.3f}", f'            text = "{quoted}"']
    return "\n".join(lines) + "\n"


def _without_gaps(spans: Sequence[tuple[float, float, str]], end: float) -> list[tuple[float, float, str]]:
    """The spans with empty ones in between, so that they fill the time from 0 to ``end``. There is at least one."""
    filled, place = [], 0.0
    for start, stop, text in spans:
        if start - place > TEXTGRID_GAP_SECONDS:
            filled.append((place, start, ""))
            place = start
        filled.append((place, max(stop, place), text))
        place = max(stop, place)
    if end - place > TEXTGRID_GAP_SECONDS or not filled:
        filled.append((place, end, ""))
    return filled


def _cues(hypothesis: Hypothesis) -> list[tuple[float, float, str]]:
    """Subtitles (start, end, text): words of one segment until a pause or a limit.

    A cue stays for at least CUE_MINIMUM_SECONDS unless the next cue begins or the audio ends before.
    """
    groups: list[list[Word]] = []
    for segment in hypothesis.segments:
        begun = len(groups)
        for word in words(segment.tokens, hypothesis.kind):
            if len(groups) > begun and _fits(groups[-1], word):
                groups[-1].append(word)
            else:
                groups.append([word])
    cues = []
    for index, group in enumerate(groups):
        following = groups[index + 1][0].start if index + 1 < len(groups) else hypothesis.duration_seconds
        start, end = group[0].start, group[-1].end
        end = max(end, min(start + CUE_MINIMUM_SECONDS, following))
        cues.append((start, end, "\n".join(_lines(group))))
    return cues


def _fits(group: list[Word], word: Word) -> bool:
    return (
        word.start - group[-1].end < CUE_PAUSE_SECONDS
        and word.end - group[0].start <= CUE_MAXIMUM_SECONDS
        and len(_lines([*group, word])) <= CUE_LINES
    )


def _lines(group: list[Word]) -> list[str]:
    text = " ".join(word.text for word in group)
    return textwrap.wrap(text, CUE_LINE_CHARACTERS, break_long_words=False, break_on_hyphens=False)


def _clock(seconds: float, point: str) -> str:
    """hours:minutes:seconds with milliseconds after ``point``."""
    total, milliseconds = divmod(round(seconds * 1000), 1000)
    minutes, whole_seconds = divmod(total, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{whole_seconds:02}{point}{milliseconds:03}"


def _one_line(text: str) -> str:
    return " ".join(text.split())

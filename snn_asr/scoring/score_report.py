"""The result of ``score`` as JSON values and as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len

from snn_asr.scoring.alignments import ErrorCounts, format_alignment, shown
from snn_asr.scoring.error_rates import Score, SpeakerScore
from snn_asr.scoring.speakers import Speakers

SHOWN_IDS = 5


@dataclass(frozen=True)
class ReportOptions:
    """What a report shows.

    ``resampled``, one of RESAMPLED (score_files.py), is what the bootstrap of the interval has drawn. ``confusions``
    and ``errors`` are the numbers of most frequent errors and of worst utterances to show.
    """

    resampled: str = "utterance"
    by_speaker: bool = False
    confusions: int = 10
    errors: int = 10


def to_json(result: Score, options: ReportOptions, speakers: Speakers | None = None) -> dict[str, Any]:
    """The report as JSON values.

    The number of reference tokens is named by the unit (``words``, ``phones``, ``characters``), ``interval`` is in
    percent, and ``worst`` are the utterances with the most errors.
    """
    value: dict[str, Any] = {
        "unit": result.unit, "interval": result.interval, "bootstrap": options.resampled,
        **_counts(result.total, result.unit), "utterances": len(result.utterances),
        "wrong_utterances": result.wrong_utterances, "missing": result.missing, "extra": result.extra,
    }
    if options.by_speaker and speakers is not None:
        value["speakers"] = {
            name: _counts(each.total, result.unit)
            | {"utterances": each.utterances, "wrong_utterances": each.wrong_utterances}
            for name, each in result.by_speaker(speakers.by_utterance).items()
        }
    if options.confusions:
        frequent = result.confusions().most_common(options.confusions)
        value["confusions"] = [
            {"reference": expected, "hypothesis": found, "count": count} for (expected, found), count in frequent
        ]
    if options.errors:
        worst = {each: result.utterances[each] for each in result.worst(options.errors)}
        value["worst"] = [{"utterance": name, **_counts(counts, result.unit)} for name, counts in worst.items()]
    return value


def to_text(result: Score, options: ReportOptions, speakers: Speakers | None = None) -> str:
    """The report as lines of text."""
    lines = [*_summary(result, options, speakers)]
    if options.by_speaker and speakers is not None:
        lines += ["", *_speaker_table(result.by_speaker(speakers.by_utterance), result.unit)]
    lines += [*_worst(result, options.errors), *_confusions(result, options.confusions)]
    return "\n".join(lines)


def _counts(counts: ErrorCounts, unit: str) -> dict[str, float | int | None]:
    return {
        "error_rate": counts.error_rate, f"{unit}s": counts.reference_length, "correct": counts.correct,
        "insertions": counts.insertions, "deletions": counts.deletions, "substitutions": counts.substitutions,
    }


def _summary(result: Score, options: ReportOptions, speakers: Speakers | None) -> Iterator[str]:
    total = result.total
    rate = "undefined (the references are empty)" if total.error_rate is None else f"{total.error_rate:.2f} %"
    interval = ""
    if result.interval:
        over = f"(95 % bootstrap over {options.resampled}s)"
        interval = f" [{result.interval[0]:.2f}, {result.interval[1]:.2f}] {over}"
    yield f"{result.unit} error rate: {rate}{interval}"
    kinds = f"{total.insertions} insertions, {total.deletions} deletions, {total.substitutions} substitutions"
    yield f"errors: {total.edits} = {kinds}, in {result.wrong_utterances} utterances"
    yield f"references: {len(result.utterances)} utterances, {total.reference_length} {result.unit}s"
    if speakers is not None:
        yield f"speakers: {speakers.count}, from {speakers.source}"
    if result.missing:
        yield f"missing: {len(result.missing)} utterances without hypothesis, all deletions: {_some(result.missing)}"
    if result.extra:
        yield f"skipped: {len(result.extra)} hypotheses without reference: {_some(result.extra)}"


def _speaker_table(scores: dict[str, SpeakerScore], unit: str) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [("speaker", "utterances", "wrong", f"{unit}s", "sub", "ins", "del", "error rate")]
    for name, each in scores.items():
        total = each.total
        numbers = [each.utterances, each.wrong_utterances, total.reference_length]
        numbers += [total.substitutions, total.insertions, total.deletions]
        rate = "-" if total.error_rate is None else f"{total.error_rate:.2f} %"
        rows.append((name, *map(str, numbers), rate))
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for name, *cells in rows:
        padded = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        yield "  ".join((name + " " * (widths[0] - cell_len(name)), *padded))


def _worst(result: Score, count: int) -> Iterator[str]:
    for identifier in result.worst(count):
        counts = result.utterances[identifier]
        yield f"\n{identifier}: {counts.edits} errors in {counts.reference_length} {result.unit}s"
        yield format_alignment(result.alignments[identifier])


def _confusions(result: Score, count: int) -> Iterator[str]:
    frequent = result.confusions().most_common(count)
    if frequent:
        yield "\nmost frequent errors (reference > hypothesis):"
    for (expected, found), times in frequent:
        yield f"{times:6d}  {shown(expected)} > {shown(found)}"


def _some(identifiers: Sequence[str]) -> str:
    more = ", ..." if len(identifiers) > SHOWN_IDS else ""
    return ", ".join(identifiers[:SHOWN_IDS]) + more

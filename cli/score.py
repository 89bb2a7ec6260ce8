"""``snn-asr score``: error rate of hypotheses against references."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from snn_asr.scoring import Score

SHOWN_CONFUSIONS = 10
SHOWN_IDS = 5


def score(
    reference: Annotated[
        Path,
        typer.Argument(help="A manifest, a .trn file, a text of 'id words' lines, or a folder.", metavar="REFERENCE"),
    ],
    hypothesis: Annotated[Path, typer.Argument(help="The same of what was recognised.", metavar="HYPOTHESIS")],
    unit: Annotated[str, typer.Option(help="What is counted: word, phone or character.")] = "word",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    errors: Annotated[int, typer.Option(min=0, help="How many of the worst utterances to show aligned.")] = 10,
    allow_extra: Annotated[bool, typer.Option("--allow-extra", help="Skip hypotheses without a reference.")] = False,
) -> None:
    """Compare transcripts: error rate with its interval, and where the errors are."""
    from snn_asr import scoring
    from snn_asr.transcripts import read_transcripts

    scoring.check_unit(unit)
    references, hypotheses = read_transcripts(reference, unit), read_transcripts(hypothesis, unit)
    result = scoring.score(references, hypotheses, unit, allow_extra=allow_extra)
    if as_json:
        typer.echo(json.dumps(_as_json(result), indent=2, ensure_ascii=False))
    else:
        typer.echo("\n".join([*_summary(result), *_worst(result, errors), *(_confusions(result) if errors else ())]))


def _as_json(result: Score) -> dict:
    total = result.total
    return {
        "error_rate": total.error_rate,
        "interval": result.interval,
        f"{result.unit}s": total.reference_length,
        "insertions": total.insertions,
        "deletions": total.deletions,
        "substitutions": total.substitutions,
        "utterances": len(result.utterances),
        "missing": result.missing,
    }


def _summary(result: Score) -> Iterator[str]:
    total = result.total
    rate = "undefined (the references are empty)" if total.error_rate is None else f"{total.error_rate:.2f} %"
    interval = ""
    if result.interval:
        interval = " [{:.2f}, {:.2f}] (95 % bootstrap over utterances)".format(*result.interval)
    yield f"{result.unit} error rate: {rate}{interval}"
    kinds = f"{total.insertions} insertions, {total.deletions} deletions, {total.substitutions} substitutions"
    yield f"errors: {total.edits} = {kinds}"
    yield f"references: {len(result.utterances)} utterances, {total.reference_length} {result.unit}s"
    if result.missing:
        yield f"missing: {len(result.missing)} utterances without hypothesis, all deletions: {_some(result.missing)}"
    if result.extra:
        yield f"skipped: {len(result.extra)} hypotheses without reference: {_some(result.extra)}"


def _worst(result: Score, count: int) -> Iterator[str]:
    from snn_asr.scoring import format_alignment

    for identifier in result.worst(count):
        counts = result.utterances[identifier]
        yield f"\n{identifier}: {counts.edits} errors in {counts.reference_length} {result.unit}s"
        yield format_alignment(result.alignments[identifier])


def _confusions(result: Score) -> Iterator[str]:
    from snn_asr.scoring import shown

    frequent = result.confusions().most_common(SHOWN_CONFUSIONS)
    if frequent:
        yield "\nmost frequent errors (reference > hypothesis):"
    for (expected, found), count in frequent:
        yield f"{count:6d}  {shown(expected)} > {shown(found)}"


def _some(identifiers: tuple[str, ...]) -> str:
    more = ", ..." if len(identifiers) > SHOWN_IDS else ""
    return ", ".join(identifiers[:SHOWN_IDS]) + more

"""``snn-asr score``: the error rate of hypotheses against references."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from .options import refuse_foreign, refuse_inputs


def score(
    reference: Annotated[
        Path,
        typer.Argument(
            help="A manifest, trn, stm, ctm, csv, srt, vtt, lines of 'id words', a run's test.json, or a folder.",
            metavar="REFERENCE",
        ),
    ],
    hypothesis: Annotated[Path, typer.Argument(help="What was recognised, likewise.", metavar="HYPOTHESIS")],
    unit: Annotated[str, typer.Option(help="What is counted: word, phone or character.")] = "word",
    phone_set: Annotated[
        str | None, typer.Option(help="First fold TIMIT's phones on both sides into 39 (the usual), 48 or 61.")
    ] = None,
    by_speaker: Annotated[bool, typer.Option("--by-speaker", help="Show one line for each speaker.")] = False,
    bootstrap: Annotated[
        str, typer.Option(help="What the interval resamples: utterance, or speaker (as TIMIT wants).")
    ] = "utterance",
    speakers: Annotated[
        Path | None,
        typer.Option(
            help="Who speaks: a manifest or lines of 'utterance speaker' (utt2spk). Without it the manifests tell, or "
            "else what precedes the last '-' or '_' in the ids.",
        ),
    ] = None,
    confusions: Annotated[int, typer.Option(min=0, help="How many of the most frequent errors to show.")] = 10,
    errors: Annotated[int, typer.Option(min=0, help="How many of the worst utterances to show aligned.")] = 10,
    alignments: Annotated[
        Path | None, typer.Option(help="Write every utterance aligned to this file, as Kaldi's per_utt.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    allow_extra: Annotated[bool, typer.Option("--allow-extra", help="Skip hypotheses without a reference.")] = False,
) -> None:
    """Compare transcripts: error rate with its interval, and where the errors are."""
    from snn_asr.decoding.files.output_folder import of_other_settings
    from snn_asr.errors import UsageError, listed
    from snn_asr.files import write_text
    from snn_asr.scoring.alignments import kaldi_alignments
    from snn_asr.scoring.score_files import UTTERANCE, score_files
    from snn_asr.scoring.score_report import ReportOptions, to_json, to_text

    def note(line: str) -> None:
        typer.echo(f"note: {line}", err=True)

    if alignments is not None:
        refuse_inputs(alignments, (reference, hypothesis, speakers), "--alignments")
        refuse_foreign(alignments, re.compile(rb"\S+ ref\s"), "list of alignments", "--alignments")
    if speakers and not by_speaker and bootstrap == UTTERANCE:
        raise UsageError("is not used", "--speakers", "add --by-speaker or --bootstrap speaker")
    if stale := of_other_settings(hypothesis):
        what = "are of another model, or other options, than the newest ones"
        note(f"{hypothesis}: {len(stale)} transcripts {what} ({listed(stale, 3)})")
    found = score_files(
        reference, hypothesis, unit, phone_set=phone_set, resampled=bootstrap, by_speaker=by_speaker,
        speakers_file=speakers, allow_extra=allow_extra, note=note,
    )
    if alignments is not None:
        write_text(alignments, kaldi_alignments(found.score.alignments))
    options = ReportOptions(bootstrap, by_speaker, confusions, errors)
    if as_json:
        typer.echo(json.dumps(to_json(found.score, options, found.speakers), indent=2, ensure_ascii=False))
    else:
        typer.echo(to_text(found.score, options, found.speakers))

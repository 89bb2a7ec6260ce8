"""``snn-asr align``: from recordings and their transcripts to words with times."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Device, Model, parse_formats


def align(
    model: Model,
    audio: Annotated[str, typer.Argument(help="A recording, a folder (recursive) or a glob.", metavar="AUDIO")],
    transcript: Annotated[
        Path,
        typer.Argument(
            help="The text of the recording (.txt), or transcripts of all in any format that score reads.",
            metavar="TRANSCRIPT",
        ),
    ],
    output_folder: Annotated[
        Path | None, typer.Option(help="Write results to this folder, in the inputs' tree, not to stdout.")
    ] = None,
    formats: Annotated[
        str, typer.Option("--format", help="ctm, json, textgrid, srt, vtt, txt, trn; separate several by commas.")
    ] = "ctm",
    device: Device = "auto",
    endpoint_silence: Annotated[
        float, typer.Option(help="Seconds of silence or steady noise behind which the network starts anew; 0: never.",
                            min=0)
    ] = 1.0,
) -> None:
    """Tell when the words of a known transcript are said.

    Each word gets a begin, an end and a confidence by CTC forced alignment; for a model of phones, each phone does. In
    a folder, transcripts are found by the names of the recordings, or by the recordings that a manifest names. If some
    files fail, they are reported, the others are written, and the exit code is 3.
    """
    chosen = parse_formats(formats, output_folder)

    from snn_asr.decoding.aligner import Aligner, transcripts_for
    from snn_asr.decoding.files.decode_files import decode_files
    from snn_asr.decoding.files.named_files import find_files
    from snn_asr.decoding.files.writers import render_among, require_different_ids
    from snn_asr.decoding.hypothesis import Hypothesis
    from snn_asr.decoding.recognizer import Recognizer
    from snn_asr.decoding.segments.endpointing import EndpointSettings

    from .failures import raise_for, show_failed

    found = find_files([audio])
    if output_folder is None:
        require_different_ids((each.name for each in found.files), chosen[0])
    recognizer = Recognizer(model, device)
    recognizer.require_alignment()
    recognizer.endpointing = EndpointSettings.of_silence(endpoint_silence)
    aligner = Aligner(recognizer, transcripts_for(audio, found.files, transcript, recognizer.tokens.unit))

    def show(hypothesis: Hypothesis) -> None:
        typer.echo(render_among(hypothesis, chosen[0], len(found.files)), nl=False)

    def failed(message: str) -> None:
        show_failed([message])

    outcome = decode_files(aligner, found, chosen, output_folder, show, failed)
    outcome.done = "aligned"
    typer.echo(outcome.line(), err=True)
    raise_for(len(outcome.errors), outcome.inputs, "the rest is written")

"""``snn-asr decode``: from files and folders of audio to transcripts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import (
    ClosedVocabulary,
    Device,
    EndpointSilence,
    EventPrecision,
    LanguageModelUnit,
    Model,
    parse_formats,
)

if TYPE_CHECKING:
    from snn_asr.decoding.beam import BeamSettings


def decode(
    model: Model,
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT", help="Files, folders (recursive), globs; - reads a list on stdin.")
    ],
    output_folder: Annotated[
        Path | None, typer.Option(help="Write transcripts to this folder, in the inputs' tree, not to stdout.")
    ] = None,
    formats: Annotated[
        str, typer.Option("--format", help="txt, json, trn, ctm, srt, vtt, textgrid; separate by commas.")
    ] = "txt",
    beam: Annotated[
        int | None, typer.Option(help="Search with a beam of so many prefixes (10 with --lm).", min=1)
    ] = None,
    lm: Annotated[
        Path | None, typer.Option(help="A language model: an ARPA file, from 'snn-asr lm' or others.")
    ] = None,
    lm_weight: Annotated[
        float | None, typer.Option(help="Weight of the language model, 0.5 by default; 'snn-asr tune' finds it.")
    ] = None,
    insertion_bonus: Annotated[
        float | None, typer.Option(help="Bonus for every word (or token) of the language model; default 0.")
    ] = None,
    lm_unit: LanguageModelUnit = "auto",
    closed_vocabulary: ClosedVocabulary = False,
    nbest: Annotated[
        int | None, typer.Option(help="Length of the n-best list in json (with a beam), 10 by default.", min=1)
    ] = None,
    engine: Annotated[
        str, typer.Option(help="batch, or event: frame by frame on one core; needs little memory for long files.")
    ] = "batch",
    precision: EventPrecision = None,
    device: Device = "auto",
    endpoint_silence: EndpointSilence = 1.0,
    shard: Annotated[
        str | None, typer.Option(help="Decode one part of the inputs, such as 2/4 in the second of 4 processes.")
    ] = None,
) -> None:
    """Transcribe files and folders of audio.

    If some files fail, they are reported, the others are written, and the exit code is 3. What an earlier call wrote to
    the output folder is not repeated while audio, model, beam search and formats are the same. Shards 1/4 to 4/4 of the
    same inputs may write to one folder at the same time.
    """
    from snn_asr.decoding.files.named_files import find_files
    from snn_asr.errors import UsageError, on_one_line
    from snn_asr.sharding import Shard

    part = None if shard is None else Shard.parse(shard)
    chosen = parse_formats(formats, output_folder)
    if lm is None:
        _refuse_without_model(lm_weight, insertion_bonus, lm_unit, closed_vocabulary)
    if nbest is not None and beam is None and lm is None:
        raise UsageError("the best text alone is looked for", "--nbest", "give --beam or --lm")
    found = find_files(inputs, sys.stdin if "-" in inputs else ())  # what follows imports torch, which takes seconds

    from snn_asr.decoding.files.decode_files import decode_files
    from snn_asr.decoding.files.writers import render_among, require_different_ids
    from snn_asr.decoding.hypothesis import Hypothesis
    from snn_asr.decoding.recognizer import EVENT, Recognizer, require_search
    from snn_asr.decoding.segments.endpointing import EndpointSettings
    from snn_asr.devices import use_one_core

    from .failures import raise_for, show_failed

    if output_folder is None:
        require_different_ids((each.name for each in found.files), chosen[0])
    for option, given in (("--beam", beam), ("--lm", lm)):
        require_search(engine, given, option)  # before the engine is compiled, and a language model read
    if engine == EVENT:
        use_one_core()
    recognizer = Recognizer.with_engine(model, engine, precision, device)
    recognizer.endpointing = EndpointSettings.of_silence(endpoint_silence)
    if beam is not None or lm is not None:
        settings = _beam_settings(
            width=beam, language_weight=lm_weight, insertion_bonus=insertion_bonus, alternatives=nbest,
            closed_vocabulary=closed_vocabulary,
        )
        recognizer.use_beam(settings, lm, lm_unit)

    def show(hypothesis: Hypothesis) -> None:
        plain = chosen == ["txt"] and len(found.files) > 1
        one_line = f"{on_one_line(hypothesis.id)}\t{' '.join(hypothesis.text.split())}\n"
        text = one_line if plain else render_among(hypothesis, chosen[0], len(found.files))
        typer.echo(text, nl=False)

    def failed(message: str) -> None:
        show_failed([message])

    outcome = decode_files(recognizer, found, chosen, output_folder, show, failed, part)
    typer.echo(outcome.line() if part is None else f"shard {part}: {outcome.line()}", err=True)
    raise_for(len(outcome.errors), outcome.inputs, "the rest is written")


def _refuse_without_model(
    lm_weight: float | None, insertion_bonus: float | None, lm_unit: str, closed_vocabulary: bool
) -> None:
    """Raise UsageError for an option that has no effect without a language model."""
    from snn_asr.errors import UsageError

    for option, given in (
        ("--lm-weight", lm_weight is not None), ("--insertion-bonus", insertion_bonus is not None),
        ("--lm-unit", lm_unit != "auto"), ("--closed-vocabulary", closed_vocabulary),
    ):
        if given:
            raise UsageError("there is no language model", option, "give --lm")


def _beam_settings(**options: Any) -> BeamSettings:
    """Return the settings of the beam search; options that were not given (None) have its defaults."""
    from snn_asr.decoding.beam import BeamSettings

    return BeamSettings(**{name: value for name, value in options.items() if value is not None})

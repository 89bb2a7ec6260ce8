"""``snn-asr stream``: from live sound or a file to words as they come."""

from __future__ import annotations

from typing import Annotated

import typer

from snn_asr.data.sample_rates import LIVE

from .options import EndpointSilence, EventPrecision, Model, refuse_given

_BLOCK_SECONDS = 0.5  # of a file at a time


def stream(
    context: typer.Context,
    model: Model,
    source: Annotated[
        str, typer.Argument(help="An audio file, or - for raw 16-bit mono samples on stdin.", metavar="FILE | -")
    ] = "-",
    sample_rate: Annotated[
        int, typer.Option(help="Samples a second of the raw sound on stdin.", min=LIVE.lowest, max=LIVE.highest)
    ] = 16000,
    endpoint_silence: EndpointSilence = 1.0,
    precision: EventPrecision = None,
    as_json: Annotated[
        bool | None, typer.Option("--json/--text", help="Write JSON lines with times (the default in a pipe), or text.")
    ] = None,
    partial: Annotated[bool, typer.Option(help="Also write JSON lines for unfinished words.")] = False,
) -> None:
    """Recognise sound while it arrives, frame by frame, on one core.

    For example: arecord -f S16_LE -r 16000 | snn-asr stream MODEL, or
    ffmpeg -i talk.mp4 -f s16le -ac 1 -ar 16000 - | snn-asr stream MODEL.
    A terminal shows the words as they come; a pipe gets JSON lines: "word" for a word with its times, "segment" for the
    words between two silences. Ctrl-C ends the stream: the last words are written, the exit code is 130.
    """
    import sys

    from snn_asr.data.audio import read_blocks
    from snn_asr.data.sound_file import open_sound
    from snn_asr.decoding.live.pipe import raw_blocks
    from snn_asr.decoding.live.terminal import JsonLines, Screen, run_stream
    from snn_asr.decoding.recognizer import Recognizer
    from snn_asr.decoding.segments.endpointing import EndpointSettings
    from snn_asr.devices import use_one_core
    from snn_asr.interruption import INTERRUPTED

    piped = source == "-"
    if not piped:
        refuse_given(context, ["sample_rate"], "a file tells its own rate")
    if as_json is False:
        refuse_given(context, ["partial"], "text shows them on a terminal alone", "give --json, or leave it out")
    if not piped:
        with open_sound(source, source):  # a wrong path is told before the model is read and its loops are compiled
            pass
    use_one_core()
    recognizer = Recognizer(model, "cpu")
    live = recognizer.stream(EndpointSettings.of_silence(endpoint_silence), precision)
    rate = recognizer.extractor.settings.sample_rate
    blocks = raw_blocks(sys.stdin.buffer, sample_rate, rate) if piped else read_blocks(source, rate, _BLOCK_SECONDS)
    plain = sys.stdout.isatty() if as_json is None else not as_json
    show = Screen(sys.stdout) if plain else JsonLines(sys.stdout, partial)
    if run_stream(live, blocks, show):
        raise typer.Exit(INTERRUPTED)

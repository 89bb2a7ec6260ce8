"""``snn-asr profile``: what a model costs on given audio."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from .options import Device, EventPrecision, Model


def profile(
    model: Model,
    inputs: Annotated[list[str], typer.Argument(help="Audio, as for 'snn-asr decode'.", metavar="INPUT")],
    engine: Annotated[
        str | None,
        typer.Option(help="batch (the default), or event: events, time per frame and latency of a live stream."),
    ] = None,
    energy: Annotated[
        bool,
        typer.Option("--energy", help="Estimate the energy of the event engine's operations and memory.",
                     show_default=False),
    ] = False,
    precision: EventPrecision = None,
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Count operations, sparsity and footprint; measure speed."""
    import sys

    from snn_asr.decoding.files.named_files import find_files
    from snn_asr.decoding.recognizer import BATCH, EVENT, Recognizer
    from snn_asr.devices import use_one_core
    from snn_asr.efficiency import profile
    from snn_asr.efficiency.energy import require_estimate
    from snn_asr.efficiency.energy_table import describe_energy
    from snn_asr.errors import DataError, UsageError

    from .failures import raise_for, show_failed

    if energy and engine == BATCH:
        raise UsageError("energy is that of the event engine", "--energy", "leave out --engine batch")
    engine = engine or (EVENT if energy else BATCH)
    if engine == EVENT:
        use_one_core()
    recognizer = Recognizer.with_engine(model, engine, precision, device)
    if energy:
        require_estimate(recognizer.model)
    found = find_files(inputs, sys.stdin if "-" in inputs else ())
    paths, errors = profile.readable_files(recognizer, [each.path for each in found.files])
    errors |= {path: DataError(why, path) for path, why in found.unreadable.items()}
    for path, why in found.passed_over.items():
        typer.echo(f"passed over: {path}: {why}", err=True)
    if errors and not paths:
        raise next(iter(errors.values()))
    show_failed(errors.values())
    if engine == EVENT:
        from snn_asr.efficiency import stream_profile

        streamed = stream_profile.profile_stream(recognizer, paths, precision)
        text = describe_energy(streamed) if energy else stream_profile.describe_stream(streamed)
        values = streamed.to_json()
    else:
        result = profile.profile(recognizer, paths)
        text, values = profile.describe(result), result.to_json()
    typer.echo(json.dumps(values, indent=2) if as_json else text)
    raise_for(len(errors), len(errors) + len(paths), "the others are profiled")

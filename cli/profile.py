"""``snn-asr profile``: what a model costs on given audio."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def profile(
    model: Annotated[str, typer.Argument(help="A model folder, or the run folder around it.", metavar="MODEL")],
    inputs: Annotated[list[str], typer.Argument(help="Audio, as for 'snn-asr decode'.", metavar="INPUT")],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Count operations, sparsity and footprint; measure speed."""
    import sys

    from snn_asr import profiling
    from snn_asr.devices import choose_device
    from snn_asr.inputs import find_inputs
    from snn_asr.recognizer import Recognizer

    recognizer = Recognizer(model, choose_device(device))
    found = find_inputs(inputs, sys.stdin if "-" in inputs else ())
    result = profiling.profile(recognizer, [each.path for each in found])
    typer.echo(json.dumps(result, indent=2) if as_json else profiling.describe(result))

"""``snn-asr quantize``: a model folder with weights in int8."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Model


def quantize(
    model: Model,
    output: Annotated[Path, typer.Argument(help="The model folder to write.", metavar="OUTPUT")],
) -> None:
    """Write a copy of a model with int8 weights.

    They take a quarter of the size. 'stream' and 'decode --engine event' compute with them as they are, everything
    else with the float32 numbers that they stand for.
    """
    from snn_asr.events import quantization
    from snn_asr.network.model_folder import WEIGHTS

    before, after = quantization.quantize_folder(model, output)
    typer.echo(f"{WEIGHTS}: {before} bytes before, {after} after ({after / before:.0%})")

"""``snn-asr quantize``: a copy of a model folder with weights in int8 or int4."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Model


def quantize(
    model: Model,
    output: Annotated[Path, typer.Argument(help="The model folder to write.", metavar="OUTPUT")],
    precision: Annotated[
        str | None, typer.Option(help="Weights of the copy: int8 (the default) or int4.")
    ] = None,
) -> None:
    """Write a copy of a model with int8 or int4 weights.

    They take a quarter or an eighth of the space. 'stream' and 'decode --engine event' compute with the whole numbers,
    everything else with the float32 numbers that they stand for. int4 may cost some accuracy; further training ('train
    RECIPE initial_model=RUN_FOLDER quantize=int4') may regain some of it.
    """
    from snn_asr.errors import UsageError
    from snn_asr.events import quantization
    from snn_asr.network.integers import INT4, INT8
    from snn_asr.network.weights_file import WEIGHTS

    if precision is None and str(output) == INT4:
        raise UsageError("is the folder to write, which would have int8 weights", output, "give --precision int4, too")
    before, after = quantization.quantize_folder(model, output, precision or INT8)
    typer.echo(f"{WEIGHTS}: {before} bytes before, {after} after ({after / before:.0%})")

"""``snn-asr export``: a model as a file for another runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Model, refuse_given

FORMATS = ("c", "onnx", "nir")


def export(
    context: typer.Context,
    model: Model,
    output_folder: Annotated[Path, typer.Option(help="Where the files go.")],
    form: Annotated[
        str, typer.Option("--format", help="c: one C99 file, samples in, words out; onnx, nir: the network's graph.")
    ] = "c",
    precision: Annotated[
        str | None, typer.Option(help="Weights of c: float32, int8 or int4; by default the model's.")
    ] = None,
    features: Annotated[
        str,
        typer.Option(
            help="Arithmetic of the features of c: float, or fixed for processors without a float unit."
        ),
    ] = "float",
    endpoint_silence: Annotated[
        float, typer.Option(help="Seconds of silence that end a segment of c; 0: one segment.", min=0)
    ] = 1.0,
) -> None:
    """Write a model as source code or as a graph for other programs.

    c is C99 code that needs no library but math.h, allocates nothing, and finds the same words as 'snn-asr stream'.
    onnx is a graph from features and states to logits and states, and needs the package onnx. nir is for models of
    hard_rlif, and needs the package nir.
    """
    from snn_asr.decoding.segments.endpointing import EndpointSettings
    from snn_asr.errors import UsageError, unknown_name
    from snn_asr.network.integers import FLOAT32
    from snn_asr.network.model_folder import load

    if form not in FORMATS:
        raise unknown_name("format", form, FORMATS)
    if form != "c" and (precision or FLOAT32) != FLOAT32:
        raise UsageError(f"{form} has weights in float32 alone", "--precision", "leave it out, or use --format c")
    if form != "c" and features != "float":
        raise UsageError(f"{form} computes no features", "--features", "leave it out, or use --format c")
    if form != "c":
        refuse_given(context, ["endpoint_silence"], f"{form} divides no sound", "leave it out, or use --format c")
    if form == "c":
        from snn_asr.export.c.export_c import export_c

        endpointing = EndpointSettings.of_silence(endpoint_silence)
        typer.echo(export_c(load(model), output_folder, precision, endpointing, features).describe())
        return
    if form == "nir":
        from snn_asr.export.nir import export_nir

        typer.echo(export_nir(load(model), output_folder))
        return
    from snn_asr.export.onnx import export_onnx

    typer.echo(", ".join(export_onnx(load(model), output_folder)))

"""``snn-asr train``: from a recipe and prepared data to a run folder with a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Device, Trust, complete_recipe, parse_overrides


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A recipe's name or file; a folder with --trust. Recipes are code.", metavar="RECIPE",
            autocompletion=complete_recipe,
        ),
    ],
    output_folder: Annotated[Path, typer.Option(help="The run folder: log, checkpoint, model, test results.")],
    data_folder: Annotated[
        Path | None, typer.Option(help="Manifests from 'snn-asr prepare', or the corpus as distributed.")
    ] = None,
    device: Device = "auto",
    seed: Annotated[int | None, typer.Option(help="Seed, instead of the recipe's.")] = None,
    resume: Annotated[bool, typer.Option(help="Continue an interrupted run, or start again.")] = True,
    precision: Annotated[
        str | None,
        typer.Option(help="Precision of training: fp32, bf16 (products in bfloat16, states in float32) or fp64."),
    ] = None,
    trust: Trust = False,
    options: Annotated[
        list[str] | None,
        typer.Argument(help="Keys, as 'snn-asr recipes show RECIPE --keys' lists them.", metavar="KEY=VALUE"),
    ] = None,
) -> None:
    """Train a recipe, then decode and score its test set.

    The model is that of the epoch with the lowest development error, and its folder is printed. The same command
    continues an interrupted run, and leaves a finished one alone. report.html in the run folder shows the result.

    On several GPUs, or processes: torchrun --nproc-per-node 4 --no-python snn-asr train ..., where batch_frames counts
    those of all together.
    """
    from snn_asr import processes
    from snn_asr.reports.html import leave_report
    from snn_asr.training import run
    from snn_asr.training.recipes import recipe_files

    overrides = parse_overrides(options, seed=seed, precision=precision)
    path = recipe_files.find(recipe, trust)
    folder = run.train(path, data_folder, output_folder, device=device, resume=resume, overrides=overrides)
    if processes.is_main():
        leave_report(folder)
        typer.echo(folder / "model")

"""``snn-asr analyze``: what the architecture of a recipe's encoders, or of a trained model, does to the gradient."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Trust, split_commas

if TYPE_CHECKING:
    from snn_asr.reports.analysis import Analysis
    from snn_asr.training.recipes.config import Config

ENCODERS = ("lif", "improved_v1", "improved_v2", "lstm")
NUMBERS = "analysis.json"


def analyze(
    target: Annotated[
        str,
        typer.Argument(
            help="A recipe (name or file), a model or run folder, or a name of 'models list'.", metavar="RECIPE | MODEL"
        ),
    ],
    audio: Annotated[
        Path | None, typer.Option("--input", help="An utterance for a model to hear, instead of noise.")
    ] = None,
    output_folder: Annotated[Path, typer.Option(help="Where the figures and numbers go.")] = Path("analysis"),
    file_format: Annotated[str, typer.Option("--format", help="Format of the figures: png or svg.")] = "png",
    encoders: Annotated[
        str | None,
        typer.Option(
            help="Encoders of a recipe, separated by commas; by default lif, improved_v1, improved_v2 and lstm."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, noise and projections.", min=0, max=(1 << 63) - 1)] = 0,
    trust: Trust = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all numbers as JSON.")] = False,
) -> None:
    """Measure and draw gradients, parameters and events.

    It shows how far back in time a gradient reaches, and how exact it is, depending on the bits of an event. The
    encoders of a recipe are analysed untrained. For a model it also shows the distributions of its parameters and, with
    --input, its events and their rates.
    """
    from snn_asr.files import write_json
    from snn_asr.reports import figures

    figures.check(file_format)
    _refuse_foreign_files(output_folder, [f"{name}.{file_format}" for name in figures.FIGURES])
    analysis = _analysis(target, audio, encoders, seed, trust)
    if not (output_folder / NUMBERS).exists():  # the mark by which figures are recognised if this is stopped among them
        write_json(output_folder / NUMBERS, {"figures": {}})
    paths = figures.draw(analysis, output_folder, file_format)
    numbers = analysis.to_json() | {"figures": {name: str(path) for name, path in paths.items()}}
    write_json(output_folder / NUMBERS, numbers)
    if as_json:
        typer.echo(json.dumps(numbers, indent=2, ensure_ascii=False))
    else:
        typer.echo("\n".join([analysis.describe(), *map(str, paths.values()), str(output_folder / NUMBERS)]))


def _refuse_foreign_files(folder: Path, names: list[str]) -> None:
    """Raise UsageError if a file of the user's has a name that will be written; an earlier analysis is replaced."""
    from snn_asr.errors import DataError, UsageError
    from snn_asr.files import read_json_object

    try:
        if "figures" in read_json_object(folder / NUMBERS):
            return
    except DataError:
        pass  # none, or no analysis
    for path in (folder / each for each in (NUMBERS, *names)):
        if path.exists():
            raise UsageError(f"{path} is there already, and is of no analysis", "--output-folder", "choose another")


def _analysis(target: str, audio: Path | None, encoders: str | None, seed: int, trust: bool) -> Analysis:
    from snn_asr.errors import UsageError
    from snn_asr.reports import analysis

    if _is_model(target):
        if encoders is not None:
            raise UsageError("a model has one encoder, the one it was trained with", "--encoders", "leave it out")
        if audio is None:
            typer.echo(f"{target}: noise is not what it was trained on; give it speech with --input", err=True)
        return analysis.of_model(target, seed, audio)
    path = _find_recipe(target, trust)
    if audio is not None:
        raise UsageError("a recipe's encoders are untrained", "--input", "name a model to look at an utterance with")
    return analysis.of_recipe(target, _recipe_configs(path, encoders), seed)


def _is_model(target: str) -> bool:
    from snn_asr.errors import DataError
    from snn_asr.network.model_folder import find_model

    try:
        return find_model(target).is_dir()
    except DataError:
        return False


def _find_recipe(target: str, trust: bool) -> Path:
    from snn_asr.errors import UsageError
    from snn_asr.training.recipes import recipe_files

    try:
        return recipe_files.find(target, trust)
    except UsageError as error:
        if not Path(target).exists() or (Path(target) / recipe_files.RECIPE_FILE).exists():
            raise
        todo = "give the output folder of a finished 'snn-asr train', or name a recipe"
        raise UsageError("neither a finished model nor a recipe", target, todo) from error


def _recipe_configs(path: Path, encoders: str | None) -> dict[str, Config]:
    """Return the recipe's configuration with each of the encoders, by name."""
    from snn_asr.errors import UsageError
    from snn_asr.training.recipes import recipe, recipe_files

    blocks = recipe_files.encoder_blocks(path)
    names = [each for each in ENCODERS if each in blocks]
    if encoders is not None:
        names = split_commas(encoders)
    if not names:
        raise UsageError("names no encoder", "--encoders", f"choose from: {', '.join(blocks)}")
    return {name: recipe.load(path, {"encoder": name}) for name in names}

"""``snn-asr recipes``: what can be trained, how it reads, and a copy to change."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from snn_asr.cli.options import parse_overrides

Recipe = Annotated[str, typer.Argument(help="A recipe's name, its folder or its YAML file.", metavar="RECIPE")]

recipes = typer.Typer(rich_markup_mode=None, help="List, show or copy the recipes.")


@recipes.command("list")
def list_recipes() -> None:
    """One line a recipe: its name, a tab, what it trains."""
    from snn_asr.training import recipe

    for name, path in recipe.discover().items():
        typer.echo(f"{name}\t{recipe.summary(path)}")


@recipes.command("show")
def show(
    name: Recipe,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="encoder=NAME for another encoder block.", metavar="[KEY=VALUE]...")
    ] = None,
) -> None:
    """Print a recipe with its encoder block, as train would read it."""
    from snn_asr.training import recipe

    typer.echo(recipe.text(name, parse_overrides(overrides)), nl=False)


@recipes.command("copy")
def copy(
    name: Recipe,
    folder: Annotated[Path, typer.Argument(help="Where to put the recipe's folder and encoders/.", metavar="FOLDER")],
) -> None:
    """Copy a recipe and the encoder blocks to FOLDER, to change and train from there."""
    from snn_asr.training import recipe

    typer.echo(recipe.copy(name, folder))

"""``snn-asr recipes``: which recipes there are, what they contain, and a copy to change."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import complete_recipe, parse_overrides

Recipe = Annotated[
    str,
    typer.Argument(
        help="A recipe's name, its folder or its YAML file.", metavar="RECIPE", autocompletion=complete_recipe
    ),
]

recipes = typer.Typer(rich_markup_mode=None, help="List, show or copy the recipes.")


@recipes.command("list")
def list_recipes() -> None:
    """List the shipped recipes: a name, a tab, and what the recipe trains."""
    from snn_asr.training.recipes import recipe_files

    for name, path in recipe_files.discover().items():
        typer.echo(f"{name}\t{recipe_files.summary(path)}")


@recipes.command("show")
def show(
    name: Recipe,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="Keys, as for 'snn-asr train'; encoder=NAME for another encoder block.", metavar="KEY=VALUE"
        ),
    ] = None,
    keys: Annotated[bool, typer.Option("--keys", help="Show all keys: default, allowed values, and purpose.")] = False,
) -> None:
    """Print a recipe as train would read it: merged with its encoder's block, each value with its source.

    No code of the recipe is run.
    """
    from snn_asr.training.recipes import key_table, recipe

    if keys:
        typer.echo(key_table.of_recipe(recipe.merge(name, parse_overrides(overrides), trust=True)), nl=False)
    else:
        typer.echo(recipe.text(name, parse_overrides(overrides)), nl=False)


@recipes.command("copy")
def copy(
    name: Recipe,
    folder: Annotated[Path, typer.Argument(help="Where to put the recipe's folder and encoders/.", metavar="FOLDER")],
) -> None:
    """Copy a recipe and the encoder blocks to FOLDER, to change and train there, and print the path of its file."""
    from snn_asr.training.recipes import recipe_files

    typer.echo(recipe_files.copy(name, folder))

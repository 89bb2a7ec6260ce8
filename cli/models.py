"""``snn-asr models``: the trained models that come with the package."""

from __future__ import annotations

from typing import Annotated

import typer

models = typer.Typer(rich_markup_mode=None, help="List or describe the shipped models.")


@models.command("list")
def list_models() -> None:
    """List the shipped models: a name that MODEL accepts, a tab, and what the model knows."""
    from snn_asr.network import shipped_models

    for name in shipped_models.discover():
        typer.echo(f"{name}\t{shipped_models.summary(name)}")


@models.command("show")
def show(
    name: Annotated[str, typer.Argument(help="A name of 'snn-asr models list'.", metavar="NAME")],
) -> None:
    """Print a model's card: what it knows, how it was trained, what it was tested on, its licence."""
    from snn_asr.network import shipped_models

    typer.echo(shipped_models.card(name), nl=False)

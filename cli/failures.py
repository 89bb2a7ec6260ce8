"""What commands with many inputs share: one line for each input that failed, then exit code 3."""

from __future__ import annotations

from collections.abc import Iterable

import typer

from snn_asr.errors import PartialFailure


def show_failed(errors: Iterable[object]) -> None:
    """Print one line on standard error for each error."""
    for each in errors:
        typer.echo(f"failed: {' '.join(str(each).split())}", err=True)


def raise_for(failed: int, count: int, rest: str, things: str = "inputs") -> None:
    """Raise PartialFailure if some of ``count`` inputs failed; ``rest`` says what became of the others."""
    if failed:
        raise PartialFailure(f"{failed} of {count} {things} failed", todo=f"see the lines above; {rest}")

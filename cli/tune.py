"""``snn-asr tune``: find the language model's weight and the insertion bonus on development data."""

from __future__ import annotations

import json
import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import ClosedVocabulary, Device, LanguageModelUnit, Model, split_commas

if TYPE_CHECKING:
    from rich.table import Table

    from snn_asr.decoding.tuning import Tuning


def tune(
    model: Model,
    data_folder: Annotated[Path, typer.Option(help="Manifests from 'snn-asr prepare'; dev.json is decoded.")],
    lm: Annotated[Path, typer.Option(help="The language model: an ARPA file.")],
    beam: Annotated[int, typer.Option(help="How many prefixes are kept.", min=1)] = 10,
    weights: Annotated[
        str | None, typer.Option(help="Weights to try, separated by commas, instead of the default grid.")
    ] = None,
    bonuses: Annotated[
        str | None, typer.Option(help="Insertion bonuses to try, separated by commas, instead of the default grid.")
    ] = None,
    lm_unit: LanguageModelUnit = "auto",
    closed_vocabulary: ClosedVocabulary = False,
    manifests: Annotated[str, typer.Option(help="How the manifests' names begin, such as isolated_.")] = "",
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Find the weight of a language model and the insertion bonus.

    It decodes the development data, and no other, with a grid of values. The last line holds the best options for
    decode. Recordings that cannot be read are reported and left out (exit code 3).
    """
    from snn_asr.data.manifest import find_manifest, read_manifest
    from snn_asr.decoding import tuning
    from snn_asr.decoding.recognizer import Recognizer

    from .failures import raise_for, show_failed

    tried = _numbers(weights, "--weights") or tuning.WEIGHTS
    bonuses_tried = _numbers(bonuses, "--bonuses") or tuning.BONUSES
    utterances = read_manifest(find_manifest(data_folder, "dev", manifests), audio_needed=False)
    recognizer = Recognizer(model, device)
    result = tuning.tune(recognizer, utterances, lm, beam, tried, bonuses_tried, lm_unit, closed_vocabulary)
    show_failed(result.failed.values())
    flags = ["--beam", str(beam), "--lm", str(lm), *([] if lm_unit == "auto" else ["--lm-unit", lm_unit])]
    flags += ["--closed-vocabulary"] if closed_vocabulary else []
    flags += ["--lm-weight", f"{result.best.language_weight:g}", "--insertion-bonus"]
    flags.append(f"{result.best.insertion_bonus:g}")
    if as_json:
        typer.echo(json.dumps(result.to_json() | {"flags": flags}, indent=2))
    else:
        _show(result, flags)
    raise_for(len(result.failed), len(utterances), "the grid is of the others")


def _numbers(words: str | None, option: str) -> list[float]:
    """Return numbers separated by commas, none for None.

    Raises UsageError for a word that is no finite number.
    """
    from snn_asr.errors import UsageError

    try:
        numbers = [float(each) for each in split_commas(words or "")]
    except ValueError:
        numbers = []
    if words is not None and not (numbers and all(map(math.isfinite, numbers))):
        raise UsageError(f"'{words}' are not numbers", option, "write for example 0.5,1,1.5")
    return numbers


def _show(result: Tuning, flags: list[str]) -> None:
    """Print the table, what to try next, and the best options."""
    from snn_asr.reports.table import print_table

    rates = f"best {result.best.error_rate:.2f}, greedy {result.greedy:.2f}"
    typer.echo(f"{result.unit} error % of {result.utterances} development utterances: {rates}")
    print_table(_table(result))
    for name in result.at_an_edge:
        typer.echo(f"the best {name} is at the end of the grid: try values beyond it too", err=True)
    typer.echo(shlex.join(flags))


def _table(result: Tuning) -> Table:
    """Return one line for each weight, with a column for each bonus; the best is marked."""
    from rich.table import Table

    bonuses = sorted({each.insertion_bonus for each in result.points})
    rates = {(each.language_weight, each.insertion_bonus): each for each in result.points}
    table = Table()
    table.add_column("weight", justify="right")
    for bonus in bonuses:
        table.add_column(f"bonus {bonus:g}", justify="right")
    for weight in sorted({each.language_weight for each in result.points}):
        row = (rates[weight, bonus] for bonus in bonuses)
        table.add_row(f"{weight:g}", *(f"{'*' if each == result.best else ''}{each.error_rate:.2f}" for each in row))
    return table

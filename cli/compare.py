"""``snn-asr compare``: encoders trained from one recipe, or finished runs, in one table."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from .options import (
    Device,
    Trust,
    complete_recipe,
    parse_grid,
    parse_overrides,
    refuse_foreign,
    refuse_given,
    split_commas,
)

_OF_MODELS = "checksums.json"  # in every model folder, and in no recipe's
_OF_TRAINING = ("encoders", "seeds", "data_folder", "output_folder", "jobs", "device", "trust")


def compare(
    context: typer.Context,
    targets: Annotated[
        list[str],
        typer.Argument(
            help="A recipe and KEY=VALUE words, or the folders of finished runs.",
            metavar="RECIPE | RUN_FOLDER", autocompletion=complete_recipe,
        ),
    ],
    encoders: Annotated[str, typer.Option(help="Encoders to train, separated by commas.")] = "improved_v2,gru,lstm",
    seeds: Annotated[
        int, typer.Option(help="Runs for each encoder, with seeds from the recipe's upwards.", min=1, max=1000)
    ] = 1,
    grid: Annotated[
        list[str] | None,
        typer.Option(help="Values of a key to train with, such as bits=4,6,8; keys are combined."),
    ] = None,
    data_folder: Annotated[Path | None, typer.Option(help="As for 'snn-asr train'.")] = None,
    output_folder: Annotated[Path | None, typer.Option(help="Where to put a run folder per encoder and seed.")] = None,
    jobs: Annotated[int, typer.Option(help="Runs to train at the same time; they share the cores.", min=1)] = 1,
    device: Device = "auto",
    baseline: Annotated[str | None, typer.Option(help="The row to compare with; by default gru, or else lstm.")] = None,
    trust: Trust = False,
    report: Annotated[Path | None, typer.Option(help="Write a page for a browser to this file.")] = None,
    frontier: Annotated[
        Path | None, typer.Option(help="Draw error against all multiplications to this SVG file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """Show encoders, or runs, side by side in one table.

    The table has error rates with intervals, parameters and multiplications. Finished runs are not repeated, and
    interrupted ones continue. If a run fails, the others are still trained and shown, and the exit code is 3.
    """
    from snn_asr.errors import SnnAsrError, UsageError, unknown_name
    from snn_asr.training.recipes import recipe_files

    from .failures import raise_for, show_failed

    words = [each for each in targets if "=" not in each or Path(each).is_dir()]
    overrides, values = parse_overrides(each for each in targets if each not in words), parse_grid(grid)
    errors: list[SnnAsrError] = []
    _refuse_outputs(report, frontier)
    if not words:
        raise UsageError("nothing to compare", targets[0], "name a recipe, or folders of finished runs")
    folders = _finished_runs(words)
    if folders:
        if overrides or values:
            raise UsageError("finished runs take no key=value", targets[-1], "name a recipe to train")
        refuse_given(context, _OF_TRAINING, "finished runs are not trained", "leave it out, or name a recipe")
    else:
        path = recipe_files.find(words[0], trust)
        if output_folder is None:
            raise UsageError("training needs a place for the runs", "--output-folder", "give a folder")
        from snn_asr.training.sweep import train_encoders

        def failed(error: SnnAsrError) -> None:
            errors.append(error)
            show_failed([error])

        names = split_commas(encoders)
        if baseline is not None and baseline.partition(" ")[0] not in names:  # a row is an encoder, and keys of it
            raise unknown_name("baseline", baseline, names, "--baseline")
        folders = train_encoders(
            path, names, seeds, data_folder, output_folder, device, overrides, jobs, failed, values
        )
        if not folders:
            raise errors[0]
        _leave_reports(folders)
    _show(folders, baseline, as_json, frontier, report)
    raise_for(len(errors), len(folders) + len(errors), "the others are compared", "runs")


def _finished_runs(words: list[str]) -> list[Path]:
    """Return the words if they are folders of runs, nothing if they are a recipe. Raises UsageError for a mixture."""
    from snn_asr.errors import UsageError

    runs = [each for each in words if (Path(each) / "run.json").is_file()]
    if runs != words and len(words) != 1:
        other = next(each for each in words if each not in runs)
        raise UsageError("not the folder of a run", other, "give one recipe, or only folders of finished runs")
    if not runs and (Path(words[0]) / _OF_MODELS).is_file():
        raise UsageError("the folder of a model, not of a run", words[0], "give the folder that its training wrote")
    return [Path(each) for each in runs]


def _leave_reports(folders: list[Path]) -> None:
    from snn_asr.reports import html

    for each in folders:
        html.leave_report(each)


def _show(
    folders: list[Path], baseline: str | None, as_json: bool, frontier: Path | None, report: Path | None
) -> None:
    """Print the table of these runs, and write the files that were asked for."""
    from snn_asr.files import write_text
    from snn_asr.reports import comparison, html, table
    from snn_asr.reports.frontier import frontier_svg

    groups = comparison.read_groups(folders)
    rows = comparison.compare_groups(groups, baseline)
    unit = next(iter(groups.values()))[0].metrics["unit"]
    if as_json:
        typer.echo(json.dumps(comparison.to_json(rows), indent=2))
    else:
        table.print_table(table.comparison_table(rows, unit))
    if frontier is not None:
        write_text(frontier, frontier_svg(rows, unit))
    if report is not None:
        html.write_report(groups, rows, report)


def _refuse_outputs(report: Path | None, frontier: Path | None) -> None:
    """Raise UsageError, before anything is trained, for files that may not be written."""
    from snn_asr.errors import UsageError
    from snn_asr.files import is_special
    from snn_asr.reports.frontier import CHART_MARK
    from snn_asr.training.run_folder.folder import REPORT_MARK

    if report is not None and frontier is not None and report.resolve() == frontier.resolve():
        raise UsageError(f"{report} is the file of --frontier, too", "--report", "choose another file")
    if report is not None:
        refuse_foreign(report, re.compile(re.escape(REPORT_MARK)), "report of snn-asr", "--report")
    if frontier is not None:
        refuse_foreign(frontier, re.compile(re.escape(CHART_MARK)), "chart of snn-asr", "--frontier")
        if frontier.suffix.lower() != ".svg" and not is_special(frontier):
            raise UsageError(f"{frontier} would hold an SVG chart", "--frontier", "end the name in .svg")

"""Finished runs as one page for a browser. The file holds everything except most recordings that it plays.

The page has no script and loads nothing from a network. The template engine (templates/report.html) escapes all texts
of recordings, names and paths.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from snn_asr import __version__
from snn_asr.data.manifest import Utterance
from snn_asr.decoding.recognizer import Recognizer
from snn_asr.efficiency.footprint import footprint
from snn_asr.errors import SnnAsrError, as_user_error
from snn_asr.files import write_text
from snn_asr.reports import run_details, spikes, table, worst_utterances
from snn_asr.reports.comparison import FinishedRun, Row, compare_groups, read_groups
from snn_asr.reports.curves import learning_charts
from snn_asr.reports.frontier import by_seed, frontier, frontier_columns, frontier_rows
from snn_asr.reports.players import Players
from snn_asr.reports.rendering import render
from snn_asr.training.run_folder.folder import REPORT, is_report

log = logging.getLogger(__name__)

SECTIONS = (
    ("results", "Results"), ("frontier", "Error against multiplications"), ("learning", "Learning curves"),
    ("utterances", "Worst utterances"), ("spikes", "Events"), ("footprint", "Weights and footprint"),
    ("environment", "Environment"), ("commands", "Commands"),
)


def write_report(groups: Mapping[str, Sequence[FinishedRun]], rows: Sequence[Row], output: Path) -> None:
    """Write the report of compared runs, replacing an earlier one. Raises DataError if it cannot be written."""
    write_text(output, page(groups, rows, Players(output, within=True)))


def leave_report(folder: Path) -> None:
    """Put the report of one finished run into its folder, unless there is one already.

    The run is complete without it. If something prevents it, such as a full disk or a file of the user's, this is
    logged and is no error.
    """
    path = folder / REPORT
    if is_report(path):
        return
    if os.path.lexists(path):
        log.warning("%s: is no report of snn-asr, and is left as it is", path)
        return
    try:
        groups = read_groups([folder])
        write_text(path, page(groups, compare_groups(groups), Players(path, within=False)))
    except Exception as error:
        log.debug("%s", path, exc_info=error)
        described = as_user_error(error)
        log.warning("no report of this run: %s", described or f"{path}: {type(error).__name__}: {error}")


def page(groups: Mapping[str, Sequence[FinishedRun]], rows: Sequence[Row], players: Players) -> str:
    """Return the report as HTML."""
    return render("report.html", report=_report(groups, rows, players))


def _report(groups: Mapping[str, Sequence[FinishedRun]], rows: Sequence[Row], players: Players) -> dict[str, Any]:
    """Return the values that the template shows, by name."""
    first = {label: runs[0] for label, runs in groups.items()}
    run = next(iter(first.values()))
    unit = run.metrics["unit"]
    utterances = run_details.recordings(run)
    models, missing = _models(first)
    encoders = dict.fromkeys(each.encoder for each in first.values())
    return {
        "title": f"{run.recipe}: {', '.join(encoders)}", "version": __version__,
        "runs": sum(map(len, groups.values())), "sections": SECTIONS,
        "columns": table.columns(unit), "rows": [table.cells(each) for each in rows], "caption": table.TITLE,
        "remarks": table.remarks(rows), "frontier": frontier(rows, unit),
        "frontier_columns": frontier_columns(unit), "frontier_rows": frontier_rows(rows),
        "by_seed": by_seed(rows, unit), "curves": learning_charts(groups, unit), **_worst(groups, utterances, players),
        **_spikes(models, utterances, missing), **_footprints(models), **_environments(groups),
        "commands": [run_details.command(each) for runs in groups.values() for each in runs],
    }


def _models(first: Mapping[str, FinishedRun]) -> tuple[dict[str, Recognizer], list[str]]:
    """Return the model of the first run in each group, and a note on each that cannot be loaded."""
    models, notes = {}, []
    for label, run in first.items():
        try:
            models[label] = Recognizer(run.folder)
        except SnnAsrError as error:
            notes.append(f"{label}: its model cannot be loaded ({error})")
    return models, notes


def _worst(
    groups: Mapping[str, Sequence[FinishedRun]], utterances: Mapping[str, Utterance], players: Players
) -> dict[str, Any]:
    shown = worst_utterances.worst(groups, lambda name: players.address(utterances.get(name)))
    missing = ""
    if shown and not any(each.audio for each in shown):
        missing = "The recordings are not where the runs found them."
        there = [utterances[each.name] for each in shown if each.name in utterances]
        if any(each.wav.is_file() for each in there):
            missing = "Browsers do not play recordings of this format; a report of 'compare' holds them itself."
    return {"utterances": shown, "no_audio": missing}


def _spikes(
    models: Mapping[str, Recognizer], utterances: Mapping[str, Utterance], missing: Sequence[str]
) -> dict[str, Any]:
    chosen = spikes.choose(utterances)
    if chosen is None:
        note = "The recordings of the test set are not where the runs found them, so no utterance could be heard."
        return {"spikes": [], "heard_name": "", "heard_text": "", "spike_notes": [note, *missing]}
    found, notes = spikes.of_models(models, chosen)
    return {
        "spikes": found, "heard_name": chosen.id, "heard_text": chosen.text, "spike_notes": [*notes, *missing],
    }


def _footprints(models: Mapping[str, Recognizer]) -> dict[str, Any]:
    rows = []
    for label, recognizer in models.items():
        size = footprint(recognizer.model)
        rows.append((
            label, f"{size.parameters:,}", f"{size.core_parameters:,}",
            f"{100 * size.connection_sparsity:.1f} %", f"{size.footprint_bytes:,}", f"{size.stored_bytes:,}",
        ))
    columns = ("encoder", "parameters", "core parameters", "zero weights", "bytes in memory", "bytes stored")
    return {"footprint_columns": columns, "footprints": rows}


def _environments(groups: Mapping[str, Sequence[FinishedRun]]) -> dict[str, Any]:
    """Return one row for each group; if its runs differ in a value, all of them are shown."""
    found = {label: [run_details.environment(each) for each in runs] for label, runs in groups.items()}
    headings = list(next(iter(found.values()))[0])
    rows = [
        (label, *(", ".join(dict.fromkeys(each[heading] for each in environments)) for heading in headings))
        for label, environments in found.items()
    ]
    return {"environment_columns": ("encoder", *headings), "environments": rows}

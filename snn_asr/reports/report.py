"""The content of the report of finished runs, section by section, as templates/report.html shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from snn_asr import __version__
from snn_asr.data.manifest import Utterance
from snn_asr.decoding.recognizer import Recognizer
from snn_asr.efficiency.footprint import footprint
from snn_asr.errors import SnnAsrError
from snn_asr.reports import run_details, spikes, table, worst_utterances
from snn_asr.reports.charts import Chart
from snn_asr.reports.comparison import FinishedRun, Row
from snn_asr.reports.curves import learning_charts
from snn_asr.reports.frontier import by_seed, frontier, frontier_columns, frontier_rows
from snn_asr.reports.players import Players
from snn_asr.reports.spikes import Spikes
from snn_asr.reports.worst_utterances import WorstUtterance

SECTIONS = (
    ("results", "Results"), ("frontier", "Error against multiplications"), ("learning", "Learning curves"),
    ("utterances", "Worst utterances"), ("spikes", "Events"), ("footprint", "Weights and footprint"),
    ("environment", "Environment"), ("commands", "Commands"),
)


@dataclass(frozen=True)
class TextTable:
    """A table of texts. The first cell of each row is the row's name."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str


@dataclass(frozen=True)
class Utterances:
    """The utterances with the most errors; ``note`` says why none of them can be played, or is empty."""

    worst: Sequence[WorstUtterance]
    note: str


@dataclass(frozen=True)
class Events:
    """What the layers send while they hear one utterance. ``notes`` name the models that are not drawn."""

    models: Sequence[Spikes]
    utterance: str
    text: str
    notes: Sequence[str]


@dataclass(frozen=True)
class Report:
    """Everything that the page shows: its heading, and the content of its sections in their order."""

    title: str
    version: str
    runs: int
    sections: Sequence[tuple[str, str]]
    results: TextTable
    remarks: Sequence[str]
    frontier: Chart
    by_seed: Chart
    costs: TextTable
    curves: Sequence[Chart]
    utterances: Utterances
    events: Events
    footprints: TextTable
    environments: TextTable
    commands: Sequence[str]


def report_of(groups: Mapping[str, Sequence[FinishedRun]], rows: Sequence[Row], players: Players) -> Report:
    """Return the content of the report of groups of runs, each with its row; ``players`` address the recordings."""
    first = {label: runs[0] for label, runs in groups.items()}
    run = next(iter(first.values()))
    unit = run.metrics["unit"]
    recordings = run_details.recordings(run)
    models, missing = _models(first)
    encoders = dict.fromkeys(each.encoder for each in first.values())
    return Report(
        title=f"{run.recipe}: {', '.join(encoders)}",
        version=__version__,
        runs=sum(map(len, groups.values())),
        sections=SECTIONS,
        results=TextTable(table.columns(unit), [table.cells(each) for each in rows], table.TITLE),
        remarks=table.remarks(rows),
        frontier=frontier(rows, unit),
        by_seed=by_seed(rows, unit),
        costs=TextTable(frontier_columns(unit), frontier_rows(rows), "From the fewest multiplications to the most"),
        curves=learning_charts(groups, unit),
        utterances=_utterances(groups, recordings, players),
        events=_events(models, recordings, missing),
        footprints=_footprints(models),
        environments=_environments(groups),
        commands=[run_details.command(each) for runs in groups.values() for each in runs],
    )


def _models(first: Mapping[str, FinishedRun]) -> tuple[dict[str, Recognizer], list[str]]:
    """Return the model of the first run in each group, and a note on each that cannot be loaded."""
    models, notes = {}, []
    for label, run in first.items():
        try:
            models[label] = Recognizer(run.folder, "cpu")
        except SnnAsrError as error:
            notes.append(f"{label}: its model cannot be loaded ({error})")
    return models, notes


def _utterances(
    groups: Mapping[str, Sequence[FinishedRun]], recordings: Mapping[str, Utterance], players: Players
) -> Utterances:
    shown = worst_utterances.worst(groups, lambda name: players.address(recordings.get(name)))
    note = ""
    if shown and not any(each.audio for each in shown):
        note = "The recordings are not where the runs found them."
        there = [recordings[each.name] for each in shown if each.name in recordings]
        if any(each.wav.is_file() for each in there):
            note = "Browsers do not play recordings of this format; a report of 'compare' holds them itself."
    return Utterances(shown, note)


def _events(
    models: Mapping[str, Recognizer], recordings: Mapping[str, Utterance], missing: Sequence[str]
) -> Events:
    chosen = spikes.choose(recordings)
    if chosen is None:
        note = "The recordings of the test set are not where the runs found them, so no utterance could be heard."
        return Events([], "", "", [note, *missing])
    found, notes = spikes.of_models(models, chosen)
    return Events(found, chosen.id, chosen.text, [*notes, *missing])


def _footprints(models: Mapping[str, Recognizer]) -> TextTable:
    columns = ("encoder", "parameters", "core parameters", "zero weights", "bytes in memory", "bytes stored")
    rows = []
    for label, recognizer in models.items():
        size = footprint(recognizer.model)
        rows.append((
            label, f"{size.parameters:,}", f"{size.core_parameters:,}",
            f"{100 * size.connection_sparsity:.1f} %", f"{size.footprint_bytes:,}", f"{size.stored_bytes:,}",
        ))
    return TextTable(columns, rows, "Of the first seed of each row")


def _environments(groups: Mapping[str, Sequence[FinishedRun]]) -> TextTable:
    """Return one row for each group; if its runs differ in a value, all of them are shown."""
    found = {label: [run_details.environment(each) for each in runs] for label, runs in groups.items()}
    headings = list(next(iter(found.values()))[0])
    rows = [
        (label, *(", ".join(dict.fromkeys(each[heading] for each in environments)) for heading in headings))
        for label, environments in found.items()
    ]
    return TextTable(("encoder", *headings), rows, "What each row was trained on")

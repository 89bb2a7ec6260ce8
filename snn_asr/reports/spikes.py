"""Charts of what the spiking encoders of a comparison send while they hear one utterance of its test set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from snn_asr.data.manifest import Utterance
from snn_asr.decoding.recognizer import Recognizer
from snn_asr.errors import DataError
from snn_asr.reports.activity import Activity, activity, encoder_input
from snn_asr.reports.charts import Chart, Point, Series, plotted, raster

LONGEST_FRAMES = 400  # of the utterance; later ones are not drawn
MOST_UNITS = 256  # of a layer; further ones are not drawn
MOST_ENCODERS = 6  # further ones are not drawn


@dataclass(frozen=True)
class Spikes:
    """The charts of one row of the table."""

    name: str
    charts: Sequence[Chart]


def choose(utterances: Mapping[str, Utterance]) -> Utterance | None:
    """Return the utterance of median length among those whose recording exists, or None if there is none."""
    there = [each for each in utterances.values() if each.wav.is_file()]
    if not there:
        return None
    middle = median(each.duration for each in there)
    return min(there, key=lambda each: (abs(each.duration - middle), each.id))


def of_models(models: Mapping[str, Recognizer], utterance: Utterance) -> tuple[list[Spikes], list[str]]:
    """Return charts of every model that sends events, by the names of the rows, and notes on those without any."""
    found: list[Spikes] = []
    without: list[str] = []
    notes: list[str] = []
    for index, (name, recognizer) in enumerate(models.items()):
        try:
            x, step_seconds = encoder_input(recognizer, utterance.wav, LONGEST_FRAMES)
            sent = activity(recognizer.model.encoder, x, step_seconds) if x.shape[1] else []
        except DataError as error:
            notes.append(f"{name}: {error}")
            continue
        if not sent:
            without.append(name)
        elif len(found) < MOST_ENCODERS:
            found.append(Spikes(name, _charts(index, name, sent)))
        else:
            notes.append(f"{name} is not drawn: the first {MOST_ENCODERS} are.")
    if without:
        notes.append(f"{', '.join(without)}: no layer sends events.")
    return found, notes


def _charts(index: int, name: str, sent: Sequence[Activity]) -> list[Chart]:
    charts = []
    for layer, each in enumerate(sent):
        fired = (each.events[:, :MOST_UNITS] != 0).tolist()
        shown = f", of which the first {MOST_UNITS} are drawn" if each.units > MOST_UNITS else ""
        description = f"{each.units} units{shown}; {100 * each.density:.1f} % of the outputs are events."
        seconds = len(fired) * each.step_seconds
        charts.append(raster(f"raster-{index}-{layer}", f"Events of {each.name}", description, fired, seconds))
    lines = [
        Series(each.name, layer, [
            Point(frame * each.step_seconds, share, "") for frame, share in enumerate(each.densities.tolist())
        ], line=True)
        for layer, each in enumerate(sent)
    ]
    description = "The share of a layer's units that send an event, frame by frame."
    charts.append(plotted(f"density-{index}", f"Density over time, {name}", description, "seconds", "density", lines))
    return charts

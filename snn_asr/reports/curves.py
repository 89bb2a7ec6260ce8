"""How the runs of a comparison learned: error and loss by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from snn_asr.reports.charts import Chart, Point, Series, plotted
from snn_asr.reports.comparison import FinishedRun
from snn_asr.reports.run_details import learning_curves


def learning_charts(groups: Mapping[str, Sequence[FinishedRun]], unit: str) -> list[Chart]:
    """Return charts of the development error and of the losses, with one line for each run.

    Runs that differ only in the seed have the same colour. There are no charts if no run has a log.
    """
    errors, losses = [], []
    for index, (label, runs) in enumerate(groups.items()):
        for run in runs:
            name = label if len(runs) == 1 else f"{label}, seed {run.metrics['seed']}"
            curves = {key: [Point(*each, "") for each in points] for key, points in learning_curves(run).items()}
            thin = len(runs) > 1
            errors.append(Series(name, index, curves["dev_error_rate"], line=True, thin=thin))
            losses.append(Series(f"{name}, development", index, curves["dev_loss"], line=True, thin=thin))
            losses.append(Series(f"{name}, training", index, curves["train_loss"], line=True, thin=True, dashed=True))
    names = list(groups)
    charts = []
    if any(each.points for each in errors):
        description = "Of the development set, after every epoch; a line is one run."
        charts.append(_chart("error", "Development error", description, f"{unit} error %", errors, names))
    if any(each.points for each in losses):
        description = "Of the development set (whole lines) and in training (dashed)."
        charts.append(_chart("loss", "Loss", description, "loss", losses, names))
    return charts


def _chart(
    identifier: str, title: str, description: str, y_label: str, series: Sequence[Series], names: Sequence[str]
) -> Chart:
    legend = [Series(name, index, ()) for index, name in enumerate(names)]
    return plotted(
        f"{identifier}-chart", title, description, "epoch", y_label, series, y_log=None, legend=legend, x_whole=True,
    )

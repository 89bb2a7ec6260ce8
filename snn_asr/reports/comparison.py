"""Compares finished runs: error rate with interval, difference from a baseline, size, operations and time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from snn_asr.errors import DataError, UsageError, of_one_shape, unknown_name
from snn_asr.files import read_json_object
from snn_asr.network.model_folder import METRICS, damage, find_model
from snn_asr.scoring.alignments import ErrorCounts
from snn_asr.scoring.error_rates import Score, check_unit, score
from snn_asr.scoring.significance import compare, mean_rate
from snn_asr.training.run_folder.folder import of_another_run, read_mark
from snn_asr.training.run_folder.identity import Identity, json_fingerprint

BASELINES = ("gru", "lstm")  # the first of these that was run is the baseline if none is named
FEWEST_SPEAKERS = 5  # from which on whole speakers are resampled: their utterances are not independent


@dataclass(frozen=True)
class FinishedRun:
    """What a comparison needs to know of one run folder."""

    encoder: str
    recipe: str
    settings: dict[str, Any]  # all that decided the result, as far as the run folder records it
    group: str  # the same for runs that differ only in the seed
    overrides: dict[str, Any]
    metrics: dict[str, Any]
    score: Score
    speakers: dict[str, str]
    folder: Path
    mark: dict[str, Any]  # the contents of run.json

    @property
    def counts(self) -> dict[str, ErrorCounts]:
        """The errors of every test utterance, in the order of the ids."""
        return self.score.utterances


@dataclass(frozen=True)
class Row:
    """One line of the table: all seeds of one encoder with the same overrides. ``label`` names both.

    Rates are for each second of speech. ``density`` has one number for each layer. ``products_per_second`` counts all
    multiplications, also those inside the units, which ``macs_per_second`` leaves out; it is None for runs of an
    earlier program.

    ``interval`` and ``p_value`` account for the choice of the seeds and of the test utterances (or of whole speakers;
    ``resampled`` says which). If there are too few of one of them, the number is None or accounts for the utterances
    only, and ``remark`` says why. The ratios say how many times fewer MACs or products the row has than the baseline,
    and are None without a baseline.
    """

    label: str
    seeds: list[int]
    error_rate: float
    interval: tuple[float, float] | None
    error_rates: list[float]
    parameters: int
    core_parameters: int
    macs_per_second: float
    acs_per_second: float
    core_macs_per_second: float
    products_per_second: float | None
    macs_ratio_to_baseline: float | None
    core_macs_ratio_to_baseline: float | None
    products_ratio_to_baseline: float | None
    density: list[float]
    p_value: float | None
    training_seconds: float
    resampled: str
    remark: str


def read_run(folder: str | Path) -> FinishedRun:
    """Read a run folder. Raises DataError if its training has not finished or its files are damaged."""
    folder = Path(folder)
    if not (folder / "test.json").is_file():
        raise DataError("not a finished run", folder, "finish it with 'snn-asr train' first")
    test, run = read_json_object(folder / "test.json"), read_mark(folder)
    model = find_model(folder)
    damaged = damage(model, (METRICS,))
    if damaged is not None:
        raise damaged
    metrics = _metrics(model / METRICS)
    with of_one_shape(folder / "test.json"):
        references = {name: str(each["reference"]) for name, each in test.items()}
        hypotheses = {name: str(each["hypothesis"]) for name, each in test.items()}
        if not test:
            raise ValueError("no utterances")
        speakers = {name: str(each["speaker"]) for name, each in test.items() if "speaker" in each}
    with of_one_shape(folder / "run.json"):
        encoder, overrides = str(run["encoder"]), dict(run["overrides"])
    scored = score(dict(sorted(references.items())), hypotheses, metrics["unit"], resamples=1)
    return FinishedRun(encoder, *_origin(folder, run, overrides), overrides, metrics, scored, speakers, folder, run)


def _origin(folder: Path, run: dict[str, Any], overrides: dict[str, Any]) -> tuple[str, dict[str, Any], str]:
    """Return the name of a run's recipe, all settings that decided its result, and a key shared by runs that differ
    only in the seed.

    For runs of an earlier program, which did not record all settings, the text of the recipe takes their place.
    """
    identity = Identity.from_json(run)
    if identity is not None:
        settings = {key: value for key, value in identity.settings.items() if key != "seed"}
        return identity.recipe, settings | {"data": json_fingerprint(identity.data)[:8]}, identity.group
    path = find_model(folder) / "recipe.yaml"
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    body = [each for each in lines if not each.startswith("# Overrides:")]
    name = f"{body[0].lstrip('# ').partition(':')[0] if body else ''} (of an earlier snn-asr)".lstrip()
    settings = overrides | {"data_folder": run.get("data_folder")}
    return name, settings, json_fingerprint([run["encoder"], settings, body])


def _metrics(path: Path) -> dict[str, Any]:
    """Read the metrics of a model. Raises DataError if a number that a row shows is missing or not a number."""
    metrics = read_json_object(path)
    with of_one_shape(path):
        check_unit(metrics["unit"])
        operations = metrics["test"]["operations"]
        numbers = [metrics[key] for key in ("seed", "parameters", "core_parameters", "training_seconds")]
        numbers += [operations[key] for key in ("macs_per_second", "acs_per_second", "core_macs_per_second")]
        numbers += [metrics["test"]["error_rate"], *operations["density"], operations.get("element_wise_per_second", 0)]
        if not all(isinstance(each, (int, float)) and math.isfinite(each) for each in numbers):
            raise ValueError("a number is none")
    return metrics


def group_runs(runs: Sequence[FinishedRun]) -> dict[str, list[FinishedRun]]:
    """Group runs that differ only in the seed.

    The name of a group is that of its encoder and what distinguishes it from other groups.
    """
    groups: dict[tuple[str, str], list[FinishedRun]] = {}
    for run in runs:
        groups.setdefault((run.encoder, run.group), []).append(run)
    return dict(zip(_labels([members[0] for members in groups.values()]), groups.values(), strict=True))


def _labels(runs: Sequence[FinishedRun]) -> list[str]:
    """Return a name for each of several runs that differ in more than the seed.

    The overrides that users gave are tried first because they tell most; then the recipes, then all settings.
    """
    shown: tuple[Callable[[FinishedRun], dict[str, Any]], ...] = (
        lambda run: run.overrides,
        lambda run: run.overrides | {"recipe": run.recipe},
        lambda run: run.settings | {"recipe": run.recipe},
        lambda run: {"run": run.group[:8]},
    )
    for values in shown:
        labels = []
        for run in runs:
            others = [values(each) for each in runs if each.encoder == run.encoder]
            pairs = values(run).items()
            differing = [f"{key}={value}" for key, value in pairs if any(each.get(key) != value for each in others)]
            labels.append(" ".join([run.encoder, *differing]))
        if len(set(labels)) == len(labels):
            break
    return labels


def read_groups(folders: Sequence[str | Path]) -> dict[str, list[FinishedRun]]:
    """Read the runs in these folders and group them with ``group_runs``.

    Raises DataError if the runs were not tested on the same utterances, or one has files of another run, and UsageError
    if two runs of one group have the same seed.
    """
    runs = [read_run(folder) for folder in folders]
    first = _references(runs[0])
    if any(_references(run) != first for run in runs[1:]):
        raise DataError("the runs were not tested on the same utterances", todo="compare runs on one test set")
    for run in runs:
        mixed = of_another_run(run.folder)
        if mixed is not None:
            raise mixed
    groups = group_runs(runs)
    for label, group in groups.items():
        seeds = [run.metrics["seed"] for run in group]
        if len(set(seeds)) < len(seeds):
            raise UsageError(f"two runs of '{label}' have one seed", f"seeds {seeds}", "compare one of them")
    return groups


def compare_groups(groups: Mapping[str, list[FinishedRun]], baseline: str | None = None) -> list[Row]:
    """Return one row for each group, in the order given.

    If no ``baseline`` is named, it is the GRU, or else the LSTM, if there is one. Raises UsageError for an unknown
    baseline.
    """
    if baseline is None:
        baseline = next((each for each in BASELINES if each in groups), None)
    elif baseline not in groups:
        raise unknown_name("baseline", baseline, groups, "--baseline")
    rows = [_row(label, runs) for label, runs in groups.items()]
    if baseline is None:
        return rows
    reference = next(row for row in rows if row.label == baseline)
    return [_against(row, groups[row.label], reference, groups[baseline]) for row in rows]


def _clusters(run: FinishedRun) -> dict[str, str] | None:
    """Return the speaker of every test utterance, or None if there are too few speakers to resample them."""
    known = run.counts.keys() <= run.speakers.keys()
    return run.speakers if known and len(set(run.speakers.values())) >= FEWEST_SPEAKERS else None


def _references(run: FinishedRun) -> dict[str, list[str]]:
    """Return the reference tokens of every test utterance."""
    return {
        name: [edit.reference for edit in alignment.edits if edit.reference is not None]
        for name, alignment in run.score.alignments.items()
    }


def _row(label: str, runs: list[FinishedRun]) -> Row:
    clusters = _clusters(runs[0])
    estimate = mean_rate([run.counts for run in runs], clusters)
    operations = [run.metrics["test"]["operations"] for run in runs]
    rates = [run.metrics["test"]["error_rate"] for run in runs]

    def mean(key: str) -> float:
        return fmean(each[key] for each in operations)

    unit_products = [each.get("element_wise_per_second") for each in operations]
    products = None if None in unit_products else mean("macs_per_second") + mean("element_wise_per_second")
    return Row(
        label=label, seeds=[run.metrics["seed"] for run in runs], error_rate=fmean(rates),
        interval=estimate.interval, error_rates=rates, parameters=runs[0].metrics["parameters"],
        core_parameters=runs[0].metrics["core_parameters"], macs_per_second=mean("macs_per_second"),
        acs_per_second=mean("acs_per_second"), core_macs_per_second=mean("core_macs_per_second"),
        products_per_second=products, macs_ratio_to_baseline=None, core_macs_ratio_to_baseline=None,
        products_ratio_to_baseline=None,
        density=[fmean(layer) for layer in zip(*(each["density"] for each in operations), strict=True)],
        p_value=None, training_seconds=fmean(run.metrics["training_seconds"] for run in runs),
        resampled="utterance" if clusters is None else "speaker", remark=estimate.why,
    )


def _against(row: Row, runs: list[FinishedRun], baseline: Row, baseline_runs: list[FinishedRun]) -> Row:
    p_value, remark = None, row.remark
    if row.label != baseline.label:
        counts, baseline_counts = ([run.counts for run in each] for each in (runs, baseline_runs))
        difference = compare(counts, baseline_counts, _clusters(runs[0]))
        p_value, remark = difference.p_value, row.remark or difference.why
    return replace(
        row, p_value=p_value, remark=remark,
        macs_ratio_to_baseline=_ratio(baseline.macs_per_second, row.macs_per_second),
        core_macs_ratio_to_baseline=_ratio(baseline.core_macs_per_second, row.core_macs_per_second),
        products_ratio_to_baseline=_ratio(baseline.products_per_second, row.products_per_second),
    )


def _ratio(baseline: float | None, value: float | None) -> float | None:
    """Return how many times smaller ``value`` is, or None if it is zero or one of the two is unknown."""
    return baseline / value if value and baseline is not None else None


def to_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the rows as ``compare --json`` prints them, where the label is called "encoder"."""
    return [{"encoder" if key == "label" else key: value for key, value in asdict(row).items()} for row in rows]

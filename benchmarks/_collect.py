"""Rows of stored tables from what was made: finished runs, and what benchmarks wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from snn_asr.errors import UsageError
from snn_asr.files import read_json, read_json_object
from snn_asr.reports.comparison import FinishedRun, compare_groups, read_groups
from snn_asr.reports.run_details import UNKNOWN, environment, learning_curves
from snn_asr.scoring.error_rates import score

_DIGITS = 6  # that a stored number keeps


def rows_of_runs(
    folders: Sequence[Path], baseline: str | None = None, commit: str | None = None, machine: str | None = None,
    extras: Mapping[str, Mapping[str, float]] | None = None, one_row: str | None = None,
) -> list[dict[str, Any]]:
    """One row a line of ``compare``, with all that it says, development errors, character errors, and where it is from.

    ``commit`` and ``machine`` are taken for runs that do not say theirs. ``extras``: further numbers by the name of the
    run folder; a row has all values of one, KEYs, and their mean, KEY. ``one_row``: all runs are seeds of this row,
    also where their programs knew other keys. Raises UsageError where a run's commit or machine is unknown.
    """
    groups = read_groups(folders)
    if one_row is not None:
        runs = [run for each in groups.values() for run in each]
        seeds = [run.metrics["seed"] for run in runs]
        if len(set(seeds)) < len(seeds):
            raise UsageError("two runs have one seed", f"seeds {seeds}", "a row has each seed once")
        groups = {one_row: sorted(runs, key=lambda run: run.metrics["seed"])}
    rows = []
    for row in compare_groups(groups, baseline):
        runs = groups[row.label]
        values = asdict(row) | _means("dev_error_rate", [_dev_error(each) for each in runs])
        values["last_dev_error_rate"] = _mean([_last(each, "dev_error_rate") for each in runs])
        values["last_dev_loss"] = _mean([_last(each, "dev_loss") for each in runs])
        if runs[0].metrics["unit"] == "word":
            values |= _means("character_error_rate", [_character_error(each) for each in runs])
        for key in dict.fromkeys(key for each in runs for key in (extras or {}).get(each.folder.name, {})):
            values |= _means(key, [(extras or {}).get(each.folder.name, {}).get(key) for each in runs])
        if row.products_per_second is not None:
            values["element_wise_per_second"] = row.products_per_second - row.macs_per_second
        values["commit"] = _joined([_said(each, "commit", commit, "--commit") for each in runs])
        values["machine"] = _joined([_machine(each, machine) for each in runs])
        rows.append(_rounded(values))
    return rows


def rows_of_streaming(path: Path, commit: str, machine: str) -> list[dict[str, Any]]:
    """One row a case of benchmarks/streaming.py, whose sizes are keys of the row, such as ``2x256``."""
    rows: dict[str, dict[str, Any]] = {}
    cases = read_json(path)
    for case in cases if isinstance(cases, list) else []:
        row = rows.setdefault(case["name"], {"label": case["name"], "seeds": [1], "commit": commit, "machine": machine})
        row[case["size"]] = {key: value for key, value in case.items() if key not in ("name", "size")}
    return _rounded(list(rows.values()))


def _means(key: str, values: Sequence[float | None]) -> dict[str, Any]:
    """All values, as KEYs, and their mean, as KEY."""
    return {f"{key}s": list(values), key: _mean(values)}


def _mean(values: Sequence[float | None]) -> float | None:
    """None where a value is missing."""
    known = [each for each in values if each is not None]
    return fmean(known) if len(known) == len(values) else None


def _dev_error(run: FinishedRun) -> float | None:
    value = run.metrics.get("dev_error_rate")
    return float(value) if isinstance(value, (int, float)) else None


def _last(run: FinishedRun, key: str) -> float | None:
    points = learning_curves(run)[key]
    return points[-1][1] if points else None


def _character_error(run: FinishedRun) -> float | None:
    test = read_json_object(run.folder / "test.json")
    texts = ({name: str(each[key]) for name, each in test.items()} for key in ("reference", "hypothesis"))
    return score(*texts, "character", resamples=1).total.error_rate


def _machine(run: FinishedRun, otherwise: str | None) -> str:
    hardware, threads = _said(run, "hardware", otherwise, "--machine"), run.metrics.get("threads")
    if hardware == otherwise or threads is None:
        return hardware
    return f"{hardware}, {threads} {'thread' if threads == 1 else 'threads'} a run"


def _said(run: FinishedRun, heading: str, otherwise: str | None, option: str) -> str:
    value = environment(run)[heading]
    if value != UNKNOWN:
        return value
    if otherwise is None:
        raise UsageError(f"the run does not say its {heading}", run.folder, f"give {option}")
    return otherwise


def _joined(values: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(values))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, (list, tuple)) else value

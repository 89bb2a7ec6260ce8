"""What a report tells about a run besides its results: how it learned, where it ran, and how to repeat it."""

from __future__ import annotations

import json
import logging
import math
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from snn_asr.data.manifest import Utterance, find_manifests, manifest_fingerprint, read_manifest
from snn_asr.errors import DataError
from snn_asr.files import read_text
from snn_asr.files.strict_json import parse_json
from snn_asr.reports.comparison import FinishedRun
from snn_asr.training.run_folder.folder import LOG

log = logging.getLogger(__name__)

UNKNOWN = "not recorded"
_CURVES = ("dev_error_rate", "train_loss", "dev_loss")


def learning_curves(run: FinishedRun) -> dict[str, list[tuple[float, float]]]:
    """Return points (epoch, value) of the development error rate and both losses, by their names in the log.

    If the run folder has no readable log, the lists are empty and a warning is logged.
    """
    try:
        lines = read_text(run.folder / LOG, regular=True).splitlines()
        rows = [parse_json(line, run.folder / LOG) for line in lines if line]
    except DataError as error:
        log.warning("no learning curves of this run: %s", error)
        rows = []
    entries = [each for each in rows if isinstance(each, dict) and _finite(each.get("epoch"))]
    return {name: [(each["epoch"], each[name]) for each in entries if _finite(each.get(name))] for name in _CURVES}


def _finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def environment(run: FinishedRun) -> dict[str, str]:
    """Return versions, commit and machine of a run by heading; UNKNOWN for what an earlier program did not record."""
    metrics = run.metrics
    machine = metrics.get("environment")
    machine = machine if isinstance(machine, dict) else {}
    hardware = [str(each) for each in (machine.get("gpu"), machine.get("processor")) if each]
    return {
        "snn-asr": _text(metrics.get("snn_asr")), "commit": _text(machine.get("commit")),
        "torch": _text(metrics.get("torch")), "Python": _text(machine.get("python")),
        "hardware": ", ".join(hardware) or UNKNOWN, "system": _text(machine.get("system")),
        "device": _text(metrics.get("device")), "threads": _text(metrics.get("threads")),
        "processes": _text(metrics.get("processes")), "precision": _text(metrics.get("precision")),
    }


def _text(value: object) -> str:
    return UNKNOWN if value is None else str(value)


def command(run: FinishedRun) -> str:
    """Return the shell command that makes this run again."""
    data = run.mark.get("data_folder")
    words = ["snn-asr", "train", run.recipe, *(["--data-folder", str(data)] if data else [])]
    words += ["--output-folder", str(run.folder), f"encoder={run.encoder}", f"seed={run.metrics['seed']}"]
    given = {key: value for key, value in run.overrides.items() if key not in ("encoder", "seed")}
    return shlex.join([*words, *(f"{key}={_as_yaml(value)}" for key, value in given.items())])


def _as_yaml(value: object) -> str:
    """Return a value as the command line reads it.

    A text stays plain if YAML would read it as the same text. Everything else becomes JSON, which YAML can read too.
    """
    try:
        plain = isinstance(value, str) and yaml.safe_load(value) == value
    except yaml.YAMLError:
        plain = False
    return str(value) if plain else json.dumps(value, ensure_ascii=False)


def recordings(run: FinishedRun) -> dict[str, Utterance]:
    """Return the test utterances of a run by id, with the files of their recordings.

    There are none if the manifest that the run was tested on is missing or has changed. A relative path started where
    the training was started, so it is looked for here and in the folders above the run's own.
    """
    data, settings = run.mark.get("data_folder"), run.mark.get("settings")
    prefix = settings.get("manifests", "") if isinstance(settings, Mapping) else ""
    if not isinstance(data, str) or not isinstance(prefix, str):
        return {}
    above = () if os.path.isabs(data) else Path(os.path.abspath(run.folder)).parents
    for start in (Path(), *above):
        try:
            path = find_manifests(start / data, prefix)["test"]
            if not _changed(path, run.mark.get("data")):
                return read_manifest(path, audio_needed=False)
        except (DataError, OSError):
            continue
    return {}


def _changed(path: Path, fingerprints: Any) -> bool:
    known = fingerprints.get("test") if isinstance(fingerprints, Mapping) else None
    return known is not None and manifest_fingerprint(path) != known

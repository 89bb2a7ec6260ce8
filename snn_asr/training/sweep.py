"""One recipe trained with several encoders and seeds: which keys each run is given, and where it goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from snn_asr import processes
from snn_asr.errors import SnnAsrError, UsageError, unknown_name
from snn_asr.training import recipe
from snn_asr.training.jobs import run_jobs
from snn_asr.training.recipe_files import find
from snn_asr.training.run import prepared_data, train


def train_encoders(
    name: str | Path, encoders: Sequence[str], seeds: int, data_folder: Path | None, output_folder: Path,
    device: str, overrides: Mapping[str, object], jobs: int = 1, failed: Callable[[SnnAsrError], None] | None = None,
) -> list[Path]:
    """Train one recipe with several encoders and seeds, ``jobs`` at a time; returns the folders of finished runs.

    An override goes to every encoder that knows its key; one named ``encoder.key`` to that encoder alone. Everything
    is checked before the first run begins. What ends one run, such as that it diverges, is told to ``failed``, and the
    others are trained; without it, it is raised. Raises UsageError for a key that no encoder knows.
    """
    if not encoders:
        raise UsageError("names no encoder", "--encoders", "give some, such as improved_v2,gru,lstm")
    if len(set(encoders)) < len(encoders):
        raise UsageError("names an encoder twice", "--encoders", "name each once")
    if "encoder" in overrides:
        raise UsageError("the encoders to compare are not a key", "encoder=...", "give --encoders")
    if processes.requested():
        todo = "train each encoder with torchrun, then compare the folders"
        raise UsageError("compare runs in one process", "torchrun", todo)
    plans = _plans(name, encoders, overrides)
    configs = {encoder: recipe.load(name, plan) for encoder, plan in plans.items()}
    data_folder = prepared_data(configs[encoders[0]], data_folder, output_folder)
    calls = []
    for encoder, plan in plans.items():
        first = configs[encoder].training.seed
        for seed in range(first, first + seeds):
            calls.append({
                "name": name, "data_folder": data_folder, "output_folder": output_folder / f"{encoder}-seed{seed}",
                "device": device, "seed": seed, "overrides": plan,
            })
    return run_jobs(train, calls, jobs, failed)


def _plans(
    name: str | Path, encoders: Sequence[str], overrides: Mapping[str, object]
) -> dict[str, dict[str, object]]:
    """The overrides of each encoder."""
    own, shared = _by_encoder(encoders, overrides)
    known = {each: recipe.keys(name, each) for each in encoders}
    for key in shared:
        if all(key not in keys for keys in known.values()):
            raise unknown_name("key", key, set().union(*known.values()), find(name))
    return {
        each: {
            "encoder": each, **{key: value for key, value in shared.items() if key in known[each]}, **own.get(each, {})
        }
        for each in encoders
    }


def _by_encoder(
    encoders: Sequence[str], overrides: Mapping[str, object]
) -> tuple[dict[str, dict[str, object]], dict[str, object]]:
    """The overrides named ``encoder.key``, by encoder, and the others."""
    own: dict[str, dict[str, object]] = {}
    for key, value in overrides.items():
        encoder, dot, option = key.partition(".")
        if dot and encoder not in encoders:
            raise unknown_name("encoder", encoder, encoders, key)
        if dot:
            own.setdefault(encoder, {})[option] = value
    return own, {key: value for key, value in overrides.items() if "." not in key}

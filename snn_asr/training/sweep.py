"""Training one recipe with several encoders, values of keys and seeds: the options and the folder of each run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

from snn_asr import processes
from snn_asr.errors import SnnAsrError, UsageError, unknown_name
from snn_asr.training.data_sets import prepared_data
from snn_asr.training.gpu_sharing import shared_gpu
from snn_asr.training.jobs import run_jobs
from snn_asr.training.recipes import recipe
from snn_asr.training.recipes.recipe_files import display_name, find
from snn_asr.training.run import train
from snn_asr.training.run_folder.identity import json_fingerprint


def train_encoders(
    name: str | Path, encoders: Sequence[str], seeds: int, data_folder: Path | None, output_folder: Path,
    device: str, overrides: Mapping[str, object], jobs: int = 1, failed: Callable[[SnnAsrError], None] | None = None,
    grid: Mapping[str, Sequence[object]] | None = None,
) -> list[Path]:
    """Train one recipe with several encoders and seeds, ``jobs`` at a time, and return the folders of finished runs.

    An override applies to every encoder that has its key, and one named ``encoder.key`` to that encoder alone. ``grid``
    gives keys several values each, and an encoder is trained with every combination of those that it has. Everything is
    checked before the first run starts. The error that ends a run, such as divergence, is given to ``failed``, and the
    other runs are trained; without ``failed`` it is raised. Raises UsageError for a key that no encoder has.
    """
    if not encoders:
        raise UsageError("names no encoder", "--encoders", "give some, such as improved_v2,gru,lstm")
    if len(set(encoders)) < len(encoders):
        raise UsageError("names an encoder twice", "--encoders", "name each once")
    if seeds > 1 and "seed" in (grid or {}):
        raise UsageError("the seeds to train with are counted by --seeds, too", "--grid seed", "give one of the two")
    if "encoder" in {**overrides, **(grid or {})}:
        raise UsageError("the encoders to compare are not a key", "encoder=...", "give --encoders")
    if processes.requested():
        todo = "train each encoder with torchrun, then compare the folders"
        raise UsageError("compare runs in one process", "torchrun", todo)
    plans: dict[str, dict[str, object]] = {}  # by the beginning of the folder's name
    for point in _points(grid or {}, overrides):
        for encoder, plan in _plans(name, encoders, {**overrides, **point}).items():
            folder = _folder_name(encoder, plan, point)
            if plans.setdefault(folder, plan) != plan:
                what = f"two values would be trained in one folder, {folder}"
                raise UsageError(what, "--grid", "write one of them otherwise")
    plans = {key: plans[key] for encoder in encoders for key in plans if plans[key]["encoder"] == encoder}
    merged = {key: recipe.merge(name, plan) for key, plan in plans.items()}
    configs = {key: each.config() for key, each in merged.items()}
    _refuse_equal({key: json_fingerprint(each.identity(configs[key])) for key, each in merged.items()})
    data_folder = prepared_data(next(iter(configs.values())), data_folder, output_folder)
    calls = []
    for key, plan in plans.items():
        first = configs[key].training.seed
        for seed in range(first, first + seeds):
            calls.append({
                "name": name, "data_folder": data_folder, "output_folder": output_folder / f"{key}-seed{seed}",
                "device": device, "seed": seed, "overrides": plan,
            })
    with shared_gpu(device, min(jobs, len(calls))):
        return run_jobs(train, calls, jobs, failed)


def _refuse_equal(digests: Mapping[str, str]) -> None:
    """Raise UsageError if two plans are one training, because the table could not tell their runs apart."""
    first: dict[str, str] = {}
    for key, digest in digests.items():
        other = first.setdefault(digest, key)
        if other != key:
            raise UsageError(f"{other} and {key} are the same training", "--grid", "leave one of the values out")


def _points(grid: Mapping[str, Sequence[object]], overrides: Mapping[str, object]) -> Iterator[dict[str, object]]:
    """Every combination of the grid's values. Raises UsageError for a key that is also an override."""
    for key in grid.keys() & overrides.keys():
        raise UsageError(f"key '{key}' is given twice", f"--grid {key}", "give it once")
    for values in product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def _folder_name(encoder: str, plan: Mapping[str, object], point: Mapping[str, object]) -> str:
    """The name of the folder of an encoder at a point of the grid, from the values that apply to it."""
    own = [key.rpartition(".")[2] for key in point if key.rpartition(".")[0] in ("", encoder)]
    taken = [f"{key}={plan[key]}".replace("/", "_") for key in own if key in plan]
    return "-".join([encoder, *taken])


def _plans(
    name: str | Path, encoders: Sequence[str], overrides: Mapping[str, object]
) -> dict[str, dict[str, object]]:
    """The overrides of each encoder."""
    own, shared = _by_encoder(encoders, overrides)
    known = {each: recipe.keys(name, each) for each in encoders}
    for key in shared:
        if all(key not in keys for keys in known.values()):
            command = f"snn-asr recipes show {display_name(find(name))} --keys"
            raise unknown_name("key", key, set().union(*known.values()), listed_by=command)
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

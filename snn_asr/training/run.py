"""From a recipe and prepared data to a run folder: the trained model, its log, and the test set decoded and scored."""

from __future__ import annotations

import hashlib
import json
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from snn_asr import __version__, corpora, processes
from snn_asr.data.batches import BucketedBatches, evaluation_loader, training_loader
from snn_asr.data.dataset import (
    SpeechDataset,
    require_alignable,
    require_one_token,
    require_recordings,
    require_transcripts,
)
from snn_asr.data.feature_cache import FeatureCache
from snn_asr.data.features import FeatureExtractor
from snn_asr.data.manifest import REQUIRED_SPLITS, check_disjoint, find_manifests, fingerprint, read_manifest
from snn_asr.data.tokens import build_tokens
from snn_asr.errors import DataError, InterruptedRun, UsageError, describing, unknown_name
from snn_asr.network.coder import RangeTracker
from snn_asr.network.model import AcousticModel, ModelSettings
from snn_asr.network.model_folder import save_model
from snn_asr.network.tasks import CLASSIFICATION
from snn_asr.processes import choose_device, own_device
from snn_asr.training import recipe
from snn_asr.training.brain import RecognizerBrain
from snn_asr.training.config import Config
from snn_asr.training.evaluation import evaluate
from snn_asr.training.jobs import run_jobs
from snn_asr.training.run_folder import DATA, MODEL, RunFolder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """What identifies a run: the same identity means the same result (on the same machine)."""

    recipe_text: str
    data_folder: Path
    folder: RunFolder
    device: str
    identity: str
    encoder: str
    overrides: dict[str, object]


def train(
    name: str | Path, data_folder: Path | None, output_folder: Path, *, device: str = "auto",
    seed: int | None = None, resume: bool = True, overrides: Mapping[str, object] | None = None,
) -> Path:
    """Train a recipe; returns the run folder. A finished run of the same identity is left as it is.

    Raises UsageError for wrong keys, or where the folder holds a run with other options; DataError for data that
    cannot be trained on; DivergenceError; InterruptedRun after a keyboard interrupt (finished epochs are saved).
    """
    overrides = dict(overrides or {}) | ({"seed": seed} if seed is not None else {})
    config = recipe.load(name, overrides)
    device = choose_device(device)
    with RunFolder(output_folder).held(_manifest_folder(config, data_folder)) as folder:
        with processes.joined(device):
            with processes.main_first():
                run = _begin(name, config, overrides, data_folder, folder, device, resume)
                if folder.finished:
                    log.info("%s: already trained, nothing to do", output_folder)
                    return output_folder
                _seed_everything(config.training.seed)
                sets = _datasets(config, run.data_folder)
                model = _model(config, sets["train"])
            brain = _fit(model, sets["train"].tokens, config, run, sets["train"], sets["dev"])
            world = processes.world()
        if processes.is_main():
            _finish(brain, config, run, sets["test"], world)
    return output_folder


def _begin(
    name: str | Path, config: Config, overrides: dict[str, object], data_folder: Path | None,
    folder: RunFolder, device: str, resume: bool,
) -> Run:
    """Prepare the data where that is still to do, and take the output folder."""
    folder.begin()
    data_folder = _prepared(config, data_folder, folder.path)
    run = _identify(name, config, overrides, data_folder, folder, device)
    about = {"encoder": run.encoder, "overrides": run.overrides, "data_folder": str(run.data_folder)}
    folder.claim(run.identity, about, resume)
    return run


def _model(config: Config, train_set: SpeechDataset) -> AcousticModel:
    """The model as it starts, on the CPU. With several processes the frames of all speeds are on disk afterwards."""
    network = config.model
    settings = ModelSettings(
        config.features, network.encoder, network.hidden_size, network.num_layers, network.encoder_options,
        network.head_normalization, config.data.task, network.front_end,
    )
    model = AcousticModel(settings, train_set.normalization(), train_set.tokens.size)
    model.use_backend(network.backend)
    if processes.world() > 1:
        train_set.compute_features(config.augmentation.speeds)
        _refuse_ranges_by_frame(model)
    return model.double() if config.training.precision == "fp64" else model


def _refuse_ranges_by_frame(model: AcousticModel) -> None:
    for each in model.modules():
        if isinstance(each, RangeTracker) and each.settings.range == "moving_average_per_frame":
            raise UsageError(
                "cannot be followed by several processes", "range=moving_average_per_frame",
                "use range=moving_average, or train in one process",
            )


def train_encoders(
    name: str | Path, encoders: Sequence[str], seeds: int, data_folder: Path | None, output_folder: Path,
    device: str, overrides: Mapping[str, object], jobs: int = 1,
) -> list[Path]:
    """Train one recipe with several encoders and seeds, ``jobs`` at a time; returns the run folders.

    An override goes to every encoder whose block, or the recipe, knows its key; one named ``encoder.key`` to that
    encoder alone. Raises UsageError where none does.
    """
    own, overrides = _by_encoder(encoders, overrides)
    plans = [(each, {"encoder": each, **_known(name, each, overrides), **own.get(each, {})}) for each in encoders]
    for key in overrides:
        if all(key not in known for _, known in plans):
            recipe.load(name, {"encoder": encoders[0], **overrides})  # names the key and its nearest
    if processes.requested():
        todo = "train each encoder with torchrun, then compare the folders"
        raise UsageError("compare runs in one process", "torchrun", todo)
    data_folder = _prepared(recipe.load(name, plans[0][1]), data_folder, output_folder)
    calls = []
    for encoder, known in plans:
        first = recipe.load(name, known).training.seed
        for seed in range(first, first + seeds):
            folder = output_folder / f"{encoder}-seed{seed}"
            calls.append({
                "name": name, "data_folder": data_folder, "output_folder": folder, "device": device, "seed": seed,
                "overrides": known,
            })
    return run_jobs(train, calls, jobs)


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


def _known(name: str | Path, encoder: str, overrides: Mapping[str, object]) -> dict[str, object]:
    keys = recipe.keys(name, encoder)
    return {key: value for key, value in overrides.items() if key in keys}


def _datasets(config: Config, data_folder: Path) -> dict[str, SpeechDataset]:
    """Training, development and test data, by split. Raises DataError for what cannot be trained on or scored."""
    paths = _manifests(config, data_folder)
    manifests = {split: read_manifest(path) for split, path in paths.items()}
    check_disjoint(manifests)
    texts = (each.text for each in manifests["train"].values())
    tokens = build_tokens(config.data.tokens, texts, **config.data.token_options)
    common = {
        "tokens": tokens, "extractor": FeatureExtractor(config.features),
        "feature_cache": _feature_cache(config, data_folder),
    }
    sets = {split: SpeechDataset(manifests[split].values(), **common) for split in ("dev", "test")}
    utterances = manifests["train"].values()
    sets["train"] = SpeechDataset(utterances, speeds=config.augmentation.speeds, seed=config.training.seed, **common)
    for split, dataset in sets.items():
        require_recordings(dataset, paths[split])
    require_alignable(sets["train"], paths["train"])  # which for a class means a frame at least
    for split, dataset in sets.items():
        require_transcripts(dataset, paths[split])
        if config.data.task == CLASSIFICATION:
            require_one_token(dataset, paths[split])
    return sets


def _feature_cache(config: Config, data_folder: Path) -> FeatureCache | None:
    """The recipe's cache of frames; ``auto`` is in the folder of the manifests, which all runs on them share."""
    folder = config.data.feature_cache
    if folder == "none":
        return None
    return FeatureCache(data_folder / "features" if folder == "auto" else folder)


def _fit(model, tokens, config: Config, run: Run, train_set, dev_set) -> RecognizerBrain:
    batches = BucketedBatches(
        train_set, config.batches.batch_frames, config.training.seed, config.batches.batch_utterances,
        config.batches.length_curriculum, config.batches.accumulation,
    )
    if batches.full_epoch < config.batches.accumulation:
        what = f"an epoch has {batches.full_epoch} batches, and no training step takes place"
        raise UsageError(what, f"accumulation={config.batches.accumulation}", "lower it, or batch_frames")
    device = own_device(run.device)
    brain = RecognizerBrain(model.to(device), tokens, config, device, run.folder, train_set, batches)
    loader = training_loader(train_set, batches, config.data.loader_workers, device)
    try:
        dev_loader = evaluation_loader(dev_set, config.batches.batch_frames, shared=True, device=device)
        brain.fit(brain.epochs(), loader, dev_loader)
    except KeyboardInterrupt as error:
        raise InterruptedRun(
            f"interrupted after {brain.epoch} of {config.training.epochs} epochs", run.folder.path,
            "run the same command again to go on",
        ) from error
    finally:
        brain.progress.close()
    return brain


def _finish(
    brain: RecognizerBrain, config: Config, run: Run, test_set: SpeechDataset, world: int
) -> None:
    """Write the model folder from the best epoch, decode and score the test set."""
    brain.restore_best()
    model, tokens = brain.model.float(), brain.tokens
    report = evaluate(model, tokens, evaluation_loader(test_set, config.batches.batch_frames), brain.device)
    metrics = {
        "encoder": config.model.encoder, "seed": config.training.seed, "unit": tokens.unit,
        "epochs": brain.epoch, "best_epoch": brain.best["epoch"], "dev_error_rate": brain.best["error_rate"],
        "training_seconds": round(brain.training_seconds, 2), "device": run.device,
        "threads": torch.get_num_threads(), "processes": world, "precision": config.training.precision,
        "snn_asr": __version__, "torch": torch.__version__,
        "parameters": model.parameter_count(), "core_parameters": model.encoder.core_parameters(),
        "test": report.summary(),
    }
    save_model(run.folder.path / MODEL, model, tokens, metrics, run.recipe_text)
    run.folder.write_test(report.transcripts())
    log.info("%s: %s", run.folder.path, report.line())


def _manifest_folder(config: Config, data_folder: Path | None) -> Path | None:
    """``data_folder`` where it holds manifests; None where they are still to be prepared."""
    if data_folder is None:
        return None
    with describing(data_folder):
        if not data_folder.is_dir():
            raise DataError("no such folder", data_folder, "check --data-folder")
        return data_folder if (data_folder / f"{config.data.manifests}train.json").is_file() else None


def _prepared(config: Config, data_folder: Path | None, output_folder: Path) -> Path:
    """A folder of manifests: ``data_folder`` itself, or what the recipe's corpus prepares from it."""
    given = _manifest_folder(config, data_folder)
    if given is not None:
        return given
    prepared = output_folder / DATA
    if processes.is_main():
        corpora.prepare(config.data.corpus, data_folder, prepared)
    return prepared


def _manifests(config: Config, data_folder: Path) -> dict[str, Path]:
    found = find_manifests(data_folder, config.data.manifests)
    return {split: found[split] for split in REQUIRED_SPLITS}


def _identify(name, config: Config, overrides, data_folder: Path, folder: RunFolder, device: str) -> Run:
    overrides = {key: value for key, value in overrides.items() if key not in ("feature_cache", "loader_workers")}
    changed = {key: value for key, value in sorted(overrides.items()) if key not in ("encoder", "seed")}
    text = recipe.text(name, overrides)
    data = [fingerprint(path) for path in _manifests(config, data_folder).values()]
    identity = hashlib.sha256(json.dumps([__version__, text, data, device]).encode()).hexdigest()
    return Run(text, data_folder, folder, device, identity, config.model.encoder, changed)


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    torch.manual_seed(seed)


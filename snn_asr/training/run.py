"""From a recipe and prepared data to a run folder: the trained model, its log, and the test set decoded and scored."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from snn_asr import __version__, corpora, processes
from snn_asr.data.batches import BucketedBatches, evaluation_loader, training_loader
from snn_asr.data.cutting import CUT
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
from snn_asr.errors import DataError, InterruptedRun, UsageError, describing
from snn_asr.network.coder import RangeTracker
from snn_asr.network.model import AcousticModel
from snn_asr.network.model_folder import save_model
from snn_asr.network.tasks import CLASSIFICATION
from snn_asr.processes import choose_device, own_device
from snn_asr.training import recipe
from snn_asr.training.brain import RecognizerBrain
from snn_asr.training.config import Config
from snn_asr.training.environment import environment
from snn_asr.training.evaluation import evaluate
from snn_asr.training.identity import Identity
from snn_asr.training.initial_model import fingerprint as fingerprint_of_model
from snn_asr.training.initial_model import initial_model, load_fitting
from snn_asr.training.recipe import Merged
from snn_asr.training.recipe_files import display_name
from snn_asr.training.run_folder import DATA, MODEL, RunFolder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """What is trained where, and with which data."""

    recipe_text: str
    data_folder: Path
    folder: RunFolder
    device: str


def train(
    name: str | Path, data_folder: Path | None, output_folder: Path, *, device: str = "auto",
    seed: int | None = None, resume: bool = True, overrides: Mapping[str, object] | None = None,
) -> Path:
    """Train a recipe; returns the run folder. A finished run of the same identity is left as it is.

    Raises UsageError for wrong keys, or where the folder holds a run with other options; DataError for data that
    cannot be trained on; DivergenceError; InterruptedRun after a keyboard interrupt (finished epochs are saved).
    """
    merged = recipe.merge(name, dict(overrides or {}) | ({"seed": seed} if seed is not None else {}))
    config = merged.config()
    device = choose_device(device)
    processes.check_environment()
    with RunFolder(output_folder).held(_manifest_folder(config, data_folder)) as folder:
        with processes.joined(device):
            with processes.main_first():
                run = _begin(merged, config, data_folder, folder, device, resume)
                if folder.finished:
                    folder.tidy()
                    log.info("%s: already trained, nothing to do", output_folder)
                    return output_folder
                _seed_everything(config.training.seed)
                sets = _datasets(config, run.data_folder)
                batches = _batches(config, sets["train"])
                model = _model(config, sets["train"])
            brain = _fit(model, config, run, sets, batches)
            world = processes.world()
        if processes.is_main():
            _finish(brain, config, run, sets["test"], world)
    return output_folder


def _begin(
    merged: Merged, config: Config, data_folder: Path | None, folder: RunFolder, device: str, resume: bool
) -> Run:
    """Prepare the data where that is still to do, and take the output folder."""
    folder.begin()
    data_folder = prepared_data(config, data_folder, folder.path)
    data = {split: fingerprint(path) for split, path in _manifests(config, data_folder).items()}
    settings = merged.identity(config)
    if config.training.initial_model:
        settings["initial_model"] = fingerprint_of_model(config.training.initial_model, folder.path)
        load_fitting(config.training, config.model_settings)
    identity = Identity(display_name(merged.path), settings, data, device)
    about = {"encoder": config.model.encoder, "overrides": merged.overrides, "data_folder": str(data_folder)}
    folder.claim(identity.digest, about | identity.to_json(), resume)
    return Run(merged.text(), data_folder, folder, device)


def _model(config: Config, train_set: SpeechDataset) -> AcousticModel:
    """The model as it starts, on the CPU. With several processes the frames of all speeds are on disk afterwards."""
    network, settings = config.model, config.model_settings
    if config.training.initial_model:
        model = initial_model(config.training, settings, train_set.tokens)
    else:
        model = AcousticModel(settings, train_set.normalization(), train_set.tokens.size)
        model.initialize_head(network.head_initialization)
        model.prefer_blank(network.blank_bias)
    model.error_at_every_step = config.data.task == CLASSIFICATION and config.training.class_error == "every"
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


def _datasets(config: Config, data_folder: Path) -> dict[str, SpeechDataset]:
    """Training, development and test data, by split. Raises DataError for what cannot be trained on or scored."""
    paths = _manifests(config, data_folder)
    manifests = {split: read_manifest(path) for split, path in paths.items()}
    check_disjoint(manifests)
    texts = (each.text for each in manifests["train"].values())
    tokens = build_tokens(config.data.tokens, texts, **config.data.token_options)
    make = partial(
        SpeechDataset, tokens=tokens, extractor=FeatureExtractor(config.features),
        feature_cache=_feature_cache(config, data_folder),
    )
    sets = {split: make(list(manifests[split].values())) for split in ("dev", "test")}
    utterances = list(manifests["train"].values())
    sets["train"] = make(utterances, speeds=config.augmentation.speeds, seed=config.training.seed)
    for split, dataset in sets.items():
        require_recordings(dataset, paths[split])
    _refuse_cut_classes(config)
    require_alignable(sets["train"], paths["train"])  # which for a class means a frame at least
    for split, dataset in sets.items():
        require_transcripts(dataset, paths[split])
        if config.data.task == CLASSIFICATION:
            require_one_token(dataset, paths[split])
    for split in ("dev", "test"):  # before hours of work, not after; those of the training set give its statistics
        sets[split].check_recordings()
    return sets


def _refuse_cut_classes(config: Config) -> None:
    """Raise UsageError where utterances would be cut whose whole is one class."""
    batches = config.batches
    if config.data.task == CLASSIFICATION and batches.length_curriculum and batches.longer_utterances == CUT:
        raise UsageError("longer_utterances=cut", todo="a class has no first words: give longer_utterances=left_out")


def _feature_cache(config: Config, data_folder: Path) -> FeatureCache | None:
    """The recipe's cache of frames; ``auto`` is in the folder of the manifests, which all runs on them share."""
    folder = config.data.feature_cache
    if folder == "none":
        return None
    return FeatureCache(data_folder / "features" if folder == "auto" else folder)


def _batches(config: Config, train_set: SpeechDataset) -> BucketedBatches:
    """The batches of the training data. Raises UsageError where they are fewer than a training step takes."""
    options = config.batches
    batches = BucketedBatches(
        train_set, options.batch_frames, config.training.seed, options.batch_utterances, options.length_curriculum,
        options.accumulation, options.longer_utterances,
    )
    if batches.full_epoch < options.accumulation:
        what = f"an epoch has {batches.full_epoch} batches, and no training step takes place"
        raise UsageError(what, f"accumulation={options.accumulation}", "lower it, or batch_frames")
    return batches


def _fit(
    model: AcousticModel, config: Config, run: Run, sets: Mapping[str, SpeechDataset], batches: BucketedBatches
) -> RecognizerBrain:
    device = own_device(run.device)
    train_set = sets["train"]
    brain = RecognizerBrain(model.to(device), train_set.tokens, config, device, run.folder, train_set, batches)
    loader = training_loader(train_set, batches, config.data.loader_workers, device)
    try:
        dev_loader = evaluation_loader(sets["dev"], config.batches.batch_frames, shared=True, device=device)
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
        "snn_asr": __version__, "torch": torch.__version__, "environment": environment(run.device),
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


def prepared_data(config: Config, data_folder: Path | None, output_folder: Path) -> Path:
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


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    torch.manual_seed(seed)

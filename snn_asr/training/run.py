"""From a recipe and prepared data to a run folder: the trained model, its log, and the test set decoded and scored."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from snn_asr import __version__, processes
from snn_asr.data.batches import BucketedBatches, evaluation_loader, training_loader
from snn_asr.data.dataset import SpeechDataset
from snn_asr.data.manifest import manifest_fingerprint
from snn_asr.data.reading_ahead import ReadAhead
from snn_asr.devices import choose_device, own_device
from snn_asr.errors import InterruptedRun, UsageError
from snn_asr.network.kernels import choose_backend
from snn_asr.network.model import AcousticModel
from snn_asr.network.model_folder import save_model
from snn_asr.network.ranges import RangeTracker
from snn_asr.network.tasks import CLASSIFICATION
from snn_asr.training.data_sets import data_sets, manifest_folder, manifests_of, prepared_data, training_batches
from snn_asr.training.evaluation import evaluate
from snn_asr.training.initial_model import initialized_model, load_fitting, model_fingerprint, model_group
from snn_asr.training.loop.brain import RecognizerBrain
from snn_asr.training.recipes import recipe
from snn_asr.training.recipes.config import Config
from snn_asr.training.recipes.keys import FP64
from snn_asr.training.recipes.recipe import Merged
from snn_asr.training.recipes.recipe_files import display_name
from snn_asr.training.run_folder.environment import environment
from snn_asr.training.run_folder.folder import MODEL, RunFolder
from snn_asr.training.run_folder.identity import Identity

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """One call of ``train``: the recipe as it is merged, the folders of data and results, and the device."""

    recipe_text: str
    data_folder: Path
    folder: RunFolder
    device: str


def train(
    name: str | Path, data_folder: Path | None, output_folder: Path, *, device: str = "auto",
    seed: int | None = None, resume: bool = True, overrides: Mapping[str, object] | None = None,
) -> Path:
    """Train a recipe and return the run folder. A finished run of the same identity is left as it is.

    Raises UsageError for wrong keys, and where the folder holds a run with other options; DataError for data that
    cannot be trained on; DivergenceError; and InterruptedRun after a keyboard interrupt (finished epochs are saved).
    """
    merged = recipe.merge(name, dict(overrides or {}) | ({"seed": seed} if seed is not None else {}))
    config = merged.config()
    device = choose_device(device)
    if config.model.backend != "auto":
        choose_backend(config.model.backend, torch.device(device))  # one that cannot run is refused before data is read
    processes.check_environment()
    with RunFolder(output_folder).held(manifest_folder(data_folder)) as folder:
        with processes.joined(device):
            with processes.main_first():
                run = _begin(merged, config, data_folder, folder, device, resume)
                if folder.finished:
                    folder.tidy()
                    log.info("%s: already trained, nothing to do", output_folder)
                    return output_folder
                _seed_everything(config.training.seed)
                sets = data_sets(config, run.data_folder)
                batches = training_batches(config, sets["train"])
                model = _model(config, sets["train"])
            brain = _fit(model, config, run, sets, batches)
            world = processes.world()
        if processes.is_main():
            _finish(brain, config, run, sets["test"], world)
    return output_folder


def _begin(
    merged: Merged, config: Config, data_folder: Path | None, folder: RunFolder, device: str, resume: bool
) -> Run:
    """Prepare the data if that is still to do, and claim the output folder for this run."""
    folder.begin()
    data_folder = prepared_data(config, data_folder, folder.path)
    data = {split: manifest_fingerprint(path) for split, path in manifests_of(config, data_folder).items()}
    settings, initial_group = merged.identity(config), ""
    if config.training.initial_model:
        settings["initial_model"] = model_fingerprint(config.training.initial_model, folder.path)
        initial_group = model_group(config.training.initial_model)
        load_fitting(config.training, config.model_settings)
    identity = Identity(display_name(merged.path), settings, data, device, initial_group=initial_group)
    about = {"encoder": config.model.encoder, "overrides": merged.overrides, "data_folder": str(data_folder)}
    folder.claim(identity.digest, about | identity.to_json(), resume)
    return Run(merged.text(), data_folder, folder, device)


def _model(config: Config, train_set: SpeechDataset) -> AcousticModel:
    """The model before its first training step, on the CPU. For several processes, all frames are then on disk."""
    network, settings = config.model, config.model_settings
    if config.training.initial_model:
        model = initialized_model(config.training, settings, train_set.tokens)
    else:
        model = AcousticModel(settings, train_set.normalization(), train_set.tokens.size)
        model.initialize_head(network.head_initialization)
        model.prefer_blank(network.blank_bias)
    model.error_at_every_step = config.data.task == CLASSIFICATION and config.training.class_error == "every"
    model.use_backend(network.backend)
    if processes.world() > 1:
        train_set.compute_features(config.augmentation.speeds)
        _refuse_ranges_by_frame(model)
    return model.double() if config.training.precision == FP64 else model


def _refuse_ranges_by_frame(model: AcousticModel) -> None:
    """Raise UsageError for ranges that several processes cannot follow together."""
    for each in model.modules():
        if isinstance(each, RangeTracker) and each.settings.follows_every_frame:
            raise UsageError(
                "cannot be followed by several processes", "range=moving_average_per_frame",
                "use range=moving_average, or train in one process",
            )


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
        if isinstance(loader, ReadAhead):
            loader.close()
    return brain


def _finish(
    brain: RecognizerBrain, config: Config, run: Run, test_set: SpeechDataset, world: int
) -> None:
    """Decode and score the test set with the best epoch's weights, and write the model folder."""
    brain.best.restore(brain.model)
    model, tokens = brain.model.float(), brain.tokens
    report = evaluate(model, tokens, evaluation_loader(test_set, config.batches.batch_frames), brain.device)
    metrics = {
        "encoder": config.model.encoder, "seed": config.training.seed, "unit": tokens.unit,
        "epochs": brain.epoch, "best_epoch": brain.best.epoch, "dev_error_rate": brain.best.error_rate,
        "training_seconds": round(brain.training_seconds, 2), "device": run.device,
        "threads": torch.get_num_threads(), "processes": world, "precision": config.training.precision,
        "snn_asr": __version__, "torch": torch.__version__, "environment": environment(run.device),
        "parameters": model.parameter_count(), "core_parameters": model.encoder.core_parameters(),
        "test": report.summary(),
    }
    transcripts = report.transcripts()
    metrics |= run.folder.origin(transcripts)
    save_model(run.folder.path / MODEL, model, tokens, metrics, run.recipe_text)
    run.folder.write_test(transcripts)
    log.info("%s: %s", run.folder.path, report.line())


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    torch.manual_seed(seed)

"""What a training reads: manifests, prepared if need be, the data sets that they list, and the batches of training."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from snn_asr import corpora, processes
from snn_asr.data.batches import BucketedBatches
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
from snn_asr.data.manifest import REQUIRED_SPLITS, check_disjoint, find_manifests, read_manifest
from snn_asr.data.tokens import build_tokens
from snn_asr.errors import DataError, UsageError, describing
from snn_asr.network.tasks import CLASSIFICATION
from snn_asr.training.recipes.config import Config
from snn_asr.training.run_folder.folder import DATA


def manifest_folder(data_folder: Path | None) -> Path | None:
    """The ``data_folder`` if it holds manifests, or None if they are still to be prepared from it.

    Raises DataError for a folder that does not exist.
    """
    if data_folder is None:
        return None
    with describing(data_folder):
        if not data_folder.is_dir():
            raise DataError("no such folder", data_folder, "check --data-folder")
        # Manifests of other names, or not all of them, are a mistake to tell, and no corpus to prepare.
        manifests = (path for split in REQUIRED_SPLITS for path in data_folder.glob(f"*{split}.json"))
        return data_folder if next(manifests, None) is not None else None


def prepared_data(config: Config, data_folder: Path | None, output_folder: Path) -> Path:
    """The folder of manifests: ``data_folder``, or one below ``output_folder`` that the recipe's corpus prepares."""
    given = manifest_folder(data_folder)
    if given is not None:
        return given
    prepared = output_folder / DATA
    if processes.is_main():
        corpora.prepare(config.data.corpus, data_folder, prepared)
    return prepared


def manifests_of(config: Config, data_folder: Path) -> dict[str, Path]:
    """The manifests that a training needs, by split. Raises DataError where one is missing."""
    found = find_manifests(data_folder, config.data.manifests)
    return {split: found[split] for split in REQUIRED_SPLITS}


def data_sets(config: Config, data_folder: Path) -> dict[str, SpeechDataset]:
    """Training, development and test sets, by split. Raises DataError for data that cannot be trained on or scored."""
    paths = manifests_of(config, data_folder)
    manifests = {split: read_manifest(path) for split, path in paths.items()}
    check_disjoint(manifests)
    texts = (each.text for each in manifests["train"].values())
    tokens = build_tokens(config.data.tokens, texts, **config.data.token_options)
    make = partial(
        SpeechDataset, tokens=tokens, extractor=FeatureExtractor(config.features),
        feature_cache=feature_cache_of(config, data_folder),
    )
    sets = {split: make(list(manifests[split].values())) for split in ("dev", "test")}
    utterances = list(manifests["train"].values())
    sets["train"] = make(utterances, speeds=config.augmentation.speeds, seed=config.training.seed)
    for split, dataset in sets.items():
        require_recordings(dataset, paths[split])
    _refuse_cut_classes(config)
    require_alignable(sets["train"], paths["train"])  # for a class: every utterance has a frame
    for split, dataset in sets.items():
        require_transcripts(dataset, paths[split])
        if config.data.task == CLASSIFICATION:
            require_one_token(dataset, paths[split])
    for split in ("dev", "test"):  # now, not after hours of work; the training set's are read for its statistics anyway
        sets[split].check_recordings()
    return sets


def _refuse_cut_classes(config: Config) -> None:
    """Raise UsageError if utterances that are a class as a whole would be cut."""
    batches = config.batches
    if config.data.task == CLASSIFICATION and batches.length_curriculum and batches.longer_utterances == CUT:
        raise UsageError("longer_utterances=cut", todo="a class has no first words: give longer_utterances=left_out")


def feature_cache_of(config: Config, data_folder: Path) -> FeatureCache | None:
    """The cache of frames that the recipe names, or None. ``auto`` is a folder beside the manifests, for all runs."""
    folder = config.data.feature_cache
    if folder == "none":
        return None
    return FeatureCache(data_folder / "features" if folder == "auto" else folder)


def training_batches(config: Config, train_set: SpeechDataset) -> BucketedBatches:
    """The batches of the training data. Raises UsageError if they are too few for a single training step."""
    options = config.batches
    batches = BucketedBatches(
        train_set, options.batch_frames, config.training.seed, options.batch_utterances, options.length_curriculum,
        options.accumulation, options.longer_utterances,
    )
    if batches.full_epoch < options.accumulation:
        what = f"an epoch has {batches.full_epoch} batches, and no training step takes place"
        raise UsageError(what, f"accumulation={options.accumulation}", "lower it, or batch_frames")
    return batches

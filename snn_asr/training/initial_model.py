"""Starting a training from a trained model: its weights, statistics and normalisation.

The recipe describes the network, as always, and must describe the same one as the model: give the words of the first
training and ``initial_model=RUN_FOLDER``. Settings that matter only in training may differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from snn_asr.data.tokens import Tokens
from snn_asr.errors import UsageError, listed
from snn_asr.events.quantization import grids_of, with_folded_head
from snn_asr.files import sha256
from snn_asr.network.model import AcousticModel, ModelSettings
from snn_asr.network.model_folder import CHECKSUMS, LoadedModel, find_model, load
from snn_asr.training.recipes.keys import NOT_QUANTIZED, TrainingConfig
from snn_asr.training.run_folder.folder import MARK, MODEL, read_mark
from snn_asr.training.run_folder.identity import Identity

ONLY_IN_TRAINING = frozenset(("dropout", "backend"))


def model_fingerprint(path: str, output_folder: Path) -> str:
    """A hexadecimal SHA-256 that stands for the content of a model folder.

    Raises DataError if there is no model, and UsageError if it is the model in the training's own ``output_folder``,
    which the training would replace.
    """
    folder = find_model(path)
    if folder.resolve() == (output_folder / MODEL).resolve():
        what = "lies in the folder of this training, which would replace it"
        raise UsageError(what, f"initial_model: {path}", "choose another --output-folder")
    return sha256(folder / CHECKSUMS)


def model_group(path: str) -> str:
    """The group (run_folder/identity.py) of the run that trained a model; empty if the model lies in no run folder."""
    folder = find_model(path)
    mark = folder.parent / MARK
    if folder.name != MODEL or not mark.is_file():
        return ""
    identity = Identity.from_json(read_mark(folder.parent))
    return identity.group if identity else ""


def load_fitting(training: TrainingConfig, settings: ModelSettings) -> LoadedModel:
    """The trained model that the recipe names, which has the network of ``settings``.

    Raises DataError for a model that cannot be read. Raises UsageError for another network, for a model that is
    quantised already, and for one that is to be quantised although the event engine cannot run its network.
    """
    where = f"initial_model: {training.initial_model}"
    loaded = load(training.initial_model)
    if loaded.model.grids:
        raise UsageError(f"its weights are {loaded.model.precision}", where, "give the float32 model")
    different = list(_differences(loaded.model.settings.to_dict(), settings.to_dict()))
    if different:
        raise UsageError(f"is another network: {listed(different, 8)}", where, "give the keys that it was trained with")
    if training.quantize != NOT_QUANTIZED:
        settings.features.require_streaming()
        grids_of(loaded.model, training.quantize)
    return loaded


def initialized_model(training: TrainingConfig, settings: ModelSettings, tokens: Tokens) -> AcousticModel:
    """The network of ``settings`` with the weights of the trained model that the recipe names.

    If it is to be quantised, normalisation before the head is folded into the head, so that both are rounded together.

    Raises what ``load_fitting`` raises, and UsageError for a model of other tokens.
    """
    loaded = load_fitting(training, settings)
    if loaded.tokens.to_dict() != tokens.to_dict():
        where = f"initial_model: {training.initial_model}"
        raise UsageError("has other tokens than the training data", where, "give its own training data")
    source = loaded.model
    if training.quantize != NOT_QUANTIZED:
        source = with_folded_head(source)
        settings = replace(settings, head_normalization=source.settings.head_normalization)
    model = AcousticModel(settings, source.normalization, tokens.size)
    model.load_state_dict(source.state_dict())
    return model


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    """The settings that differ, such as ``hidden_size 256, not 128``. Settings that only one of them has are
    ignored."""
    for name in found.keys() & wanted.keys() - ONLY_IN_TRAINING:
        before, now = found[name], wanted[name]
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            yield from _differences(before, now)
        elif before != now and not (isinstance(before, (list, tuple)) and list(before) == list(now)):
            yield f"{name} {before}, not {now}"

"""What a training starts from where the recipe names a trained model: its weights, statistics and normalisation.

The recipe says what the network is, as always, and must say the same as the model: the words of the first training and
``initial_model=RUN_FOLDER`` besides. What acts in training alone may differ.
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
from snn_asr.training.keys import NOT_QUANTIZED, TrainingConfig
from snn_asr.training.run_folder import MODEL

ONLY_IN_TRAINING = frozenset(("dropout", "backend"))


def fingerprint(path: str, output_folder: Path) -> str:
    """Hexadecimal SHA-256 that stands for the content of a model folder.

    Raises DataError where there is none, UsageError where it is that of ``output_folder``, the training's run folder: a
    training that begins anew there would remove what it began with.
    """
    folder = find_model(path)
    if folder.resolve() == (output_folder / MODEL).resolve():
        what = "lies in the folder of this training, which would replace it"
        raise UsageError(what, f"initial_model: {path}", "choose another --output-folder")
    return sha256(folder / CHECKSUMS)


def load_fitting(training: TrainingConfig, settings: ModelSettings) -> LoadedModel:
    """The trained model that the recipe names, which is one of the network of ``settings``.

    Raises DataError for a model that cannot be read; UsageError for one of another network, for one that is quantised
    already, and where it is to be quantised for a network that has no engine in whole numbers.
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


def initial_model(training: TrainingConfig, settings: ModelSettings, tokens: Tokens) -> AcousticModel:
    """The network of ``settings`` with the weights of the trained model that the recipe names.

    Where it is to be quantised, normalisation before the head is folded into the head, which is rounded with it.

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
    """Which settings differ, as ``hidden_size 256, not 128``; those that one of the two does not know are left out."""
    for name in found.keys() & wanted.keys() - ONLY_IN_TRAINING:
        before, now = found[name], wanted[name]
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            yield from _differences(before, now)
        elif before != now and not (isinstance(before, (list, tuple)) and list(before) == list(now)):
            yield f"{name} {before}, not {now}"

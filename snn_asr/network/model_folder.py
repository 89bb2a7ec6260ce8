"""A model folder on disk: written as a whole, checked before use, and read without running anything from it.

    config.json  weights.safetensors  normalization.json  tokens.json  metrics.json  recipe.yaml  checksums.json

Loading reads JSON and safetensors only: no YAML, no pickle, no code. ``recipe.yaml`` is for people to read. The size of
the network in config.json is compared with the weights before memory is taken for it (weights_file.py).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from snn_asr import __version__
from snn_asr.data.normalization import Normalization
from snn_asr.data.tokens import Tokens
from snn_asr.errors import DataError, SnnAsrError, UsageError, describing
from snn_asr.files import encoded, json_text, read_json_object, sha256, utf8_path, write_together
from snn_asr.network import shipped_models
from snn_asr.network.model import AcousticModel, ModelSettings
from snn_asr.network.weights_file import CONFIG, FORMATS, WEIGHTS, check_finite, check_shapes, format_of, pack, unpack

CHECKSUMS, NORMALIZATION = "checksums.json", "normalization.json"
TOKENS, METRICS, RECIPE = "tokens.json", "metrics.json", "recipe.yaml"
CHECKED = (CONFIG, WEIGHTS, NORMALIZATION, TOKENS, METRICS, RECIPE)


@dataclass(frozen=True)
class LoadedModel:
    """What a model folder holds: the network in evaluation mode, its tokens, and the measurements of its training.

    ``fingerprint`` is the same for folders with the same content.
    """

    model: AcousticModel
    tokens: Tokens
    metrics: dict[str, Any]
    fingerprint: str


def save_model(
    folder: str | Path, model: AcousticModel, tokens: Tokens, metrics: dict[str, Any], recipe_text: str
) -> None:
    """Write a model folder. The checksums are written last, so that a folder without them is known to be unfinished.

    An earlier model in the folder is replaced when the new one is on the disk. Raises DataError if the folder cannot be
    written, or if it holds files of the same names that are not a model's: they belong to the user and stay.
    """
    folder = Path(folder)
    _refuse_foreign_files(folder)
    packed = pack(model.state_dict(), model.grids)
    config = {"format": format_of(packed), "snn_asr": __version__, "model": model.settings.to_dict()}
    contents = {
        CONFIG: encoded(json_text(config)),
        WEIGHTS: safetensors.torch.save(packed),
        NORMALIZATION: encoded(json_text(model.normalization.to_dict())),
        TOKENS: encoded(json_text(tokens.to_dict())),
        METRICS: encoded(json_text(metrics)),
        RECIPE: encoded(recipe_text),
    }
    sums = {name: hashlib.sha256(contents[name]).hexdigest() for name in CHECKED}
    with describing(folder, "choose a writable folder"):
        folder.mkdir(parents=True, exist_ok=True)
    write_together(folder, {**contents, CHECKSUMS: encoded(json_text(sums))})


def _refuse_foreign_files(folder: Path) -> None:
    """Raise DataError if a file would be overwritten that is not part of a model."""
    present = [name for name in (*CHECKED, CHECKSUMS) if (folder / name).exists()]
    if present and not _is_of_a_model(folder):
        raise DataError(
            "is not of a model, and would be overwritten", folder / present[0], "choose another folder, or move it away"
        )


def _is_of_a_model(folder: Path) -> bool:
    """Whether config.json, which is written first, or checksums.json, which is written last, belongs to a model.

    Then the other files do too, whatever a killed process or damage has left of them.
    """
    for name, keys in ((CONFIG, ("snn_asr", "model")), (CHECKSUMS, CHECKED)):
        try:
            found = read_json_object(folder / name)
        except DataError:
            continue
        if all(key in found for key in keys):
            return True
    return False


def find_model(path: str | Path) -> Path:
    """The model folder that ``path`` stands for: itself, ``model`` in a run folder, or a shipped model of that name.

    A shipped model is found only if there is no file or folder of its name. Raises DataError if there is no model, and
    UsageError for anything that is not a path.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise UsageError("not the name of a folder", repr(path), "give a text or a path")
    for folder in (Path(path), Path(path) / "model"):
        with describing(path):  # it may not be entered, or its name is too long for any
            if (folder / CHECKSUMS).is_file():
                return folder
    shipped = shipped_models.discover()
    todo = f"give the output folder of a finished 'snn-asr train', or a model that comes along ({', '.join(shipped)})"
    if str(path) in shipped:
        if not os.path.lexists(path):
            return shipped[str(path)]
        todo = "for the model of this name that comes along work in another folder, or rename what is here"
    raise DataError("no finished model here", path, todo)


def damage(folder: Path, names: Sequence[str] = CHECKED) -> DataError | None:
    """What the checksums say is wrong with these files of a model folder; None if all are as they were written."""
    try:
        checksums = read_json_object(folder / CHECKSUMS)
        for name in names:
            if checksums.get(name) != sha256(folder / name):
                return DataError("not as training wrote it", folder / name, "copy the model folder again")
    except DataError as error:
        return error
    return None


def load(path: str | Path, device: str | torch.device = "cpu") -> LoadedModel:
    """Load the model that ``path`` stands for (see ``find_model``), in evaluation mode.

    Raises DataError if a file is missing, was changed since it was written or does not fit the others, and if a weight
    is not a finite number.
    """
    folder = find_model(path)
    damaged = damage(folder)
    if damaged is not None:
        raise damaged
    settings = _settings(folder)
    try:
        tokens = Tokens.from_dict(read_json_object(folder / TOKENS))
        normalization = Normalization.from_dict(read_json_object(folder / NORMALIZATION))
        shapes = check_shapes(settings, normalization, tokens.size, folder / WEIGHTS)
        model = AcousticModel(settings, normalization, tokens.size)
        with utf8_path(folder / WEIGHTS) as weights:
            state, model.grids = unpack(safetensors.torch.load_file(weights), shapes)
        model.load_state_dict(state)
        check_finite(model.state_dict(), folder / WEIGHTS)  # as they are now, in float32
    except _MISFITS as error:
        if isinstance(error, DataError) and error.where is not None:
            raise
        raise _misfit(error, folder) from error
    metrics = read_json_object(folder / METRICS)
    return LoadedModel(model.float().to(device).eval(), tokens, metrics, sha256(folder / CHECKSUMS))


def load_tokens(path: str | Path) -> Tokens:
    """The tokens of the model that ``path`` stands for, without its network. Raises DataError as ``load`` does."""
    folder = find_model(path)
    damaged = damage(folder, (TOKENS,))
    if damaged is not None:
        raise damaged
    try:
        return Tokens.from_dict(read_json_object(folder / TOKENS))
    except _MISFITS as error:
        raise _misfit(error, folder / TOKENS) from error


# The errors that values of a wrong type or size raise wherever they are first used.
_MISFITS = (
    AttributeError, IndexError, KeyError, MemoryError, OverflowError, RuntimeError, TypeError, ValueError,
    safetensors.SafetensorError, SnnAsrError,
)


def _misfit(error: BaseException, folder: Path) -> DataError:
    words = (str(error) or type(error).__name__).splitlines()[0]
    return DataError(f"cannot be loaded ({words})", folder, "train it again")


def _settings(folder: Path) -> ModelSettings:
    config = read_json_object(folder / CONFIG)
    if config.get("format") not in FORMATS:
        what = f"model format {config.get('format')!r} is not {', '.join(map(str, FORMATS[:-1]))} or {FORMATS[-1]}"
        raise DataError(what, folder, "use a matching snn-asr")
    try:
        return ModelSettings.from_dict(config["model"])
    except _MISFITS as error:
        raise _misfit(error, folder / CONFIG) from error

"""Quantising a trained model: its matrices in int8 or int4, as the event engine uses them, in a new model folder.

In int4 the head stays int8. The normalisation folded into its weights makes those of seldom active units large. On
development data four bits for them, with a scale for each row or each group of 32 weights, cost several times as many
errors as four bits for all other matrices (docs/devices.md).
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from snn_asr.data.features import FeatureExtractor, FeatureStream
from snn_asr.errors import DataError, UsageError, unknown_name
from snn_asr.events.sources import head_parts, sources_of
from snn_asr.files import read_text
from snn_asr.files.locks import only_writer
from snn_asr.network.integers import INT8, LARGEST, Grid
from snn_asr.network.model import AcousticModel
from snn_asr.network.model_folder import RECIPE, find_model, load, save_model
from snn_asr.network.weights_file import WEIGHTS


def quantize_folder(source: str | Path, output: str | Path, precision: str = INT8) -> tuple[int, int]:
    """Write the model at ``source`` with int8 or int4 weights to ``output``, and return the sizes of both weights
    files.

    The metrics stay those of the original model, whose fingerprint is added (``quantized_from``).

    Raises DataError if there is no model or ``output`` cannot be written. Raises UsageError for an unknown precision,
    for a model that is quantised already or that the event engine cannot run, and if ``output`` holds a model or
    another process is writing one there.
    """
    if precision not in LARGEST:
        raise unknown_name("precision", precision, LARGEST)
    folder, output = find_model(source), Path(output)
    with only_writer(output, "quantization"):
        _check_free(output)
        return _quantize(folder, output, precision)


def _quantize(folder: Path, output: Path, precision: str) -> tuple[int, int]:
    loaded = load(folder)
    if loaded.model.grids:
        todo = "copy the folder" if precision == loaded.model.precision else "quantise the float32 model"
        raise UsageError(f"its weights are {loaded.model.precision} already", folder, todo)
    try:
        FeatureStream(FeatureExtractor(loaded.model.settings.features))
        model = quantized(loaded.model, precision)
    except UsageError as error:
        raise UsageError(f"has no {precision} engine ({error.what})", folder, "keep it in float32") from error
    metrics = {**loaded.metrics, "quantized_from": loaded.fingerprint}
    save_model(output, model, loaded.tokens, metrics, read_text(folder / RECIPE))
    return (folder / WEIGHTS).stat().st_size, (output / WEIGHTS).stat().st_size


def grids_of(model: AcousticModel, precision: str) -> dict[str, Grid]:
    """The grids, by name, that the event engine rounds the matrices of a model to.

    There are none for float32, and a quantised model keeps its own. Raises UsageError for a bidirectional encoder,
    which the engine cannot run, and for a quantised model of another precision.
    """
    if precision not in LARGEST:
        return {}
    if model.grids and precision != model.precision:
        raise UsageError(f"its weights are {model.precision} already", f"--precision {precision}", "leave it out")
    return model.grids or {
        name: Grid.of(weight, INT8 if name == "head.weight" else precision)
        for name, weight in _matrices(model).items()
    }


def _matrices(model: AcousticModel) -> dict[str, Tensor]:
    """The matrices that the event engine multiplies by: those of the layers, and the head's with its normalisation."""
    return {name: each.weight for source in sources_of(model) for name, each in source.matrices.items()}


@torch.no_grad()
def quantized(model: AcousticModel, precision: str = INT8) -> AcousticModel:
    """A copy of the model in evaluation mode whose matrices are whole numbers times the scales of its ``grids``.

    Normalisation before the head is folded into the head's weights, because the event engine rounds them together.
    Biases, normalisation, values of single neurons and the convolutions of a front end stay float32.

    Raises what ``grids_of`` raises.
    """
    grids, weights = grids_of(model, precision), _matrices(model)
    copy = with_folded_head(model)
    state = copy.state_dict()
    copy.load_state_dict(state | {name: grid.nearest(weights[name]) for name, grid in grids.items()})
    copy.grids = grids
    return copy.eval()


@torch.no_grad()
def with_folded_head(model: AcousticModel) -> AcousticModel:
    """A copy of the model in evaluation mode whose head includes the normalisation of its inputs, if there was one."""
    settings, state = model.settings, model.state_dict()
    if settings.head_normalization == "input":
        weight, _, offset = head_parts(model)
        settings = replace(settings, head_normalization="none")
        state = {name: each for name, each in state.items() if not name.startswith("head_normalization.")}
        state |= {"head.weight": weight, "head.bias": offset}
    copy = AcousticModel(settings, model.normalization, model.head.out_features)
    copy.load_state_dict(state)
    return copy.eval()


def _check_free(output: Path) -> None:
    if not os.path.lexists(output):
        return
    try:
        found = find_model(output)
    except DataError:
        return
    raise UsageError("has a model already", found, "choose another folder, or remove it")

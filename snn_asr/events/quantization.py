"""A trained model with its matrices in int8, as the event engine multiplies by them, in a folder of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from snn_asr.data.features import FeatureExtractor, FeatureStream
from snn_asr.errors import DataError, UsageError
from snn_asr.events.parts import causal_layers, head_parts, weight_names
from snn_asr.network.model import AcousticModel
from snn_asr.network.model_folder import WEIGHTS, find_model, load, restored, rounded, row_scales, save_model


def quantize_folder(source: str | Path, output: str | Path) -> tuple[int, int]:
    """Write the model at ``source`` with int8 weights to ``output``; bytes of the weights' file before and after.

    The metrics stay those of the model as it was, with its fingerprint (``quantized_from``).

    Raises DataError where there is no model or ``output`` cannot be written; UsageError for a model that the int8
    engine cannot run or that is int8 already, and where ``output`` has a model.
    """
    folder, output = find_model(source), Path(output)
    _check_free(output)
    loaded = load(folder)
    if loaded.model.scales:
        raise UsageError("its weights are int8 already", folder, "copy the folder")
    try:
        FeatureStream(FeatureExtractor(loaded.model.settings.features))
        model = quantized(loaded.model)
    except UsageError as error:
        raise UsageError(f"has no int8 engine ({error.what})", folder, "keep it in float32") from error
    metrics = {**loaded.metrics, "quantized_from": loaded.fingerprint}
    save_model(output, model, loaded.tokens, metrics, (folder / "recipe.yaml").read_text(encoding="utf-8"))
    return (folder / WEIGHTS).stat().st_size, (output / WEIGHTS).stat().st_size


@torch.no_grad()
def quantized(model: AcousticModel) -> AcousticModel:
    """A copy in evaluation mode whose matrices are whole numbers times the copy's ``scales``.

    Normalisation before the head is folded into the head's weights, for these are what the event engine rounds. All
    else stays float32: biases, normalisation, what each neuron has for itself, a front end's convolutions.

    Raises UsageError for a bidirectional encoder, which the event engine cannot run.
    """
    parts, (head, _, offset) = [each.parts() for each in causal_layers(model.encoder)], head_parts(model)
    state, settings = model.state_dict(), model.settings
    if settings.head_normalization == "input":
        settings = replace(settings, head_normalization="none")
        state = {name: each for name, each in state.items() if not name.startswith("head_normalization.")}
        state["head.bias"] = offset
    copy = AcousticModel(settings, model.normalization, model.head.out_features)
    matrices = [each for part in parts for each in (part.weight, part.back) if each is not None]
    names = [name for names in weight_names(model) for name in names]
    for name, weight in zip(names, [*matrices, head], strict=True):
        copy.scales[name] = scales = row_scales(weight)
        state[name] = restored(rounded(weight, scales), scales)
    copy.load_state_dict(state)
    return copy.eval()


def _check_free(output: Path) -> None:
    try:
        found = find_model(output)
    except DataError:
        return
    raise UsageError("has a model already", found, "choose another folder, or remove it")

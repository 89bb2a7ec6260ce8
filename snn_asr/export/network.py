"""What every export format needs of a trained network: that it runs frame by frame, and its sources."""

from __future__ import annotations

from snn_asr.errors import UsageError
from snn_asr.events.quantization import grids_of
from snn_asr.events.sources import Source, layers_of, sources_of
from snn_asr.network.coder import Coder
from snn_asr.network.input_coding import FeatureCoder, HeldFeatures
from snn_asr.network.integers import FLOAT32
from snn_asr.network.model import AcousticModel


def exportable_sources(
    model: AcousticModel, cells: frozenset[str], target: str, precision: str = FLOAT32, powers: bool = False
) -> list[Source]:
    """The sources of a model (events/sources.py), with weights in float32, int8 or int4.

    A quantised model keeps its whole numbers; another one is rounded here as by the event engine. Raises UsageError,
    naming the reason, for a model that ``target`` cannot run: one that needs whole utterances, with a front end, a
    random input coding, a cell that is not among ``cells``, or levels that are powers of two, unless ``target`` has
    shifts (``powers``). Raises what ``quantization.grids_of`` raises as well.
    """
    if model.front_end is not None:
        raise UsageError(f"{target} export has no convolutional front end", "front_end", "train a model without it")
    model.settings.features.require_streaming()
    coder = model.encoder.input_coder
    if coder is not None and not isinstance(coder, FeatureCoder | HeldFeatures):
        what = f"{target} export has no input coding {model.encoder.options['input_coding']}"
        raise UsageError(what, "input_coding", "train with input_coding=coder, delta or none")
    sources = sources_of(model)
    shifts = any(each.values.shifts for each in sources) or any(each.shifting for each in layers_of(sources))
    if shifts and not powers:
        what = f"{target} export has no levels and gates that are powers of two"
        raise UsageError(what, "levels", "train with levels=linear and gate_levels=smooth")
    for each in layers_of(sources):
        if each.cell not in cells:
            what = f"{target} export has no {each.cell} cell"
            todo = f"cells that it has: {', '.join(sorted(cells))}"
            raise UsageError(what, f"encoder {model.settings.encoder}", todo)
    return sources_of(model, grids_of(model, precision))


def input_coder_of(model: AcousticModel) -> Coder | None:
    """The coder on the features, if there is one."""
    coder = model.encoder.input_coder
    return Coder.at(coder.tracker.settings, coder.tracker.value()) if isinstance(coder, FeatureCoder) else None

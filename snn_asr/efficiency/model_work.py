"""What the work of a given model depends on: the shape of its network, and the operations of its features."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.features import DELTA_WINDOW_FRAMES
from snn_asr.data.spectra import Spectra
from snn_asr.efficiency.work import MatrixShape, NetworkShape, SourceShape, bits_of
from snn_asr.events.quantization import grids_of
from snn_asr.events.sources import Source, causal_layers, layers_of, sources_of
from snn_asr.network.model import AcousticModel
from snn_asr.network.states import change_tensors


def network_shape(model: AcousticModel, precision: str) -> NetworkShape:
    """Return the shape of a model in evaluation mode, with weights in float32, int8 or int4.

    Raises UsageError as ``quantization.grids_of`` does.
    """
    encoder, layers = model.encoder, causal_layers(model.encoder)
    coder: Any = encoder.input_coder
    found = sources_of(model, grids_of(model, precision))
    matrices = [_matrices(each, precision, each is found[-1]) for each in found]
    sources = [SourceShape(matrices[0][0].units, matrices[0])]
    if coder is not None:
        sources = [replace(sources[0], listed=True, additive=coder.additive)]
    for layer, own in zip(layers, matrices[1:], strict=True):
        listed = layer.sends_events or layer.sends_changes
        sources.append(SourceShape(layer.output_size, own, listed, layer.binary, layer.additive))
    behind = sum(each.outputs for each in sources[1:])  # the sums that integrators integrate
    unit_operations = sum(each.unit_products * each.output_size for each in layers)
    unit_operations += behind if encoder.integration_multiplies else 0
    unit_operations += 0 if coder is None else coder.unit_products * sources[0].units
    states = _state_numbers(model, sources[0].units) + (behind if encoder.smoothed else 0)
    states += sum(shape.outputs for shape, each in zip(sources, found, strict=True) if each.values.change is not None)
    neurons = sum(values.numel() for each in layers_of(found) for values in each.neurons.values())
    return NetworkShape(precision, tuple(sources), unit_operations, states, neurons)


def _matrices(source: Source, precision: str, last: bool) -> tuple[MatrixShape, ...]:
    """Return the shapes of the matrices of one source; the ``last`` source feeds the head."""
    shapes = []
    for place, each in enumerate(source.matrices.values()):
        outputs, units = each.weight.shape
        nonzero, bits = int(torch.count_nonzero(each.numbers)), bits_of(precision, last and place == 0)
        shapes.append(MatrixShape(outputs, units, bits, nonzero))
    return tuple(shapes)


@torch.no_grad()
def _state_numbers(model: AcousticModel, inputs: int) -> int:
    """Return how many numbers the input coding and the layers remember from frame to frame.

    The sums that integrators and receivers of changes remember are counted by the caller.
    """
    coded, *states = model.encoder(torch.zeros(1, 1, inputs), torch.tensor([1]))[1]
    sizes: list[int] = []

    def measure(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    change_tensors([coded, *(own for own, _ in states)], measure)
    return sum(sizes)


def feature_operations(settings: FeatureSettings) -> tuple[float, float]:
    """Return the multiplications and additions for a second of features.

    Counted are mean, pre-emphasis, window, a real Fourier transform by a complex radix-2 one of half its size, power,
    mel bands, cosines, deltas and normalisation. Logarithms are not counted.
    """
    spectra = Spectra(settings)
    window, half, bands = settings.window_samples, spectra.fft_size // 2, int((spectra.filters != 0).sum())
    butterflies = half // 2 * int(math.log2(half)) + half // 2  # and as many as take the spectra of two halves apart
    cosines = 0 if spectra.cosines is None else spectra.cosines.size
    rest = bands + cosines + (2 * DELTA_WINDOW_FRAMES * settings.base_size if settings.deltas else 0) + settings.size
    multiplications = 2 * window + 4 * butterflies + 2 * half + rest
    additions = 3 * window + 6 * butterflies + half + rest
    frames = settings.sample_rate / settings.hop_samples
    return frames * multiplications, frames * additions

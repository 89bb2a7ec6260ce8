"""What the work of a model depends on: the shape of its network, and the operations of its features."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.features import DELTA_WINDOW_FRAMES
from snn_asr.data.spectra import Spectra
from snn_asr.efficiency.work import MatrixShape, NetworkShape, SourceShape, bits_of
from snn_asr.events.parts import causal_layers, source_matrices
from snn_asr.events.quantization import grids_of
from snn_asr.network.model import AcousticModel
from snn_asr.network.states import change_tensors


def network_shape(model: AcousticModel, precision: str) -> NetworkShape:
    """The shape of a model in evaluation, with weights in float32, int8 or int4.

    Raises UsageError as ``quantization.grids_of``.
    """
    encoder, layers = model.encoder, causal_layers(model.encoder)
    coder: Any = encoder.input_coder
    senders: list[Any] = [coder, *layers]
    grids, sources = grids_of(model, precision), []
    for index, (sender, own) in enumerate(zip(senders, source_matrices(model), strict=True)):
        matrices = []
        for place, (name, weight) in enumerate(own.items()):
            stored = grids[name].rounded(weight) if name in grids else weight
            bits = bits_of(precision, index == len(layers) and place == 0)
            matrices.append(MatrixShape(weight.shape[0], weight.shape[1], bits, int(torch.count_nonzero(stored))))
        listed = sender is not None and (index == 0 or sender.sends_events or sender.sends_changes)
        binary = index > 0 and sender.binary
        additive = sender is not None and sender.additive
        sources.append(SourceShape(matrices[0].units, tuple(matrices), listed, binary, additive))
    behind = sum(each.outputs for each in sources[1:])  # the sums that integrators integrate
    unit_operations = sum(each.unit_products * each.output_size for each in layers)
    unit_operations += behind if encoder.integration_multiplies else 0
    unit_operations += 0 if coder is None else coder.unit_products * sources[0].units
    changing = (each.outputs for each, sender in zip(sources, senders, strict=True) if sender and sender.sends_changes)
    states = _state_numbers(model, sources[0].units) + sum(changing) + (behind if encoder.smoothed else 0)
    neurons = sum(each.numel() for layer in layers for each in layer.parts().neurons)
    return NetworkShape(precision, tuple(sources), unit_operations, states, neurons)


@torch.no_grad()
def _state_numbers(model: AcousticModel, inputs: int) -> int:
    """Those that input coding and layers remember; integrators, and who receives changes, remember sums besides."""
    coded, *states = model.encoder(torch.zeros(1, 1, inputs), torch.tensor([1]))[1]
    sizes: list[int] = []

    def measure(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    change_tensors([coded, *(own for own, _ in states)], measure)
    return sum(sizes)


def feature_operations(settings: FeatureSettings) -> tuple[float, float]:
    """Multiplications and additions for a second of features: mean, pre-emphasis, window, a real Fourier transform by
    one of half its size in radix 2, power, mel bands, cosines, deltas, normalisation. Logarithms are not counted."""
    spectra = Spectra(settings)
    window, half, bands = settings.window_samples, spectra.fft_size // 2, int((spectra.filters != 0).sum())
    butterflies = half // 2 * int(math.log2(half)) + half // 2  # and as many as take the spectra of two halves apart
    cosines = 0 if spectra.cosines is None else spectra.cosines.size
    rest = bands + cosines + (2 * DELTA_WINDOW_FRAMES * settings.base_size if settings.deltas else 0) + settings.size
    multiplications = 2 * window + 4 * butterflies + 2 * half + rest
    additions = 3 * window + 6 * butterflies + half + rest
    frames = settings.sample_rate / settings.hop_samples
    return frames * multiplications, frames * additions

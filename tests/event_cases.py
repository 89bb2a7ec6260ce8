"""Acoustic models for the event engine: trained a little, or with all numbers on a dyadic grid."""

from __future__ import annotations

import torch

from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.normalization import Normalization
from snn_asr.network.model import AcousticModel, ModelSettings

FEATURES, CLASSES = 8, 5
# Every causal spiking encoder, with the options that lead to code of its own.
SPIKING = {
    "lif": {"bits": 4, "threshold": 1},
    "improved_v1": {"candidate": "relu"},
    "improved_v2": {"candidate": "clamp"},
    "improved_v2 relu": {"candidate": "relu", "recurrent_smoothing": 0.5},
    "improved_v2 binary": {"bits": 2, "threshold": 0},
    "improved_v2 powers": {"levels": "powers_of_two"},
    "improved_v1 shifts": {"levels": "powers_of_two", "gate_levels": "powers_of_two", "bits": 8, "threshold": 7},
    "lif powers": {"levels": "powers_of_two"},
    "spiking_lstm": {},
    "spiking_lstm kept": {"cell": "kept", "normalize": False},
    "adaptive_lif": {},
    "adlif": {},
    "rlif": {},
    "radlif": {},
    "hard_rlif": {},
    "hard_rlif alone": {"recurrent": False},
}

# Every causal encoder that sends values which are no events.
DENSE = ("gru", "lstm", "ligru", "bn_gru", "bn_lstm")


def build(case: str, size: int = 12, layers: int = 2, head: str = "none", **options) -> AcousticModel:
    """The model of a case of SPIKING, or of an encoder's plain name, in evaluation mode."""
    features, options = FeatureSettings(mels=FEATURES, stack=1), {**SPIKING.get(case, {}), **options}
    settings = ModelSettings(features, case.split()[0], size, layers, options, head)
    return AcousticModel(settings, Normalization(torch.zeros(FEATURES), torch.ones(FEATURES)), CLASSES).eval()


def trained(case: str, **options) -> AcousticModel:
    """With statistics and ranges from three batches."""
    torch.manual_seed(0)
    model = build(case, **options).train()
    for _ in range(3):
        model(2 * torch.randn(4, 12, FEATURES), torch.tensor([12, 12, 7, 3]), normalized=True)
    return model.eval()


def dyadic(case: str, seed: int, **options) -> AcousticModel:
    """All products exact: weights, normalisation and levels are multiples of powers of two, gates 0, 1/2 or 1."""
    torch.manual_seed(seed)
    if not case.startswith(("spiking_lstm", "adaptive", "adlif", "rlif", "radlif", "hard_rlif")):
        bits = SPIKING[case].get("bits", 6)
        unit = 1.0 if bits == 2 else 0.125
        # The coder's scale is 2^(bits - 1) (1 - 1e-4) / range, or without that factor: with this range a power of two.
        share = 1.0 if "levels" in SPIKING[case] else 1 - 1e-4
        options |= {"range": "fixed", "fixed_range": 2 ** (bits - 1) * share * unit}
    model = build(case, **options)
    gain = 0.5 if case.startswith(("improved", "lif", "spiking_lstm")) else 8.0  # a leak takes much of the drive
    for layer in model.encoder.layers:
        _on_grid(layer, case.startswith("improved"), gain)
    return model


@torch.no_grad()
def _on_grid(layer: torch.nn.Module, gated: bool, gain: float) -> None:
    size = layer.output_size
    for weight in layer.core_weights():
        weight.copy_(torch.randint(-8, 9, weight.shape) / 16.0)
    norm = layer.normalization
    if norm is None:
        layer.bias.copy_(torch.randint(-8, 9, layer.bias.shape) / 16.0)
    else:
        norm.eps = 2.0**-10
        norm.running_var.fill_(1 - norm.eps)  # their sum is 1
        norm.running_mean.copy_(torch.randint(-8, 9, norm.running_mean.shape) / 16.0)
        norm.weight.copy_(torch.randint(1, 5, norm.weight.shape) * gain)
        norm.bias.copy_(torch.randint(-8, 17, norm.bias.shape) / 16.0)
    if gated:
        norm.weight[:size] = 0
        norm.bias[:size] = torch.randint(-1, 2, (size,)) * 256.0
        if layer.recurrent_weight is not None:
            layer.recurrent_weight[:size] = 0

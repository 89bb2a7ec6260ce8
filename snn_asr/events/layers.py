"""What the event engine needs of each kind of layer, of the head and of the input coding, as tensors and numbers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from snn_asr.errors import UsageError
from snn_asr.events.kernels import stack
from snn_asr.network.coder import Coder
from snn_asr.network.encoders import Bidirectional, Encoder
from snn_asr.network.input_coding import FeatureCoder
from snn_asr.network.layers.coded import CodedLayer, ConventionalLayer, GatedLayer
from snn_asr.network.layers.gru_lstm import GruLstmLayer
from snn_asr.network.layers.leaky_integrate_and_fire import LeakyIntegrateAndFireLayer
from snn_asr.network.layers.spiking_lstm import SpikingLstmLayer
from snn_asr.network.model import AcousticModel


@dataclass(frozen=True)
class LayerParts:
    """One layer: the cell and its flag (stack.py), W (G H, D), U (G H, H) or None, scale and offset (G H,) behind W x,
    what each neuron has for itself (H,), the cell's own numbers, the coefficient of the integrator on the recurrent
    product, and the unit of what is sent, 0 where that is no multiple of one."""

    cell: int
    flag: bool
    weight: Tensor
    back: Tensor | None
    scale: Tensor
    offset: Tensor
    neurons: tuple[Tensor, ...] = ()
    own: tuple[float, ...] = ()
    feedback: float = 0.0
    unit: float = 0.0

    def numbers(self, smoothing: float) -> list[float]:
        """A row of the stack's ``numbers``; ``smoothing`` is the coefficient of the integrator behind the layer."""
        return [*self.own, *[0.0] * (stack.FEEDBACK - len(self.own)), self.feedback, smoothing, self.unit]


def weight_names(model: AcousticModel) -> list[tuple[str, ...]]:
    """Names in the state dict of W and, where it has one, U of every layer, and of the head's weights at the end."""
    names = {id(each): name for name, each in model.named_parameters()}
    matrices = [*(each.core_weights() for each in causal_layers(model.encoder)), [model.head.weight]]
    return [tuple(names[id(each)] for each in own) for own in matrices]


def causal_layers(encoder: Encoder) -> list[nn.Module]:
    """Raises UsageError for a bidirectional encoder."""
    if any(isinstance(each, Bidirectional) for each in encoder.layers):
        raise UsageError(
            "a bidirectional encoder needs whole utterances", "encoder", "decode files with --engine batch, or train "
            "with bidirectional=false",
        )
    return list(encoder.layers)


def layer_parts(layer: nn.Module) -> LayerParts:
    """Raises UsageError for a layer of a kind that is not known here."""
    if isinstance(layer, GruLstmLayer):
        return _torch_parts(layer.recurrence)
    scale, offset = _normalization(layer.normalization)
    if layer.normalization is None:
        scale, offset = torch.ones_like(layer.bias), layer.bias
    shared = {"weight": layer.input_weight, "back": layer.recurrent_weight, "scale": scale, "offset": offset}
    if isinstance(layer, CodedLayer):
        tracker = layer.tracker
        coder = None if tracker is None else Coder.at(tracker.settings, tracker.value())
        shared["own"] = () if coder is None else (coder.range, coder.scale, coder.unit, coder.threshold)
        shared["unit"] = 0.0 if coder is None else coder.unit
    if isinstance(layer, GatedLayer):
        return LayerParts(stack.IMPROVED, layer.candidate == "clamp", feedback=layer.recurrent_smoothing, **shared)
    if isinstance(layer, ConventionalLayer):
        return LayerParts(stack.LIF, False, neurons=(layer.decay,), **shared)
    if isinstance(layer, LeakyIntegrateAndFireLayer):
        given = layer.clamped()
        neurons = tuple(each for each in given[:4] if each is not None)
        shared["back"] = given.recurrent
        return LayerParts(stack.ADAPTIVE_LIF, given.coupling is not None, neurons=neurons, unit=1.0, **shared)
    if isinstance(layer, SpikingLstmLayer):
        given = layer.parameters_with(None)
        return LayerParts(stack.SPIKING_LSTM, given.cell == "kept", own=(given.threshold,), unit=1.0, **shared)
    raise UsageError(f"no event-driven form of {type(layer).__name__}", "encoder", "decode files with --engine batch")


def _torch_parts(recurrence: nn.RNNBase) -> LayerParts:
    back, bias, back_bias = recurrence.weight_hh_l0, recurrence.bias_ih_l0, recurrence.bias_hh_l0
    ones = torch.ones_like(bias)
    if isinstance(recurrence, nn.LSTM):
        return LayerParts(stack.LSTM, False, recurrence.weight_ih_l0, back, ones, bias + back_bias)
    inside = back_bias[-recurrence.hidden_size :]
    outside = torch.cat([back_bias[: -recurrence.hidden_size], torch.zeros_like(inside)])
    return LayerParts(stack.GRU, False, recurrence.weight_ih_l0, back, ones, bias + outside, neurons=(inside,))


def _normalization(norm: nn.BatchNorm1d | None) -> tuple[Tensor | None, Tensor | None]:
    """Frozen statistics as scale and offset."""
    if norm is None:
        return None, None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return scale, norm.bias - norm.running_mean * scale


def head_parts(model: AcousticModel) -> tuple[Tensor, Tensor, Tensor]:
    """Weights (N, H), scale and offset (N,) of the head with its normalisation."""
    weight, bias = model.head.weight, model.head.bias
    scale, offset = _normalization(model.head_normalization)
    if scale is None:
        return weight, torch.ones_like(bias), bias
    if model.settings.head_normalization == "input":
        return weight * scale, torch.ones_like(bias), bias + weight @ offset
    return weight, scale, bias * scale + offset


def input_unit(encoder: Encoder) -> float:
    """Features that are events are multiples of this; 0: they are not."""
    coder = encoder.input_coder
    if coder is None:
        return 0.0
    if isinstance(coder, FeatureCoder):
        return Coder.at(coder.tracker.settings, coder.tracker.value()).unit
    return 1.0

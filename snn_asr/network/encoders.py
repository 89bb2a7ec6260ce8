"""Encoders: stacks of recurrent layers with one interface, and the registry of their names.

    encoder = build("improved_v2", input_size=120, hidden_size=256, num_layers=2, candidate="clamp")
    y, state = encoder(x, lengths, state)

x is (B, T, D) float, lengths (B,) counts frames, and y is (B, T, H), zero beyond the lengths. Padding never changes a
result. The state starts at zero (None) and is returned: chunks, each fed with the state after the one before, give what
the whole gives (in one direction). In evaluation nothing is random.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from snn_asr.errors import UsageError, unknown_name
from snn_asr.network import input_coding as coding
from snn_asr.network.cells import bn_gru, bn_lstm, hard_reset
from snn_asr.network.coder_settings import FIXED, CoderSettings
from snn_asr.network.integrator import LeakyIntegrator
from snn_asr.network.layers.base import Layer
from snn_asr.network.layers.conventional import ConventionalLayer
from snn_asr.network.layers.declared import layer_of
from snn_asr.network.layers.delta_gru import DeltaGruLayer
from snn_asr.network.layers.gated import GatedLayer
from snn_asr.network.layers.gru_lstm import GruLstmLayer
from snn_asr.network.layers.leaky_integrate_and_fire import LeakyIntegrateAndFireLayer
from snn_asr.network.layers.spiking_lstm import SpikingLstmLayer
from snn_asr.network.lengths import Lengths
from snn_asr.network.ranges import RangeTracker, read_together

# For each name the factory of its layers, called with (input_size, hidden_size, **options).
ENCODERS: dict[str, Callable[..., Layer]] = {
    "lif": ConventionalLayer,
    "improved_v1": partial(GatedLayer, recurrent=False),
    "improved_v2": partial(GatedLayer, recurrent=True),
    "ligru": partial(GatedLayer, recurrent=True, coder=False),
    "spiking_lstm": SpikingLstmLayer,
    "adaptive_lif": LeakyIntegrateAndFireLayer,
    "adlif": partial(LeakyIntegrateAndFireLayer, adaptive=True, recurrent=False),
    "rlif": partial(LeakyIntegrateAndFireLayer, adaptive=False, recurrent=True),
    "radlif": partial(LeakyIntegrateAndFireLayer, adaptive=True, recurrent=True),
    "hard_rlif": layer_of(hard_reset),
    "delta_gru": DeltaGruLayer,
    "bn_gru": layer_of(bn_gru),
    "bn_lstm": layer_of(bn_lstm),
    "gru": partial(GruLstmLayer, nn.GRU),
    "lstm": partial(GruLstmLayer, nn.LSTM),
}


class Encoder(nn.Module):
    """Layers that run one after another; ``layers[i]`` maps (x, lengths, state) to (y, state).

    ``input_coder`` turns the features into events (input_coding.py), or is None. ``integrators[i]`` is the leaky
    integrator behind layer i (integrator.py).
    """

    layers: Any  # nn.ModuleList of Layer, or of Bidirectional, which type checkers take for any modules
    integrators: Any  # nn.ModuleList of LeakyIntegrator

    def __init__(
        self, name: str, layers: Sequence[Layer | Bidirectional], options: dict[str, Any],
        input_coder: nn.Module | None, integrators: list[LeakyIntegrator],
    ) -> None:
        super().__init__()
        self.name, self.options, self.input_coder = name, options, input_coder
        self.layers, self.integrators = nn.ModuleList(layers), nn.ModuleList(integrators)
        self.output_size: int = layers[-1].output_size

    @property
    def integration_multiplies(self) -> bool:
        """Whether the leaky integrators behind the layers need multiplications."""
        return any(each.multiplies for each in self.integrators)

    @property
    def smoothed(self) -> bool:
        """Whether there are leaky integrators behind the layers."""
        return bool(self.options["smoothing"])

    @property
    def one_way_layers(self) -> list[Layer]:
        """The layers from the first to the last; a bidirectional one counts as the two of its directions."""
        return [each for layer in self.layers for each in directions(layer)]

    def forward(self, x: Tensor, lengths: Tensor | Lengths, state: list | None = None) -> tuple[Tensor, list]:
        """Encode a batch (see the module). Raises ValueError for lengths of the wrong shape or beyond the frames."""
        if isinstance(lengths, Tensor) and lengths.dtype.is_floating_point or len(lengths) != len(x):
            raise ValueError("lengths must be one integer frame count for each row")
        lengths = Lengths.of(lengths, x)
        lengths.check()
        coded, *states = state if state is not None else [None] + [(None, None)] * len(self.layers)
        if x.shape[1] == 0:
            return x.new_zeros(x.shape[0], 0, self.output_size), [coded, *states]
        self.read_ranges()
        if self.input_coder is not None:
            x, coded = self.input_coder(x, lengths, coded)
        after = []
        for layer, integrator, (before, integrated) in zip(self.layers, self.integrators, states, strict=True):
            x, new = layer(x, lengths, before)
            x, integrated = integrator(x, lengths, integrated)
            after.append((new, integrated))
        return x, [coded, *after]

    def read_ranges(self) -> None:
        """Read the ranges of all layers that follow their membranes, waiting for the device once at most."""
        trackers: list[RangeTracker | None] = [each.tracker for each in self.one_way_layers]
        trackers.append(getattr(self.input_coder, "tracker", None))
        read_together(each for each in trackers if each is not None and each.settings.follows_membranes)

    def use_backend(self, name: str) -> None:
        """Run the layers, the input coder and the integrators on the backend of that name."""
        coder = [self.input_coder] if hasattr(self.input_coder, "backend") else []
        for each in (*self.one_way_layers, *self.integrators, *coder):
            each.backend = name

    def core_parameters(self) -> int:
        """The number of input, recurrent and inter-layer weights, without head, biases and normalisation."""
        return sum(weight.numel() for layer in self.layers for weight in layer.core_weights())


class Bidirectional(nn.Module):
    """Two layers side by side, with weights of their own; the second one goes through the valid frames backwards."""

    directions: Any  # nn.ModuleList of two Layers

    def __init__(self, make: Callable[[], Layer]) -> None:
        super().__init__()
        both = [make(), make()]
        self.directions = nn.ModuleList(both)
        self.output_size = sum(each.output_size for each in both)

    def core_weights(self) -> list[Tensor]:
        return [weight for each in self.directions for weight in each.core_weights()]

    def forward(self, x: Tensor, lengths: Tensor | Lengths, state: tuple | None) -> tuple[Tensor, tuple]:
        if state is not None:
            raise ValueError("a bidirectional encoder needs the whole utterance and takes no state")
        lengths = Lengths.of(lengths, x)
        onward, backward = self.directions
        first, state_first = onward(x, lengths, None)
        second, state_second = backward(lengths.reversed(x), lengths, None)
        return torch.cat([first, lengths.reversed(second)], dim=-1), (state_first, state_second)


def directions(layer: Layer | Bidirectional) -> list[Layer]:
    """The one-directional layers of a layer of the stack: itself, or the two of a bidirectional one."""
    return list(layer.directions) if isinstance(layer, Bidirectional) else [layer]


def option_names(name: str) -> set[str]:
    """The options that ``build`` accepts for an encoder, besides its sizes."""
    factory = find(name)
    taken = factory.keywords if isinstance(factory, partial) else {}
    parameters = inspect.signature(factory).parameters
    options = {each for each in parameters if each not in taken} - {"input_size", "hidden_size"}
    return options | SHARED_OPTIONS


def find(name: str) -> Callable[..., Layer]:
    """The registered factory. Raises UsageError with the nearest name."""
    if name not in ENCODERS:
        raise unknown_name("encoder", name, ENCODERS)
    return ENCODERS[name]


def build(
    name: str, input_size: int, hidden_size: int, num_layers: int, *, bidirectional: bool = False,
    smoothing: float = 0.0, learn_smoothing: bool = False, input_coding: str = "none",
    input_bits: int | None = None, input_threshold: int | None = None, input_range: str | None = None,
    input_levels: str | None = None, input_delta_threshold: float = 0.1, **options: Any,
) -> Encoder:
    """An encoder by name: ``num_layers`` layers of ``hidden_size`` units, the first on ``input_size`` features.

    If it is ``bidirectional``, it has as many units in each direction. Every encoder has ``smoothing`` and
    ``learn_smoothing`` (integrator.py), and ``input_coding`` (input_coding.py) with the options of a coding:
    ``input_bits``, ``input_threshold``, ``input_range`` and ``input_levels`` of "coder", each by default that of the
    layers (except a fixed range, because features have a range of their own), and ``input_delta_threshold`` of "delta".
    ``options`` are the options of the layers.
    Raises UsageError for an unknown name or option, and for an impossible size.
    """
    factory = find(name)
    for option in options:
        if option not in option_names(name):
            raise unknown_name(f"option of encoder {name}", option, option_names(name))
    for label, size in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
        if not isinstance(size, Integral) or size < 1:
            raise UsageError(f"{label}={size!r} must be a whole number from 1", name)
    layers: list[Layer | Bidirectional] = []
    for _ in range(num_layers):
        size = layers[-1].output_size if layers else input_size
        make = partial(factory, size, hidden_size, **options)
        layers.append(Bidirectional(make) if bidirectional else make())
    input_settings = _input_settings(
        name, options, bits=input_bits, threshold=input_threshold, range=input_range, levels=input_levels
    )
    input_coder = coding.build(input_coding, input_settings, input_delta_threshold)
    backend = options.get("backend", "auto")
    integrators = [LeakyIntegrator(smoothing, learn_smoothing, backend) for _ in layers]
    given = {
        "bidirectional": bidirectional, "smoothing": smoothing, "learn_smoothing": learn_smoothing,
        "input_coding": input_coding, "input_bits": input_bits, "input_threshold": input_threshold,
        "input_range": input_range, "input_levels": input_levels, "input_delta_threshold": input_delta_threshold,
        **options,
    }
    return Encoder(name, layers, given, input_coder, integrators)


def _input_settings(name: str, layers: dict[str, Any], **given: Any) -> CoderSettings:
    """The settings of the coder on features: as given, else as the layers have them (but no fixed range), else
    defaults."""
    coded = "bits" in option_names(name)  # others may have a threshold of another kind
    inherited = {key: layers[key] for key in given if coded and key in layers and layers[key] != FIXED}
    return CoderSettings(**inherited | {key: value for key, value in given.items() if value is not None})


SHARED_OPTIONS = frozenset(inspect.signature(build).parameters) - {
    "name", "input_size", "hidden_size", "num_layers", "options"
}

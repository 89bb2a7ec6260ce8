"""An optional convolutional front end between the frames and the encoder, causal in time.

Layers of k × k convolutions over time and frequency, each with batch normalisation and ReLU. A layer of time stride s
gives for T frames T // s: output t sees the frames up to s (t + 1) - 1, as stacking does, and the k - 1 before its
own. Before the first frame stand zeros, or the state: the last k - s inputs of each layer. Over frequency F become
ceil(F / stride), with zeros at both edges. The time strides multiply to the features' ``stack``: what counts steps of
the network (their seconds, CTC's alignments, the cuts of chunks) is the same with a front end and without.

In evaluation on the CPU the normalisation is folded into the weights and each sum runs in one fixed order, so that
alone, in company and in chunks the outputs are equal bit for bit; ReLU sends zeros, which cost no product.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from snn_asr.data.feature_settings import FeatureSettings, require_fields
from snn_asr.errors import UsageError, unknown_name
from snn_asr.network.batch_norm import BatchNorm, folded
from snn_asr.network.kernels import choose_backend, load
from snn_asr.network.lengths import Lengths

MOST_CHANNELS = 4096
PATCH_VALUES = 1 << 24  # of unfolded inputs at a time: 64 MB


def _whole_numbers(given: object, most: int) -> bool:
    return isinstance(given, (list, tuple)) and all(type(each) is int and 1 <= each <= most for each in given)


@dataclass(frozen=True)
class FrontEndSettings:
    """Layers of a front end, a number for each in every list; no layers is no front end.

    Raises UsageError for a value that cannot work.
    """

    channels: tuple[int, ...] = ()
    time_strides: tuple[int, ...] = ()
    frequency_strides: tuple[int, ...] = ()
    kernel: int = 3

    def __post_init__(self) -> None:
        if type(self.kernel) is not int or self.kernel < 1 or self.kernel % 2 == 0:
            raise UsageError(f"kernel: {self.kernel!r}", "front_end", "must be an odd number")
        limits = {"channels": MOST_CHANNELS, "time_strides": self.kernel, "frequency_strides": self.kernel}
        for name, most in limits.items():
            given = getattr(self, name)
            if not _whole_numbers(given, most):
                raise UsageError(f"{name}: {given!r}", "front_end", f"must be a list of whole numbers from 1 to {most}")
            if len(given) != len(self.channels):
                todo = f"must be {len(self.channels)} numbers, as many as channels are"
                raise UsageError(f"{name}: {given!r}", "front_end", todo)
            object.__setattr__(self, name, tuple(given))  # YAML and JSON give lists

    @property
    def time_stride(self) -> int:
        """Frames that make one step of the network."""
        return math.prod(self.time_strides)

    def check(self, features: FeatureSettings) -> None:
        """Raise UsageError for features that the front end cannot take."""
        if self.channels and features.kind != "fbank":
            what = f"a convolution over frequency cannot take features of kind '{features.kind}'"
            raise UsageError(what, "front_end", "use features=fbank, or front_end=none")
        if self.channels and features.stack != self.time_stride:
            what = f"its time strides make {self.time_stride} frames a step, but stack is {features.stack}"
            raise UsageError(what, "front_end", f"give stack={self.time_stride}")

    def output_size(self, features: FeatureSettings) -> int:
        """Size of the encoder's input, C · F; that of stacked frames without a front end."""
        if not self.channels:
            return features.stacked_size
        bands = features.base_size
        for stride in self.frequency_strides:
            bands = math.ceil(bands / stride)
        return self.channels[-1] * bands

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FrontEndSettings:
        """Raises UsageError for an unknown key or an invalid value."""
        require_fields(cls, values, "front_end")
        return cls(**values)


NONE = FrontEndSettings()
PRESETS = {
    "none": NONE,
    "subsample4": FrontEndSettings((64, 64), (2, 2), (2, 2)),
    # SpeechBrain's CRDNN for TIMIT (two blocks of two 3 × 3 convolutions, frequency halved behind each, time behind
    # the last), with strides for its pooling and with batch normalisation and ReLU for layer normalisation and leaky
    # ReLU: they fold into the weights and send zeros.
    "crdnn": FrontEndSettings((128, 128, 256, 256), (1, 1, 1, 2), (1, 2, 1, 2)),
}


def named(value: object) -> FrontEndSettings:
    """The settings of a recipe's key ``front_end``: a name, or settings themselves. Raises UsageError."""
    if isinstance(value, FrontEndSettings):
        return value
    if str(value) not in PRESETS:
        raise unknown_name("front_end", str(value), PRESETS)
    return PRESETS[str(value)]


class Convolution(nn.Module):
    """One layer, causal in time: (x, lengths, state) to (y, state).

    x (B, T, F, C) and lengths (B,), T and the lengths multiples of the time stride s; y (B, T // s, F', C'), zero
    beyond the lengths; state (B, k - s, F, C) or None.
    """

    def __init__(
        self, input_channels: int, channels: int, kernel: int, time_stride: int, frequency_stride: int
    ) -> None:
        super().__init__()
        self.backend = "auto"
        self.kernel, self.time_stride, self.frequency_stride = kernel, time_stride, frequency_stride
        self.convolution = nn.Conv2d(
            input_channels, channels, kernel, (time_stride, frequency_stride), bias=False  # normalisation has one
        )
        self.normalization = BatchNorm(channels)

    def forward(self, x: Tensor, lengths: Tensor | Lengths, state: Tensor | None) -> tuple[Tensor, Tensor]:
        lengths, padded = Lengths.of(lengths, x), self.padded(x, state)
        steps = lengths.divided(self.time_stride)
        if torch.is_grad_enabled() or self.training or x.device.type != "cpu":
            y = self.convolution(padded.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
            rows = steps.pack(y).flatten(0, 1)
            values = self.normalization(rows, steps, y.shape[2]).unflatten(0, (-1, y.shape[2]))
        else:
            values = self._in_fixed_order(self.windows(padded), steps)
        edge = self.kernel // 2
        return steps.unpack(values.relu()), self._last(padded[:, :, edge : padded.shape[2] - edge], lengths)

    def padded(self, x: Tensor, state: Tensor | None) -> Tensor:
        """x with the state, or zeros, before its first frame, and zeros beside its lowest and highest band."""
        if state is None:
            state = x.new_zeros(len(x), self.kernel - self.time_stride, *x.shape[2:])
        return functional.pad(torch.cat([state, x], dim=1), (0, 0, self.kernel // 2, self.kernel // 2))

    def windows(self, padded: Tensor) -> Tensor:
        """A view of padded inputs: what each output sees, (B, T', F', C, k, k), time before frequency."""
        return padded.unfold(1, self.kernel, self.time_stride).unfold(2, self.kernel, self.frequency_stride)

    def _last(self, inputs: Tensor, lengths: Lengths) -> Tensor:
        """The k - s inputs (B, k - s, F, C) that end with each row's last valid frame; ``inputs`` begin with as many
        of the past."""
        index = lengths.tensor.unsqueeze(1) + torch.arange(self.kernel - self.time_stride, device=lengths.device)
        return inputs[torch.arange(len(inputs), device=lengths.device).unsqueeze(1), index]

    def _in_fixed_order(self, windows: Tensor, steps: Lengths) -> Tensor:
        """The normalised outputs (N, F', C') of the N valid frames, as patches times folded weights."""
        linear = load(choose_backend(self.backend, windows.device)).linear
        scale, offset = folded(self.normalization)
        weights = self.convolution.weight.flatten(1) * scale.unsqueeze(1)
        rows, frames = steps.positions // steps.frames, steps.positions % steps.frames
        bands = windows.shape[2]
        result = windows.new_empty(len(rows), bands, len(weights))
        at_once = max(1, PATCH_VALUES // (bands * weights.shape[1]))
        for first in range(0, len(rows), at_once):
            some = slice(first, first + at_once)
            patches = windows[rows[some], frames[some]].reshape(-1, weights.shape[1])
            result[some] = linear(patches, weights).unflatten(0, (-1, bands))
        return result + offset


class FrontEnd(nn.Module):
    """All layers: normalised frames (B, T, F) to the encoder's input (B, T // stack, C · F')."""

    layers: Any  # nn.ModuleList of Convolution

    def __init__(self, settings: FrontEndSettings, features: FeatureSettings) -> None:
        super().__init__()
        self.stride, self.bands = settings.time_stride, features.base_size
        channels = [features.size // features.base_size, *settings.channels]  # the deltas are channels of their own
        shapes = zip(channels, channels[1:], settings.time_strides, settings.frequency_strides, strict=False)
        self.layers = nn.ModuleList(
            Convolution(before, after, settings.kernel, *strides) for before, after, *strides in shapes
        )
        self.output_size = settings.output_size(features)

    def use_backend(self, name: str) -> None:
        """Take the products of evaluation on the backend of that name."""
        for each in self.layers:
            each.backend = name

    def forward(
        self, frames: Tensor, lengths: Tensor | Lengths, state: list | None = None
    ) -> tuple[Tensor, list | None]:
        """``lengths`` (B,) frames, as stacking counts them: an incomplete last group is dropped. The state is a
        tensor a layer."""
        steps = frames.shape[1] // self.stride
        if steps == 0:
            return frames.new_zeros(len(frames), 0, self.output_size), state
        lengths = Lengths.of(lengths, frames).divided(self.stride).multiplied(self.stride)
        x = frames[:, : steps * self.stride].unflatten(2, (-1, self.bands)).transpose(2, 3)
        after = []
        for layer, before in zip(self.layers, state or [None] * len(self.layers), strict=True):
            x, new = layer(x, lengths, before)
            lengths = lengths.divided(layer.time_stride)
            after.append(new)
        return x.transpose(2, 3).flatten(2).to(frames.dtype), after

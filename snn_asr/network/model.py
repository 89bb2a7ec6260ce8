"""The acoustic model: frames are normalised, stacked or convolved, and encoded; one linear head gives the logits.

model_folder.py writes it to disk and reads it back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.features import stack_frames
from snn_asr.data.normalization import Normalization
from snn_asr.errors import DataError, UsageError, unknown_name
from snn_asr.network import encoders, kernels
from snn_asr.network.batch_norm import BatchNorm
from snn_asr.network.front_end import NONE, FrontEnd, FrontEndSettings
from snn_asr.network.integers import FLOAT32, INT4, INT8, Grid
from snn_asr.network.lengths import Lengths
from snn_asr.network.tasks import TASKS, TRANSCRIPTION

HEAD_NORMALIZATIONS = ("none", "input", "output")
HEAD_INITIALIZATIONS = ("default", "small", "normal")


@dataclass(frozen=True)
class ModelSettings:
    """Everything that is needed to build the network again.

    ``head_normalization`` puts batch normalisation before the linear head (``input``), behind it (``output``, as
    Ponghiran & Roy do) or nowhere (``none``). The head's inputs are sparse and positive, and CTC leaves its plateau of
    blanks much sooner if they are centred. After training the normalisation is folded into the head's weights.
    ``head_epsilon`` is added to its variances. With torch's 1e-5 the output of a unit that has long been silent is made
    300 times as large, and a network in which many units fall silent early may not recover from that.

    Without ``head_bias`` the head's bias is zero and is not learned, as in Ponghiran & Roy's network, whose
    normalisation behind the head has a bias. ``task`` says what the logits mean (tasks.py): tokens in time, or one
    class for the utterance. ``front_end`` turns the frames into the encoder's inputs (front_end.py); without it they
    are stacked.
    """

    features: FeatureSettings
    encoder: str
    hidden_size: int
    num_layers: int
    encoder_options: dict[str, Any]
    head_normalization: str = "none"
    task: str = TRANSCRIPTION
    front_end: FrontEndSettings = NONE
    head_bias: bool = True
    head_epsilon: float = 1e-5

    def __post_init__(self) -> None:
        if self.head_normalization not in HEAD_NORMALIZATIONS:
            raise unknown_name("head_normalization", str(self.head_normalization), HEAD_NORMALIZATIONS)
        if self.task not in TASKS:
            raise unknown_name("task", str(self.task), TASKS)
        if not isinstance(self.head_epsilon, (int, float)) or not 0 < self.head_epsilon <= 1:
            raise UsageError("must be a number above 0, and at most 1", f"head_epsilon={self.head_epsilon!r}")
        self.front_end.check(self.features)

    @property
    def bidirectional(self) -> bool:
        """Whether the encoder walks from the end too: it then needs whole utterances, and carries no state."""
        return bool(self.encoder_options.get("bidirectional"))

    def to_dict(self) -> dict[str, Any]:
        """JSON values, from which ``from_dict`` makes the same settings."""
        return {**vars(self), "features": self.features.to_dict(), "front_end": self.front_end.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelSettings:
        """The settings that ``to_dict`` gave. Raises UsageError for a wrong value, KeyError or TypeError for wrong
        keys."""
        features = FeatureSettings.from_dict(values["features"])
        front_end = FrontEndSettings.from_dict(values.get("front_end", {}))  # folders from before front ends have none
        return cls(**{**values, "features": features, "front_end": front_end})


class AcousticModel(nn.Module):
    """The network from frames to logits. ``classes`` counts the CTC blank, which is class 0.

    ``grids`` has a grid (integers.py), by name, for each matrix that a model folder holds in int8 or int4; it is empty
    for a float32 model.
    """

    def __init__(self, settings: ModelSettings, normalization: Normalization, classes: int) -> None:
        super().__init__()
        if len(normalization.mean) != settings.features.size:
            raise DataError(f"normalisation of {len(normalization.mean)} features, not of {settings.features.size}")
        self.settings, self.normalization = settings, normalization
        self.front_end = FrontEnd(settings.front_end, settings.features) if settings.front_end.channels else None
        self.encoder = encoders.build(
            settings.encoder, settings.front_end.output_size(settings.features), settings.hidden_size,
            settings.num_layers, **settings.encoder_options,
        )
        self.head = nn.Linear(self.encoder.output_size, classes)
        if not settings.head_bias:
            nn.init.zeros_(self.head.bias.requires_grad_(False))
        self.error_at_every_step = False
        sizes = {"input": self.encoder.output_size, "output": classes}
        size = sizes.get(settings.head_normalization)
        self.head_normalization = BatchNorm(size, eps=settings.head_epsilon) if size else None
        self.backend = "auto"
        self.grids: dict[str, Grid] = {}

    @property
    def precision(self) -> str:
        """The type of the weights on disk: float32, int8, or int4 if any matrix is int4."""
        kinds = {each.kind for each in self.grids.values()}
        return INT4 if INT4 in kinds else INT8 if kinds else FLOAT32

    def forward(
        self, frames: Tensor, lengths: Tensor | Lengths, state: Any = None, normalized: bool = False
    ) -> tuple[Tensor, Tensor, tuple]:
        """Logits (B, T // stack, classes), their lengths (B,), and the state to continue from.

        ``frames`` (B, T, F) with ``lengths`` (B,) are as the extractor gives them, or already ``normalized`` (and
        perhaps augmented). Chunks of an utterance have to be cut at multiples of ``stack`` frames.
        """
        lengths = Lengths.of(lengths, frames)
        if not normalized:
            frames = self.normalization.apply(frames)
        convolved, state = state if state is not None else (None, None)
        x, lengths, convolved = self.encoder_input(frames, lengths, convolved)
        logits, state = self.encode(x, lengths, state)
        return logits, lengths.tensor, (convolved, state)

    def encode(self, x: Tensor, lengths: Tensor | Lengths, state: list | None = None) -> tuple[Tensor, list]:
        """Logits (B, T, classes) of the encoder's inputs (B, T, D), and the encoder's state to continue from.

        ``encoder_input`` makes such inputs from frames.
        """
        lengths = Lengths.of(lengths, x)
        encoded, state = self.encoder(x, lengths, state)
        if self.error_at_every_step and encoded.requires_grad:
            encoded.register_hook(partial(_at_every_step, lengths=lengths))
        before = self.settings.head_normalization == "input"
        logits = self.logits(self._normalized(encoded, lengths) if before else encoded)
        return (logits if before else self._normalized(logits, lengths)), state

    def encoder_input(
        self, frames: Tensor, lengths: Tensor | Lengths, state: list | None = None
    ) -> tuple[Tensor, Lengths, list | None]:
        """The encoder's inputs (B, T // stack, D), their lengths, and the front end's state, from normalised frames."""
        lengths, stack = Lengths.of(lengths, frames), self.settings.features.stack
        if self.front_end is None:
            return stack_frames(frames, stack), lengths.divided(stack), None
        x, state = self.front_end(frames, lengths, state)
        return x, lengths.divided(stack), state

    def _normalized(self, x: Tensor, lengths: Lengths) -> Tensor:
        """Batch normalisation of x (B, T, C), with statistics over the valid frames only."""
        if self.head_normalization is None:
            return x
        return lengths.unpack(self.head_normalization(lengths.pack(x), lengths))

    def logits(self, encoded: Tensor) -> Tensor:
        """The head's outputs for ``encoded`` (B, T, H). In evaluation on the CPU each frame is summed in a fixed order.

        A matrix product rounds differently with the number of its rows, so that a frame would depend on the chunk or
        the batch that it comes in.
        """
        if torch.is_grad_enabled() or encoded.device.type != "cpu":
            return self.head(encoded)
        backend = kernels.load(kernels.choose_backend(self.backend, encoded.device))
        product = backend.linear(encoded.flatten(0, 1), self.head.weight)
        return product.unflatten(0, encoded.shape[:2]) + self.head.bias

    def use_backend(self, name: str) -> None:
        """Run everything that has kernels on the backend of that name. A model folder does not keep this choice."""
        self.backend = name
        self.encoder.use_backend(name)
        if self.front_end is not None:
            self.front_end.use_backend(name)

    def initialize_head(self, how: str) -> None:
        """Draw the head's weights anew.

        ``small`` is uniform within ±√(0.01 / (inputs + outputs)) (Ponghiran & Roy), ``normal`` is N(0, 2 / inputs) with
        a bias of 0 (Lotfi Rezaabad & Vishwanath), and ``default`` leaves torch's initialisation.
        """
        outputs, inputs = self.head.weight.shape
        if how == "small":
            bound = math.sqrt(0.01 / (inputs + outputs))
            nn.init.uniform_(self.head.weight, -bound, bound)
        elif how == "normal":
            nn.init.normal_(self.head.weight, std=math.sqrt(2 / inputs))
            nn.init.zeros_(self.head.bias)

    def prefer_blank(self, bias: float) -> None:
        """Add ``bias`` to the blank's logit, where the network's last bias is: training begins with more blanks.

        CTC (Graves et al. 2006) may spell silence as blanks or as one long token, and where words are letters with
        spaces between them, as a long space: utterances without that token then have errors that hardly fall. The
        more likely the blank is at the beginning, the surer silence becomes blank.
        """
        last = self.head_normalization if self.settings.head_normalization == "output" else self.head
        assert last is not None
        with torch.no_grad():
            last.bias[0] += bias

    def parameter_count(self) -> int:
        """The number of all parameters that training changes, so without a head's bias that is fixed at zero."""
        biases = 0 if self.settings.head_bias else self.head.bias.numel()
        return sum(each.numel() for each in self.parameters()) - biases


def _at_every_step(gradient: Tensor, lengths: Lengths) -> Tensor:
    """A gradient (B, T, H) that has, at all valid frames of a row, the gradient of the row's last valid frame.

    This is what the scripts of Lotfi Rezaabad & Vishwanath (2020) train with, as if each step had the loss of the last
    one. It is not the gradient of the loss.
    """
    last = (lengths.tensor - 1).clamp(min=0).to(gradient.device)
    rows = torch.arange(len(gradient), device=gradient.device)
    return lengths.without_padding(gradient[rows, last].unsqueeze(1).expand_as(gradient))

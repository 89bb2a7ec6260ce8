"""The acoustic model: normalised frames, stacked or convolved, encoded, and one linear head.

Model folders on disk are written and read in model_folder.py.
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
from snn_asr.network.integers import INT4, INT8, Grid
from snn_asr.network.lengths import Lengths
from snn_asr.network.tasks import TASKS, TRANSCRIPTION

HEAD_NORMALIZATIONS = ("none", "input", "output")
HEAD_INITIALIZATIONS = ("default", "small", "normal")


@dataclass(frozen=True)
class ModelSettings:
    """All that is needed to build the network again.

    ``head_normalization`` puts batch normalisation before the linear head (``input``: its inputs are sparse and
    positive, and CTC leaves its plateau of blanks much sooner when they are centred), behind it (``output``, as
    Ponghiran & Roy do) or nowhere (``none``). Either folds into the head's weights after training. ``head_epsilon`` is
    added to its variances: with torch's 1e-5, what a unit sends that had been silent for long is made 300 times as
    large, and a network in which many fall silent early may not recover from that. Without ``head_bias`` the head's
    bias is zero and does not learn, as behind it theirs has none. ``task`` says what the logits mean
    (decoding/greedy.py): tokens in time, or with the last frame one class for the utterance. ``front_end`` makes the
    encoder's inputs of the frames (front_end.py) where they are not just stacked.
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

    def to_dict(self) -> dict[str, Any]:
        """JSON values, from which ``from_dict`` makes the same settings."""
        return {**vars(self), "features": self.features.to_dict(), "front_end": self.front_end.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelSettings:
        """Raises UsageError for a value that is not valid; KeyError or TypeError for keys that are not a model's."""
        features = FeatureSettings.from_dict(values["features"])
        front_end = FrontEndSettings.from_dict(values.get("front_end", {}))  # folders from before front ends have none
        return cls(**{**values, "features": features, "front_end": front_end})


class AcousticModel(nn.Module):
    """Frames to logits. ``classes`` counts the CTC blank, class 0.

    ``grids`` are those of the matrices that lie in int8 or int4 on disk (model_folder.py), by name; none: all is
    float32.
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
        """Of the weights on disk: float32, int8, or int4 where any matrix is."""
        kinds = {each.kind for each in self.grids.values()}
        return INT4 if INT4 in kinds else INT8 if kinds else "float32"

    def forward(
        self, frames: Tensor, lengths: Tensor | Lengths, state: Any = None, normalized: bool = False
    ) -> tuple[Tensor, Tensor, tuple]:
        """Frames (B, T, F) as the extractor gives them, or ``normalized`` (and perhaps augmented) already; lengths
        (B,) frames.

        Returns logits (B, T // stack, classes), their lengths (B,), and the state to go on from. Chunks are cut at
        multiples of ``stack`` frames.
        """
        lengths = Lengths.of(lengths, frames)
        if not normalized:
            frames = self.normalization.apply(frames)
        convolved, state = state if state is not None else (None, None)
        x, lengths, convolved = self.encoder_input(frames, lengths, convolved)
        logits, state = self.encode(x, lengths, state)
        return logits, lengths.tensor, (convolved, state)

    def encode(self, x: Tensor, lengths: Tensor | Lengths, state: list | None = None) -> tuple[Tensor, list]:
        """The encoder's inputs (B, T, D), as ``encoder_input`` gives them, to logits (B, T, classes) and the encoder's
        state to go on from."""
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
        """Normalised frames, stacked or convolved (B, T // stack, D), their lengths, and the front end's state."""
        lengths, stack = Lengths.of(lengths, frames), self.settings.features.stack
        if self.front_end is None:
            return stack_frames(frames, stack), lengths.divided(stack), None
        x, state = self.front_end(frames, lengths, state)
        return x, lengths.divided(stack), state

    def _normalized(self, x: Tensor, lengths: Lengths) -> Tensor:
        """Batch normalisation of x (B, T, C), its statistics over valid frames only."""
        if self.head_normalization is None:
            return x
        return lengths.unpack(self.head_normalization(lengths.pack(x), lengths))

    def logits(self, encoded: Tensor) -> Tensor:
        """The head over (B, T, H). In evaluation on the CPU each frame's sums run in one fixed order.

        A matrix product rounds differently with the number of its rows: the frames of a chunk, or of a batch.
        """
        if torch.is_grad_enabled() or encoded.device.type != "cpu":
            return self.head(encoded)
        backend = kernels.load(kernels.choose_backend(self.backend, encoded.device))
        product = backend.linear(encoded.flatten(0, 1), self.head.weight)
        return product.unflatten(0, encoded.shape[:2]) + self.head.bias

    def use_backend(self, name: str) -> None:
        """Run everything that has kernels on the backend of that name; it is no part of what a model folder keeps."""
        self.backend = name
        self.encoder.use_backend(name)
        if self.front_end is not None:
            self.front_end.use_backend(name)

    def initialize_head(self, how: str) -> None:
        """Draw the head's weights anew: ``small``, uniform within ±√(0.01 / (inputs + outputs)) (Ponghiran & Roy), or
        ``normal``, N(0, 2 / inputs) with a bias of 0 (Lotfi Rezaabad & Vishwanath); ``default`` leaves torch's."""
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
        """Numbers that training finds: all parameters, without a bias of the head that does not learn."""
        biases = 0 if self.settings.head_bias else self.head.bias.numel()
        return sum(each.numel() for each in self.parameters()) - biases


def _at_every_step(gradient: Tensor, lengths: Lengths) -> Tensor:
    """The error of each row's last valid frame at all of its valid frames, (B, T, H) both: as if each step had the loss
    of the last (the scripts of Lotfi Rezaabad & Vishwanath 2020). It is another gradient than that of the loss."""
    last = (lengths.tensor - 1).clamp(min=0).to(gradient.device)
    rows = torch.arange(len(gradient), device=gradient.device)
    return lengths.without_padding(gradient[rows, last].unsqueeze(1).expand_as(gradient))

"""The acoustic model (normalised frames, stacked or convolved, encoded, one linear head) and its folder on disk.

    config.json  weights.safetensors  normalization.json  tokens.json  metrics.json  recipe.yaml  checksums.json

Loading reads JSON and safetensors only: no YAML, no pickle, no code. ``recipe.yaml`` is there to be read by people.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from snn_asr import __version__, weights
from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.features import stack_frames
from snn_asr.data.normalization import Normalization
from snn_asr.data.tokens import Tokens
from snn_asr.errors import DataError, SnnAsrError, unknown_name
from snn_asr.files import read_json, read_json_object, sha256, write_bytes, write_json, write_text
from snn_asr.network import encoders
from snn_asr.network.batch_norm import BatchNorm
from snn_asr.network.front_end import NONE, FrontEnd, FrontEndSettings
from snn_asr.network.lengths import Lengths
from snn_asr.network.tasks import TASKS, TRANSCRIPTION

FORMAT, INT8_FORMAT = 1, 2  # programs from before int8 weights must refuse them
HEAD_NORMALIZATIONS = ("none", "input", "output")
CONFIG, WEIGHTS, CHECKSUMS = "config.json", "weights.safetensors", "checksums.json"
CHECKED = (CONFIG, WEIGHTS, "normalization.json", "tokens.json", "metrics.json", "recipe.yaml")


@dataclass(frozen=True)
class ModelSettings:
    """All that is needed to build the network again.

    ``head_normalization`` puts batch normalisation before the linear head (``input``: its inputs are sparse and
    positive, and CTC leaves its plateau of blanks much sooner when they are centred), behind it (``output``, as
    Ponghiran & Roy do) or nowhere (``none``). Either folds into the head's weights after training. ``task`` says what
    the logits mean (decoding.py): tokens in time, or with the last frame one class for the utterance. ``front_end``
    makes the encoder's inputs of the frames (front_end.py) where they are not just stacked.
    """

    features: FeatureSettings
    encoder: str
    hidden_size: int
    num_layers: int
    encoder_options: dict[str, Any]
    head_normalization: str = "none"
    task: str = TRANSCRIPTION
    front_end: FrontEndSettings = NONE

    def __post_init__(self) -> None:
        if self.head_normalization not in HEAD_NORMALIZATIONS:
            raise unknown_name("head_normalization", str(self.head_normalization), HEAD_NORMALIZATIONS)
        if self.task not in TASKS:
            raise unknown_name("task", str(self.task), TASKS)
        self.front_end.check(self.features)

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "features": self.features.to_dict(), "front_end": self.front_end.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelSettings:
        features = FeatureSettings.from_dict(values["features"])
        front_end = FrontEndSettings.from_dict(values.get("front_end", {}))  # folders from before front ends have none
        return cls(**{**values, "features": features, "front_end": front_end})


class AcousticModel(nn.Module):
    """Frames to logits. ``classes`` counts the CTC blank, class 0.

    ``scales`` are those of the matrices that lie in int8 on disk, by name (weights.py); none: all is float32 there.
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
        sizes = {"input": self.encoder.output_size, "output": classes}
        size = sizes.get(settings.head_normalization)
        self.head_normalization = BatchNorm(size) if size else None
        self.scales: dict[str, Tensor] = {}

    @property
    def precision(self) -> str:
        """Of the weights on disk: float32 or int8."""
        return "int8" if self.scales else "float32"

    def forward(
        self, frames: Tensor, lengths: Tensor | Lengths, state: tuple | None = None, normalized: bool = False
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
        encoded, state = self.encoder(x, lengths, state)
        before = self.settings.head_normalization == "input"
        logits = self.logits(self._normalized(encoded, lengths) if before else encoded)
        logits = logits if before else self._normalized(logits, lengths)
        return logits, lengths.tensor, (convolved, state)

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
        return lengths.unpack(self.head_normalization(lengths.pack(x)))

    def logits(self, encoded: Tensor) -> Tensor:
        """The head over (B, T, H). In evaluation on the CPU each frame's sums run in one fixed order.

        A matrix product rounds differently with the number of its rows: the frames of a chunk, or of a batch.
        """
        if torch.is_grad_enabled() or encoded.device.type != "cpu":
            return self.head(encoded)
        from snn_asr.network.kernels import cpu

        return cpu.linear(encoded.flatten(0, 1), self.head.weight).unflatten(0, encoded.shape[:2]) + self.head.bias

    def parameter_count(self) -> int:
        return sum(each.numel() for each in self.parameters())


@dataclass(frozen=True)
class LoadedModel:
    model: AcousticModel
    tokens: Tokens
    metrics: dict[str, Any]
    fingerprint: str


def save_model(
    folder: str | Path, model: AcousticModel, tokens: Tokens, metrics: dict[str, Any], recipe_text: str
) -> None:
    """Write a model folder; the checksums last, so that a folder without them is known to be unfinished.

    Raises DataError where it cannot be written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CHECKSUMS).unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"cannot write ({error.strerror})", folder, "choose a writable folder") from error
    written_format = INT8_FORMAT if model.scales else FORMAT
    write_json(folder / CONFIG, {"format": written_format, "snn_asr": __version__, "model": model.settings.to_dict()})
    write_bytes(folder / WEIGHTS, safetensors.torch.save(weights.pack(model.state_dict(), model.scales)))
    write_json(folder / "normalization.json", model.normalization.to_dict())
    write_json(folder / "tokens.json", tokens.to_dict())
    write_json(folder / "metrics.json", metrics)
    write_text(folder / "recipe.yaml", recipe_text)
    write_json(folder / CHECKSUMS, {name: sha256(folder / name) for name in CHECKED})


def find_model(path: str | Path) -> Path:
    """The model folder at ``path``: itself, or ``model`` within a run folder. Raises DataError where there is none."""
    for folder in (Path(path), Path(path) / "model"):
        if (folder / CHECKSUMS).is_file():
            return folder
    raise DataError("no finished model here", path, "give the output folder of a finished 'snn-asr train'")


def load(path: str | Path, device: str | torch.device = "cpu") -> LoadedModel:
    """Load a model folder (or the run folder around it) in evaluation mode.

    Raises DataError where a file is missing, changed since it was written, or does not fit the others.
    """
    folder = find_model(path)
    checksums = read_json_object(folder / CHECKSUMS)
    for name in CHECKED:
        if not (folder / name).is_file() or checksums.get(name) != sha256(folder / name):
            raise DataError("missing, or not as training wrote it", folder / name, "copy the model folder again")
    config = read_json_object(folder / CONFIG)
    if config.get("format") not in (FORMAT, INT8_FORMAT):
        what = f"model format {config.get('format')} is not {FORMAT} or {INT8_FORMAT}"
        raise DataError(what, folder, "use a matching snn-asr")
    try:
        tokens = Tokens.from_dict(read_json(folder / "tokens.json"))
        normalization = Normalization.from_dict(read_json(folder / "normalization.json"))
        model = AcousticModel(ModelSettings.from_dict(config["model"]), normalization, tokens.size)
        state, model.scales = weights.unpack(safetensors.torch.load_file(folder / WEIGHTS))
        model.load_state_dict(state)
    except (KeyError, TypeError, RuntimeError, safetensors.SafetensorError, SnnAsrError) as error:
        raise DataError(f"cannot be loaded ({str(error).splitlines()[0]})", folder, "train it again") from error
    metrics = read_json_object(folder / "metrics.json")
    return LoadedModel(model.to(device).eval(), tokens, metrics, sha256(folder / CHECKSUMS))

"""Every key that a training recipe can set: its default, the values that it takes, and what it is for.

A key is a field of one of the frozen dataclasses below: data, model, augmentation, batches, training. Users write keys
without these parts (``epochs=3``), so all names are unique. The keys of features are fields of ``FeatureSettings``
(data/feature_settings.py), and FEATURE_KEYS lists them. config.py reads a recipe's values into all of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch

from snn_asr import corpora
from snn_asr.data import augmentation, tokens
from snn_asr.data.augmentation import FrameAugmentation, FrameDrops
from snn_asr.data.cutting import LONGER
from snn_asr.data.feature_settings import GLOBAL, FeatureSettings
from snn_asr.errors import UsageError
from snn_asr.network import input_coding
from snn_asr.network.coder_settings import LEVELS, RANGES
from snn_asr.network.front_end import FrontEndSettings
from snn_asr.network.integers import LARGEST
from snn_asr.network.kernels import BACKENDS
from snn_asr.network.model import HEAD_INITIALIZATIONS, HEAD_NORMALIZATIONS
from snn_asr.network.tasks import CLASS_ERRORS, TASKS, TRANSCRIPTION
from snn_asr.training.recipes.value_kinds import (
    MOST_EPOCHS,
    Kind,
    flag,
    folder,
    frames_by_epochs,
    front_end,
    list_of,
    mapping,
    model,
    number,
    one_of,
    optional,
    range_of_seconds,
    span_of_epochs,
    text,
    token_options,
    whole,
)

MOST_UNITS, MOST_LAYERS = 1 << 16, 100
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD,
}
SCHEDULES = ("warm_cool", "halving")  # loop/schedules.py has their classes, and takes seconds to import
COMPUTING_PRECISIONS = FP32, BF16, FP64 = "fp32", "bf16", "fp64"  # of training
NOT_QUANTIZED = "none"
QUANTIZATIONS = (NOT_QUANTIZED, *LARGEST)


def _key(default: Any, kind: Kind, about: str) -> Any:
    """A dataclass field for a key: its default as a recipe would write it, the values it takes, and a line of help."""
    return field(default=kind.convert(default), metadata={"default": default, "kind": kind, "help": about})


def _optimizer() -> Kind:
    def convert(value: Any) -> Any:
        if callable(value) or (isinstance(value, str) and value in OPTIMIZERS):
            return value
        raise ValueError("neither a name nor a class")

    return Kind(f"one of {', '.join(OPTIMIZERS)}, or a class of your own (!name:)", convert, tuple(OPTIMIZERS))


@dataclass(frozen=True)
class DataConfig:
    """The data that training uses, and how it is read."""

    corpus: str = _key(
        "none", one_of(("none", *corpora.discover())), "prepared where --data-folder holds no manifests yet"
    )
    manifests: str = _key(
        "", text(r"[\w-]*", "how the names of the manifests begin, such as isolated_"),
        "how the names of the manifests begin: isolated_ trains on isolated_train.json",
    )
    task: str = _key(
        TRANSCRIPTION, one_of(TASKS), "transcription: tokens in time (CTC); classification: one token an utterance"
    )
    tokens: str = _key("characters", one_of(tokens.KINDS), "what the network spells")
    token_options: dict[str, Any] = field(default_factory=dict, metadata={
        "default": {}, "kind": token_options(),
        "help": "vocabulary_size and algorithm of sentencepiece, phone_set of phones",
    })
    feature_cache: str = _key(
        "auto", folder(), "frames kept on disk for all runs: auto is 'features' beside the manifests"
    )
    loader_workers: int = _key(
        0, whole(0, 1024), "processes that read ahead, where the log's lines say that training waits for data; "
        "no more are started than there are processors"
    )


# The keys of ModelConfig that are options of every encoder.
ENCODER_KEYS = (
    "bidirectional", "dropout", "smoothing", "learn_smoothing", "input_coding", "input_bits", "input_threshold",
    "input_range", "input_levels", "input_delta_threshold",
)


@dataclass(frozen=True)
class ModelConfig:
    """The network. ``encoder_options`` include those of ENCODER_KEYS and are given to ``encoders.build``."""

    encoder: str = _key("improved_v2", text(r".+", "the name of an encoder"), "the block of recipes/encoders to take")
    hidden_size: int = _key(256, whole(1, MOST_UNITS), "units of a layer, in each direction")
    num_layers: int = _key(2, whole(1, MOST_LAYERS), "recurrent layers")
    bidirectional: bool = _key(False, flag(), "a second network in each layer walks from the end; no live streams then")
    dropout: float = _key(0.1, number(0, below=1), "share of a layer's outputs that training sets to zero")
    smoothing: float = _key(0.0, number(0, below=1), "coefficient of a leaky integrator behind each layer; 0 is none")
    learn_smoothing: bool = _key(False, flag(), "start the integrators there and learn one coefficient a layer")
    input_coding: str = _key("none", one_of(input_coding.CODINGS), "features as they are (none), or as events")
    input_bits: int | None = _key(None, optional(whole(2, 32)), "bits of input_coding=coder; null: those of the layers")
    input_threshold: int | None = _key(
        None, optional(whole(0)), "threshold of input_coding=coder; null: that of the layers"
    )
    input_range: str | None = _key(
        None, optional(one_of(RANGES)),
        "range of input_coding=coder; null: that of the layers",
    )
    input_levels: str | None = _key(
        None, optional(one_of(LEVELS)), "levels of input_coding=coder; null: those of the layers"
    )
    input_delta_threshold: float = _key(
        0.1, number(0), "of input_coding=delta: features are sent when they have changed by more than this"
    )
    head_normalization: str = _key(
        "input", one_of(HEAD_NORMALIZATIONS), "batch normalisation before the linear head (input) or behind it (output)"
    )
    head_initialization: str = _key(
        "default", one_of(HEAD_INITIALIZATIONS),
        "torch's, uniform within the root of 0.01 / (inputs + outputs) (small), or N(0, 2 / inputs) (normal)",
    )
    head_bias: bool = _key(True, flag(), "the head has a bias; with batch normalisation behind it, it needs none")
    blank_bias: float = _key(
        0.0, number(-20, 20), "added to the blank's bias before training; 3 keeps silence from being spelled as a space"
    )
    head_epsilon: float = _key(
        1e-5, number(1e-12, 1), "added to the variances of that normalisation; 0.001 lets units be silent for long"
    )
    front_end: FrontEndSettings = _key(
        "none", front_end(), "convolutions before the encoder: crdnn (with stack=2) or subsample4 (with stack=4)"
    )
    backend: str = _key("auto", one_of(BACKENDS), "what runs the cells of every encoder; auto is the fastest there is")
    encoder_options: dict[str, Any] = field(default_factory=dict, metadata={
        "default": {}, "kind": mapping("options of the encoder by name"),
        "help": "further options of the encoder, by the names that encoders.build knows",
    })

    def check(self, task: str, where: object) -> None:
        """Raise UsageError for a bias of the blank where the network has no blank, or no bias to begin with."""
        if self.blank_bias and task != TRANSCRIPTION:
            raise UsageError(f"blank_bias={self.blank_bias:g}: task={task} knows no blank", where, "leave it out")
        if self.blank_bias and not self.head_bias and self.head_normalization != "output":
            raise UsageError(f"blank_bias={self.blank_bias:g} with head_bias=false", where, "leave one of them out")


@dataclass(frozen=True)
class AugmentationConfig:
    """Random changes of the sound and its frames in training, drawn anew in every epoch."""

    speeds: tuple[float, ...] = _key(
        [1.0], list_of(number(0.1, 10).convert, "a list of numbers from 0.1 to 10", least=1),
        "each utterance is played at one of these in each epoch",
    )
    frame_augmentations: tuple[FrameAugmentation, ...] = _key(
        [], list_of(augmentation.named, "a list of augmentations such as stack_shift: {frames: 2}"),
        "before frames are normalised: stack_shift, filterbank_noise, frequency_warp, or objects of your own (!new:)",
    )
    spectrogram_drops: tuple[FrameDrops | Callable[..., Any], ...] = _key(
        [
            {"time": {"lengths": [1, 8], "counts": [0, 2]}},  # frames
            {"frequency": {"lengths": [1, 5], "counts": [0, 2]}},  # bands
        ],
        list_of(augmentation.named_drops, "a list of drops such as time: {lengths: [1, 8], counts: [0, 2]}"),
        "stretches of frames (time) or bands (frequency), so many and so long, that are set to zero",
    )
    pauses: float = _key(
        0.0, number(0, below=1), "share of a batch's utterances that get a pause of silence, noise, hum or notes"
    )
    pause_seconds: tuple[float, float] = _key(
        [0.5, 4.0], range_of_seconds(), "the shortest and the longest pause"
    )

    def check(self, features: FeatureSettings, task: str, where: object) -> None:
        """Raise UsageError for augmentations that do not suit the features or the task."""
        for each in self.frame_augmentations:
            each.fit(features)
        if self.pauses and (features.segments or features.normalization != GLOBAL or task != TRANSCRIPTION):
            what = "a pause is more frames of the same utterance, as segments, normalization and classes do not take it"
            raise UsageError(what, f"{where}: pauses" if where else "pauses", "set pauses=0")


@dataclass(frozen=True)
class BatchConfig:
    """The batches of a training step. Frames are counted before stacking."""

    batch_frames: int = _key(2500, whole(1), "frames of a batch at most, of all processes together, padding included")
    batch_utterances: int = _key(0, whole(0), "utterances of a batch at most; 0 leaves it to the frames")
    accumulation: int = _key(1, whole(1), "batches whose gradients make one training step")
    length_curriculum: tuple[tuple[int, int], ...] = _key(
        [], frames_by_epochs(), "for so many epochs only utterances of up to so many frames, pair by pair; then all"
    )
    longer_utterances: str = _key(
        "left_out", one_of(LONGER), "by length_curriculum: left_out, or cut to so many frames, with their transcript"
    )


@dataclass(frozen=True)
class TrainingConfig:
    """How the weights are trained."""

    seed: int = _key(
        1, whole(0, (1 << 63) - 1), "of the initial weights, dropout, augmentation and the order of batches"
    )
    epochs: int = _key(10, whole(1, MOST_EPOCHS), "passes over the training data")
    patience: int = _key(0, whole(0), "epochs without a better development error that end training; 0 trains all")
    learning_rate: float = _key(0.003, number(0), "the highest of the schedule")
    schedule: str = _key(
        "warm_cool", one_of(SCHEDULES), "warm_cool: linearly up, level, linearly down; halving: by development error"
    )
    warmup_epochs: float = _key(1, number(0, MOST_EPOCHS), "of schedule=warm_cool: epochs in which the rate rises")
    halving_factor: float = _key(
        0.5, number(0, below=1), "of schedule=halving: multiplies the rate after more than one bad epoch in a row"
    )
    lowest_learning_rate: float = _key(1.25e-4, number(0), "of schedule=halving: it goes no lower")
    cooldown_epochs: float = _key(
        7, number(0, MOST_EPOCHS),
        "of schedule=warm_cool: epochs in which the rate falls to 0, at most all that are left",
    )
    optimizer: str | Callable[..., torch.optim.Optimizer] = _key("adamw", _optimizer(), "torch's optimizer")
    class_error: str = _key(
        "last", one_of(CLASS_ERRORS),
        "of task=classification: the last step's error at that step alone, or at every step of the backward pass",
    )
    weight_decay: float = _key(0.01, number(0), "of the optimizer, where that is given by name")
    max_grad_norm: float = _key(1.0, number(0), "gradients are clipped to this norm; 0 is no clipping")
    activity_penalty: float = _key(
        0.0, number(0), "weight of the layers' mean activity in the loss; more makes them send less"
    )
    average_decay: float = _key(
        0.0, number(0, below=1),
        "of the moving average of the weights, which is evaluated and kept; 0: the weights themselves",
    )
    batch_norm_epochs: int = _key(
        0, whole(0),
        "epochs after which batch normalisation keeps its statistics (with initial_model at once); 0: never",
    )
    pruning: float = _key(0.0, number(0, below=1), "share of the encoder's weights that training makes zero")
    pruning_epochs: tuple[float, float] = _key([0, 0], span_of_epochs(), "from when to when the share of zeros grows")
    pruning_block: int = _key(1, whole(1, MOST_UNITS), "weights of neighbouring rows that are pruned together")
    initial_model: str = _key(
        "", model(), "a trained model of the same network whose weights training goes on with; what is zero stays zero"
    )
    quantize: str = _key(
        NOT_QUANTIZED, one_of(QUANTIZATIONS),
        "int8 or int4: training goes on with initial_model, whose weights are rounded to so many bits at every step",
    )
    precision: str = _key(
        FP32, one_of(COMPUTING_PRECISIONS), "bf16: products in bfloat16, states in float32; fp64 is for checks"
    )

    def check(self, where: object) -> None:
        """Raise UsageError for keys that contradict each other."""
        first, last = self.pruning_epochs
        if self.pruning and not first < last <= self.epochs:
            todo = f"give pruning_epochs=[first, last], first below last, last at most epochs ({self.epochs})"
            raise UsageError(f"pruning_epochs: {[first, last]}", where, todo)
        if self.quantize != NOT_QUANTIZED and not self.initial_model:
            todo = "train in float32 first, and give initial_model=RUN_FOLDER"
            raise UsageError(f"quantize: {self.quantize} goes on with a trained model", where, todo)

    @property
    def most_idle_epochs(self) -> int:
        """The number of epochs without a better development error after which training ends."""
        return self.patience or self.epochs

    def make_optimizer(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer of a model's parameters, at the highest learning rate.

        If all of them are on a GPU, one kernel updates them together.
        """
        parameters = list(parameters)
        if isinstance(self.optimizer, str):
            fused = True if all(each.is_cuda for each in parameters) else None
            options = {"lr": self.learning_rate, "weight_decay": self.weight_decay, "fused": fused}
            return OPTIMIZERS[self.optimizer](parameters, **options)
        return self.optimizer(parameters, lr=self.learning_rate)


# The keys of a recipe that are fields of FeatureSettings: the field's name, and the help. Its defaults are there.
FEATURE_KEYS = {
    "features": ("kind", "fbank or mfcc, or settings of your own (!new:)"),
    "sample_rate": ("sample_rate", "samples a second that the features are made of; recordings are resampled"),
    "mels": ("mels", "bands of the filterbank"),
    "coefficients": ("coefficients", "cepstral coefficients of features=mfcc"),
    "deltas": ("deltas", "also the slopes over time, and the slopes of these"),
    "window_milliseconds": ("window_milliseconds", "length of a frame"),
    "hop_milliseconds": ("hop_milliseconds", "from one frame to the next"),
    "low_hz": ("low_hz", "lower edge of the lowest band"),
    "high_hz": ("high_hz", "upper edge of the highest band; null is half the sample rate"),
    "stack": ("stack", "frames side by side that make one step of the network"),
    "segments": ("segments", "number of averages that stand for an utterance of any length; 0: its frames"),
    "normalization": ("normalization", "by the statistics of all training frames (global), of a speaker or utterance"),
}

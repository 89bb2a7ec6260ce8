"""What a training recipe says: the keys it has to give, those it may leave out, and which values can work."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from snn_asr.data.augmentation import FrameAugmentation
from snn_asr.errors import UsageError, unknown_name
from snn_asr.network.front_end import named as named_front_end
from snn_asr.network.tasks import TASKS, TRANSCRIPTION
from snn_asr.training import recipe
from snn_asr.training.schedules import SCHEDULES

COUNTS = ("hidden_size", "num_layers", "epochs", "patience", "batch_frames")
WHOLE_NUMBERS = ("seed", "batch_utterances", "batch_norm_epochs", "loader_workers")
PRECISIONS = ("fp32", "bf16", "fp64")
NUMBERS = ("learning_rate", "warmup_epochs", "cooldown_epochs", "max_grad_norm")
KEYS = (
    *COUNTS, *NUMBERS, "seed", "corpus", "encoder", "encoder_options", "features", "tokens", "token_options", "speeds",
    "spectrogram_drops", "optimizer", "head_normalization",
)
OPTIONAL = {  # keys that a recipe may leave out, and what they then are
    "task": TRANSCRIPTION, "manifests": "", "schedule": "warm_cool", "average_decay": 0.0, "batch_utterances": 0,
    "length_curriculum": [], "frame_augmentations": [], "batch_norm_epochs": 0, "front_end": "none",
    "feature_cache": "auto", "accumulation": 1, "precision": "fp32", "loader_workers": 0,
    "pruning": 0.0, "pruning_epochs": [0, 0], "pruning_block": 1,
}


def load_settings(name: str | Path, overrides: Mapping[str, object]) -> dict[str, Any]:
    """A recipe's values, checked, with those of the keys that it left out."""
    settings = OPTIONAL | recipe.load(name, overrides)
    check_settings(settings, recipe.find(name))
    return settings


def check_settings(settings: Mapping[str, Any], where: object) -> None:
    """Raise UsageError for a key that a training recipe lacks, or whose value cannot work."""
    for key in KEYS:
        if key not in settings:
            raise UsageError(f"no key '{key}'", where, "copy a recipe and change it from there")
    for key, (works, todo) in _RULES.items():
        if not works(settings[key]):
            raise UsageError(f"{key}: {settings[key]!r}", where, todo)
    for key, known in (("task", TASKS), ("schedule", tuple(SCHEDULES)), ("precision", PRECISIONS)):
        if settings[key] not in known:
            raise unknown_name(key, str(settings[key]), known, where)
    first, last = settings["pruning_epochs"]
    if settings["pruning"] and not first < last <= settings["epochs"]:
        todo = f"give pruning_epochs=[first, last], first below last, last at most epochs ({settings['epochs']})"
        raise UsageError(f"pruning_epochs: {settings['pruning_epochs']}", where, todo)
    named_front_end(settings["front_end"]).check(settings["features"])
    for augmentation in settings["frame_augmentations"]:
        augmentation.check(settings["features"])


def _whole(value: object, least: int) -> bool:
    return type(value) is int and value >= least


def _number(value: object, least: float, most: float = math.inf) -> bool:
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    return known and math.isfinite(value) and least <= value <= most


def _speeds(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(_number(each, 0.1, 10) for each in value)


def _span(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(_whole(each, 0) for each in value)


def _length_curriculum(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(_whole(each, 1) for each in pair) for pair in value
    )


# What holds for the value of a key, and what to do where it does not.
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    **{key: (lambda value: _whole(value, 1), "must be a whole number from 1") for key in (*COUNTS, "accumulation")},
    **{key: (lambda value: _whole(value, 0), "must be a whole number from 0") for key in WHOLE_NUMBERS},
    **{key: (lambda value: _number(value, 0), "must be a number from 0") for key in NUMBERS},
    "speeds": (_speeds, "must be a list of numbers from 0.1 to 10"),
    "frame_augmentations": (
        lambda value: isinstance(value, list) and all(isinstance(each, FrameAugmentation) for each in value),
        "must be a list of augmentations of snn_asr/data/augmentation.py",
    ),
    "average_decay": (lambda value: _number(value, 0) and value < 1, "must be a number from 0 to below 1"),
    "pruning": (lambda value: _number(value, 0) and value < 1, "must be a share of weights from 0 to below 1"),
    "pruning_epochs": (_span, "must be [first, last] epoch, the first below the last"),
    "pruning_block": (lambda value: _whole(value, 1), "must be a whole number from 1"),
    "length_curriculum": (_length_curriculum, "must be a list of [frames, epochs]"),
    "feature_cache": (
        lambda value: value is None or (isinstance(value, str) and value != ""), "must be auto, none or a folder"
    ),
    "manifests": (
        lambda value: isinstance(value, str) and re.fullmatch(r"[\w-]*", value) is not None,
        "must be how the names of the manifests begin, such as isolated_",
    ),
}

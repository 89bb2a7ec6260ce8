"""The configuration of a training: the values of a recipe, checked and typed before anything is written.

keys.py has every key with its default, the values that it takes and its help; this module reads a recipe's values.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from typing import Any

import torch

from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.errors import UsageError
from snn_asr.network import encoders
from snn_asr.network.model import ModelSettings
from snn_asr.training.recipes.keys import (
    FEATURE_KEYS,
    AugmentationConfig,
    BatchConfig,
    DataConfig,
    ModelConfig,
    TrainingConfig,
)
from snn_asr.training.recipes.value_kinds import Kind, flag, number, optional, text, whole


@dataclass(frozen=True)
class Config:
    """Everything that a recipe says, checked and typed."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    features: FeatureSettings = field(default_factory=FeatureSettings)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    batches: BatchConfig = field(default_factory=BatchConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    @classmethod
    def read(cls, values: Mapping[str, Any], where: object = None) -> Config:
        """The configuration for the values of a recipe; keys that it lacks have their defaults.

        ``where`` names the recipe in errors. Raises UsageError for a value that cannot work.
        """
        parts = {name: _read_part(part, values, where) for name, part in _PARTS.items()}
        config = cls(features=_read_features(values, where), **parts)
        config.training.check(where)
        config.model.check(config.data.task, where)
        config.model.front_end.check(config.features)
        config.augmentation.check(config.features, config.data.task, where)
        options = _read_encoder_options(config.model.encoder, config.model.encoder_options, where)
        config.model.encoder_options.update(options)
        return config

    @property
    def model_settings(self) -> ModelSettings:
        """The settings of a model with this configuration."""
        network = self.model
        return ModelSettings(
            self.features, network.encoder, network.hidden_size, network.num_layers, network.encoder_options,
            network.head_normalization, self.data.task, network.front_end, network.head_bias, network.head_epsilon,
        )

    def values(self) -> dict[str, Any]:
        """Every key with its value."""
        values = {name: getattr(getattr(self, part), name) for part, group in _PARTS.items() for name in _names(group)}
        return values | {name: getattr(self.features, own) for name, (own, _) in FEATURE_KEYS.items()}


_PARTS: dict[str, type] = {
    "data": DataConfig, "model": ModelConfig, "augmentation": AugmentationConfig, "batches": BatchConfig,
    "training": TrainingConfig,
}


def _names(part: type) -> list[str]:
    return [each.name for each in fields(part)]


@dataclass(frozen=True)
class Key:
    """A key of every recipe: its part of the configuration, its default, the values that it takes, and its help."""

    name: str
    part: str
    default: Any
    kind: Kind
    help: str


def keys() -> dict[str, Key]:
    """The keys that every recipe has, by name, without the keys of single encoders."""
    found = [
        Key(each.name, part, each.metadata["default"], each.metadata["kind"], each.metadata["help"])
        for part, group in _PARTS.items() for each in fields(group)
    ]
    plain = asdict(FeatureSettings())
    types = {each.name: str(each.type) for each in fields(FeatureSettings)}
    for name, (own, about) in FEATURE_KEYS.items():
        found.append(Key(name, "features", plain[own], _TYPE_KINDS[types[own]], about))
    return {each.name: each for each in found}


_ANY_WHOLE, _ANY_NAME = Kind("a whole number", whole(-(1 << 31), 1 << 31).convert), text(r"(?s).*", "a name")
_TYPE_KINDS = {  # by annotation: the kinds of parameters whose limits only the class that has them checks
    "int": _ANY_WHOLE, "float": number(), "bool": flag(), "str": _ANY_NAME, "int | None": optional(_ANY_WHOLE),
    "float | None": optional(number()), "str | None": optional(_ANY_NAME),
}


def _read_part(part: type, values: Mapping[str, Any], where: object) -> Any:
    read = {each.name: _read_field(each, values, where) for each in fields(part)}
    return part(**read)


def _read_field(each: Field[Any], values: Mapping[str, Any], where: object) -> Any:
    return each.metadata["kind"].read(each.name, values.get(each.name, each.metadata["default"]), where)


def _read_features(values: Mapping[str, Any], where: object) -> FeatureSettings:
    """The feature settings from plain keys, or the object that the key ``features`` holds."""
    given = {name: values[name] for name in FEATURE_KEYS if name in values}
    whole_settings = given.get("features")
    if not isinstance(whole_settings, FeatureSettings):
        return FeatureSettings(**{FEATURE_KEYS[name][0]: value for name, value in given.items()})
    for name, value in given.items():
        own = getattr(whole_settings, FEATURE_KEYS[name][0])
        if name != "features" and value != own:
            raise UsageError(f"{name}: {value!r}", where, f"the recipe's features are an object that says {own!r}")
    return whole_settings


def _read_encoder_options(encoder: str, options: Mapping[str, Any], where: object) -> dict[str, Any]:
    """The options of an encoder in their types. Building an encoder of one unit with them checks their values."""
    parameters = {
        **inspect.signature(encoders.build).parameters, **inspect.signature(encoders.find(encoder)).parameters
    }
    read = {}
    for name, value in options.items():
        kind = _TYPE_KINDS.get(str(parameters[name].annotation)) if name in parameters else None
        read[name] = kind.read(name, value, where) if kind is not None else value
    with torch.random.fork_rng(devices=[]):
        encoders.build(encoder, 1, 1, 1, **read)
    return read

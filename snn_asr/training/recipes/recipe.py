"""Merging a recipe: the defaults, the encoder's block, the recipe itself, a preset, and ``key=value`` words.

    defaults of keys.py  <  encoders/NAME.yaml  <  train.yaml  <  its ``encoders: NAME``
                           <  presets/NAME.yaml  <  its ``encoders: NAME``  <  key=value

Each is a mapping of keys to values, and a later one replaces the value of an earlier one as a whole. A preset may build
on another (``preset: NAME``), whose keys come right before its own. Keys that only the blocks of other encoders have
are ignored, so that recipes and presets can set options of several encoders.

The merged mapping is HyperPyYAML, which makes recipes code: ``!new:``, ``!name:`` and ``!apply:`` build what they name.
Only ``load`` and ``Merged.config`` build anything; showing a recipe does not.
"""

from __future__ import annotations

import math
import pydoc
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from snn_asr.errors import DataError, SnnAsrError, UsageError, listed, unknown_name
from snn_asr.network import encoders
from snn_asr.training.recipes import config
from snn_asr.training.recipes.config import Config, Key
from snn_asr.training.recipes.keys import ENCODER_KEYS
from snn_asr.training.recipes.recipe_files import (
    ENCODERS,
    Entry,
    RecipeFile,
    display_name,
    encoder_blocks,
    find,
    presets,
    read,
    summary,
)
from snn_asr.training.recipes.yaml_nodes import as_json, as_node, canonical, references
from snn_asr.training.run_folder.identity import ASKING_NOTHING

PRESET = "preset"  # the override that names a preset
PLACEHOLDER = "!PLACEHOLDER"
DEFAULT, GIVEN = "default", "key=value"
_OPTIONS = ("data_folder", "output_folder", "device")  # of the commands that train, and no keys
# Keys that change neither the trained model nor the comparison of runs.
WITHOUT_EFFECT = ("feature_cache", "loader_workers")


@dataclass(frozen=True)
class Merged:
    """A recipe with one encoder: every key with its value and its source. ``block`` has the keys of the encoder
    alone."""

    path: Path
    head: str
    encoder: str
    preset: str | None
    entries: dict[str, Entry]
    block: dict[str, Entry]

    @property
    def overrides(self) -> dict[str, Any]:
        """The overrides and the preset as JSON values, sorted by key, without encoder and seed."""
        given = {key: canonical(each.node) for key, each in self.entries.items() if each.source == GIVEN}
        given |= {PRESET: self.preset} if self.preset is not None else {}
        return {key: given[key] for key in sorted(given) if key not in (*WITHOUT_EFFECT, "encoder", "seed")}

    def written(self, key: str) -> str:
        """The value of a key as its text, without building anything; empty if it is no single text or number."""
        node = self.entries[key].node
        return str(node.value) if isinstance(node, yaml.ScalarNode) else ""

    def build(self) -> dict[str, Any]:
        """The values of all keys, with the objects that the recipe names. Raises DataError if one cannot be built."""
        from hyperpyyaml import load_hyperpyyaml
        from ruamel.yaml.error import YAMLError

        missing = [key for key, each in self.entries.items() if each.node.tag == PLACEHOLDER]
        if missing:
            raise UsageError(f"needs a value for '{missing[0]}'", self.path, f"give {missing[0]}=...")
        # Defaults that nothing refers to need no parsing, which saves half the time.
        referred = set(references(each.node for each in self.entries.values()))
        defaults = {
            key: each.default for key, each in config.keys().items()
            if self.entries[key].source == DEFAULT and key not in referred
        }
        pairs = [(as_node(key), each.node) for key, each in self.entries.items() if key not in defaults]
        # Serialised without comments: HyperPyYAML builds other objects where one stands above a '!new:' in a list.
        body = yaml.serialize(yaml.MappingNode("tag:yaml.org,2002:map", pairs), width=math.inf)
        unbuilt = (
            YAMLError, pydoc.ErrorDuringImport, ImportError, AttributeError, KeyError, TypeError, ValueError,
            SystemExit,
        )
        try:
            return defaults | load_hyperpyyaml(body)
        except SnnAsrError:
            raise
        except unbuilt as error:
            problem, todo = " ".join(str(error).split()), "correct the recipe or the overrides"
            raise DataError(f"cannot be loaded ({problem})", self.path, todo) from error

    def config(self) -> Config:
        """The checked configuration. Raises UsageError for a value that cannot work, and DataError as ``build``
        does."""
        values = self.build()
        try:
            return self._checked(values)
        except UsageError as error:
            entry = self.entries.get(error.what.partition(":")[0])
            if error.where != self.path or entry is None or entry.source != GIVEN:
                raise
            raise UsageError(error.what, todo=error.todo) from error  # a word of the command is not in the file

    def _checked(self, values: Mapping[str, Any]) -> Config:
        known = config.keys()
        for key, each in known.items():
            if self.entries[key].source == GIVEN:
                each.kind.read(key, values[key])
        given = {key: value for key, value in values.items() if self.entries[key].source != DEFAULT}
        if callable(given.get("optimizer")) and "weight_decay" in given:
            todo = f"the optimizer of {self.path} is a class: give it there"
            raise UsageError("weight_decay", self.path, todo)
        further = known["encoder_options"].kind.read("encoder_options", values["encoder_options"], self.path)
        return Config.read(given | {"encoder_options": self._encoder_options(values) | further}, self.path)

    def _encoder_options(self, values: Mapping[str, Any]) -> dict[str, Any]:
        known, options = encoders.option_names(self.encoder), {}
        for key in (*ENCODER_KEYS, *self.block):
            if key in known and values[key] is not None:
                options[key] = values[key]
            elif key in ENCODER_KEYS and key not in known and self.entries[key].source == GIVEN:
                raise UsageError(f"{key}: {values[key]!r}", self.path, f"leave it out: encoder {self.encoder} has none")
        return options

    def identity(self, chosen: Config) -> dict[str, Any]:
        """JSON values, sorted by key, of everything that determines the trained model: equal for equal trainings.

        ``chosen`` is the result of ``config``. An object that the recipe builds counts by its text in the recipe. Keys
        of ASKING_NOTHING are left out at the values there.
        """
        values = {key: canonical(each.node) for key, each in self.entries.items() if key not in config.keys()}
        for key, value in chosen.values().items():
            plain, value = as_json(value)
            values[key] = value if plain else canonical(self.entries[key].node)
        values |= values.pop("encoder_options")
        return {
            key: value for key, value in sorted(values.items())
            if key not in WITHOUT_EFFECT and (key, value) not in ASKING_NOTHING.items()
        }

    def text(self) -> str:
        """The merged recipe as YAML for people: each value with its comment (or help) and its source."""
        lines, known = [self.head] if self.head else [], config.keys()
        parts: dict[str, list[str]] = {each.part: [] for each in known.values()}
        for key in self.entries:
            part = known[key].part if key in known else f"encoder {self.encoder}"
            parts.setdefault(part, []).append(self._line(key, known.get(key)))
        for part, written in parts.items():
            lines += ["", f"# {part.capitalize()}", *written]
        return "\n".join(lines).lstrip("\n") + "\n"

    def _line(self, key: str, known: Key | None) -> str:
        entry = self.entries[key]
        pairs = [(as_node(key), entry.node)]
        first, *rest = yaml.serialize(
            yaml.MappingNode("tag:yaml.org,2002:map", pairs, flow_style=False), width=math.inf
        ).splitlines()
        about = entry.comment or (known.help if known is not None else "")
        if not about and key in self.block:
            about = self.block[key].comment
        return "\n".join([f"{first:<27} # {about}{' ' if about else ''}[{entry.source}]", *rest])


def merge(
    name_or_path: str | Path, overrides: Mapping[str, object] | None = None, trust: bool = False
) -> Merged:
    """A recipe merged with its encoder's block, a preset and overrides. Nothing is built.

    ``trust`` allows a folder as the recipe (recipe_files.py). Raises UsageError for an unknown recipe, encoder, preset
    or key, and DataError for a file that cannot be read.
    """
    path = find(name_or_path, trust)
    given = dict(overrides or {})
    preset = given.pop(PRESET, None)
    files = [read(path), *(_preset(path, str(preset), path) if preset is not None else [])]
    blocks = encoder_blocks(path)
    named = [str(each.entries["encoder"].node.value) for each in files if "encoder" in each.entries]
    encoder = str(given.get("encoder", [config.keys()["encoder"].default, *named][-1]))
    if encoder not in blocks:
        raise unknown_name("encoder", encoder, blocks, None if "encoder" in given else path)
    block = read(blocks[encoder])
    entries = {key: Entry(as_node(each.default), DEFAULT) for key, each in config.keys().items()} | block.entries
    for file in files:
        entries |= _known_entries(file, encoder, entries, blocks)
    for key, value in given.items():
        if key not in entries:
            owners = [name for name, each in blocks.items() if key in read(each).entries]
            if owners:
                todo = f"encoder {encoder} has none, it is an option of {listed(owners, 5)}"
                raise UsageError(f"unknown key '{key}'", todo=todo)
            if key in _OPTIONS:
                raise UsageError(f"unknown key '{key}'", todo=f"it is an option: --{key.replace('_', '-')} {value}")
            command = f"snn-asr recipes show {display_name(path)} --keys"
            raise unknown_name("key", key, {PRESET, *entries}, listed_by=command)
        entries[key] = Entry(as_node(value), GIVEN)
    entries["encoder"] = Entry(as_node(encoder), entries["encoder"].source)
    own = {key: each for key, each in block.entries.items() if key not in config.keys()}
    head = "\n#\n".join(each.head for each in files if each.head)
    return Merged(path, head, encoder, None if preset is None else str(preset), entries, own)


def load(
    name_or_path: str | Path, overrides: Mapping[str, object] | None = None, trust: bool = False
) -> Config:
    """The checked configuration of a recipe, merged with ``overrides``. This builds the objects that it names.

    Raises what ``merge`` and ``Merged.config`` raise.
    """
    return merge(name_or_path, overrides, trust).config()


def text(name_or_path: str | Path, overrides: Mapping[str, object] | None = None) -> str:
    """The merged recipe for people, with a list of its presets below its head. Nothing is built."""
    merged = merge(name_or_path, overrides, trust=True)
    named = ["#", "# Presets (preset=NAME)", *(f"#   {summary(path)}" for path in presets(merged.path).values())]
    return replace(merged, head="\n".join([merged.head or "#", *named])).text()


def keys(name_or_path: str | Path, encoder: str) -> set[str]:
    """The keys that overrides may set with this encoder. Raises UsageError for an unknown recipe or encoder."""
    return {PRESET, *merge(name_or_path, {"encoder": encoder}).entries}


def _preset(recipe: Path, name: str, named_in: Path, above: tuple[str, ...] = ()) -> list[RecipeFile]:
    """The files of a preset: first those of the preset that it builds on (its key ``preset``), then its own.

    ``above`` are the presets that build on this one. Raises UsageError for an unknown preset, and DataError for one
    that builds on itself.
    """
    found = presets(recipe)
    if name not in found:
        raise unknown_name(PRESET, name, found, named_in)
    if name in above:
        raise DataError(f"builds on itself ({' <- '.join([name, *reversed(above)])})", named_in, "correct its preset")
    file = read(found[name])
    if PRESET not in file.entries:
        return [file]
    own = replace(file, entries={key: each for key, each in file.entries.items() if key != PRESET})
    return [*_preset(recipe, str(file.entries[PRESET].node.value), file.path, (*above, name)), own]


def _known_entries(
    file: RecipeFile, encoder: str, known: Mapping[str, Entry], blocks: Mapping[str, Path]
) -> dict[str, Entry]:
    """The entries of a recipe or preset for ``encoder``, without options that only other encoders have.

    An unknown key is allowed if other values refer to it (``!ref <key>``); otherwise it is a UsageError.
    """
    for name in file.by_encoder:
        if name not in blocks:
            raise unknown_name("encoder", name, blocks, f"{file.path}, {ENCODERS}")
    chosen = file.for_encoder(encoder)
    referred = set(references(each.node for each in chosen.values()))
    entries, others = {}, None
    for key, each in chosen.items():
        if key in known or key in referred or each.node.tag == PLACEHOLDER:
            entries[key] = each
            continue
        others = others if others is not None else {name for path in blocks.values() for name in read(path).entries}
        if key not in others or key in file.by_encoder.get(encoder, {}):
            raise unknown_name("key", key, {*known, *others}, file.path, "snn-asr recipes show RECIPE --keys")
    return entries

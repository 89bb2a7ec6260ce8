"""Recipes: HyperPyYAML files found on disk, each composed with one encoder block.

A recipe is a folder with a ``train.yaml``. Its key ``encoder: NAME`` chooses ``encoders/NAME.yaml``, a flat mapping
whose keys are disjoint from the recipe's and are appended to it, so that two encoders trained from one recipe differ
in that block alone. An override ``preset=NAME`` replaces the keys that ``presets/NAME.yaml`` holds: one of the
recipe's own folder, or one for all recipes beside it; those of other encoders' blocks are passed over. Recipes are
code: loading one builds the objects it names. Only training does that.
"""

from __future__ import annotations

import math
import pydoc
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import snn_asr
from snn_asr.errors import DataError, SnnAsrError, UsageError, unknown_name
from snn_asr.files import write_bytes

if TYPE_CHECKING:
    from snn_asr.training.config import Config

RECIPE_FILE = "train.yaml"
ENCODERS = "encoders"
PRESETS = "presets"
PRESET = "preset"  # the override that names one
PLACEHOLDER = "!PLACEHOLDER"


def recipes_folder() -> Path:
    """The folder of all recipes: inside the installed package or, for an editable install, beside it."""
    package = Path(snn_asr.__file__).parent
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parent / "recipes"


def discover() -> dict[str, Path]:
    """Name to YAML file of every recipe that comes with the package."""
    return {path.parent.name: path for path in sorted(recipes_folder().glob(f"*/{RECIPE_FILE}"))}


def find(name_or_path: str | Path) -> Path:
    """The YAML file of a recipe given as a YAML file, a folder that holds one, or a name in either case.

    A file or folder on disk goes before a name, so that a copied recipe is the one that is used.
    Raises UsageError where there is none.
    """
    path = Path(name_or_path)
    for candidate in (path, path / RECIPE_FILE):
        if candidate.is_file():
            return candidate
    recipes = discover()
    for name, recipe in recipes.items():
        if name.lower() == str(name_or_path).lower():
            return recipe
    if path.is_dir():
        raise UsageError(f"no {RECIPE_FILE} in this folder", path, f"or name a recipe: {', '.join(recipes)}")
    raise unknown_name("recipe", str(name_or_path), recipes)


def encoder_blocks(recipe: Path) -> dict[str, Path]:
    """Name to YAML file of a recipe's encoder blocks: those in ``encoders/`` beside its own folder, or else ours."""
    return _beside(recipe, ENCODERS)


def presets(recipe: Path) -> dict[str, Path]:
    """Name to YAML file of the presets a recipe may be trained with: those for all recipes, and its own."""
    own = (recipe.resolve().parent / PRESETS).glob("*.yaml")
    return _beside(recipe, PRESETS) | {path.stem: path for path in sorted(own)}


def _beside(recipe: Path, name: str) -> dict[str, Path]:
    beside = recipe.resolve().parent.parent / name
    folder = beside if beside.is_dir() else recipes_folder() / name
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def summary(recipe: Path) -> str:
    """The first comment line of a recipe."""
    lines = _read(recipe).splitlines()
    return next((line.lstrip("# ").rstrip() for line in lines if line.startswith("#")), "")


def load(name_or_path: str | Path, overrides: Mapping[str, object] | None = None) -> Config:
    """The checked configuration of a recipe with its encoder block and ``overrides``.

    Raises UsageError for an unknown key, encoder or recipe and for a value that cannot work, DataError for a recipe
    that is not HyperPyYAML or names what does not exist.
    """
    from snn_asr.training.config import Config  # here, so that recipes are listed without importing torch

    return Config.read(build(name_or_path, overrides), find(name_or_path))


def build(name_or_path: str | Path, overrides: Mapping[str, object] | None = None) -> dict[str, Any]:
    """Compose a recipe with its encoder block, apply ``overrides`` and build everything it names.

    Raises UsageError for an unknown key, encoder or recipe and for a value that is still to be given, DataError for a
    recipe that is not HyperPyYAML or names what does not exist.
    """
    from hyperpyyaml import load_hyperpyyaml
    from ruamel.yaml.error import YAMLError

    recipe, values = find(name_or_path), _plain(overrides)
    composed = _compose(recipe, values)
    values.pop(PRESET, None)
    _check_keys(recipe, composed, values)
    try:
        return load_hyperpyyaml(_without_comments(composed), values)
    except SnnAsrError:
        raise
    except (YAMLError, pydoc.ErrorDuringImport, ImportError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"cannot be loaded ({error})", recipe, "correct the recipe or the overrides") from error


def keys(name_or_path: str | Path, encoder: str) -> set[str]:
    """The keys that overrides may name with ``encoder``. Raises UsageError for an unknown recipe or encoder."""
    recipe = find(name_or_path)
    return {PRESET, *_top_level(_compose(recipe, {"encoder": encoder}), recipe)}


def text(name_or_path: str | Path, overrides: Mapping[str, object] | None = None) -> str:
    """The composed recipe, for reading; overrides other than the encoder are named in a comment at its head."""
    recipe, values = find(name_or_path), _plain(overrides)
    composed = _compose(recipe, values)
    _check_keys(recipe, composed, {key: value for key, value in values.items() if key != PRESET}, complete=False)
    if not values:
        return composed
    return f"# Overrides: {' '.join(f'{key}={value}' for key, value in values.items())}\n{composed}"


def copy(name_or_path: str | Path, folder: str | Path) -> Path:
    """Copy a recipe's folder, the encoder blocks and the shared presets into ``folder``.

    Returns the copied recipe's folder. Raises UsageError, before anything is written, where a file exists with other
    content.
    """
    recipe, folder = find(name_or_path), Path(folder)
    target = folder / recipe.resolve().parent.name
    pairs = [(source, target / source.relative_to(recipe.parent)) for source in _files(recipe.parent)]
    for name in (ENCODERS, PRESETS):
        pairs += [(source, folder / name / source.name) for source in _beside(recipe, name).values()]
    contents = {copied: source.read_bytes() for source, copied in pairs}
    for copied, content in contents.items():
        if copied.exists() and not (copied.is_file() and copied.read_bytes() == content):
            raise UsageError("exists already and differs", copied, "choose another folder")
    for copied, content in contents.items():
        write_bytes(copied, content)
    return target


def _compose(recipe: Path, values: Mapping[str, object]) -> str:
    """The text of a recipe with its encoder block and the preset it is given."""
    composed = _with_encoder(recipe, values)
    name = values.get(PRESET)
    if name is None:
        return composed
    found = presets(recipe)
    if name not in found:
        raise unknown_name(PRESET, str(name), found, recipe)
    return _replaced(composed, recipe, found[name])


def _replaced(composed: str, recipe: Path, preset: Path) -> str:
    """The text with every key of the preset that it has replaced by the preset's, comments between keys kept."""
    body = _read(preset)
    lines, known, given = composed.splitlines(), _segments(composed, recipe), _segments(body, preset)
    blocks = encoder_blocks(recipe).values()
    for key in given.keys() - known.keys():
        if all(key not in _top_level(_read(block), block) for block in blocks):
            raise unknown_name("key", key, known, preset)
    replaced = [(span, given[key]) for key, span in known.items() if key in given]
    for span, new in sorted(replaced, key=lambda each: each[0].start, reverse=True):
        lines[span.start : span.stop] = body.splitlines()[new.start : new.stop]
    return "\n".join(lines) + "\n"


def _segments(body: str, path: Path) -> dict[str, range]:
    """The lines of each top-level key with its value, without the comments that follow it."""
    lines, starts = body.splitlines(), {key.value: key.start_mark.line for key, _ in _pairs(body, path)}
    segments = {}
    for (key, start), stop in zip(starts.items(), [*list(starts.values())[1:], len(lines)], strict=True):
        while stop > start + 1 and (not lines[stop - 1].strip() or lines[stop - 1].lstrip().startswith("#")):
            stop -= 1
        segments[key] = range(start, stop)
    return segments


def _with_encoder(recipe: Path, values: Mapping[str, object]) -> str:
    """The text of a recipe followed by that of the encoder block it chooses (none if it has no key ``encoder``)."""
    body = _read(recipe)
    nodes = _top_level(body, recipe)
    if "encoder" not in nodes:
        return body
    encoder = str(values.get("encoder", nodes["encoder"].value))
    blocks = encoder_blocks(recipe)
    if encoder not in blocks:
        raise unknown_name("encoder", encoder, blocks, recipe)
    block = _read(blocks[encoder])
    shared = sorted(nodes.keys() & _top_level(block, blocks[encoder]).keys())
    if shared:
        raise DataError(f"key '{shared[0]}' is also a key of {recipe}", blocks[encoder], "rename it in one of the two")
    return f"{body.rstrip()}\n\n# Encoder block: {encoder}\n{block.rstrip()}\n"


def _check_keys(recipe: Path, composed: str, values: Mapping[str, object], complete: bool = True) -> None:
    """Every override names a key and, if ``complete``, every placeholder has its override."""
    nodes = _top_level(composed, recipe)
    for key in values:
        if key not in nodes:
            raise unknown_name("key", key, nodes, recipe)
    missing = [key for key, node in nodes.items() if node.tag == PLACEHOLDER and values.get(key) is None]
    if complete and missing:
        flag = f"--{missing[0].replace('_', '-')}"
        raise UsageError(f"needs a value for '{missing[0]}'", recipe, f"give {missing[0]}=... (or {flag})")


def _top_level(body: str, path: Path) -> dict:
    """Key to YAML node of a mapping, with tags read but nothing built."""
    return {key.value: value for key, value in _pairs(body, path)}


def _pairs(body: str, path: Path) -> list:
    """Nodes of keys and values of a mapping, in order."""
    import yaml

    try:
        node = yaml.compose(body, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise DataError(f"not YAML ({error})", path, "correct it") from error
    if not isinstance(node, yaml.MappingNode):
        raise DataError("not a mapping of keys to values", path, "correct it")
    return node.value


def _without_comments(body: str) -> str:
    """The same YAML without its comments, since HyperPyYAML builds other objects where one stands above a ``!new:`` in
    a list, and says nothing."""
    import yaml

    return yaml.serialize(yaml.compose(body, Loader=yaml.SafeLoader), width=math.inf)


def _plain(overrides: Mapping[str, object] | None) -> dict[str, object]:
    """A copy in types YAML can write: paths as strings."""
    return {key: str(value) if isinstance(value, Path) else value for key, value in (overrides or {}).items()}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read ({error})", path) from error


def _files(folder: Path) -> Iterable[Path]:
    """The visible files of a folder, recursively, without Python's caches."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith(".") or part == "__pycache__" for part in parts):
            yield path

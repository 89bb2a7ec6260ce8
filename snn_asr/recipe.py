"""Recipes: HyperPyYAML files found on disk, each composed with one encoder block.

A recipe is a folder with a ``train.yaml``. Its key ``encoder: NAME`` chooses ``encoders/NAME.yaml``, a flat mapping
whose keys are disjoint from the recipe's and are appended to it, so that two encoders trained from one recipe differ
in that block alone. Recipes are code: loading one builds the objects it names. Only training does that.
"""

from __future__ import annotations

import pydoc
from collections.abc import Iterable, Mapping
from pathlib import Path

import snn_asr
from snn_asr.errors import DataError, SnnAsrError, UsageError, unknown_name
from snn_asr.files import write_bytes

RECIPE_FILE = "train.yaml"
ENCODERS = "encoders"
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
    beside = recipe.resolve().parent.parent / ENCODERS
    folder = beside if beside.is_dir() else recipes_folder() / ENCODERS
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def summary(recipe: Path) -> str:
    """The first comment line of a recipe."""
    lines = _read(recipe).splitlines()
    return next((line.lstrip("# ").rstrip() for line in lines if line.startswith("#")), "")


def load(name_or_path: str | Path, overrides: Mapping[str, object] | None = None) -> dict[str, object]:
    """Compose a recipe with its encoder block, apply ``overrides`` and build everything it names.

    Raises UsageError for an unknown key, encoder or recipe and for a value that is still to be given, DataError for a
    recipe that is not HyperPyYAML or names what does not exist.
    """
    from hyperpyyaml import load_hyperpyyaml
    from ruamel.yaml.error import YAMLError

    recipe, values = find(name_or_path), _plain(overrides)
    composed = _compose(recipe, values)
    _check_keys(recipe, composed, values)
    try:
        return load_hyperpyyaml(composed, values)
    except SnnAsrError:
        raise
    except (YAMLError, pydoc.ErrorDuringImport, ImportError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"cannot be loaded ({error})", recipe, "correct the recipe or the overrides") from error


def keys(name_or_path: str | Path, encoder: str) -> set[str]:
    """The keys a recipe has with ``encoder``. Raises UsageError for an unknown recipe or encoder."""
    recipe = find(name_or_path)
    return set(_top_level(_compose(recipe, {"encoder": encoder}), recipe))


def text(name_or_path: str | Path, overrides: Mapping[str, object] | None = None) -> str:
    """The composed recipe, for reading; overrides other than the encoder are named in a comment at its head."""
    recipe, values = find(name_or_path), _plain(overrides)
    composed = _compose(recipe, values)
    _check_keys(recipe, composed, values, complete=False)
    if not values:
        return composed
    return f"# Overrides: {' '.join(f'{key}={value}' for key, value in values.items())}\n{composed}"


def copy(name_or_path: str | Path, folder: str | Path) -> Path:
    """Copy a recipe's folder and the encoder blocks into ``folder``; returns the copied recipe's folder.

    Raises UsageError, before anything is written, where a file exists with other content.
    """
    recipe, folder = find(name_or_path), Path(folder)
    target = folder / recipe.resolve().parent.name
    pairs = [(source, target / source.relative_to(recipe.parent)) for source in _files(recipe.parent)]
    pairs += [(source, folder / ENCODERS / source.name) for source in encoder_blocks(recipe).values()]
    contents = {copied: source.read_bytes() for source, copied in pairs}
    for copied, content in contents.items():
        if copied.exists() and not (copied.is_file() and copied.read_bytes() == content):
            raise UsageError("exists already and differs", copied, "choose another folder")
    for copied, content in contents.items():
        write_bytes(copied, content)
    return target


def _compose(recipe: Path, values: Mapping[str, object]) -> str:
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
    import yaml

    try:
        node = yaml.compose(body, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise DataError(f"not YAML ({error})", path, "correct it") from error
    if not isinstance(node, yaml.MappingNode):
        raise DataError("not a mapping of keys to values", path, "correct it")
    return {key.value: value for key, value in node.value}


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

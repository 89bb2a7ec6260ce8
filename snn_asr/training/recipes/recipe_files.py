"""Recipes on disk: finding them, reading their files, and copying them for editing.

A recipe is a folder with a ``train.yaml``. Beside the recipes are ``encoders/NAME.yaml``, the settings of one encoder
for every recipe, and ``presets/NAME.yaml``, sets of keys for every recipe; a recipe may also have its own ``presets/``.
Reading a file builds nothing: its values stay YAML nodes, which recipe.py merges and builds.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import yaml

import snn_asr
from snn_asr.errors import DataError, UsageError, describing, unknown_name
from snn_asr.files import read_text, require_regular, write_bytes

RECIPE_FILE = "train.yaml"
ENCODERS = "encoders"  # the folder of blocks, and the key of a recipe with settings for single encoders
PRESETS = "presets"
SUFFIXES = (".yaml", ".yml")
_MOST_NODES = 100_000  # of a file with its aliases unfolded
_MOST_FILES, _MOST_BYTES = 1000, 64 << 20  # that a recipe may have beside it to be copied


@dataclass(frozen=True)
class Entry:
    """The value of a key: its YAML node, its source (a file, or words for one), and its comment there."""

    node: yaml.Node
    source: str
    comment: str = ""


@dataclass(frozen=True)
class RecipeFile:
    """The content of a YAML file: its leading comment, its keys, and the keys under ``encoders`` for single
    encoders."""

    path: Path
    head: str
    entries: dict[str, Entry]
    by_encoder: dict[str, dict[str, Entry]]

    def for_encoder(self, encoder: str) -> dict[str, Entry]:
        """The keys for one encoder: those for all, replaced by those for it alone."""
        return self.entries | self.by_encoder.get(encoder, {})


def recipes_folder() -> Path:
    """The folder of all recipes: in the installed package, or beside it for an editable install."""
    package = Path(snn_asr.__file__).parent
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parent / "recipes"


def discover() -> dict[str, Path]:
    """The YAML file of every recipe in the package, by name."""
    return {path.parent.name: path for path in sorted(recipes_folder().glob(f"*/{RECIPE_FILE}"))}


def find(name_or_path: str | Path, trust: bool = False) -> Path:
    """The YAML file of a recipe in the package, by its name in upper or lower case, or of any recipe, by its path.

    Recipes are code. A folder is therefore searched for a ``train.yaml`` only with ``trust``, so that what the user
    believes to be a model or a run is never read as a recipe. Raises UsageError if there is no recipe.
    """
    recipes = discover()
    for name, recipe in recipes.items():
        if name.lower() == str(name_or_path).lower():
            return recipe
    path = Path(name_or_path)
    if path.is_file() and (trust or path.suffix in SUFFIXES):
        return path
    inside = path / RECIPE_FILE
    if inside.is_file() and trust:
        return inside
    if inside.is_file():
        what = f"a folder; the code of its {RECIPE_FILE} is not run unasked"
        raise UsageError(what, path, f"name {inside} itself, or give --trust")
    if path.is_dir():
        todo = f"give the file of a recipe, or a name: {', '.join(recipes)}"
        raise UsageError(f"no {RECIPE_FILE} in this folder", path, todo)
    if path.is_file():
        raise UsageError("not a recipe by its name, which would end in .yaml", path, "name another file, or --trust it")
    raise unknown_name("recipe", str(name_or_path), recipes)


def encoder_blocks(recipe: Path) -> dict[str, Path]:
    """The YAML files of encoder blocks, by name: in ``encoders/`` beside the recipe's folder, or else in the
    package."""
    return _beside(recipe, ENCODERS)


def presets(recipe: Path) -> dict[str, Path]:
    """The YAML files of a recipe's presets, by name: those for all recipes, and its own."""
    own = (recipe.resolve().parent / PRESETS).glob("*.yaml")
    return _beside(recipe, PRESETS) | {path.stem: path for path in sorted(own)}


def display_name(recipe: Path) -> str:
    """The name of a recipe in run folders: its name in the package, or the path of its file."""
    names = {path.resolve(): name for name, path in discover().items()}
    return names.get(recipe.resolve(), str(recipe.resolve()))


def summary(recipe: Path) -> str:
    """The first comment line of a recipe or preset."""
    return read(recipe).head.partition("\n")[0].lstrip("# ").rstrip()


def copy(name_or_path: str | Path, folder: str | Path) -> Path:
    """Copy a recipe's folder, the encoder blocks and the shared presets into ``folder``. Nothing of them runs.

    Returns the file of the copied recipe. Raises UsageError, before anything is written, if a file exists with other
    content.
    """
    recipe, folder = find(name_or_path, trust=True), Path(folder)
    target = folder / recipe.resolve().parent.name
    pairs = [(source, target / source.relative_to(recipe.parent)) for source in _files(recipe)]
    for name in (ENCODERS, PRESETS):
        pairs += [(source, folder / name / source.name) for source in _beside(recipe, name).values()]
    for source, _ in pairs:
        with describing(source):
            require_regular(source)  # a pipe beside the recipes would be waited for
    contents = {copied: source.read_bytes() for source, copied in pairs}
    for copied, content in contents.items():
        if copied.exists() and not (copied.is_file() and copied.read_bytes() == content):
            raise UsageError("exists already and differs", copied, "choose another folder")
    for copied, content in contents.items():
        write_bytes(copied, content)
    return target / recipe.name


def read(path: Path) -> RecipeFile:
    """The content of a file. Raises DataError unless it is a YAML mapping that has each key once."""
    body = read_text(path, regular=True)
    try:
        with describing(path, "correct it"):
            node = yaml.compose(body, Loader=yaml.SafeLoader)
            _check_unfolded(node, path)
    except yaml.YAMLError as error:
        raise DataError(f"not YAML ({' '.join(str(error).split())})", path, "correct it") from error
    source, lines = f"{path.resolve().parent.name}/{path.name}", body.splitlines()
    head = []
    for line in lines:
        if not line.startswith("#"):
            break
        head.append(line)
    entries = _entries(node, lines, len(head), path, source) if node is not None else {}
    own = entries.pop(ENCODERS, None)
    by_encoder = {}
    for name, each in (_entries(own.node, lines, 0, path, source) if own is not None else {}).items():
        by_encoder[name] = _entries(each.node, lines, 0, path, f"{source}, {ENCODERS}: {name}")
    return RecipeFile(path, "\n".join(head), entries, by_encoder)


def _check_unfolded(root: yaml.Node | None, path: Path) -> None:
    """Raise DataError if the aliases of a file (``*name``) refer to themselves, or expand to too many values."""
    sizes: dict[yaml.Node, int] = {}

    def size(node: yaml.Node, around: frozenset[yaml.Node]) -> int:
        if node in around:
            raise DataError("an alias leads to what it is part of", f"{path}:{node.start_mark.line + 1}", "correct it")
        if node not in sizes:
            inside = around | {node}
            parts = [each for pair in node.value for each in pair] if isinstance(node, yaml.MappingNode) else (
                node.value if isinstance(node, yaml.SequenceNode) else []
            )
            sizes[node] = 1 + sum(size(each, inside) for each in parts)
        return sizes[node]

    if root is not None and size(root, frozenset()) > _MOST_NODES:
        raise DataError(f"aliases that unfold to more than {_MOST_NODES} values", path, "write out what is meant")


def _entries(node: yaml.Node, lines: list[str], first_line: int, path: Path, source: str) -> dict[str, Entry]:
    if not isinstance(node, yaml.MappingNode):
        raise DataError("not a mapping of keys to values", path, "correct it")
    entries: dict[str, Entry] = {}
    ends = [key.start_mark.line for key, _ in node.value[1:]] + [node.end_mark.line]
    for (key, value), end in zip(node.value, ends, strict=True):
        if not isinstance(key, yaml.ScalarNode):
            raise DataError(f"a key is not a word (line {key.start_mark.line + 1})", path, "correct it")
        if key.value in entries:
            raise DataError(f"cannot be loaded (key '{key.value}' is given twice)", path, "keep one of the two")
        entries[key.value] = Entry(value, source, _comment(key, value, lines, first_line, end))
    return entries


def _comment(key: yaml.Node, value: yaml.Node, lines: list[str], first_line: int, end: int) -> str:
    """The comment of a key: the lines above it at its indent, behind it, and indented ones below a one-line value."""
    words: list[str] = []
    line = key.start_mark.line
    above = line - 1
    indent = " " * key.start_mark.column + "#"
    while above >= first_line and lines[above].startswith(indent):
        words.insert(0, lines[above])
        above -= 1
    one_line = value.start_mark.line == line and value.end_mark.line == line
    behind = lines[line][value.end_mark.column if one_line else key.end_mark.column + 1 :].strip()
    if behind.startswith("#"):
        words.append(behind)
    if one_line:
        for below in lines[line + 1 : end]:
            if not below.lstrip().startswith("#") or below.startswith(indent):
                break
            words.append(below)
    return " ".join(each.strip().lstrip("# ") for each in words)


def _beside(recipe: Path, name: str) -> dict[str, Path]:
    beside = recipe.resolve().parent.parent / name
    folder = beside if beside.is_dir() else recipes_folder() / name
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def _files(recipe: Path) -> list[Path]:
    """The visible files of a recipe's folder, recursively, without Python's caches. Raises UsageError if they are too
    many, or too large, to belong to a recipe."""
    visible = (path for path in recipe.parent.rglob("*") if not _is_hidden(path.relative_to(recipe.parent)))
    files = list(islice((path for path in visible if path.is_file()), _MOST_FILES + 1))
    if len(files) > _MOST_FILES or sum(path.stat().st_size for path in files) > _MOST_BYTES:
        raise UsageError(
            f"more lies beside it than a recipe has, and would be copied: over {_MOST_FILES} files, or "
            f"{_MOST_BYTES >> 20} MB", recipe, "give the recipe a folder of its own",
        )
    return sorted(files)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in path.parts)

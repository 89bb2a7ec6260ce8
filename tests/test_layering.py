"""The order of imports: every folder sees those before it alone, no module sees itself through others."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
# A folder, or a file beside the folders, may import those of lower ranks; those of the base also each other.
BASE = ("devices", "errors", "files", "interruption", "kernel_cache", "logs", "processes", "sharding")
ORDER = (
    BASE, ("data",), ("network",), ("events",), ("scoring",), ("decoding",), ("efficiency",), ("export",),
    ("training",), ("reports",), ("", "doctor", "encoders"), ("cli",),
)
RANKS = {name: rank for rank, names in enumerate(ORDER) for name in names}
# Within training, likewise: what lies beside its folders may import all of them.
ORDER_IN_TRAINING = ("run_folder", "recipes", "loop", "")
CORPORA = "corpora"  # beside the network: needs the data alone
NEEDED_BY_CORPORA = (*BASE, "data")
CORPORA_FOR = ("training", "reports", "cli")
SPEECHBRAIN_FOR = ("data", "training", "doctor")


@cache
def modules() -> dict[str, Path]:
    """All modules of the package by name; the folder cli is installed as snn_asr.cli."""
    found = {}
    for prefix, folder in (("snn_asr", CHECKOUT / "snn_asr"), ("snn_asr.cli", CHECKOUT / "cli")):
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join([prefix, *(each for each in parts if each != "__init__")])] = path
    return found


def imports(path: Path) -> Iterator[str]:
    """Modules that a file imports at any depth, as ``snn_asr.data.audio`` or, of a name in it, its module; but for
    type checkers alone."""
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = imported_module(path, node)
            whole = (f"{module}.{each.name}" for each in node.names)
            yield from (each if each in modules() else module for each in whole)
        waiting += ast.iter_child_nodes(node)


def imported_module(path: Path, node: ast.ImportFrom) -> str:
    """The whole name of the module that ``from ... import`` names. Only the commands, whose folder is not where they
    are installed, name their neighbours by a dot: a type checker then finds them in both places."""
    if path.parent == CHECKOUT / "cli" and node.level == 1 and node.module:
        return f"snn_asr.cli.{node.module}"
    assert node.level == 0 and node.module, f"{path}: relative imports hide where a module lies"
    return node.module


@cache
def graph() -> dict[str, set[str]]:
    """Modules of the package that each of its modules imports. The package itself is asked for its version alone."""
    own = modules().keys() - {"snn_asr"}
    return {name: own & set(imports(path)) for name, path in modules().items()}


def folder(module: str) -> str:
    """``data`` of ``snn_asr.data.audio``."""
    return module.partition(".")[2].partition(".")[0]


@pytest.mark.parametrize("name", sorted(modules()))
def test_a_module_imports_lower_folders_alone(name: str) -> None:
    own = folder(name)
    for other in sorted(folder(each) for each in graph()[name]):
        if own == other:
            continue
        if own == CORPORA:
            assert other in NEEDED_BY_CORPORA, f"{name} imports {other}"
        elif other == CORPORA:
            assert own in CORPORA_FOR, f"{name} imports {other}"
        else:
            assert RANKS[other] < RANKS[own] or {own, other} <= set(BASE), f"{name} imports {other}"


def test_folders_of_training_import_those_before_them_alone() -> None:
    def rank(path: tuple[str, ...]) -> int:
        return ORDER_IN_TRAINING.index(path[0] if path and path[0] in ORDER_IN_TRAINING else "")

    inside = {name: tuple(name.split(".")[2:]) for name in graph() if folder(name) == "training"}
    assert {path[0] for path in inside.values() if path} >= set(ORDER_IN_TRAINING) - {""}
    found = [
        f"{name} imports {other}" for name, path in inside.items() for other in graph()[name]
        if other in inside and rank(inside[other]) > rank(path)
    ]
    assert not found


def test_commands_name_their_neighbours_by_a_dot() -> None:
    words = {path.name: path.read_text(encoding="utf-8") for path in (CHECKOUT / "cli").glob("*.py")}
    assert not [name for name, text in words.items() if "from snn_asr.cli" in text]


def test_no_module_imports_itself_through_others() -> None:
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_cells_know_nothing_of_speech_and_kernels_nothing_of_layers() -> None:
    for name, others in graph().items():
        if name.startswith(("snn_asr.network.cells", "snn_asr.network.kernels")):
            assert not [each for each in others if "data" in each or "layers" in each or "encoders" in each], name


def test_data_and_training_alone_import_speechbrain() -> None:
    found = {folder(name) for name, path in modules().items() if any("speechbrain" in each for each in imports(path))}
    assert found <= set(SPEECHBRAIN_FOR)


@pytest.mark.parametrize("name", sorted(modules()))
def test_every_module_can_be_imported(name: str) -> None:
    if any(name.startswith(f"snn_asr.network.kernels.{each}") for each in ("triton", "cuda")):
        pytest.importorskip("triton")
    if name.startswith("snn_asr.network.kernels.cuda."):
        pytest.importorskip("cuda.core", reason="the extra 'cuda' is not installed")
    importlib.import_module(name)

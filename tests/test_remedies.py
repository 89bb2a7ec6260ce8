"""What the errors advise can be typed: keys of recipes and options of corpora as ``key=value``, by names that exist."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator

import pytest
from test_layering import modules

from snn_asr import corpora
from snn_asr.training.recipes import config
from snn_asr.training.recipes.recipe import PRESET
from snn_asr.training.recipes.recipe_files import encoder_blocks, find, read

ADVISED = re.compile(r"(?<![\w(.-])([a-z_]+)=(?!=)")  # key=value, but neither an argument of Python nor a flag
WRITTEN_AS_YAML = re.compile(r"(?<![\w{-])([a-z_]+): ")


def keys() -> set[str]:
    blocks = encoder_blocks(find("AN4"))
    return {PRESET, *config.keys(), *(key for path in blocks.values() for key in read(path).entries)}


def options_of_corpora() -> set[str]:
    prepares = (importlib.import_module(f"snn_asr.corpora.{name}").prepare for name in corpora.discover())
    return {name for each in prepares for name in inspect.signature(each).parameters}


def remedies(tree: ast.AST) -> Iterator[str]:
    """The third argument of errors, ``todo=``, and the texts that a variable ``todo`` gets; {} stands for a value."""
    for node in ast.walk(tree):
        given: list[ast.expr] = []
        if isinstance(node, ast.Call):
            given += [each.value for each in node.keywords if each.arg == "todo"]
            given += node.args[2:3] if ast.unparse(node.func).endswith("Error") else []
        elif isinstance(node, ast.Assign) and "todo" in ast.unparse(node.targets[0]):
            given.append(node.value)
        for each in (part for value in given for part in ast.walk(value)):
            if isinstance(each, ast.JoinedStr):
                yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in each.values)
            elif isinstance(each, ast.Constant) and isinstance(each.value, str):
                yield each.value


@pytest.fixture(scope="module")
def advice() -> list[tuple[str, str]]:
    """Every remedy with its module."""
    trees = ((name, ast.parse(path.read_text(encoding="utf-8"))) for name, path in modules().items())
    return [(name, each) for name, tree in trees for each in remedies(tree)]


def test_every_key_that_a_remedy_names_exists(advice) -> None:
    named = {key: (module, remedy) for module, remedy in advice for key in ADVISED.findall(remedy)}
    assert {"features", "stack", "backend", "initial_model", "fold"} <= named.keys()
    unknown = {key: named[key] for key in named.keys() - keys() - options_of_corpora()}
    assert not unknown


def test_keys_are_written_as_they_are_typed(advice) -> None:
    known = keys()
    as_yaml = [each for each in advice if any(key in known for key in WRITTEN_AS_YAML.findall(each[1]))]
    assert not as_yaml

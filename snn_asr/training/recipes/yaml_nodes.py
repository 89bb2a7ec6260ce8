"""YAML nodes of recipes: making them from plain values, and reading what they hold without building anything.

A recipe is HyperPyYAML, so a node may have a tag such as ``!new:``, which would build an object. Here such a node is
only a tag with its content.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from snn_asr.errors import UsageError


def references(nodes: Iterable[yaml.Node]) -> Iterator[str]:
    """The keys that ``!ref <key>`` and ``!copy <key>`` name anywhere below these nodes."""
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.MappingNode):
            waiting += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif node.tag in ("!ref", "!copy"):
            yield from re.findall(r"<(\w+)", node.value)


def as_node(value: object) -> yaml.Node:
    """The YAML node of a plain value. Paths become texts and tuples lists."""
    try:
        representer = yaml.representer.SafeRepresenter(default_flow_style=True, sort_keys=False)
        return representer.represent_data(str(value) if isinstance(value, Path) else value)
    except yaml.YAMLError as error:
        raise UsageError(f"{value!r} is no value of a recipe", None, "give a number, text, list or mapping") from error


def as_json(value: Any) -> tuple[bool, Any]:
    """Whether JSON can express a value, and the value as JSON has it."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return True, value
    if isinstance(value, (list, tuple)):
        parts = [as_json(each) for each in value]
        return all(plain for plain, _ in parts), [each for _, each in parts]
    if isinstance(value, Mapping):
        pairs = {str(key): as_json(each) for key, each in value.items()}
        return all(plain for plain, _ in pairs.values()), {key: each for key, (_, each) in sorted(pairs.items())}
    return False, None


def canonical(node: yaml.Node) -> Any:
    """The content of a node as a JSON value with sorted keys; a tag of HyperPyYAML becomes a key."""
    if isinstance(node, yaml.MappingNode):
        value: Any = dict(sorted((str(key.value), canonical(each)) for key, each in node.value))
    elif isinstance(node, yaml.SequenceNode):
        value = [canonical(each) for each in node.value]
    elif node.tag.startswith("!"):
        value = node.value
    else:
        value = as_json(yaml.safe_load(yaml.serialize(node)))[1]
    return {node.tag: value} if node.tag.startswith("!") else value

"""Corpora: one module for each, with a function ``prepare(data_folder, output_folder, shard=None, **options)``.

``prepare`` describes its work as a ``preparation.Preparation`` and runs it, which writes manifests *.json and audio/**,
and returns a summary. The output folder keeps a list of what was written and with which options (prepared_folder.py),
so preparing it again with the same options does nothing.
"""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

from snn_asr.errors import UsageError, unknown_name
from snn_asr.sharding import Shard

SHARED = ("download", "preparation", "prepared_folder", "recordings")  # modules in this folder that are not corpora
_TYPES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
_COMMON = ("data_folder", "output_folder", "shard")


def discover() -> dict[str, str]:
    """Return the corpora found on disk beside this file, as name and module name. Nothing is imported."""
    modules = pkgutil.iter_modules(__path__)
    return {module.name: f"{__name__}.{module.name}" for module in modules if module.name not in SHARED}


def prepare(
    name: str, data_folder: str | Path | None, output_folder: str | Path, shard: str | None = None, /, **options: object
) -> dict:
    """Prepare the corpus ``name`` (in upper or lower case), or a shard of it such as "2/4", and return its summary.

    Raises UsageError for an unknown corpus or option, and everything that the corpus itself raises.
    """
    part = None if shard is None else Shard.parse(str(shard))
    modules = discover()
    if name.lower() not in modules:
        raise unknown_name("corpus", name, modules)
    function = importlib.import_module(modules[name.lower()]).prepare
    valid = [key for key in inspect.signature(function).parameters if key not in _COMMON]
    for key in options:
        if key not in valid:
            raise unknown_name("option", key, valid, f"corpus {name}")
    for key, value in options.items():
        _check_type(function, key, value, f"corpus {name}")
    return function(data_folder, output_folder, shard=part, **options)


def _check_type(function: Callable[..., object], key: str, value: object, where: str) -> None:
    """Raise UsageError if an option is not of the type (a number, a text) that its parameter is declared with."""
    declared = get_type_hints(function)[key]
    types = tuple(get_origin(each) or each for each in get_args(declared) or (declared,))
    if float in types:
        types += (int,)
    fits = isinstance(value, types) and (bool in types or not isinstance(value, bool))
    if isinstance(value, float) and not math.isfinite(value):
        fits = False
    if not fits:
        names = " or ".join(_TYPES[each] for each in types if each in _TYPES)
        raise UsageError(f"{key}={value}", where, f"must be {names}")

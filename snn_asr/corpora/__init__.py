"""Corpora: one module each, with ``prepare(data_folder, output_folder, shard=None, **options) -> summary``.

Each ends in ``preparation.Preparation(...).run``, which writes manifests *.json and audio/**. A preparation ends with
``mark_prepared``, so that doing it twice with the same options does nothing.
"""

from __future__ import annotations

import importlib
import inspect
import json
import math
import pkgutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

from snn_asr.errors import DataError, UsageError, unknown_name
from snn_asr.files import read_json, remove_leftovers, write_json
from snn_asr.sharding import Shard

MARK_NAME = "prepared.json"
SHARED = ("download", "preparation", "recordings")  # modules beside the corpora that are none
_TYPES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
_COMMON = ("data_folder", "output_folder", "shard")


def discover() -> dict[str, str]:
    """Corpora found on disk beside this file: name to module name (nothing is imported)."""
    modules = pkgutil.iter_modules(__path__)
    return {module.name: f"{__name__}.{module.name}" for module in modules if module.name not in SHARED}


def prepare(
    name: str, data_folder: str | Path | None, output_folder: str | Path, shard: str | None = None, /, **options: object
) -> dict:
    """Prepare the corpus ``name`` (upper or lower case), or a shard of it such as "2/4", and return its summary.

    Raises UsageError for an unknown corpus or option, and what the corpus itself raises.
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
    """Raise UsageError where an option is not of the type (a number, a text) that its parameter is declared with."""
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


def already_prepared(output_folder: str | Path, options: dict) -> bool:
    """Whether ``output_folder`` holds a finished preparation with exactly these options, all its files in place."""
    mark = _read_mark(Path(output_folder))
    if mark is None or mark["options"] != json.loads(json.dumps(options)):
        return False
    return mark["files"].items() <= _written_files(Path(output_folder)).items()


def mark_prepared(output_folder: str | Path, options: dict) -> None:
    """Record that the preparation with ``options`` (JSON values) is complete; the last thing a preparation does."""
    output_folder = Path(output_folder)
    write_json(output_folder / MARK_NAME, {"options": options, "files": _written_files(output_folder)})


def discard_prepared(output_folder: str | Path, manifests: Iterable[str]) -> None:
    """Remove what an earlier preparation recorded as its own, the mark first: an interrupted one is never complete.

    What a killed one left half-written of ``manifests`` (names without suffix), of the mark and of audio goes, too.
    """
    output_folder = Path(output_folder)
    mark = _read_mark(output_folder)
    (output_folder / MARK_NAME).unlink(missing_ok=True)
    present = _written_files(output_folder)
    for name in mark["files"] if mark else ():
        if name in present:
            (output_folder / name).unlink()
    for name in (MARK_NAME, *(f"{each}.json" for each in manifests), "audio/**/*.flac"):
        remove_leftovers(output_folder, name)


def _read_mark(output_folder: Path) -> dict | None:
    """The mark, or None where there is none or it is not one of ours (the preparation is then done anew)."""
    path = output_folder / MARK_NAME
    if not path.is_file():
        return None
    try:
        mark = read_json(path)
    except DataError:
        return None
    if not isinstance(mark, dict) or not isinstance(mark.get("files"), dict) or "options" not in mark:
        return None
    return mark


def _written_files(output_folder: Path) -> dict[str, int]:
    """Relative path to size in bytes of the manifests and the audio of a preparation."""
    paths = [*output_folder.glob("[!.]*.json"), *(output_folder / "audio").rglob("[!.]*")]  # no half-written ones
    return {
        path.relative_to(output_folder).as_posix(): path.stat().st_size
        for path in sorted(paths)
        if path.is_file() and path.name != MARK_NAME
    }

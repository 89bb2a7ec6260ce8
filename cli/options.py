"""What several commands share: common options, and reading lists and ``key=value`` words."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from snn_asr.errors import UsageError, describing, unknown_name
from snn_asr.files import is_special


def complete_model(incomplete: str) -> list[str]:
    """Return, for shell completion, the names of shipped models that begin with ``incomplete``."""
    from snn_asr.network import shipped_models

    return [name for name in shipped_models.discover() if name.startswith(incomplete)]


Model = Annotated[
    str,
    typer.Argument(
        help="A model folder, the run folder around it, or a name of 'models list'.", metavar="MODEL",
        autocompletion=complete_model,
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
EventPrecision = Annotated[
    str | None,
    typer.Option(help="Weights of the event engine: float32, int8 or int4; by default the model's."),
]
LanguageModelUnit = Annotated[str, typer.Option(help="What the language model predicts: word, token or auto.")]
ClosedVocabulary = Annotated[
    bool,
    typer.Option(
        "--closed-vocabulary", help="Find only words that the language model knows.", show_default=False
    ),
]
EndpointSilence = Annotated[
    float, typer.Option(help="Seconds of silence or steady noise that end a segment; 0: one segment.", min=0)
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Run the code of a recipe that is named by its folder.", show_default=False)
]

_BEGINNING = 1 << 12  # bytes of a file that tell what it is


def complete_recipe(incomplete: str) -> list[str]:
    """Return, for shell completion, the names of shipped recipes that begin with ``incomplete``."""
    from snn_asr.training.recipes import recipe_files

    return [name for name in recipe_files.discover() if name.startswith(incomplete)]


def complete_corpus(incomplete: str) -> list[str]:
    """Return, for shell completion, the names of corpora that begin with ``incomplete``."""
    from snn_asr import corpora

    return [name for name in corpora.discover() if name.startswith(incomplete)]


def split_commas(words: str) -> list[str]:
    """Return the words between commas, without empty ones."""
    return [each.strip() for each in words.split(",") if each.strip()]


def refuse_given(context: typer.Context, parameters: Iterable[str], why: str, todo: str = "leave it out") -> None:
    """Raise UsageError if one of these options, named by their parameters, was given on the command line.

    The option would have no effect, and ``why`` gives the reason.
    """
    for each in context.command.params:
        source = context.get_parameter_source(each.name or "")
        if each.name in parameters and source is not None and source.name == "COMMANDLINE":
            raise UsageError(why, each.opts[0], todo)


def parse_formats(words: str, output_folder: Path | None) -> list[str]:
    """Return the output formats of ``--format``; several are allowed only with a folder to write to.

    Raises UsageError for an unknown format, for none, and for several without a folder.
    """
    from snn_asr.decoding.files.writers import FORMATS

    chosen = list(dict.fromkeys(split_commas(words)))
    for each in chosen:
        if each not in FORMATS:
            raise unknown_name("format", each, FORMATS, "--format")
    if not chosen:
        raise UsageError("names no format", "--format", f"choose from: {', '.join(FORMATS)}")
    if len(chosen) > 1 and output_folder is None:
        raise UsageError("several formats need a place", "--format", "give --output-folder")
    return chosen


def refuse_inputs(output: Path, inputs: Iterable[str | Path | None], option: str) -> None:
    """Raise UsageError if the file that ``option`` names is one of the inputs, or lies in a folder of them."""
    for each in inputs:
        if each is None or not output.is_file() or is_special(output):
            continue
        same = Path(each).is_file() and output.samefile(each)
        if same or (Path(each).is_dir() and output.resolve().is_relative_to(Path(each).resolve())):
            raise UsageError(f"{output} is read, and would be overwritten", option, "choose another file")


def refuse_foreign(output: Path, own: re.Pattern[bytes], kind: str, option: str) -> None:
    """Raise UsageError if ``option`` names a folder, or an existing file whose beginning does not match ``own``.

    ``kind`` says in words what the command writes. An earlier file of that kind may be replaced, and so may an empty
    file.
    """
    if output.is_dir():
        raise UsageError(f"{output} is a folder", option, "name a file")
    if not output.is_file() or is_special(output):
        return
    with describing(output), open(output, "rb") as file:
        beginning = file.read(_BEGINNING)
    with suppress(zlib.error):
        beginning = zlib.decompressobj(wbits=31).decompress(beginning, _BEGINNING)  # of gzip
    if beginning and not own.match(beginning):
        raise UsageError(f"{output} is there already, and is no {kind}", option, "choose another file, or remove it")


def parse_overrides(words: Iterable[str] | None, **options: object) -> dict[str, object]:
    """Return ``["bits=4", "gru.dropout=1e-1"]`` as ``{"bits": 4, "gru.dropout": 0.1}``. Values are YAML 1.2.

    ``options`` are the values of keys that have an option of their own in the command; those not given (None) are left
    out. Raises UsageError for a word that is not ``key=value``, a key given twice, or a value that is not YAML.
    """
    overrides: dict[str, object] = {}
    for word in words or ():
        key, equals, value = word.partition("=")
        if not equals or not all(each.isidentifier() for each in key.split(".")):
            raise UsageError("not of the form key=value", f"'{word}'", "write for example bits=4")
        if key in overrides:
            raise UsageError(f"key '{key}' is given twice", f"'{word}'", "give it once")
        overrides[key] = _parse_value(value, word)
    given = {key: value for key, value in options.items() if value is not None}
    for key in given.keys() & overrides.keys():
        raise UsageError(f"key '{key}' is given twice", f"--{key}", "give it once")
    return overrides | given


def parse_grid(words: Iterable[str] | None) -> dict[str, list[object]]:
    """Return ``["bits=2,4"]`` as ``{"bits": [2, 4]}``. Raises UsageError as ``parse_overrides``, and for repeated
    values."""
    grid: dict[str, list[object]] = {}
    for word in words or ():
        key, _, values = word.partition("=")
        if key in grid:
            raise UsageError(f"key '{key}' is given twice", f"--grid {word}", "give it once, its values with commas")
        each = [parse_overrides([f"{key}={value}"])[key] for value in split_commas(values)]
        if not each or len(set(map(repr, each))) < len(each):
            raise UsageError("not of the form key=value,value", f"--grid {word}", "write for example bits=4,6,8")
        grid[key] = each
    return grid


def _parse_value(value: str, word: str) -> object:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError
    from ruamel.yaml.events import AliasEvent

    try:
        # An alias may lead to what it is part of, a value that has no end.
        if any(isinstance(each, AliasEvent) for each in YAML(typ="safe", pure=True).parse(value)):
            raise UsageError("holds an alias (*name)", f"'{word}'", "write out what is meant")
        return YAML(typ="safe", pure=True).load(value)
    except (YAMLError, ValueError, RecursionError) as error:
        todo = "write for example 'speeds=[0.9, 1.1]', with the quotes, which keep the shell from dividing the word"
        raise UsageError("the value is not YAML", f"'{word}'", todo) from error

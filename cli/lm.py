"""``snn-asr lm``: from training transcripts to an n-gram language model."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import refuse_foreign, refuse_inputs

if TYPE_CHECKING:
    from snn_asr.data.tokens import Tokens


def lm(
    source: Annotated[
        str,
        typer.Argument(
            help="A recipe (with --data-folder), a manifest or a folder of them, or a text with a sentence per line.",
            metavar="RECIPE | MANIFEST | TEXT",
        ),
    ],
    output: Annotated[Path, typer.Option(help="The ARPA file to write, compressed if its name ends in .gz.")],
    order: Annotated[int, typer.Option(help="Words of the longest n-gram.", min=1)] = 3,
    unit: Annotated[str, typer.Option(help="What it predicts: word, or token (of --model).")] = "word",
    model: Annotated[
        str | None, typer.Option(help="A model folder, whose tokens spell the transcripts (phones are folded).")
    ] = None,
    data_folder: Annotated[Path | None, typer.Option(help="A recipe's data, from 'snn-asr prepare'.")] = None,
) -> None:
    """Estimate an n-gram language model from training transcripts.

    It writes an ARPA file for decode --lm, with interpolated modified Kneser-Ney smoothing as in KenLM's lmplz. Of
    prepared data only the training transcripts are read.
    """
    from snn_asr.decoding.language_models.arpa import write_arpa
    from snn_asr.decoding.language_models.language_model import TOKEN, WORD
    from snn_asr.decoding.language_models.ngram_estimation import estimate
    from snn_asr.decoding.language_models.training_texts import in_units, read_texts
    from snn_asr.errors import UsageError, unknown_name
    from snn_asr.files import is_special

    if unit not in (WORD, TOKEN):
        raise unknown_name("unit", unit, (WORD, TOKEN), "--unit")
    if unit == TOKEN and model is None:
        raise UsageError("tokens are those of a model", "--unit token", "give --model")
    refuse_inputs(output, (source, model, data_folder), "--output")
    refuse_foreign(output, re.compile(rb"\s*\\data\\"), "language model", "--output")
    tokens = None
    if model is not None:
        from snn_asr.network.model_folder import load_tokens  # with torch, which takes seconds

        tokens = load_tokens(model)
    path, manifests = _find(source, data_folder, tokens)
    sentences = in_units(read_texts(path, tokens, manifests), unit, tokens)
    estimated = estimate(sentences, order)
    write_arpa(output, estimated)
    sizes = Counter(map(len, estimated.probabilities))
    counts = ", ".join(f"{sizes[length]} of order {length}" for length in sorted(sizes))
    typer.echo(f"{len(sentences)} sentences, {sum(map(len, sentences))} {unit}s; n-grams: {counts}", err=True)
    if not is_special(output):  # which may be standard output itself
        typer.echo(output)


def _find(source: str, data_folder: Path | None, tokens: Tokens | None) -> tuple[Path, str]:
    """Return the file or folder that ``source`` names, and how the names of a recipe's manifests begin in it."""
    from snn_asr.errors import UsageError

    path = Path(source)
    if data_folder is not None and path.is_file() and path.suffix not in (".yaml", ".yml"):
        raise UsageError(f"{source} is no recipe, and holds the text itself", "--data-folder", "leave it out")
    if data_folder is not None or path.suffix in (".yaml", ".yml") or not (path.exists() or path.suffix):
        return _recipe_data(source, data_folder, tokens)
    return path, ""


def _recipe_data(name: str, data_folder: Path | None, tokens: Tokens | None) -> tuple[Path, str]:
    """Return a recipe's data folder and how the names of its manifests begin. Nothing of the recipe is built."""
    from snn_asr.errors import UsageError
    from snn_asr.training.recipes import recipe

    merged = recipe.merge(name, trust=True)
    if data_folder is None:
        raise UsageError("a recipe needs its data", "--data-folder", "give the folder from 'snn-asr prepare'")
    if merged.written("tokens") == "phones" and tokens is None:
        raise UsageError("the recipe's tokens are phones, which its model folds", name, "give --model")
    return data_folder, merged.written("manifests")

"""``snn-asr lm``: from training transcripts to an n-gram language model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import refuse_foreign, refuse_inputs

if TYPE_CHECKING:
    from snn_asr.data.tokens import Tokens

UNITS = ("word", "token")
TRANSCRIPTS = (".jsonl", ".trn", ".stm", ".ctm", ".csv", ".tsv", ".srt", ".vtt")  # read as score reads them


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
    from snn_asr.decoding.language_models.ngram_estimation import estimate
    from snn_asr.errors import DataError, UsageError, unknown_name
    from snn_asr.files import is_special

    if unit not in UNITS:
        raise unknown_name("unit", unit, UNITS, "--unit")
    if unit == "token" and model is None:
        raise UsageError("tokens are those of a model", "--unit token", "give --model")
    refuse_inputs(output, (source, model, data_folder), "--output")
    refuse_foreign(output, re.compile(rb"\s*\\data\\"), "language model", "--output")
    tokens = None
    if model is not None:
        from snn_asr.network.model_folder import load_tokens

        tokens = load_tokens(model)
    texts = list(_texts(source, data_folder, tokens))
    if not any(texts):
        raise DataError("no words to estimate a language model from", source, "check that this is the text you mean")
    if unit == "token" and tokens is not None:
        from snn_asr.decoding.language_models.prefix_scorers import spelled

        labels = spelled(tokens)
        sentences = [[labels[index] for index in tokens.encode(text)] for text in texts]
    else:
        sentences = [text.split() for text in texts]
    estimated = estimate(sentences, order)
    write_arpa(output, estimated)
    sizes = Counter(map(len, estimated.probabilities))
    counts = ", ".join(f"{sizes[length]} of order {length}" for length in sorted(sizes))
    typer.echo(f"{len(sentences)} sentences, {sum(map(len, sentences))} {unit}s; n-grams: {counts}", err=True)
    if not is_special(output):  # which may be standard output itself
        typer.echo(output)


def _texts(source: str, data_folder: Path | None, tokens: Tokens | None) -> Iterator[str]:
    """Return the sentences, as the tokens of a model spell them if there is one."""
    from snn_asr.data.manifest import find_manifest, read_manifest
    from snn_asr.data.transcripts import read_transcripts
    from snn_asr.errors import UsageError
    from snn_asr.files import read_text
    from snn_asr.scoring.alternatives import choose_readings

    path, prefix = Path(source), ""
    if data_folder is not None and path.is_file() and path.suffix not in (".yaml", ".yml"):
        raise UsageError(f"{source} is no recipe, and holds the text itself", "--data-folder", "leave it out")
    if data_folder is not None or path.suffix in (".yaml", ".yml") or not (path.exists() or path.suffix):
        path, prefix = _recipe_data(source, data_folder, tokens)
    if path.is_dir():
        path = find_manifest(path, "train", prefix)
    if path.suffix == ".json":
        for each in read_manifest(path, audio_needed=False).values():
            yield " ".join(each.text.split()) if tokens is None else tokens.transcript(each)
        return
    if path.suffix.lower() in TRANSCRIPTS:
        lines = list(choose_readings({}, read_transcripts(path))[1].values())
    else:
        lines = read_text(path).split("\n")
    yield from (" ".join(line.split()) if tokens is None else tokens.normalize(line) for line in lines if line.strip())


def _recipe_data(name: str, data_folder: Path | None, tokens: Tokens | None) -> tuple[Path, str]:
    """Return a recipe's data folder and how the names of its manifests begin. Nothing of the recipe is built."""
    import yaml

    from snn_asr.errors import UsageError
    from snn_asr.training.recipes import recipe

    nodes = {key: each.node for key, each in recipe.merge(name, trust=True).entries.items()}
    values = {key: node.value for key, node in nodes.items() if isinstance(node, yaml.ScalarNode)}
    if data_folder is None:
        raise UsageError("a recipe needs its data", "--data-folder", "give the folder from 'snn-asr prepare'")
    if values.get("tokens") == "phones" and tokens is None:
        raise UsageError("the recipe's tokens are phones, which its model folds", name, "give --model")
    return data_folder, values.get("manifests", "")

"""``snn-asr prepare``: from a corpus as distributed to manifests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .options import complete_corpus, parse_overrides


def prepare(
    corpus: Annotated[
        str,
        typer.Argument(
            help="The corpus's name, such as fsdd or demo.", metavar="CORPUS", autocompletion=complete_corpus
        ),
    ],
    output_folder: Annotated[Path, typer.Option(help="Where to write the manifests.")],
    data_folder: Annotated[
        Path | None, typer.Option(help="The corpus as distributed; the demo corpus needs none.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of whatever the corpus draws at random.")] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Accept a corpus with missing parts.")] = False,
    download: Annotated[bool, typer.Option("--download", help="Fetch the corpus from its public site.")] = False,
    shard: Annotated[
        str | None, typer.Option(help="Read one part of the corpus, such as 2/4 in the second of 4 processes.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    options: Annotated[
        list[str] | None, typer.Argument(help="Further options of this corpus.", metavar="KEY=VALUE")
    ] = None,
) -> None:
    """Write the manifests of a corpus: train.json, dev.json, test.json.

    Shards 1/4 to 4/4 may work at the same time; the last one to end writes the manifests.
    """
    from snn_asr import corpora

    chosen = parse_overrides(options, seed=seed, partial=partial or None, download=download or None)
    summary = corpora.prepare(corpus, data_folder, output_folder, shard, **chosen)
    if as_json:
        typer.echo(json.dumps(summary, indent=2, ensure_ascii=False, default=str))
    else:
        for key, value in summary.items():
            typer.echo(f"{key}: {_readable(value)}")


def _readable(value: object) -> object:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return value

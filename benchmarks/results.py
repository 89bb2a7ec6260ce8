"""The tables of the README, docs/results.md and docs/trials.md: made, stored, and written between their marks.

    python benchmarks/results.py make [TABLE...] --jobs 2      train, decode and score what they show, from this commit
    python benchmarks/results.py store TABLE RUN...            take finished runs instead
    python benchmarks/results.py write                         write the stored tables into the documents

results.yaml says which tables there are, by which commands they are made and how they read. ``make`` works in
results/COMMIT, that of the program's last change: called again it goes on where it was stopped and leaves finished runs
alone, and after a change to the program it begins anew, so that one table is of one commit. What is stored is
docs/results/TABLE.json.
"""

from __future__ import annotations

import argparse
import logging
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from glob import glob
from pathlib import Path
from typing import Any

import _stored
from _collect import rows_of_runs, rows_of_streaming

from snn_asr.errors import DataError, SnnAsrError, UsageError
from snn_asr.files import read_json_object, write_json
from snn_asr.logs import log_to_stderr
from snn_asr.training.run_folder.environment import commit, processor

log = logging.getLogger("snn_asr.results")


def main(words: Sequence[str] | None = None) -> int:
    arguments = _arguments(words)
    log_to_stderr(logging.INFO)
    try:
        failed = {"make": _make, "store": _store, "write": lambda _: 0}[arguments.task](arguments)
        for path in _stored.write_documents():
            print(path)
    except SnnAsrError as error:
        print(f"results: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("results: interrupted; the same command goes on", file=sys.stderr)
        return 130
    return 3 if failed else 0


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tasks = parser.add_subparsers(dest="task", required=True)
    make = tasks.add_parser("make", help="train, decode and score what the tables show")
    make.add_argument("tables", nargs="*", help="some of results.yaml, instead of all")
    make.add_argument("--jobs", type=int, default=1, help="runs to train at a time")
    make.add_argument("--data", type=Path, default=Path("../shared/data"), help="where an4/ and fsdd/ lie")
    make.add_argument("--results", type=Path, help="instead of results/COMMIT")
    make.add_argument("--show", action="store_true", help="only print the commands")
    store = tasks.add_parser("store", help="take finished runs")
    store.add_argument("table")
    store.add_argument("runs", nargs="+", type=Path, help="run folders")
    store.add_argument("--baseline", help="as for snn-asr compare")
    store.add_argument("--commit", help="of runs that do not say theirs")
    store.add_argument("--machine", help="of runs that do not say theirs")
    store.add_argument("--extras", type=Path, help="further numbers by the names of the run folders, as JSON")
    store.add_argument("--label", action="append", default=[], metavar="ROW=>LABEL", help="what to call a row")
    store.add_argument("--one-row", metavar="LABEL", help="all runs are seeds of this row, also of different commits")
    store.add_argument("--add", action="store_true", help="keep the other rows of the stored table")
    tasks.add_parser("write", help="write the stored tables into the documents")
    return parser.parse_args(words)


def _store(arguments: argparse.Namespace) -> int:
    layout = _stored.require_table(arguments.table)
    labels = dict(layout.get("labels", {})) | dict(_renaming(each) for each in arguments.label)
    rows = rows_of_runs(
        arguments.runs, arguments.baseline, arguments.commit, arguments.machine,
        read_json_object(arguments.extras) if arguments.extras else None, arguments.one_row,
    )
    keep(arguments.table, rows, labels, arguments.add)
    return 0


def _renaming(word: str) -> tuple[str, str]:
    before, sign, after = word.partition("=>")
    if not sign or not after.strip():
        raise UsageError("not of the form ROW=>LABEL", f"--label '{word}'", "write for example 'gru epochs=3=>gru'")
    return before.strip(), after.strip()


def keep(
    name: str, rows: list[dict[str, Any]], labels: Mapping[str, str], add: bool = False, folder: Path | None = None
) -> None:
    """Store the rows of a table under their labels; with ``add`` other rows that are stored stay, before them."""
    folder = folder or _stored.STORED
    rows = [row | {"label": labels.get(row["label"], row["label"])} for row in rows]
    new = {row["label"] for row in rows}
    if len(new) < len(rows):
        raise UsageError("two rows have one label", name, "give each its own with --label")
    if add and (folder / f"{name}.json").is_file():
        rows = [row for row in _stored.stored_rows(name, folder) if row["label"] not in new] + rows
    order = list(labels.values())
    rows.sort(key=lambda row: order.index(row["label"]) if row["label"] in order else len(order))
    write_json(folder / f"{name}.json", {"rows": rows})


def _make(arguments: argparse.Namespace) -> int:
    """Make tables one after another; returns how many failed, of which each is named."""
    here = commit()
    if not arguments.show and arguments.results is None and (here is None or here.endswith("+")):
        what = "the program differs from its last commit" if here else "this is no checkout of git"
        raise UsageError(f"figures would be of no commit: {what}", todo="commit first, or name a folder: --results")
    results = arguments.results or Path("results") / str(here)
    names = arguments.tables or [name for name, layout in _stored.plan().items() if "from" not in layout]
    layouts = {name: _stored.require_table(name) for name in names}
    values = {"results": results, "jobs": arguments.jobs, "data": arguments.data}
    failed = 0
    for name, layout in layouts.items():
        commands = [words(each, values) for each in layout["commands"]]
        if arguments.show:
            print("\n".join(map(shlex.join, commands)))
            continue
        try:
            for each in commands:
                _run(each)
            keep(name, _collected(layout, results, str(here)), layout.get("labels", {}))
        except SnnAsrError as error:
            failed += 1
            print(f"failed: {name}: {error}", file=sys.stderr)
    return failed


def words(command: str, values: Mapping[str, object]) -> list[str]:
    """A command of the plan as words: its places, such as {results}, filled in, globs of files unfolded.

    Other braces are those of a value, such as splits={train: train-clean-5}. Raises UsageError for an unknown place.
    """
    found: list[str] = []
    for word in shlex.split(command):
        for name, value in values.items():
            word = word.replace(f"{{{name}}}", str(value))
        unknown = re.search(r"\{\w+\}", word)
        if unknown is not None:
            raise UsageError(f"unknown place {unknown[0]}", command, f"there are {', '.join(values)}")
        found += sorted(glob(word)) or [word]
    return found


def _run(command: Sequence[str]) -> None:
    """Run a command with the programs of this environment. Raises DataError where it fails."""
    log.info("%s", shlex.join(command))
    programs = {"python": sys.executable, "snn-asr": str(Path(sys.executable).with_name("snn-asr"))}
    result = subprocess.run([programs.get(command[0], command[0]), *command[1:]], stdout=subprocess.DEVNULL)
    if result.returncode:
        raise DataError(f"exit code {result.returncode} of {shlex.join(command)}", todo="see the lines above")


def _collected(layout: Mapping[str, Any], results: Path, here: str) -> list[dict[str, Any]]:
    if "streaming" in layout:
        return rows_of_streaming(results / layout["streaming"], here, processor())
    runs = [each for pattern in layout["runs"] for each in sorted(results.glob(pattern))]
    extras = read_json_object(results / layout["extras"]) if "extras" in layout else None
    return rows_of_runs(runs, layout.get("baseline"), extras=extras)


if __name__ == "__main__":
    sys.exit(main())

"""The tables of the documents are what the stored results give, and results.yaml can make them again."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from fnmatch import fnmatch
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from snn_asr.cli.options import parse_grid, parse_overrides
from snn_asr.errors import DataError, UsageError
from snn_asr.files import read_json, read_json_object, read_text, sha256, write_json
from snn_asr.reports.comparison import group_runs

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import _collect as collect  # noqa: E402
import _stored as stored  # noqa: E402
import results  # noqa: E402

TABLES = sorted(stored.plan())
DEFAULTS = ("improved_v2", "gru", "lstm")  # of snn-asr compare
DATA = ROOT.parent / "shared" / "data"  # the corpora as distributed, where they are at hand
WRITING_AUDIO = ("demo", "fsdd")
PLACES = {"results": "results/abc", "jobs": 2, "data": "data"}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder of stored tables of the test's own, and no documents."""
    monkeypatch.setattr(stored, "STORED", tmp_path)
    monkeypatch.setattr(stored, "documents", lambda: [])
    monkeypatch.setattr(stored, "charts", lambda folder=None: {})
    return tmp_path


@pytest.fixture
def of_a_commit(monkeypatch):
    """Runs say that they are of the commit "abc", also where the tests do not run from a checkout of git."""
    told = collect.environment
    monkeypatch.setattr(collect, "environment", lambda run: told(run) | {"commit": "abc"})


@pytest.mark.parametrize("path", stored.documents(), ids=lambda path: path.name)
def test_marked_tables_are_what_the_stored_results_give(path):
    for name, body in stored.marked(read_text(path)):
        assert body == stored.table(name), f"write them with: python benchmarks/results.py write ({name})"


def test_every_table_stands_in_one_document_and_every_stored_one_is_shown():
    found = [name for path in stored.documents() for name, _ in stored.marked(read_text(path))]
    assert sorted(found) == TABLES
    assert {path.stem for path in stored.STORED.glob("*.json")} == {
        name for name, layout in stored.plan().items() if "from" not in layout
    }


def test_charts_are_what_the_stored_results_give_and_are_shown():
    shown = "".join(read_text(path) for path in stored.documents())
    for path, drawn in stored.charts().items():
        assert read_text(path) == drawn, "draw it with: python benchmarks/results.py write"
        assert f"(results/{path.name})" in shown
    assert set(stored.charts()) == set(stored.STORED.glob("*.svg"))


MEASURED = re.compile(r"# Measured[^:]*: (?P<said>.*) \(table (?P<name>[a-z0-9-]+); [a-z]+ seeds?\)\.")
FIGURE = re.compile(r"(?P<label>[a-z]\w+(?: `?preset=\w+`?)?) (?P<figure>\d+\.(?P<decimals>\d+)) %")


def test_what_recipes_and_presets_say_was_measured_is_stored():
    found = 0
    for path in sorted((ROOT / "recipes").glob("**/*.yaml")):
        lines = [line for line in read_text(path).splitlines() if "Measured" in line]
        for said in (MEASURED.fullmatch(line) for line in lines):
            assert said is not None, path
            rows = {row["label"]: row for row in stored.rows_shown(said["name"])}
            figures = list(FIGURE.finditer(said["said"]))
            assert len(figures) == said["said"].count("%") > 0, path
            for each in figures:
                measured = rows[each["label"]]["error_rate"]
                assert each["figure"] == f"{measured:.{len(each['decimals'])}f}", (path, each[0])
                found += 1
    assert found >= 10


def shown(name: str, label: str) -> dict[str, Any]:
    return next(row for row in stored.rows_shown(name) if row["label"] == label)


def ratios(more: dict[str, Any], fewer: dict[str, Any]) -> tuple[float, float]:
    """How many times as many MACs one row has as another, and how many times as many products with those of units."""
    macs, unit = "macs_per_second", "element_wise_per_second"
    return more[macs] / fewer[macs], (more[macs] + more.get(unit, 0)) / (fewer[macs] + fewer[unit])


def lead(name: str, label: str, other: tuple[str, str], key: str) -> float:
    """By how many points the mean of a row's ``key`` lies below that of another."""
    mine, theirs = shown(name, label)[key], shown(*other)[key]
    return sum(theirs) / len(theirs) - sum(mine) / len(mine)


def test_ratios_and_leads_in_the_text_are_those_of_the_tables():
    """Sentences on which a reader decides; whoever stores other rows has to write them anew."""
    here, readme = (" ".join(read_text(ROOT / name).split()) for name in ("docs/results.md", "README.md"))
    own, dense, pruned = shown("an4-balanced", "improved_v2"), shown("an4-five", "gru"), "gru, 100 epochs, 85 % pruned"
    slow = shown("an4-accurate", "gru preset=accurate blank_bias=0")
    assert "with {:.0f} times fewer multiplications than this GRU, or {:.0f} with".format(*ratios(slow, own)) in here
    whole = f"element-wise products of its cells there are {ratios(dense, own)[1]:.0f} times fewer"
    assert whole in here
    few = "with {:.1f} times as many multiplications ({:.1f} with element-wise products)"
    assert few.format(*ratios(shown("an4-long", pruned), own)) in here
    halves = ("an4-balanced", "improved_v2")
    for encoder, test, development in (("gru", 2.5, 2.5), ("lstm", 2.9, 1.6)):
        for key, points in (("error_rates", test), ("dev_error_rates", development)):
            assert lead(*halves, ("an4-five", encoder), key) == pytest.approx(points, abs=0.06), (encoder, key)
    assert "In development its 14.7 % are two and a half points below the GRU and one and a half below the LSTM" in here
    changed = shown("an4-balanced", "improved_v2 input_coding=delta pruning=0.91")
    said = "{:.0f} times fewer multiplications than in the GRU, and **{:.0f} times fewer with the element-wise"
    assert said.format(*ratios(dense, changed)) in here
    rates = changed["dev_error_rate"], changed["error_rate"]
    assert "five seeds have {:.1f} % on average in development and {:.1f} % in test".format(*rates) in here
    assert len(changed["seeds"]) == 5
    sent = "`improved_v2` takes {:.0f} times fewer than the dense GRU, with {:.1f} % (five seeds)"
    assert sent.format(ratios(dense, changed)[1], changed["error_rate"]) in readme
    fewest = shown("an4-long", pruned)
    rate, products = fewest["error_rate"], fewest["products_per_second"] / 1e6
    assert f"the GRU had {rate:.1f} % (one seed) with {products:.2f} million multiplications a second, seven" in readme
    assert round(ratios(fewest, own)[1]) == 7
    times = {row["label"]: row["2x256"]["microseconds"] for row in stored.rows_shown("streaming-pruned")}
    small = times["improved_v2 int8"]
    others = [time for label, time in times.items() if label.startswith(("ONNX", "torch")) and "int8" in label]
    for text in (readme, here):
        assert f"{min(others) / small:.1f} times as fast as the fastest int8 GRU or LSTM of others" in text
    assert f"{times['GRU int8 in our engine'] / small:.1f} times as fast as an int8 GRU in its own engine" in readme


def test_no_mark_is_left_open():
    for path in stored.documents():
        text = read_text(path)
        assert text.count("<!-- results: ") == text.count("<!-- end -->") == len(list(stored.marked(text)))


@pytest.mark.parametrize("name", [name for name in TABLES if "from" not in stored.plan()[name]])
def test_a_row_says_of_which_seeds_commit_and_machine_it_is(name):
    for row in stored.stored_rows(name):
        assert row["commit"] and row["machine"] and all(isinstance(seed, int) for seed in row["seeds"])
        for key in ("error_rates", "dev_error_rates"):
            assert len(row.get(key, row["seeds"])) == len(row["seeds"]), key


@pytest.mark.parametrize("name", [name for name in TABLES if "from" not in stored.plan()[name]])
def test_the_commands_of_the_plan_can_be_run(name):
    """Every program and recipe is there, and every key=value is one that the recipe has for that encoder."""
    from snn_asr.training.recipes import recipe

    layout = stored.plan()[name]
    for command in layout["commands"]:
        program, *rest = results.words(command, PLACES)
        if program == "python":
            assert (ROOT / rest[0]).is_file()
        elif rest[0] == "compare":
            encoders = rest[rest.index("--encoders") + 1] if "--encoders" in rest else "improved_v2,gru,lstm"
            keys, grid = keys_and_grid(rest)
            for encoder in encoders.split(","):
                recipe.load(rest[1], {"encoder": encoder, **keys, **{key: values[0] for key, values in grid.items()}})
    outputs = [word for command in layout["commands"] for word in shlex.split(command)]
    for pattern in layout.get("runs", []):
        assert f"{{results}}/{pattern.partition('/')[0]}" in " ".join(outputs)


def test_places_of_a_command_are_filled_in_and_unknown_ones_are_refused():
    command = "snn-asr prepare librispeech --output-folder {results}/libri 'splits={train: train-clean-5}'"
    assert results.words(command, PLACES)[-2:] == ["results/abc/libri", "splits={train: train-clean-5}"]
    with pytest.raises(UsageError, match="unknown place {folder}"):
        results.words("snn-asr prepare an4 --output-folder {folder}", PLACES)


@pytest.mark.parametrize("name", [name for name in TABLES if "streaming" in stored.plan()[name]])
def test_recordings_are_read_where_they_are(name):
    """Preparing writes audio for some corpora only; the manifests of the others point at the corpus itself."""
    prepared = set()
    for command in stored.plan()[name]["commands"]:
        words = shlex.split(command)
        if words[1] == "prepare" and words[2] in WRITING_AUDIO:
            prepared.add(f"{words[words.index('--output-folder') + 1]}/audio")
        if "--audio" in words:
            folder = words[words.index("--audio") + 1]
            assert folder.startswith("{data}/") or folder.rpartition("/")[0] in prepared
            if folder.startswith("{data}/") and DATA.is_dir():
                assert (DATA / folder.removeprefix("{data}/")).is_dir()


def keys_and_grid(words: list[str]) -> tuple[dict, dict]:
    """What the words of a ``compare`` give to every run, and the values of its ``--grid``s."""
    grids = [word for option, word in zip(words, words[1:], strict=False) if option == "--grid"]
    return parse_overrides(each for each in words if "=" in each and each not in grids), parse_grid(grids)


def trained(layout) -> dict[str, SimpleNamespace]:
    """What grouping takes of the first run of everything that a table's commands train, by its folder."""
    runs = {}
    for command in layout["commands"]:
        program, *rest = results.words(command, PLACES)
        if (program, rest[0]) != ("snn-asr", "compare"):
            continue
        output = Path(rest[rest.index("--output-folder") + 1])
        keys, grid = keys_and_grid(rest)
        points = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
        for encoder in rest[rest.index("--encoders") + 1].split(",") if "--encoders" in rest else DEFAULTS:
            for point in points:
                name = "-".join([encoder, *(f"{key}={value}" for key, value in point.items()), "seed1"])
                runs[str((output / name).relative_to(PLACES["results"]))] = SimpleNamespace(
                    encoder=encoder, overrides=keys | point, recipe=rest[1], settings={}, group=f"{keys} {point}"
                )
    return runs


@pytest.mark.parametrize("name", [name for name in TABLES if "runs" in stored.plan()[name]])
def test_labels_are_of_rows_that_the_commands_make_and_every_row_has_one(name):
    layout = stored.plan()[name]
    runs = [run for folder, run in trained(layout).items() if any(fnmatch(folder, each) for each in layout["runs"])]
    rows = group_runs(runs)
    labels = layout.get("labels", {label: label for label in rows})
    assert set(rows) == set(labels)
    assert {row["label"] for row in stored.stored_rows(name)} <= set(labels.values())


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("{a:.2f}", "1.50"), ("{list:.1f}", "1.0, 2.0"), ("{big:M.2f} / {big:k.0f}", "2.50 / 2500"),
        ("{a:x.1f}", "1.5×"),
        ("{none:x.1f|no MACs left}", "no MACs left"), ("{missing:.2f}", "-"), ("{inner[b]:.0f}", "7"),
        ("[{none[0]:.1f}]", "[-]"), ("{holes:.1f}", "1.0, -"), ("{count:,}", "1,234"), ("{label}", "gru"),
    ],
)
def test_patterns(pattern, expected):
    row = {
        "a": 1.5, "list": [1.0, 2.0], "big": 2.5e6, "none": None, "inner": {"b": 7.0}, "holes": [1.0, None],
        "count": 1234, "label": "gru",
    }
    assert stored.fill(pattern, row) == expected


def test_what_differs_between_rows_names_them():
    rows = [
        {"label": "a", "seeds": [1, 2], "commit": "c1", "machine": "one core"},
        {"label": "b", "seeds": [1], "commit": "c2", "machine": "one core"},
        {"label": "c", "seeds": [1, 2], "commit": "c1", "machine": "one core"},
    ]
    assert stored.origin(rows) == "Seeds 1, 2 (a, c); 1 (b). Commits c1 (a, c); c2 (b). On one core."
    assert stored.origin(rows[:1]) == "Seeds 1, 2. Commit c1. On one core."


def test_a_table_with_intervals_says_what_each_covers():
    old, new, one, by_hand = (
        {"label": "a", "seeds": [1, 2]}, {"label": "b", "seeds": [1, 2], "resampled": "speaker"},
        {"label": "c", "seeds": [1], "resampled": "speaker"}, {"label": "d", "seeds": [1, 2], "resampled": "seed"},
    )
    assert stored.intervals([new, new]) == "Intervals over seeds and speakers."
    assert stored.intervals([old, new, one, by_hand]) == (
        "Intervals over utterances, with the seeds as given (a); seeds and speakers (b); speakers alone (c); "
        "seeds alone (d)."
    )
    assert stored.table("an4").count("Intervals over") == 1 and "Intervals" not in stored.table("an4-short")


def test_a_row_without_its_origin_is_refused(folder):
    write_json(folder / "demo.json", {"rows": [{"label": "gru", "seeds": [1], "commit": "", "machine": "m"}]})
    with pytest.raises(DataError, match="row gru has no commit"):
        stored.stored_rows("demo")


def test_finished_runs_become_a_stored_table_with_their_own_commit_and_machine(folder, of_a_commit, tone_run, gru_run):
    assert results.main(["store", "demo", str(tone_run), str(gru_run)]) == 0
    spiking, gru = stored.stored_rows("demo", folder)
    metrics = read_json_object(tone_run / "model" / "metrics.json")
    assert spiking["label"] == "improved_v2" and gru["macs_ratio_to_baseline"] == 1
    assert spiking["commit"] == "abc" and metrics["environment"]["processor"] in gru["machine"]
    assert spiking["error_rates"] == pytest.approx([metrics["test"]["error_rate"]], rel=1e-5)
    assert spiking["dev_error_rate"] == pytest.approx(metrics["dev_error_rate"], rel=1e-5)
    assert f"| {spiking['error_rate']:.2f} [" in stored.table("demo", folder)
    assert results.main(["store", "demo", str(gru_run), "--add", "--label", "gru=>another"]) == 0
    assert {row["label"] for row in stored.stored_rows("demo", folder)} == {"improved_v2", "gru", "another"}


def write_metrics(run: Path, metrics: dict[str, Any]) -> None:
    """The metrics of a run's model, with their checksum: as training would have written them."""
    write_json(run / "model" / "metrics.json", metrics)
    checksums = read_json_object(run / "model" / "checksums.json")
    write_json(run / "model" / "checksums.json", checksums | {"metrics.json": sha256(run / "model" / "metrics.json")})


def test_runs_of_different_programs_can_be_seeds_of_one_row(of_a_commit, gru_run, tmp_path):
    old = shutil.copytree(gru_run, tmp_path / "old")
    mark, metrics = read_json_object(old / "run.json"), read_json_object(old / "model" / "metrics.json")
    write_json(old / "run.json", mark | {"settings": {**mark["settings"], "seed": 0, "of_old": 1}})
    write_metrics(old, metrics | {"seed": 0})
    assert len(collect.rows_of_runs([gru_run, old])) == 2
    (row,) = collect.rows_of_runs([gru_run, old], one_row="gru of two programs")
    assert (row["label"], row["seeds"]) == ("gru of two programs", [0, 1])
    with pytest.raises(UsageError, match="two runs have one seed"):
        write_metrics(old, metrics)
        collect.rows_of_runs([gru_run, old], one_row="gru")


def test_runs_that_do_not_say_their_commit_need_it_given(folder, gru_run, tmp_path, capsys):
    old = shutil.copytree(gru_run, tmp_path / "old")
    metrics = read_json_object(old / "model" / "metrics.json")
    write_metrics(old, {key: value for key, value in metrics.items() if key != "environment"})
    assert results.main(["store", "demo", str(old)]) == 2
    assert "does not say its commit; give --commit" in capsys.readouterr().err
    assert results.main(["store", "demo", str(old), "--commit", "abc", "--machine", "one core"]) == 0
    (row,) = stored.stored_rows("demo", folder)
    assert (row["commit"], row["machine"]) == ("abc", "one core")


def test_further_numbers_come_by_run_folder(of_a_commit, gru_run):
    (row,) = collect.rows_of_runs([gru_run], extras={gru_run.name: {"trigram_error_rate": 12.5}})
    assert (row["trigram_error_rates"], row["trigram_error_rate"]) == ([12.5], 12.5)


def test_cases_of_the_streaming_benchmark_become_rows(tmp_path):
    cases = [{"name": "gru", "size": size, "microseconds": 2.0, "ratio": 1.0} for size in ("2x256", "2x550")]
    write_json(tmp_path / "streaming.json", cases)
    (row,) = collect.rows_of_streaming(tmp_path / "streaming.json", "abc", "one core")
    assert row["2x256"] == row["2x550"] == {"microseconds": 2.0, "ratio": 1.0}


def test_tables_are_made_by_their_commands_and_one_that_fails_keeps_no_other(
    folder, of_a_commit, gru_run, tmp_path, monkeypatch, capsys
):
    plan = {
        "bad": {"commands": ["python -c 'raise SystemExit(4)'"], "runs": ["x/*"], "columns": {"encoder": "{label}"}},
        "good": {
            "commands": [f"python -c 'import shutil; shutil.copytree(\"{gru_run}\", \"{{results}}/runs/gru-seed1\")'"],
            "runs": ["runs/*"], "columns": {"encoder": "{label}"},
        },
    }
    monkeypatch.setattr(stored, "plan", lambda: plan)
    assert results.main(["make", "--results", str(tmp_path / "made")]) == 3
    assert "failed: bad: exit code 4" in capsys.readouterr().err
    assert [row["label"] for row in read_json(folder / "good.json")["rows"]] == ["gru"]
    assert not (folder / "bad.json").exists()
    with pytest.raises(UsageError, match="did you mean 'good'"):
        stored.require_table("goood")

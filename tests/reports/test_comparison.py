"""Finished runs side by side: grouping, baseline, ratios, and the JSON that others read."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from compared import compare_runs
from rich.table import Table

from snn_asr.errors import DataError, UsageError
from snn_asr.files import read_json, sha256, write_json
from snn_asr.network.model_folder import CHECKSUMS, METRICS
from snn_asr.reports import comparison
from snn_asr.reports.comparison import group_runs, read_run, to_json
from snn_asr.reports.table import comparison_table, print_table
from snn_asr.scoring import significance
from snn_asr.training.run_folder.identity import Identity

KEYS = {  # what others read, whatever else there is
    "encoder", "seeds", "error_rate", "interval", "parameters", "core_parameters", "macs_per_second", "acs_per_second",
    "macs_ratio_to_baseline", "core_macs_ratio_to_baseline", "density", "p_value",
}


@pytest.fixture
def make_run(tmp_path):
    """Write what comparing reads of a run: ``wrong`` of ten one-word utterances are misheard."""

    def make(encoder: str, seed: int = 1, wrong: int = 2, macs: float = 1e6, words: str = "yes", **overrides) -> Path:
        folder = tmp_path / f"{encoder}-{seed}-{'-'.join(map(str, overrides.values()))}-{words}"
        test = {
            f"u{index}": {"speaker": "s", "reference": words, "hypothesis": "no" if index < wrong else words}
            for index in range(10)
        }
        write_json(folder / "test.json", test)
        write_json(folder / "run.json", {"encoder": encoder, "overrides": overrides})
        operations = {
            "macs_per_second": macs, "acs_per_second": seed * 10.0, "core_macs_per_second": macs / 2,
            "density": [0.1 * seed, 0.2],
        }
        write_json(folder / "model" / "metrics.json", {
            "seed": seed, "unit": "word", "parameters": 1000, "core_parameters": 900, "training_seconds": 60 * seed,
            "test": {"error_rate": 10.0 * wrong, "operations": operations},
        })
        write_json(folder / "model" / CHECKSUMS, {METRICS: sha256(folder / "model" / METRICS)})
        return folder

    return make


def labels(folders: list[Path]) -> dict[str, int]:
    """Label of each group to its number of runs."""
    return {label: len(runs) for label, runs in group_runs([read_run(each) for each in folders]).items()}


def test_seeds_of_one_encoder_are_one_group_in_the_order_given(make_run):
    folders = [make_run("lstm"), make_run("gru"), make_run("lstm", 2), make_run("gru", 2), make_run("ligru")]
    assert labels(folders) == {"lstm": 2, "gru": 2, "ligru": 1}
    assert list(labels(folders)) == ["lstm", "gru", "ligru"]


def test_overrides_set_groups_of_one_encoder_apart_and_only_then_show(make_run):
    folders = [make_run("gru", epochs=3), make_run("improved_v2", epochs=3, bits=4)]
    assert labels(folders) == {"gru": 1, "improved_v2": 1}
    folders += [make_run("improved_v2", epochs=3, bits=6), make_run("improved_v2", 2, epochs=3, bits=4)]
    assert labels(folders) == {"gru": 1, "improved_v2 bits=4": 2, "improved_v2 bits=6": 1}
    assert labels([make_run("gru"), make_run("gru", epochs=3)]) == {"gru": 1, "gru epochs=3": 1}


def with_identity(folder: Path, recipe: str = "FSDD", data: str = "a", **settings) -> Path:
    """The run as one whose folder tells all its settings."""
    run = read_json(folder / "run.json")
    seed = read_json(folder / "model" / "metrics.json")["seed"]
    identity = Identity(recipe, {"mels": 40, "seed": seed, **settings}, {"train": data}, "cpu")
    write_json(folder / "run.json", run | identity.to_json())
    return folder


def test_runs_of_other_recipes_settings_or_data_are_no_seeds_of_one_row(make_run):
    first, other, third = make_run("gru", 1), make_run("gru", 2), make_run("lstm")
    with_identity(third)
    assert labels([with_identity(first), with_identity(other)]) == {"gru": 2}
    assert labels([first, with_identity(other, recipe="/mine/train.yaml", mels=20), third]) == {
        "gru recipe=FSDD": 1, "gru recipe=/mine/train.yaml": 1, "lstm": 1
    }
    assert labels([first, with_identity(other, recipe="/mine/train.yaml")]) == {
        "gru recipe=FSDD": 1, "gru recipe=/mine/train.yaml": 1
    }
    assert labels([first, with_identity(other, mels=20)]) == {"gru mels=40": 1, "gru mels=20": 1}
    assert len(labels([first, with_identity(other, data="b")])) == 2


def test_finished_runs_of_an_earlier_program_are_told_apart_by_their_recipes(make_run):
    first, other = make_run("gru", 1), make_run("gru", 2)
    text = "# FSDD: digits\nmels: 40\n"
    (first / "model" / "recipe.yaml").write_text(text)
    (other / "model" / "recipe.yaml").write_text(f"# Overrides: seed=2\n{text}")
    assert labels([first, other]) == {"gru": 2}
    (other / "model" / "recipe.yaml").write_text("# FSDD: digits\nmels: 20\n")
    assert len(labels([first, other])) == 2
    assert len(labels([first, with_identity(other)])) == 2


def test_a_row_is_the_mean_of_its_seeds(make_run):
    (row,) = compare_runs([make_run("gru", 1, wrong=2, macs=1e6), make_run("gru", 2, wrong=4, macs=3e6)])
    assert (row.seeds, row.error_rates, row.error_rate) == ([1, 2], [20, 40], 30)
    assert (row.macs_per_second, row.core_macs_per_second, row.acs_per_second) == (2e6, 1e6, 15)
    assert row.density == pytest.approx([0.15, 0.2])
    assert row.training_seconds == 90
    assert row.interval[0] < 30 < row.interval[1]


def test_the_baseline_is_gru_then_lstm_then_none(make_run):
    spiking, lstm, gru = make_run("improved_v2", macs=1e5), make_run("lstm", macs=2e6), make_run("gru", macs=1e6)
    ratios = [row.macs_ratio_to_baseline for row in compare_runs([spiking, lstm, gru])]
    assert ratios == [10, 0.5, 1]
    assert [row.macs_ratio_to_baseline for row in compare_runs([spiking, lstm])] == [20, 1]
    (row,) = compare_runs([spiking])
    assert (row.macs_ratio_to_baseline, row.core_macs_ratio_to_baseline, row.p_value) == (None, None, None)
    chosen = compare_runs([spiking, lstm, gru], "improved_v2")
    assert [row.core_macs_ratio_to_baseline for row in chosen] == [1, 0.05, 0.1]
    with pytest.raises(UsageError, match="did you mean 'improved_v2'"):
        compare_runs([spiking, gru], "improved")


def test_a_model_without_multiplications_has_no_ratio(make_run):
    spiking, gru = compare_runs([make_run("improved_v2", macs=0.0), make_run("gru")])
    assert (spiking.macs_ratio_to_baseline, gru.macs_ratio_to_baseline) == (None, 1)


def test_p_values_cover_seeds_and_utterances(make_run):
    folders = [make_run("gru", 1, wrong=1), make_run("gru", 2, wrong=2)]
    folders += [make_run("lstm", 1, wrong=9), make_run("lstm", 2, wrong=10)]
    gru, lstm = compare_runs(folders)
    counts = [read_run(folder).counts for folder in folders]
    assert gru.p_value is None
    assert lstm.p_value == significance.compare(counts[2:], counts[:2]).p_value < 0.05
    assert (lstm.resampled, lstm.remark) == ("utterance", "")


def test_one_seed_has_no_p_value_but_a_sentence(make_run, capsys):
    rows = compare_runs([make_run("gru", 1), make_run("gru", 2, wrong=3), make_run("lstm", 1, wrong=9)])
    assert (rows[1].p_value, rows[1].remark) == (None, significance.ONE_SEED)
    assert rows[1].interval is not None, "over the utterances alone"
    print_table(comparison_table(rows, "word"))
    assert significance.ONE_SEED in " ".join(capsys.readouterr().out.split())


def test_one_utterance_is_compared_without_an_interval(make_run, capsys):
    folders = [make_run("gru", 1), make_run("lstm", 1, wrong=9)]
    for folder in folders:
        test = read_json(folder / "test.json")
        write_json(folder / "test.json", {"u0": test["u0"]})
    rows = compare_runs(folders)
    assert [(row.interval, row.p_value, row.remark) for row in rows] == [(None, None, significance.ONE_UTTERANCE)] * 2
    print_table(comparison_table(rows, "word"))
    assert "one utterance" in capsys.readouterr().out


def test_a_table_shows_names_as_they_are(capsys):
    table = Table("encoder")
    table.add_row("gru recipe=/data/[old]/:star:/train.yaml")
    print_table(table)
    assert "gru recipe=/data/[old]/:star:/train.yaml" in capsys.readouterr().out


@pytest.mark.parametrize("width", [60, 80, 132])
@pytest.mark.parametrize("recipe", ["", "/data/" + "long" * 20 + "/train.yaml"])
def test_a_narrow_terminal_shows_every_cell_whole(width, recipe, make_run, monkeypatch, capsys):
    """Columns that find no room follow below, beside the names again; only these are cut into lines."""
    spiking, gru = compare_runs([make_run("improved_v2"), make_run("gru", macs=5e6)])
    table = comparison_table([replace(spiking, label=f"improved_v2 {recipe}".strip()), gru], "word")
    monkeypatch.setenv("FORCE_COLOR", "1")  # as a terminal has it
    monkeypatch.setenv("COLUMNS", str(width))
    print_table(table)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    shown = {cell.strip() for line in lines for cell in line.split("│")}
    assert max(map(len, lines)) <= width and "…" not in "".join(lines)
    assert {cell for column in table.columns[1:] for cell in column.cells} <= shown
    assert sum("gru" in line for line in lines) >= 2


def test_a_single_column_is_printed_however_long_it_is(monkeypatch, capsys):
    table = Table("encoder")
    table.add_row("gru " * 30)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    print_table(table)
    assert capsys.readouterr().out.count("gru") == 30


def test_a_table_whose_reader_has_ended_is_a_broken_pipe(monkeypatch):
    """Which the program ends for with the exit code of a filter; rich would end it as for an unexpected error."""
    reader, writer = os.pipe()
    os.close(reader)
    table = Table("encoder")
    table.add_row("gru")
    with open(writer, "w", buffering=1) as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        with pytest.raises(BrokenPipeError):
            print_table(table)
            closed.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer)


def test_speakers_are_resampled_where_there_are_enough(make_run, capsys):
    folders = [make_run("gru", 1), make_run("gru", 2, wrong=5)]
    for folder in folders:
        test = read_json(folder / "test.json")
        write_json(folder / "test.json", {name: {**each, "speaker": f"s{name[1]}"[-1]} for name, each in test.items()})
    (row,) = compare_runs(folders)
    assert row.resampled == "speaker"
    print_table(comparison_table([row], "word"))
    assert "drawn by chance: seeds and speakers" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", ["test.json", "run.json", "model/metrics.json"])
@pytest.mark.parametrize("content", ["[]", "{}", '{"u0": 3}', "[" * 100_000, ""])
def test_a_run_of_another_shape_names_its_file(name, content, make_run):
    folder = make_run("gru")
    (folder / name).write_text(content)
    with pytest.raises(DataError, match=Path(name).name):
        compare_runs([folder])


def test_json_has_the_keys_that_others_read(make_run, capsys):
    rows = to_json(compare_runs([make_run("improved_v2"), make_run("gru")]))
    for row in json.loads(json.dumps(rows)):
        assert row.keys() >= KEYS
        assert isinstance(row["density"], list) and len(row["interval"]) == 2
    print_table(comparison_table(compare_runs([make_run("improved_v2"), make_run("gru", macs=5e6)]), "word"))
    lines = capsys.readouterr().out.splitlines()
    assert any("improved_v2" in line and "5.0× (5.0×)" in line and "20.00" in line for line in lines)


def test_runs_on_other_test_utterances_are_not_compared(make_run):
    folders = [make_run("improved_v2"), make_run("ligru", words="yes yes")]
    with pytest.raises(DataError, match="not tested on the same utterances"):
        compare_runs(folders)


def test_one_seed_twice_is_no_group_of_seeds(make_run):
    folder = make_run("gru")
    copy = shutil.copytree(folder, folder.with_name("copy"))
    for folders in ([folder, folder], [folder, copy]):
        with pytest.raises(UsageError, match="two runs of 'gru' have one seed"):
            compare_runs(folders)


def test_an_unfinished_run_is_named(make_run):
    folder = make_run("gru")
    (folder / "test.json").unlink()
    with pytest.raises(DataError, match="not a finished run; finish it with 'snn-asr train'") as caught:
        compare_runs([make_run("lstm"), folder])
    assert str(folder) in str(caught.value)


def test_real_runs_are_read(tone_run, gru_run):
    spiking, gru = compare_runs([tone_run, gru_run])
    metrics = read_json(tone_run / "model" / "metrics.json")
    assert (spiking.label, gru.label) == ("improved_v2", "gru")
    assert spiking.error_rate == metrics["test"]["error_rate"]
    assert list(spiking.interval) == pytest.approx(metrics["test"]["interval"])
    assert spiking.core_parameters < gru.core_parameters
    assert gru.core_macs_ratio_to_baseline == 1 < spiking.core_macs_ratio_to_baseline
    assert comparison.read_run(gru_run).overrides == {"epochs": 2}


@pytest.mark.parametrize("name", ["test.json", "run.json", "model"])
def test_files_of_different_runs_in_one_folder_are_not_compared(name, tone_run, gru_run, tmp_path):
    mixed = tmp_path / "mixed"
    shutil.copytree(tone_run, mixed)
    if name == "model":
        shutil.rmtree(mixed / name)
        shutil.copytree(gru_run / name, mixed / name)
    else:
        shutil.copyfile(gru_run / name, mixed / name)
    where = {"test.json": "mixed/test.json: not as training wrote it"}
    with pytest.raises(DataError, match=where.get(name, "mixed/model: was trained by another run than run.json names")):
        compare_runs([mixed])

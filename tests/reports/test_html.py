"""The report of finished runs: what is on the page, that it holds nothing else, and whose files it replaces."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest
from compared import compare_runs
from pages import loaded, parse

from snn_asr.cli.options import parse_overrides
from snn_asr.files import read_json, sha256, write_json
from snn_asr.reports import html, table
from snn_asr.reports.comparison import compare_groups, read_groups, read_run
from snn_asr.reports.html import leave_report
from snn_asr.reports.report import SECTIONS
from snn_asr.reports.run_details import command
from snn_asr.training.run_folder.folder import LOG_FINGERPRINT, REPORT, REPORT_MARK, RUN, TEST_SHA256

OF_THE_RUN = (RUN, TEST_SHA256, LOG_FINGERPRINT)
NASTY = "</script><script>alert(1)</script><img src=http://x.example/y onerror=z> & \"'`{{ 7 * 7 }}"
ODD = "שלום عالم \u202e e\u0301 \N{GRINNING FACE} \x00\x1b"


@pytest.fixture(scope="module")
def two_encoders(tone_run, gru_run, tmp_path_factory) -> tuple[Path, list[Path]]:
    """A report of a spiking network and its twin, and their folders."""
    output = tmp_path_factory.mktemp("report") / "report.html"
    write_report([tone_run, gru_run], output)
    return output, [tone_run, gru_run]


def write_report(folders: list[Path], output: Path) -> None:
    groups = read_groups(folders)
    html.write_report(groups, compare_groups(groups), output)


def copy_of(run: Path, folder: Path, **test: dict) -> Path:
    """The run with another decoded test set, as of a version whose metrics did not say which run they are of."""
    shutil.copytree(run, folder)
    metrics, checksums = (folder / "model" / name for name in ("metrics.json", "checksums.json"))
    write_json(metrics, {key: value for key, value in read_json(metrics).items() if key not in OF_THE_RUN})
    write_json(checksums, read_json(checksums) | {metrics.name: sha256(metrics)})
    if test:
        write_json(folder / "test.json", test)
    return folder


def test_every_section_is_there_labelled_and_linked(two_encoders):
    root = parse(two_encoders[0].read_text(encoding="utf-8"))
    assert [each.attributes["href"] for each in root.all("nav")[0].all("a")] == [f"#{name}" for name, _ in SECTIONS]
    for name, heading in SECTIONS:
        (section,) = root.all("section", id=name)
        (title,) = section.all("h2")
        assert (title.text, title.attributes["id"]) == (heading, section.attributes["aria-labelledby"])
        assert len(section.text) > len(heading) + 10, name
    assert root.all("html")[0].attributes["lang"] == "en"


def test_every_identifier_is_there_once_and_every_chart_has_a_title_and_a_description(two_encoders):
    page = two_encoders[0].read_text(encoding="utf-8")
    identifiers = re.findall(r'\bid="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers))
    charts = parse(page).all("svg", role="img")
    assert len(charts) >= 7, "frontier, seeds, two curves, two rasters and their density"
    for chart in charts:
        labels = chart.attributes["aria-labelledby"].split()
        assert [each.attributes["id"] for each in (*chart.all("title")[:1], *chart.all("desc"))] == labels
        assert all(each.text for each in (chart.all("title")[0], chart.all("desc")[0]))
        assert not re.search(r"nan|inf|None", " ".join(each.attributes.get("d", "") for each in chart.all("path")))


def test_headings_tables_and_players_can_be_told_apart_by_ear(two_encoders):
    page = two_encoders[0].read_text(encoding="utf-8")
    levels = [int(each) for each in re.findall(r"<h([1-6])", page)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
    root = parse(page)
    for table_of in root.all("table"):
        assert table_of.all("caption")[0].text
        assert all("scope" in each.attributes for each in table_of.all("th"))
    labelled = [*root.all("audio"), *root.all("nav"), *root.all("article"), *root.all("div", role="region")]
    assert len(labelled) >= 6 and all(each.attributes.get("aria-label") for each in labelled)
    inside = {each.attributes["href"][1:] for each in root.all("a")}
    assert inside <= set(re.findall(r'\bid="([^"]+)"', page)), "every link leads somewhere"
    scrolled = [each for each in root.all("div", role="region")]
    assert all(each.attributes["tabindex"] == "0" for each in scrolled), "what scrolls is reached by keyboard"


@pytest.mark.slow
def test_a_browser_has_nothing_to_complain_of(two_encoders, tmp_path):
    browser = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)
    if browser is None:
        pytest.skip("no Chromium")
    words = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    words += ["--enable-logging=stderr", "--dump-dom", f"file://{two_encoders[0]}"]
    result = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert "Worst utterances" in result.stdout
    assert "CONSOLE" not in result.stderr, result.stderr


def test_the_numbers_are_those_of_the_table(two_encoders):
    output, folders = two_encoders
    rows = compare_runs(folders)
    (results,) = parse(output.read_text(encoding="utf-8")).all("section", id="results")
    shown = [[each.text for each in row.children] for row in results.all("tbody")[0].all("tr")]
    assert shown == [[" ".join(cell.split()) for cell in table.cells(row)] for row in rows]
    assert [each.text for each in results.all("thead")[0].all("th")] == list(table.columns("word"))
    assert [each.text for each in results.all("p")] == table.remarks(rows)


def test_nothing_is_loaded_but_recordings_beside_it(two_encoders, tones):
    output, _ = two_encoders
    page = output.read_text(encoding="utf-8")
    addresses = loaded(parse(page))
    assert addresses, "the untrained twin makes errors, and these have recordings"
    for each in addresses:
        assert (output.parent / unquote(each)).resolve().is_relative_to(tones.resolve())
        assert (output.parent / unquote(each)).is_file()
    assert not parse(page).all("script")
    outside = set(re.findall(r"(?:https?:)?//[^\s\"'<>]+", page)) - {"http://www.w3.org/2000/svg"}
    assert not outside
    assert "url(" not in page and "@import" not in page


def test_texts_names_and_ids_are_escaped(gru_run, tmp_path):
    name = "u<b>\"'& one"
    folder = copy_of(gru_run, tmp_path / "run <i>&\"'", **{
        name: {"speaker": "s", "reference": NASTY, "hypothesis": ODD},
        "other": {"speaker": "s", "reference": "low", "hypothesis": "low"},
    })
    run = read_json(folder / "run.json")
    write_json(folder / "run.json", run | {"recipe": NASTY, "encoder": "<u>gru"})
    write_report([folder], tmp_path / "report.html")
    root = parse((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert not root.all("script") and not root.all("img") and not root.all("i") and not root.all("u")
    (article,) = root.all("article")
    assert article.all("h3")[0].text == name
    said = [each.all("bdi")[0].text for each in article.all("li")]
    assert [each for each in said if each != "***"] == NASTY.split()
    heard = " ".join(each.all("bdi")[1].text for each in article.all("li"))
    assert "שלום" in heard and "\x00" not in heard and "\N{REPLACEMENT CHARACTER}" in heard
    assert "{{ 7 * 7 }}" in root.all("title")[0].text


def test_a_run_without_log_model_and_recordings_says_what_is_missing(gru_run, tmp_path):
    folder = copy_of(gru_run, tmp_path / "old")
    (folder / "log.jsonl").unlink()
    (folder / "model" / "weights.safetensors").write_bytes(b"damaged")
    metrics = read_json(folder / "model" / "metrics.json")
    del metrics["environment"], metrics["test"]["operations"]["element_wise_per_second"]
    write_json(folder / "model" / "metrics.json", metrics)
    write_json(folder / "model" / "checksums.json", {"metrics.json": sha256(folder / "model" / "metrics.json")})
    run = read_json(folder / "run.json")
    write_json(folder / "run.json", {"encoder": "gru", "overrides": run["overrides"]})
    write_report([folder], tmp_path / "report.html")
    root = parse((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "no log" in root.all("section", id="learning")[0].text
    assert "not where the runs found them" in root.all("section", id="utterances")[0].text
    spikes = root.all("section", id="spikes")[0].text
    assert "no utterance could be heard" in spikes and "its model cannot be loaded" in spikes
    assert "not recorded" in root.all("section", id="environment")[0].text
    assert "that tell no more" in root.all("section", id="frontier")[0].text


@pytest.mark.parametrize("content", ["", "[]\n", '{"epoch": "x"}\n', '{"epoch": 1, "dev_loss": null}\nhalf a li'])
def test_a_log_of_another_shape_is_no_error(content, gru_run, tmp_path):
    folder = copy_of(gru_run, tmp_path / "run")
    (folder / "log.jsonl").write_text(content)
    write_report([folder], tmp_path / "report.html")
    root = parse((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "no log" in root.all("section", id="learning")[0].text


def test_a_changed_manifest_gives_no_recordings(gru_run, tones, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(tones, data)
    folder = copy_of(gru_run, tmp_path / "run")
    write_json(folder / "run.json", read_json(folder / "run.json") | {"data_folder": str(data)})
    write_report([folder], tmp_path / "a.html")
    assert loaded(parse((tmp_path / "a.html").read_text(encoding="utf-8")))
    manifest = read_json(data / "test.json")
    write_json(data / "test.json", {name: each | {"speaker": "another"} for name, each in manifest.items()})
    write_report([folder], tmp_path / "b.html")
    assert not loaded(parse((tmp_path / "b.html").read_text(encoding="utf-8")))


def test_recordings_that_no_browser_plays_are_within_the_page_of_a_comparison(gru_run, tones, tmp_path):
    data, folder = tmp_path / "data", copy_of(gru_run, tmp_path / "run")
    shutil.copytree(tones, data)
    manifest = read_json(data / "test.json")
    for each in manifest.values():
        recording = data / each["wav"]
        recording.rename(recording.with_suffix(".sph"))
        each["wav"] = str(Path(each["wav"]).with_suffix(".sph"))
    write_json(data / "test.json", manifest)
    run = read_json(folder / "run.json")
    write_json(folder / "run.json", {key: run[key] for key in ("encoder", "overrides")} | {"data_folder": str(data)})
    write_report([folder], tmp_path / "report.html")
    addresses = loaded(parse((tmp_path / "report.html").read_text(encoding="utf-8")))
    assert addresses and all(each.startswith("data:audio/flac;base64,") for each in addresses)
    leave_report(folder)
    small = parse((folder / REPORT).read_text(encoding="utf-8"))
    assert not loaded(small) and "Browsers do not play" in small.all("section", id="utterances")[0].text


def test_the_commands_make_the_runs_again(two_encoders):
    output, (spiking, gru) = two_encoders
    (code,) = parse(output.read_text(encoding="utf-8")).all("section", id="commands")[0].all("code")
    run = read_json(gru / "run.json")
    assert f"--data-folder {run['data_folder']} --output-folder {gru} encoder=gru seed=1 epochs=2" in code.text
    assert str(spiking) in code.text


@pytest.mark.parametrize(
    "overrides",
    [
        {"a": 1, "b": 0.5, "c": True, "d": None, "e": [1, 2]}, {"text": "plain", "number": "4", "word": "true"},
        {"odd": "it's: {a} \u05e9", "list": [{"frequency_warp": {"low": 0.85}}], "empty": ""},
    ],
)
def test_the_command_of_a_run_gives_its_values_again(overrides, gru_run, tmp_path):
    folder = copy_of(gru_run, tmp_path / "run")
    write_json(folder / "run.json", read_json(folder / "run.json") | {"overrides": overrides})
    words = shlex.split(command(read_run(folder)))
    given = parse_overrides(each for each in words if "=" in each)
    assert given == overrides | {"encoder": "gru", "seed": 1}


# Whose file it is


def test_training_leaves_a_report_once(gru_run, tmp_path):
    folder = copy_of(gru_run, tmp_path / "run")
    leave_report(folder)
    first = (folder / REPORT).read_bytes()
    assert first.startswith(REPORT_MARK)
    (folder / REPORT).write_bytes(REPORT_MARK)
    leave_report(folder)
    assert (folder / REPORT).read_bytes() == REPORT_MARK, "a report that is there stays"


def test_a_file_of_the_users_own_stays(gru_run, tmp_path, caplog, run):
    folder = copy_of(gru_run, tmp_path / "run")
    (folder / REPORT).write_text("<!DOCTYPE html>\nmine")
    leave_report(folder)
    assert (folder / REPORT).read_text() == "<!DOCTYPE html>\nmine"
    assert "is left as it is" in caplog.text
    code, out, lines = run("compare", folder, "--report", folder / REPORT)
    assert (code, out) == (2, "")
    assert "is no report of snn-asr" in lines[-1]
    assert (folder / REPORT).read_text() == "<!DOCTYPE html>\nmine"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), MemoryError(), ValueError("odd")])
def test_a_report_that_cannot_be_written_is_a_line_in_the_log(error, gru_run, tmp_path, caplog, monkeypatch):
    folder = copy_of(gru_run, tmp_path / "run")

    def refuse(*_):
        raise error

    monkeypatch.setattr(html, "write_text", refuse)
    leave_report(folder)
    assert not (folder / REPORT).exists()
    assert "no report of this run" in caplog.text


def test_the_commands_write_reports(gru_run, tone_run, tones, tone_recipe, tmp_path, run):
    again = ["train", tone_recipe, "--data-folder", tones, "--output-folder", tmp_path / "run", "epochs=1"]
    again += ["hidden_size=4", "--device", "cpu"]
    code, out, _ = run(*again)
    assert (code, out) == (0, f"{tmp_path / 'run' / 'model'}\n")
    parse((tmp_path / "run" / REPORT).read_text(encoding="utf-8"))
    assert "environment" in read_json(tmp_path / "run" / "model" / "metrics.json")
    report = tmp_path / "new" / "report.html"
    code, out, _ = run("compare", gru_run, tone_run, "--report", report, "--json")
    assert code == 0 and [each["encoder"] for each in json.loads(out)] == ["gru", "improved_v2"]
    assert parse(report.read_text(encoding="utf-8")).all("h1")[0].text.endswith("gru, improved_v2")
    code, _, _ = run("compare", tone_run, "--report", report)
    assert code == 0 and "gru" not in report.read_text(encoding="utf-8").partition("</h1>")[0]

"""Error against multiplications: which rows no other beats, and the chart as a file of its own."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest
from compared import compare_runs
from pages import loaded, parse

from snn_asr.reports.frontier import CHART_MARK, frontier, frontier_rows, on_frontier
from snn_asr.reports.table import cells, columns

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def rows(tone_run, gru_run):
    return compare_runs([gru_run, tone_run])


def altered(row, products: float, error: float):
    return replace(row, products_per_second=products, error_rate=error)


def test_a_row_is_on_the_frontier_where_none_has_less_of_both(rows):
    points = [(1e6, 5.0), (2e6, 5.0), (3e6, 2.0), (3e6, 3.0), (0.0, 9.0), (1e6, 5.0)]
    made = [altered(rows[0], *each) for each in points]
    assert on_frontier(made) == [True, False, True, False, True, True]
    assert [each[3] for each in frontier_rows(made)] == ["0.00", "1.00", "1.00", "2.00", "3.00", "3.00"]
    assert [each[5] for each in frontier_rows(made)] == ["yes", "yes", "yes", "no", "yes", "no"]


def test_all_products_are_those_of_the_units_too(rows, tone_run):
    from snn_asr.files import read_json

    operations = read_json(tone_run / "model" / "metrics.json")["test"]["operations"]
    products = operations["macs_per_second"] + operations["element_wise_per_second"]
    assert rows[1].products_per_second == pytest.approx(products)
    assert products > rows[1].macs_per_second
    assert rows[1].products_ratio_to_baseline == pytest.approx(rows[0].products_per_second / products)
    shown = dict(zip(columns("word"), cells(rows[1]), strict=True))
    assert shown["all products M/s"] == f"{products / 1e6:.2f}"


def test_a_model_without_multiplications_lies_at_the_beginning_of_the_axis(rows):
    chart = frontier([altered(rows[0], 0.0, 3.0), altered(rows[1], 2e6, 2.0)], "word")
    assert chart.x.logarithmic and chart.x.ticks[0] == (chart.x.low, "0")
    assert chart.at_x(chart.series[1].points[0].x) == chart.left


def test_the_chart_is_a_file_that_stands_alone(rows, gru_run, tone_run, tmp_path, run):
    output = tmp_path / "frontier.svg"
    code, out, _ = run("compare", gru_run, tone_run, "--frontier", output)
    assert code == 0 and "gru" in out
    content = output.read_text(encoding="utf-8")
    assert content.encode().startswith(CHART_MARK)
    root = ElementTree.fromstring(content)
    assert root.tag == f"{SVG}svg"
    assert {"gru", "improved_v2"} <= {each.text for each in root.iter(f"{SVG}text")}
    assert "prefers-color-scheme: dark" in content and not loaded(parse(content))
    code, _, _ = run("compare", gru_run, tone_run, "--frontier", output)
    assert code == 0, "an earlier chart is replaced"
    output.write_text("<svg/>")
    code, out, lines = run("compare", gru_run, "--frontier", output)
    assert (code, out) == (2, "") and "is no chart of snn-asr" in lines[-1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--frontier", "folder"], "--frontier: folder is a folder; name a file"),
        (["--report", "folder"], "--report: folder is a folder; name a file"),
        (["--report", "one.html", "--frontier", "folder/../one.html"], "is the file of --frontier, too"),
    ],
)
def test_files_that_cannot_be_are_refused_before_anything_is_trained(options, said, tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    code, out, lines = run("compare", "FSDD", "--output-folder", "runs", *options)
    assert (code, out) == (2, "") and said in lines[-1]
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


def test_a_table_is_shown_where_a_file_cannot_be_written(gru_run, tmp_path, run):
    (tmp_path / "file").write_text("")
    code, out, lines = run("compare", gru_run, "--report", tmp_path / "file" / "report.html")
    assert code == 4 and "gru" in out and "report.html" in lines[-1]

"""Charts: places on axes, ticks, rasters, and colours that can be told from the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snn_asr import reports
from snn_asr.reports.charts import COLOURS, SHAPES, Point, Series, axis, outline, plotted, raster

numbers = st.floats(0, 1e9, allow_nan=False, allow_subnormal=False)


@given(st.lists(numbers, min_size=1, max_size=8), st.sampled_from([True, False, None]), st.booleans())
def test_an_axis_holds_its_values_in_their_order(values, logarithmic, from_zero):
    made = axis("x", values, logarithmic, from_zero)
    shares = [made.share(each) for each in sorted(values)]
    assert all(0 <= each <= 1 for each in shares) and shares == sorted(shares)
    places = [made.share(value) for value, _ in made.ticks]
    assert places == sorted(places) and len(made.ticks) <= 40
    assert made.low < made.high


def test_ticks_are_round_numbers():
    assert [label for _, label in axis("x", [0.0, 5.3], False, True).ticks] == ["0", "1", "2", "3", "4", "5", "6"]
    assert [label for _, label in axis("x", [0.3, 22.0], True, False).ticks] == ["0.5", "1", "2", "5", "10", "20"]
    assert axis("x", [0.0, 0.3, 22.0], True, False).ticks[0][1] == "0", "what has no logarithm lies at the beginning"


def test_a_point_lies_where_its_numbers_say():
    chart = plotted("i", "t", "d", "x", "y", [Series("a", 0, [Point(0, 0, ""), Point(10, 4, "")])])
    assert (chart.at_x(0), chart.at_y(0)) == (chart.left, chart.bottom)
    assert (chart.at_x(10), chart.at_y(4)) == (chart.right, chart.top)
    assert chart.path(chart.series[0].points) == f"M{chart.left:g},{chart.bottom:g}L{chart.right:g},{chart.top:g}"
    assert chart.path(chart.series[0].points[:1]).endswith("h0"), "a line of one point is a dot"
    assert chart.at_y(2) == pytest.approx((chart.top + chart.bottom) / 2)


def test_a_raster_has_a_stroke_for_every_stretch():
    chart = raster("i", "t", "d", [[True, False], [True, True], [False, False], [True, False]], 0.08)
    assert chart.cells.path == "M0 0h2M3 0h1M1 1h1"
    assert (chart.cells.frames, chart.cells.units) == (4, 2)


def test_marks_differ_in_colour_or_shape():
    kinds = [(Series("a", index, ()).colour, Series("a", index, ()).shape) for index in range(COLOURS * len(SHAPES))]
    assert len(set(kinds)) == len(kinds)
    assert len({outline(shape, 0, 0) for shape in SHAPES}) == len(SHAPES)


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.03928 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
    return sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_and_marks_stand_out_from_the_page(theme):
    css = (Path(reports.__file__).parent / "templates" / "chart.css").read_text(encoding="utf-8")
    light, dark = css.split("@media screen and (prefers-color-scheme: dark)")
    colours = dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]{6})", light if theme == "light" else dark))
    wanted = {"ink": 4.5, "faint": 4.5, "link": 4.5, "wrong": 4.5, "missing": 4.5, "extra": 4.5}
    wanted |= {f"series{index}": 3.0 for index in range(COLOURS)}
    for ground in ("paper", "raised"):
        for name, least in wanted.items():
            light_one, dark_one = sorted((luminance(colours[name]), luminance(colours[ground])), reverse=True)
            assert (light_one + 0.05) / (dark_one + 0.05) >= least, f"{name} on {ground}"

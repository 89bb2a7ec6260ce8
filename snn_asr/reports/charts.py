"""Charts as inline SVG, with the colours of the page around them (templates/report.css, for light and dark).

Series also differ in the shape of their marks, for readers who cannot tell the colours apart. Every mark has a title
with its numbers, which a browser shows when the pointer rests on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

COLOURS = 7  # series of the style sheet; further ones begin again, with the next shape
NEUTRAL = COLOURS - 1  # the index of a series whose colour is nearly that of the text
WIDTH, HEIGHT = 560.0, 330.0
LEFT, RIGHT, TOP, BOTTOM = 62.0, 14.0, 14.0, 50.0  # around the axes
MARK = 5.5  # half a mark's width
SHAPES = ("circle", "square", "triangle", "diamond", "cross")
LOG_SPAN = 20.0  # of the largest to the smallest value, from which a choice falls on a logarithmic axis
_FEWEST_TICKS, _MOST_TICKS = 3, 6
_MOST_POWERS = 8  # of ten, on a logarithmic axis


@dataclass(frozen=True)
class Point:
    """A point of a series; ``low`` and ``high`` bound an interval of y, and ``title`` tells people what it is."""

    x: float
    y: float
    title: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """Points with a common name and style, drawn as marks or as a line, which may be thin or dashed.

    ``index`` is the number of the name and decides the colour and the shape.
    """

    name: str
    index: int
    points: Sequence[Point]
    line: bool = False
    thin: bool = False
    dashed: bool = False

    @property
    def colour(self) -> int:
        return self.index % COLOURS

    @property
    def shape(self) -> str:
        return SHAPES[(self.index + self.index // COLOURS) % len(SHAPES)]

    @property
    def outline(self) -> str:
        """The outline of the mark in the middle of a legend entry."""
        return outline(self.shape, 0.0, 0.0)


@dataclass(frozen=True)
class Axis:
    """An axis from ``low`` to ``high`` with ticks, each a value and its label.

    On a logarithmic axis the value 0 lies at the beginning.
    """

    label: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """Return where a value lies on the axis: 0 at its beginning, 1 at its end."""
        if self.logarithmic:
            value, low, high = math.log(max(value, self.low)), math.log(self.low), math.log(self.high)
        else:
            low, high = self.low, self.high
        return min(max((value - low) / (high - low), 0.0), 1.0)


@dataclass(frozen=True)
class Cells:
    """The events of a raster, as one path of horizontal strokes; a column is a frame and a row is a unit."""

    path: str
    frames: int
    units: int


@dataclass(frozen=True)
class Chart:
    """All that the template draws; ``identifier`` is unique in a page."""

    identifier: str
    title: str
    description: str
    x: Axis
    y: Axis
    series: Sequence[Series]
    cells: Cells | None = None
    legend: Sequence[Series] = field(default_factory=tuple)
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = WIDTH - RIGHT
    top: float = TOP
    bottom: float = HEIGHT - BOTTOM

    def at_x(self, value: float) -> float:
        return round(self.left + self.x.share(value) * (self.right - self.left), 1)

    def at_y(self, value: float) -> float:
        return round(self.bottom - self.y.share(value) * (self.bottom - self.top), 1)

    def of_cells(self, cells: Cells) -> str:
        """Return the transformation that places the cells between the axes, with the first unit at the bottom."""
        wide, high = (self.right - self.left) / cells.frames, (self.bottom - self.top) / cells.units
        return f"matrix({wide:.4f} 0 0 {-high:.4f} {self.left:g} {self.bottom - high / 2:.2f})"

    def path(self, points: Iterable[Point]) -> str:
        """Return the line through points; a single point becomes a dot."""
        places = [f"{self.at_x(each.x):g},{self.at_y(each.y):g}" for each in points]
        return "M" + "L".join(places) + ("h0" if len(places) == 1 else "")

    def mark(self, shape: str, point: Point) -> str:
        """Return the outline of the mark of a point."""
        return outline(shape, self.at_x(point.x), self.at_y(point.y))


def outline(shape: str, x: float, y: float) -> str:
    """Return the path of a mark of this shape, centred at (x, y)."""
    r = MARK
    if shape == "circle":
        return f"M{x - r:g},{y:g}a{r:g},{r:g} 0 1 0 {2 * r:g},0a{r:g},{r:g} 0 1 0 {-2 * r:g},0Z"
    corners = {
        "square": [(-r, -r), (r, -r), (r, r), (-r, r)],
        "triangle": [(0, -1.2 * r), (1.2 * r, r), (-1.2 * r, r)],
        "diamond": [(0, -1.4 * r), (1.4 * r, 0), (0, 1.4 * r), (-1.4 * r, 0)],
        "cross": [
            (-r, -r / 3), (-r / 3, -r / 3), (-r / 3, -r), (r / 3, -r), (r / 3, -r / 3), (r, -r / 3),
            (r, r / 3), (r / 3, r / 3), (r / 3, r), (-r / 3, r), (-r / 3, r / 3), (-r, r / 3),
        ],
    }[shape]
    return "M" + "L".join(f"{x + dx:g},{y + dy:g}" for dx, dy in corners) + "Z"


def plotted(
    identifier: str, title: str, description: str, x_label: str, y_label: str, series: Sequence[Series], *,
    x_log: bool | None = False, y_log: bool | None = False, x_ticks: Sequence[tuple[float, str]] | None = None,
    x_whole: bool = False, y_zero: bool = True, legend: Sequence[Series] | None = None,
) -> Chart:
    """Return a chart whose axes hold all points of ``series``.

    ``x_log`` and ``y_log`` ask for a logarithmic axis (None: if the values span much). ``x_ticks`` are the ticks of the
    x axis; with ``x_whole`` they stand only at whole numbers. ``y_zero`` makes the y axis begin at 0. ``legend`` names
    other series than those that are drawn.
    """
    points = [each for one in series for each in one.points]
    xs = [each.x for each in points]
    ys = [value for each in points for value in (each.y, each.low, each.high) if value is not None]
    if legend is None:
        first_of_name = {each.index: each for each in reversed(series)}
        legend = [first_of_name[index] for index in sorted(first_of_name)]
    x = axis(x_label, xs, x_log, False, x_ticks, x_whole)
    y = axis(y_label, ys, y_log, y_zero)
    return Chart(identifier, title, description, x, y, series, legend=legend)


def axis(
    label: str, values: Sequence[float], logarithmic: bool | None, from_zero: bool,
    ticks: Sequence[tuple[float, str]] | None = None, whole: bool = False,
) -> Axis:
    """Return an axis that holds the values with a little room.

    ``logarithmic`` asks for a logarithmic axis or forbids it; with None it is taken if the values span much.
    """
    above = [each for each in values if each > 0]
    if logarithmic is None:
        logarithmic = len(above) == len(values) > 0 and max(values) > LOG_SPAN * min(values)
    if logarithmic and above:
        return _logarithmic(label, min(above), max(above), len(above) < len(values))
    low, high = min(values, default=0.0), max(values, default=1.0)
    low = min(low, 0.0) if from_zero else low
    if ticks is not None:
        return Axis(label, low - 0.5, high + 0.5, ticks)
    if high <= low:
        low, high = (0.0, 1.0) if high == 0 else (low - 0.5 * abs(low), high + 0.5 * abs(high))
    step = max(_step(high - low), 1.0 if whole else 0.0)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    places = [each * step for each in range(first, last + 1)]
    return Axis(label, places[0], places[-1], [(each, _number(each)) for each in places])


def _step(span: float) -> float:
    """Return the distance between ticks: 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(span / _MOST_TICKS))
    return next(each * power for each in (1, 2, 5, 10) if each * power * _MOST_TICKS >= span)


def _logarithmic(label: str, low: float, high: float, with_zero: bool) -> Axis:
    """Return a logarithmic axis; ``with_zero`` adds a place at its beginning for values that are 0."""
    low, high = low / 1.3, high * 1.3
    digits = (1, 2, 5) if high / low < 1e3 else (1,)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    powers = range(first, last + 1, 1 + (last - first) // _MOST_POWERS)
    places = [digit * 10.0**power for power in powers for digit in digits]
    ticks = [(each, _number(each)) for each in places if low <= each <= high]
    if len(ticks) < _FEWEST_TICKS:
        step = _step(high - low)
        ticks = [(each * step, _number(each * step)) for each in range(math.ceil(low / step), int(high / step) + 1)]
    if with_zero:
        low /= 1.6
        ticks.insert(0, (low, "0"))
    return Axis(label, low, high, ticks, logarithmic=True)


def _number(value: float) -> str:
    return f"{value:.6g}" if 1e-4 <= abs(value) < 1e6 or value == 0 else f"{value:.0e}"


def raster(identifier: str, title: str, description: str, fired: Sequence[Sequence[bool]], seconds: float) -> Chart:
    """Return a chart of which unit fired when: ``fired`` (T, H), over so many seconds.

    Neighbouring frames in which a unit fired become one stroke.
    """
    frames, units = len(fired), len(fired[0])
    x, y = axis("seconds", [0.0, seconds], False, True), axis("unit", [0.0, float(units)], False, True)
    x = Axis(x.label, 0.0, seconds, [each for each in x.ticks if each[0] <= seconds])
    y = Axis(y.label, 0.0, float(units), [each for each in y.ticks if each[0] <= units])
    strokes = (
        f"M{start} {unit}h{end - start}"
        for unit in range(units) for start, end in _strokes([bool(fired[frame][unit]) for frame in range(frames)])
    )
    return Chart(identifier, title, description, x, y, (), Cells("".join(strokes), frames, units))


def _strokes(fired: Sequence[bool]) -> Iterable[tuple[int, int]]:
    """Return the first index of every stretch of true values, and the index after its last."""
    start = None
    for index, each in enumerate([*fired, False]):
        if each and start is None:
            start = index
        elif not each and start is not None:
            yield start, index
            start = None

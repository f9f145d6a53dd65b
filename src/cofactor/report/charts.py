"""Charts as facts in the units of their data; geometry is made here, looks are the template's.

They are SVG inside HTML, need no library, and follow the colors of the page, light or dark. Those who point at a chart
are told the values of what is nearest; legends show and hide series.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import TYPE_CHECKING, Any, ClassVar

from cofactor.report.scales import Scale, short_numbers, spanning
from cofactor.system.templating import templates_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COLORS", "Axis", "Bar", "Bars", "Chart", "Grid", "Lines", "Series"]

COLORS = ("#2a76c6", "#b95916", "#27804f", "#8a5fc7", "#cc4464", "#21808f", "#74791c", "#7b6a5d")
"""Of series, in their order: at least 4.5 : 1 against white, which letters inside have, and 3 : 1 on a dark page."""

_DASHES = ("", "7 3", "2 3")
WIDTH, HEIGHT = 360, 250
_LETTER = 6.6  # pixels of a digit beside an axis
_LABEL, _TRIES = 17, 15  # pixels of a label inside its point
_TOP, _BOTTOM, _RIGHT = 26, 42, 14


class Chart:
    """A chart: in a notebook it shows itself, ``Report.chart`` puts it on a page, ``write`` into a file of its own."""

    macro: ClassVar[str]
    title: str
    description: str

    def html(self) -> str:
        """The chart as a piece of HTML, without style and script."""
        macros: Any = templates_of("cofactor.report").get_template("charts.html.j2").module
        return str(getattr(macros, self.macro)(self))

    def _repr_html_(self) -> str:
        page = templates_of("cofactor.report").get_template("alone.html.j2")
        return page.render(chart=self)


@dataclass(frozen=True)
class Bar:
    """A value by its name, with an interval if there is one, and what is told of it; NaN is no value."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    tip: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Bars(Chart):
    """Values by name, one below the other, from 0 to the right; the first one stands out.

    Names are text of the page: however long they are, they wrap.
    """

    macro: ClassVar = "bars"
    title: str
    description: str
    bars: Sequence[Bar]
    note: str = ""

    @property
    def scale(self) -> Scale:
        """What all bars share."""
        reach = [v for bar in self.bars for v in (bar.value, bar.low, bar.high) if v is not None and isfinite(v)]
        low, high = min([0.0, *reach]), max([0.0, *reach])
        return Scale(low, high if high > low else low + 1)

    def share(self, value: float | None) -> float:
        """Percent of the width."""
        known = 0.0 if value is None or not isfinite(value) else value
        return round(100 * self.scale.share(known), 2)

    @staticmethod
    def shown(value: float) -> str:
        """A value as text."""
        return f"{value:.4f}" if isfinite(value) else "none"


@dataclass(frozen=True)
class Axis:
    """What an axis means; with ``names`` it has a place for each of them, at 0, 1, 2, ...; ``whole`` counts."""

    label: str
    log: bool = False
    zero: bool = False
    whole: bool = False
    names: Sequence[str] = ()

    def scale(self, values: Sequence[float]) -> Scale:
        """The scale for these values."""
        if self.names:
            return Scale(-0.5, len(self.names) - 0.5)
        return spanning(values, log=self.log, zero=self.zero)

    def ticks(self, scale: Scale) -> list[tuple[float, str]]:
        """Shares of the length, and what is written there."""
        if self.names:
            return [(scale.share(place), name) for place, name in enumerate(self.names)]
        ticks = scale.ticks(whole=self.whole)
        return [(scale.share(tick), text) for tick, text in zip(ticks, short_numbers(ticks), strict=True)]


@dataclass(frozen=True)
class Series:
    """Points in their order, joined by a line or not; what is no number has no place and breaks the line.

    Attributes
    ----------
    tips : sequence of str
        What is told of each point; those of "" are not told of.
    low, high : sequence of float
        Ends of intervals, or empty.
    marked : bool
        Whether points are drawn.
    labels : sequence of str
        A letter or two inside each point, or empty.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    tips: Sequence[str] = ()
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    joined: bool = True
    marked: bool = False
    labels: Sequence[str] = ()


@dataclass(frozen=True)
class Mark:
    """A point as it is drawn."""

    x: float
    y: float
    label: str
    low: float | None
    high: float | None
    away: float = 0.0  # pixels downwards from the point to its label, where another label is in the way


@dataclass(frozen=True)
class Drawn:
    """A series as it is drawn."""

    name: str
    color: str
    dash: str
    path: str
    marks: Sequence[Mark]


@dataclass(frozen=True)
class Lines(Chart):
    """Series over two axes.

    Attributes
    ----------
    key : sequence of str
        What labels inside points stand for.
    """

    macro: ClassVar = "lines"
    title: str
    description: str
    x: Axis
    y: Axis
    series: Sequence[Series]
    key: Sequence[str] = ()
    note: str = ""
    width: ClassVar[int] = WIDTH
    height: ClassVar[int] = HEIGHT
    bottom: ClassVar[int] = HEIGHT - _BOTTOM
    top: ClassVar[int] = _TOP
    right: ClassVar[int] = WIDTH - _RIGHT

    @cached_property
    def _both(self) -> tuple[Scale, Scale]:
        xs = [float(v) for one in self.series for v in one.x]
        ys = [float(v) for one in self.series for column in (one.y, one.low, one.high) for v in column]
        return self.x.scale(xs), self.y.scale(ys)

    @property
    def left(self) -> float:
        """Where the y axis stands: numbers beside it have room."""
        longest = max((len(text) for _, text in self.y.ticks(self._both[1])), default=1)
        return 12 + _LETTER * longest

    @property
    def x_ticks(self) -> list[tuple[float, str]]:
        """Places in pixels, and what is written there; names that would not fit are left to the tips."""
        ticks = self.x.ticks(self._both[0])
        room = (self.right - self.left) / max(len(ticks), 1) / _LETTER
        shown = [(self._x_of(share), text) for share, text in ticks]
        if max((len(text) for _, text in ticks), default=0) <= room:
            return shown
        keep = max(2, int(max(len(text) for _, text in ticks) / room) + 1)
        return [(place, text if n % keep == 0 else "") for n, (place, text) in enumerate(shown)]

    @property
    def y_ticks(self) -> list[tuple[float, str]]:
        """Places in pixels, and what is written there."""
        return [(self._y_of(share), text) for share, text in self.y.ticks(self._both[1])]

    @property
    def drawn(self) -> list[Drawn]:
        """The series in pixels."""
        labels: list[tuple[float, float]] = []
        return [self._drawn(n, one, labels) for n, one in enumerate(self.series)]

    @property
    def tips(self) -> str:
        """JSON of what is told: [x, y, text, number of the series]."""
        told = []
        for n, one in enumerate(self.series):
            for x, y, tip in zip(one.x, one.y, one.tips, strict=False):
                place = self._place(x, y)
                if place is not None and tip:
                    told.append([*place, tip, n])
        return json.dumps(told, ensure_ascii=False, separators=(",", ":"))

    def _drawn(self, n: int, one: Series, labels: list[tuple[float, float]]) -> Drawn:
        """A series; ``labels`` are the places that are taken, and grow."""
        marks, parts, pen = [], [], "M"
        for number, (x, y) in enumerate(zip(one.x, one.y, strict=True)):
            place = self._place(x, y)
            if place is None:
                pen = "M"
                continue
            parts.append(f"{pen}{place[0]:g} {place[1]:g}")
            pen = "L"
            if one.marked:
                low, high = ((column[number] if column else None) for column in (one.low, one.high))
                ends = [None if v is None or not isfinite(v) else self._place(x, v) for v in (low, high)]
                label = one.labels[number] if one.labels else ""
                away = _free(place, labels) if label else 0.0
                least, most = (None if end is None else end[1] for end in ends)
                marks.append(Mark(place[0], place[1], label, least, most, away))
        color, dash = COLORS[n % len(COLORS)], _DASHES[n // len(COLORS) % len(_DASHES)]
        return Drawn(one.name, color, dash, "".join(parts) if one.joined else "", marks)

    def _place(self, x: float, y: float) -> tuple[float, float] | None:
        horizontal, vertical = self._both
        if not (isfinite(x) and isfinite(y)) or (horizontal.log and x <= 0) or (vertical.log and y <= 0):
            return None
        return self._x_of(horizontal.share(x)), self._y_of(vertical.share(y))

    def _x_of(self, share: float) -> float:
        return round(self.left + share * (self.right - self.left), 1)

    def _y_of(self, share: float) -> float:
        return round(self.bottom - share * (self.bottom - self.top), 1)


def _free(place: tuple[float, float], taken: list[tuple[float, float]]) -> float:
    """How far up or down from its point a label has room; it is taken then."""
    for step in range(_TRIES):
        away = _LABEL * ((step + 1) // 2) * (-1 if step % 2 else 1)
        at = place[0], place[1] + away
        inside = _LABEL / 2 <= at[1] <= HEIGHT - _BOTTOM
        if inside and all(abs(at[0] - x) >= _LABEL or abs(at[1] - y) >= _LABEL for x, y in taken):
            taken.append(at)
            return float(away)
    return 0.0


@dataclass(frozen=True)
class Cell:
    """A cell of a grid as it is drawn; ``shade`` is 0 for the least value and 1 for the most."""

    text: str
    tip: str
    shade: float
    best: bool


@dataclass(frozen=True)
class Grid(Chart):
    """A number for every pair of a row and a column, the higher the darker; NaN where there is none."""

    macro: ClassVar = "grid"
    title: str
    description: str
    x: str
    y: str
    columns: Sequence[str]
    rows: Sequence[str]
    values: Sequence[Sequence[float]]
    higher_is_better: bool = True
    note: str = ""
    told: Sequence[Sequence[str]] = ()

    @property
    def by_place(self) -> dict[tuple[int, int], Cell]:
        """What there is, by row and column."""
        known = [v for row in self.values for v in row if isfinite(v)]
        low, high = (min(known), max(known)) if known else (0.0, 0.0)
        best = high if self.higher_is_better else low
        found = {}
        for r, row in enumerate(self.values):
            for c, v in enumerate(row):
                if isfinite(v):
                    shade = (v - low) / (high - low) if high > low else 0.5
                    found[r, c] = Cell(f"{v:.4f}", self._tip(r, c, v), shade, v == best)
        return found

    def _tip(self, row: int, column: int, value: float) -> str:
        if self.told:
            return self.told[row][column]
        return f"{self.y} {self.rows[row]}, {self.x} {self.columns[column]}: {value:.4f}"

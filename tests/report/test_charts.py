"""Charts: marks stay inside, texts are escaped, colors are seen on light and dark pages."""

import json
import math
import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofactor.report.charts import COLORS, HEIGHT, WIDTH, Axis, Bar, Bars, Grid, Lines, Series

NASTY = "<script>alert(1)</script>\"'&amp;{{ 7 * 7 }}"
LIGHT, DARK = "#ffffff", "#14191f"


class Parts(HTMLParser):
    VOID = ("meta",)

    def __init__(self, html):
        super().__init__()
        self.tags, self.open, self.texts = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data.strip())

    def of(self, tag, cls=None):
        return [attrs for name, attrs in self.tags if name == tag and (cls is None or attrs.get("class") == cls)]


def luminance(color):
    parts = [int(color[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    a, b = sorted((luminance(one), luminance(other)), reverse=True)
    return (a + 0.05) / (b + 0.05)


@pytest.mark.parametrize("color", COLORS)
def test_colors_are_seen_on_light_and_dark_pages(color):
    assert contrast(color, LIGHT) >= 4.5  # white letters stand inside points
    assert contrast(color, DARK) >= 3


def every_kind(text):
    series = [
        Series(text, [0, 1], [0.1, 0.2], [text, text], marked=True, labels=[text, text]),
        Series(text, [0, 1], [0.1, 0.3], [text, text], [0.0, 0.2], [0.2, 0.4], marked=True),
    ]
    return [
        Bars(text, text, [Bar(text, 0.5, 0.4, 0.6, text, text), Bar(text, -0.1)], text),
        Lines(text, text, Axis(text), Axis(text), series, [text], text),
        Lines(text, text, Axis(text, names=[text]), Axis(text), [Series(text, [0], [0.1], [text])]),
        Grid(text, text, text, text, [text], [text], [[0.5]], note=text, told=[[text]]),
    ]


@pytest.mark.parametrize("kind", range(4))
def test_nothing_given_is_markup(kind):
    nasty, harmless = (Parts(every_kind(text)[kind].html()) for text in (NASTY, "harmless"))
    assert [tag for tag, _ in nasty.tags] == [tag for tag, _ in harmless.tags]
    assert nasty.texts.count(NASTY) == harmless.texts.count("harmless") > 0
    assert "49" not in nasty.texts


@pytest.mark.parametrize("kind", range(4))
def test_a_chart_shows_itself_in_a_notebook(kind):
    page = Parts(every_kind("x")[kind]._repr_html_())
    assert len(page.of("style")) == len(page.of("script")) == len(page.of("figure")) == 1


def has_place(value, log):
    return math.isfinite(value) and (value > 0 or not log)


values = st.floats(allow_nan=True, allow_infinity=True, width=32)


@given(st.lists(st.tuples(values, values), max_size=8), st.booleans(), st.booleans())
def test_marks_stay_inside(points, log_x, log_y):
    xs, ys = [x for x, _ in points], [y for _, y in points]
    series = Series("a", xs, ys, ["tip"] * len(xs), ys, ys, marked=True, labels=["1"] * len(xs))
    page = Parts(Lines("t", "d", Axis("x", log=log_x), Axis("y", log=log_y), [series]).html())
    for circle in page.of("circle", "chart-named"):
        assert 0 <= float(circle["cx"]) <= WIDTH
        assert 0 <= float(circle["cy"]) <= HEIGHT
    drawn = [x for x, y in points if has_place(x, log_x) and has_place(y, log_y)]
    told = json.loads(page.of("svg", "chart-plot")[0]["data-tips"])
    assert len(told) == len(page.of("circle", "chart-named")) == len(drawn)


def test_a_missing_value_breaks_the_line():
    chart = Lines("t", "d", Axis("x"), Axis("y"), [Series("a", [1, 2, 3, 4], [1.0, math.nan, 2.0, 3.0])])
    (line,) = Parts(chart.html()).of("path", "chart-line")
    assert re.fullmatch(r"M[\d. ]+M[\d. ]+L[\d. ]+", line["d"])


def test_labels_do_not_cover_each_other():
    series = Series("a", [1.0] * 5, [1.0, 1.01, 1.02, 1.03, 2.0], ["t"] * 5, marked=True, labels=list("abcde"))
    circles = Parts(Lines("t", "d", Axis("x"), Axis("y"), [series]).html()).of("circle", "chart-named")
    places = sorted(float(circle["cy"]) for circle in circles)
    assert min(b - a for a, b in pairwise(places)) >= 16


@pytest.mark.parametrize(
    ("bars", "zero", "widths"),
    [
        ([Bar("a", 0.5), Bar("b", 1.0)], 0, [50, 100]),
        ([Bar("a", 0.0), Bar("b", math.nan)], 0, [0, 0]),
        ([Bar("a", 0.5, 0.0, 2.0)], 0, [25]),
        ([Bar("a", -1.0), Bar("b", 1.0)], 50, [50, 50]),
    ],
)
def test_bars_begin_at_zero(bars, zero, widths):
    page = Parts(Bars("t", "d", bars).html())
    assert [float(rect["width"]) for rect in page.of("rect")] == widths
    assert page.of("path", "chart-zero")[0]["d"].startswith(f"M{zero}")


def test_a_value_that_is_missing_is_told():
    assert "none" in Parts(Bars("t", "d", [Bar("a", math.nan)]).html()).texts


@pytest.mark.parametrize(("higher", "best"), [(True, "0.3000"), (False, "0.1000")])
def test_the_best_cell_of_a_grid_is_framed(higher, best):
    grid = Grid("t", "d", "x", "y", ["1", "2"], ["3", "4"], [[0.1, 0.3], [0.2, math.nan]], higher)
    html = grid.html()
    assert re.findall(r'class="chart-best"[^>]*>([\d.]+)<', html) == [best]
    assert html.count("chart-none") == 1
    assert "y 3, x 2: 0.3000" in html


def test_names_on_an_axis_that_have_no_room_are_left_to_the_tips():
    names = [f"a rather long name {n}" for n in range(12)]
    chart = Lines("t", "d", Axis("x", names=names), Axis("y"), [Series("a", range(12), range(12))])
    shown = [text for _, text in chart.x_ticks if text]
    assert len(chart.x_ticks) == 12
    assert 1 <= len(shown) <= 3

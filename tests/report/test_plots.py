import base64
import re
import sys
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib.text import Text

import cofactor as cf
from cofactor.kernels.csr import CSR
from cofactor.report import plots
from cofactor.report.page import Report

NAMES = [
    "als",
    "personal-popular+popular",
    "als-128-factors-alpha-40-regularization-0.01+personal-popular+popular",
    "W" * 60,
    "a $name_with$ dollars \\frac{",
    "two\nlines",
]
names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)


def board(models, values, low=None, high=None):
    columns = {"model": models, "ndcg@10": values, "ndcg@10_low": low, "ndcg@10_high": high}
    return pl.DataFrame(columns, schema={name: pl.String if name == "model" else pl.Float64 for name in columns})


def of_items(*users):
    """Interactions whose items have so many users each."""
    pairs = [(user, item) for item, n in enumerate(users) for user in range(n)]
    return cf.Interactions.from_frame(pl.DataFrame(pairs, schema=["user_id", "item_id"], orient="row"))


def texts(figure):
    """The texts that are drawn; none of them leaves the figure or covers another."""
    figure.draw_without_rendering()
    apart = list(hidden(figure))
    parts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text() and t not in apart]
    boxes = [text.get_window_extent() for text in parts]
    for text, box in zip(parts, boxes, strict=True):
        assert min(box.x0, box.y0) >= -1, text
        assert box.x1 <= figure.bbox.x1 + 1, text
        assert box.y1 <= figure.bbox.y1 + 1, text
    for (one, a), (other, b) in combinations(zip(parts, boxes, strict=True), 2):
        assert not overlap(a, b), f"{one} covers {other}"
    return [text.get_text() for text in parts]


def hidden(figure):
    """Texts of an axis that is off, and labels of ticks beyond the ends of one."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = axis.get_view_interval()
            for label, place in zip(axis.get_ticklabels(), axis.get_ticklocs(), strict=True):
                if not low <= place <= high:
                    yield label
            if not axes.axison:
                yield from axis.findobj(Text)


def overlap(a, b):
    return min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1


@pytest.mark.parametrize(
    "table",
    [
        board(["als"], [0.25], [0.2], [0.3]),
        board(["all", "half", "none"], [1.0, 0.5, 0.0], [1.0, 0.4, 0.0], [1.0, 0.6, 0.0]),
        board(["a", "b"], [0.0, 0.0]),
        board(["a", "b", "c"], [0.5, 0.4, None], [0.4, None, None], [0.6, None, None]),
        board(NAMES, np.linspace(1, 0.1, 6), np.linspace(0.9, 0, 6), np.linspace(1, 0.2, 6)),
        board([f"model-number-{n}-with-a-name-of-some-length" for n in range(10)], np.linspace(0.1, 0.01, 10)),
    ],
    ids=["one model", "0 and 1", "all 0", "missing", "long names", "ten models"],
)
def test_leaderboard(table):
    figure = plots.leaderboard_plot(table, "ndcg@10")
    found = texts(figure)
    assert found.count("ndcg@10") == 1
    values = ["none" if v is None else f"{v:.4f}" for v in table["ndcg@10"]]
    assert sorted(t for t in found if t in values) == sorted(values)
    axes = figure.axes[0]
    assert axes.get_xlim()[0] == 0
    reach = [v for name in ("ndcg@10", "ndcg@10_high") for v in table[name].drop_nulls()]
    assert axes.get_xlim()[1] >= max(reach)
    assert len(axes.patches) == table.height


def test_intervals_are_drawn_where_there_are_some():
    figure = plots.leaderboard_plot(board(["a", "b"], [0.5, 0.4], [0.4, None], [0.7, None]), "ndcg@10")
    ends = [line.get_xdata().tolist() for line in figure.axes[0].lines]
    assert ends == [[0.4], [0.7]]  # the two caps of the one interval
    without = plots.leaderboard_plot(board(["a"], [0.5]).select("model", "ndcg@10"), "ndcg@10")
    assert len(without.axes[0].patches) == 1


@settings(max_examples=25)
@given(st.lists(names, min_size=1, max_size=4))
@example(["W" * 500])
@example(["\\$", "$$", "_hidden", "{}"])
def test_any_name_leaves_room_for_its_number(models):
    values = np.linspace(1, 0, len(models))
    assert len(texts(plots.leaderboard_plot(board(models, values), "ndcg@10"))) == 2 * len(models) + 1


def test_a_long_name_keeps_beginning_and_end():
    found = texts(plots.leaderboard_plot(board([NAMES[2], "als"], [0.5, 0.4]), "ndcg@10"))
    name = next(t for t in found if "…" in t)
    beginning, end = name.split("…")
    assert NAMES[2].startswith(beginning)
    assert NAMES[2].endswith(end)
    assert min(len(beginning), len(end)) >= 10
    assert "als" in found
    assert "two lines" in texts(plots.leaderboard_plot(board(["two\nlines"], [0.5]), "ndcg@10"))


@pytest.mark.parametrize(
    "users", [(1,), (3,), (2, 1), (10, 1), (500, 40, 3, 1, 1), tuple(range(300, 0, -1)), (1,) * 20]
)
def test_popularity_and_concentration(users):
    x = of_items(*users)
    tail, share = plots.popularity_plot(x), plots.concentration_plot(x)
    texts(tail)
    texts(share)
    line = tail.axes[0].lines[0]
    assert line.get_ydata().tolist() == sorted(users, reverse=True)
    (left, right), (bottom, top) = tail.axes[0].get_xlim(), tail.axes[0].get_ylim()
    assert left <= 1 <= len(users) <= right
    assert bottom <= min(users) <= max(users) <= top
    held = share.axes[0].lines[0].get_ydata()
    assert held[0] == 0
    assert held[-1] == pytest.approx(100)
    assert (np.diff(held) >= 0).all()


@pytest.mark.parametrize(
    ("users", "title"),
    [
        ((6, 3, 1), "Top 33 % of items: 60 % of interactions"),
        ((1,) * 20, "Top 5 % of items: 5 % of interactions"),
        ((100, 100, *[1] * 198), "Top 1 % of items: 50 % of interactions"),
        ((99, *[1] * 149), "Top 1 % of items: 40 % of interactions"),  # 99 and half an interaction of 248
    ],
)
def test_concentration_marks_one_percent_or_one_item(users, title):
    assert title in texts(plots.concentration_plot(of_items(*users)))


def test_items_without_users_have_no_place_on_a_logarithmic_axis():
    x = cf.Interactions.from_csr(CSR.from_pairs([0, 1, 1], [2, 2, 0], [1.0, 1.0, 1.0], (2, 4)))
    assert plots.popularity_plot(x).axes[0].lines[0].get_ydata().tolist() == [2, 1]
    assert plots.concentration_plot(x).axes[0].lines[0].get_ydata()[-1] == pytest.approx(100)


@pytest.mark.parametrize(
    "histories",
    [
        {"als": [2.0]},
        {"als": np.array([3e6, 2e6, 1.5e6]), "b": [2e6]},
        {name: np.linspace(9e9, 8e9, 30) / n for n, name in enumerate(NAMES, 1)},
    ],
    ids=["one iteration", "two models", "long names"],
)
def test_losses(histories):
    figure = plots.loss_plot(histories)
    texts(figure)
    assert [len(line.get_ydata()) for line in figure.axes[0].lines] == [len(h) for h in histories.values()]
    assert len(figure.legends) == (len(histories) > 1)
    looks = [(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines]
    assert len(set(looks)) == len(looks)
    labels = figure.axes[0].xaxis.get_ticklocs()
    assert all(place == int(place) for place in labels)


@pytest.mark.parametrize(
    "figure",
    [
        lambda: plots.leaderboard_plot(board(["a"], [0.5]), "ndcg@10"),
        lambda: plots.popularity_plot(of_items(3, 2, 1)),
        lambda: plots.concentration_plot(of_items(3, 2, 1)),
        lambda: plots.loss_plot({"a": [2.0, 1.0], "b": [2.0, 1.5]}),
    ],
    ids=["leaderboard", "popularity", "concentration", "loss"],
)
def test_text_is_legible_on_a_phone(figure):
    html = Report("A").figure(figure(), "x").html()
    svg = base64.b64decode(re.search(r"svg\+xml;base64,([^\"]+)", html)[1]).decode()
    width = float(re.search(r'<svg[^>]* width="([\d.]+)pt"', svg)[1])
    phone = 390 - 2 * 16  # pixels beside the margins of the page
    sizes = [float(size) for size in re.findall(r"(?:font-size|font): (?:[a-z0-9]+ )?([\d.]+)px", svg)]
    assert sizes
    assert min(sizes) * phone / width >= 11


def test_figures_leave_no_global_state():
    import matplotlib as mpl

    before, settings_before = "matplotlib.pyplot" in sys.modules, mpl.rcParams.copy()
    Report("A").figure(plots.loss_plot({"a": [2.0, 1.0]}), "x")
    assert ("matplotlib.pyplot" in sys.modules) == before
    assert mpl.rcParams.copy() == settings_before


def test_plots_name_what_is_missing(monkeypatch):
    with pytest.raises(cf.ParameterError, match="no 'map@10'; it has"):
        plots.leaderboard_plot(board(["a"], [0.5]), "map@10")
    monkeypatch.setattr(plots, "find_spec", lambda name: None)
    with pytest.raises(cf.MissingExtraError, match=r"cofactor\[plots\]"):
        plots.loss_plot({"a": [1.0]})

import base64
import re
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.report import plots
from cofactor.report.page import Report
from cofactor.report.tables import readable_leaderboard

BOARD = pl.DataFrame(
    {
        "model": ["als", "<popular>"],
        "ndcg@10": [0.25, 0.125],
        "ndcg@10_low": [0.24, 0.1],
        "ndcg@10_high": [0.26, 0.15],
        "coverage@10": [0.5, 0.1],
        "coverage@10_low": [None, None],
        "coverage@10_high": [None, None],
        "fit_seconds": [1.234, 0.0],
    },
    schema_overrides={"coverage@10_low": pl.Float64, "coverage@10_high": pl.Float64},
)


class Tags(HTMLParser):
    """Checks that tags are closed in order, and keeps what they refer to."""

    def __init__(self, page):
        super().__init__()
        self.open, self.outside = [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.outside += [value for name, value in attrs if name in ("src", "href") and not value.startswith("data:")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_page_that_needs_nothing_else():
    figure = plots.leaderboard_plot(BOARD, ["ndcg@10", "coverage@10"])
    page = Report("A & B", "lead <b>").section("S").subsection("T").text("x < y").table(BOARD, best_first=True)
    html = page.facts({"factors": 4}).figure(figure, 'bars of "A"').html()
    assert Tags(html).outside == []
    assert "<script" not in html
    assert "<title>A &amp; B</title>" in html
    assert "&lt;popular&gt;" in html
    assert "x &lt; y" in html
    assert html.count("<tr class='best'>") == 1
    svg = base64.b64decode(re.search(r"svg\+xml;base64,([^\"]+)", html)[1])
    assert b"<svg" in svg
    assert 'alt="bars of &quot;A&quot;"' in html


def test_writes_as_a_whole(tmp_path):
    Report("A").write(tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    assert list(tmp_path.iterdir()) == [tmp_path / "r.html"]
    with pytest.raises(cf.ParameterError, match=r"\.html"):
        Report("A").write(tmp_path / "r.pdf")


def test_readable_leaderboard():
    found = readable_leaderboard(BOARD)
    assert found.columns == ["model", "ndcg@10", "coverage@10", "fit s"]
    assert found.row(0) == ("als", "0.2500 (0.2400-0.2600)", "0.5000", "1.23")
    compact = readable_leaderboard(BOARD.with_columns(recommend_seconds=0.1), compact=True)
    assert compact.row(0) == ("als", "0.250 ±0.010", "0.500", "1.23")
    plain = readable_leaderboard(BOARD.select("model", "ndcg@10"))
    assert plain["ndcg@10"].to_list() == ["0.2500", "0.1250"]


def test_plots_without_global_state(monkeypatch):
    import sys

    before = "matplotlib.pyplot" in sys.modules
    x = cf.datasets.synthetic(50, 300, 1000)
    figures = [
        plots.popularity_plot(x),
        plots.loss_plot({"a": np.array([3.0, 2.0]), "b": [2.0]}),
        plots.leaderboard_plot(BOARD.with_columns(pl.lit(0.0).alias("recall@5")), ["recall@5"]),
    ]
    for figure in figures:
        figure.canvas.draw()
    assert ("matplotlib.pyplot" in sys.modules) == before
    share = figures[0].axes[1].lines[0].get_ydata()
    assert share[-1] == pytest.approx(100)
    assert (np.diff(share) >= 0).all()


def test_plots_name_what_is_missing(monkeypatch):
    with pytest.raises(cf.ParameterError, match="no 'map@10'; it has"):
        plots.leaderboard_plot(BOARD, ["map@10"])
    monkeypatch.setattr(plots, "find_spec", lambda name: None)
    with pytest.raises(cf.MissingExtraError, match=r"cofactor\[plots\]"):
        plots.loss_plot({"a": [1.0]})

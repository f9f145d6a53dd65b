"""Charts of results say what their tables say."""

import json
import re

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.kernels.csr import CSR
from cofactor.report import plots
from cofactor.report.boards import higher_is_better, metrics_of

BOARD = pl.DataFrame(
    {
        "model": ["als", "ease", "popular"],
        "ndcg@10": [0.3, 0.2, 0.1],
        "ndcg@10_low": [0.2, None, 0.05],
        "ndcg@10_high": [0.4, None, 0.15],
        "coverage@10": [0.5, 0.4, None],
        "fit_seconds": [10.0, 20.0, 0.0],
        "recommend_seconds": [1.0, 0.5, 0.1],
        "folds": [1, 1, 1],
    }
)


def of_items(*users):
    """Interactions whose items have so many users each."""
    pairs = [(user, item) for item, n in enumerate(users) for user in range(n)]
    return cf.Interactions.from_frame(pl.DataFrame(pairs, schema=["user_id", "item_id"], orient="row"))


def tips(chart):
    return json.loads(chart.tips)


def test_leaderboard():
    chart = plots.leaderboard(BOARD, marks={"ease": "≈"})
    assert chart.title == "ndcg@10"
    assert [(bar.name, bar.value, bar.low, bar.high, bar.mark) for bar in chart.bars] == [
        ("als", 0.3, 0.2, 0.4, ""), ("ease", 0.2, None, None, "≈"), ("popular", 0.1, 0.05, 0.15, ""),
    ]  # fmt: skip
    assert "interval 0.2000 to 0.4000" in chart.bars[0].tip
    assert np.isnan(plots.leaderboard(BOARD, "coverage@10").bars[2].value)


def test_metrics_are_told_from_other_columns():
    assert metrics_of(BOARD) == ["ndcg@10", "coverage@10"]


def test_what_is_faster_and_better_beats():
    chart = plots.pareto(BOARD)
    front, beaten = chart.series
    assert front.labels == ["3", "1"]  # popular is fastest, als the best
    assert beaten.labels == ["2"]
    assert chart.key == ["als", "ease", "popular"]
    by_lists = plots.pareto(BOARD, seconds="recommend_seconds")
    assert [series.labels for series in by_lists.series] == [["3", "2", "1"]]
    assert "als\nndcg@10 0.3000\n1 s for all lists" in by_lists.series[0].tips


def test_lower_is_better_for_errors():
    board = pl.DataFrame({"model": ["a", "b"], "rmse": [0.8, 0.9], "fit_seconds": [2.0, 1.0]})
    assert plots.pareto(board).series[0].labels == ["2", "1"]
    assert not higher_is_better("rmse")
    assert higher_is_better("whatever")


def test_models_that_failed_have_no_place():
    board = BOARD.with_columns(
        pl.when(pl.col("model") == "ease").then(None).otherwise("fit_seconds").alias("fit_seconds")
    )
    assert [series.labels for series in plots.pareto(board).series] == [["3", "1"]]


@pytest.mark.parametrize(
    ("plot", "error"),
    [
        (lambda: plots.leaderboard(BOARD, "map@10"), "no 'map@10'; it has"),
        (lambda: plots.leaderboard(BOARD.select("model")), "no metric among"),
        (lambda: plots.pareto(BOARD, seconds="seconds"), "fit_seconds"),
        (lambda: plots.pareto(BOARD.drop("fit_seconds")), "no 'fit_seconds'"),
        (lambda: plots.losses([1.0]), "histories"),
    ],
)
def test_errors_name_what_is_there(plot, error):
    with pytest.raises(cf.ParameterError, match=error):
        plot()


def test_slices():
    table = pl.DataFrame(
        {
            "model": ["a", "a", "b"], "slice": ["1-2", "3-9", "3-9"], "n": [10, 20, 20],
            "value": [0.1, 0.2, 0.3], "low": [0.05, None, 0.2], "high": [0.15, None, 0.4],
        }
    )  # fmt: skip
    chart = plots.slices(table, "ndcg@10", by="items")
    assert chart.x.names == ["1-2", "3-9"]
    assert [(series.name, list(series.x)) for series in chart.series] == [("a", [0, 1]), ("b", [1])]
    assert chart.series[0].tips == [
        "a\nitems: 1-2 (10)\nndcg@10 0.1000 (0.0500 to 0.1500)",
        "a\nitems: 3-9 (20)\nndcg@10 0.2000",
    ]
    assert "chart-reach" in chart.html()


@pytest.mark.parametrize("users", [(1,), (3,), (2, 1), (500, 40, 3, 1, 1), tuple(range(300, 0, -1)), (1,) * 20])
def test_popularity_and_concentration(users):
    x = of_items(*users)
    (line,) = plots.long_tail(x).series
    ordered = sorted(users, reverse=True)
    assert line.y[0] == ordered[0]
    assert line.y[-1] == ordered[-1]
    assert all(ordered[rank - 1] == n for rank, n in zip(line.x, line.y, strict=True))
    (share,) = plots.concentration(x).series
    assert (share.x[0], share.y[0]) == (0, 0)
    assert (share.x[-1], share.y[-1]) == (100, pytest.approx(100))
    assert (np.diff(share.y) >= 0).all()


@pytest.mark.parametrize(
    ("users", "title"),
    [
        ((6, 3, 1), "Top 33 % of items: 60 % of"),
        ((1,) * 20, "Top 5 % of items: 5 % of"),
        ((100, 100, *[1] * 198), "Top 1 % of items: 50 % of"),
    ],
)
def test_concentration_names_one_percent_or_one_item(users, title):
    assert title in plots.concentration(of_items(*users)).title


def test_lists_are_set_against_the_interactions():
    lists = {"popular": pl.DataFrame({"item_id": [0] * 10}), "fair": pl.DataFrame({"item_id": [0, 1, 2]})}
    chart = plots.concentration(of_items(3, 2, 1), lists)
    assert [series.name for series in chart.series] == ["interactions", "popular", "fair"]
    at = {series.name: np.interp(100 / 3, series.x, series.y) for series in chart.series}
    assert at["popular"] == pytest.approx(100)
    assert at["fair"] == pytest.approx(100 / 3)


def test_items_without_users_have_no_place_on_a_logarithmic_axis():
    x = cf.Interactions.from_csr(CSR.from_pairs([0, 1, 1], [2, 2, 0], [1.0, 1.0, 1.0], (2, 4)))
    assert list(plots.long_tail(x).series[0].y) == [2, 1]


@pytest.mark.parametrize("n", [1, 7, 1000])
def test_losses(n):
    losses = np.linspace(3e6, 2e6, n)
    chart = plots.losses({"als": losses})
    (line,) = chart.series
    assert (line.y[0], line.y[-1]) == (losses[0], losses[-1])
    assert line.x[-1] == n
    assert len(line.x) <= 200
    assert [tip[2] for tip in tips(chart)][-1].startswith(f"als\nafter {n}: ")
    assert all(re.fullmatch(r"\d+k?", text) for _, text in chart.x_ticks)


def test_a_history_without_a_step_has_no_points():
    chart = plots.losses({"none": [], "one": [0.5]})
    assert [list(series.y) for series in chart.series] == [[], [0.5]]

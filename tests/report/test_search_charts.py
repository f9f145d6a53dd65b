"""Charts of a search: its course, its surface, its parameters."""

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.report import plots
from cofactor.report.search_charts import parameters_of

TRIALS = pl.DataFrame(
    {
        "number": [0, 1, 2, 3, 4, 5],
        "factors": [8, 16, 8, 16, 8, 16],
        "regularization": [0.001, 0.001, 0.1, 0.1, 0.1, None],
        "solver": ["cg"] * 6,
        "value": [0.1, 0.2, 0.4, 0.3, 0.35, None],
        "seconds": [1.0] * 6,
        "state": ["complete"] * 5 + ["failed"],
    }
)


def test_parameters_are_what_varies():
    assert parameters_of(TRIALS) == ["factors", "regularization"]


def test_the_best_so_far_never_falls():
    each, best = plots.search(TRIALS).series
    assert list(each.y[:5]) == [0.1, 0.2, 0.4, 0.3, 0.35]
    assert list(best.y) == [0.1, 0.2, 0.4, 0.4, 0.4, 0.4]
    assert each.tips[1] == "trial 2\nvalue 0.2000\nfactors 16\nregularization 0.001"
    assert list(plots.search(TRIALS, higher_is_better=False).series[1].y) == [0.1] * 6


def test_the_surface_holds_the_best_of_each_cell():
    grid = plots.surface(TRIALS, "factors", "regularization")
    assert (grid.columns, grid.rows) == (["8", "16"], ["0.001", "0.1", "none"])
    np.testing.assert_equal(grid.values, [[0.1, 0.2], [0.4, 0.3], [np.nan, np.nan]])
    assert "factors 8\nvalue 0.4000, the best of 2" in grid.told[1][0]


def test_the_surface_is_of_the_parameters_that_matter():
    trials = pl.DataFrame({"a": [1, 2] * 8, "b": [1, 1, 2, 2] * 4, "c": [1] * 8 + [2] * 8})
    trials = trials.with_columns(value=pl.col("a") * 1.0 + pl.col("c") * 3.0 + pl.col("b") * 0.01)
    grid = plots.surface(trials)
    assert (grid.x, grid.y) == ("c", "a")


def test_many_values_are_put_into_ranges():
    rng = np.random.default_rng(0)
    trials = pl.DataFrame(
        {"a": 10 ** rng.uniform(-4, 0, 200), "b": rng.integers(1, 500, 200), "value": rng.random(200)}
    )
    grid = plots.surface(trials, "a", "b")
    assert len(grid.columns) == len(grid.rows) == 6
    assert np.isfinite(grid.values).all()
    assert np.max(grid.values) == trials["value"].max()
    assert plots.parameter(trials, "a").x.log
    assert not plots.parameter(trials.with_columns(pl.col("a") + 1), "a").x.log


def test_parameters_that_are_no_numbers_have_names():
    trials = TRIALS.with_columns(solver=pl.Series(["cg", "exact"] * 3))
    chart = plots.parameter(trials, "solver")
    assert chart.x.names == ["cg", "exact"]
    assert list(chart.series[0].x) == [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize(
    ("plot", "error"),
    [
        (lambda: plots.search(TRIALS.drop("value")), "no column 'value'"),
        (lambda: plots.search("study"), "a row per trial, such as study.trials"),
        (lambda: plots.parameter(TRIALS, "factor"), "no column 'factor'"),
        (lambda: plots.surface(TRIALS.drop("factors")), "two parameters that vary"),
    ],
)
def test_errors_name_what_is_there(plot, error):
    with pytest.raises(cf.ParameterError, match=error):
        plot()


def test_a_search_of_one_trial_has_a_course():
    chart = plots.search(TRIALS.head(1))
    assert [list(series.y) for series in chart.series] == [[TRIALS["value"][0]]] * 2
    assert plots.parameter(TRIALS.head(1), "factors").series[0].tips == [chart.series[0].tips[0].split("\n", 1)[1]]

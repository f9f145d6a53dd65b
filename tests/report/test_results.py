"""The report of a comparison: a section for what is given, none for what is not."""

import inspect
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.evaluation.measure import measure
from cofactor.evaluation.unseen import unseen
from cofactor.report import plots
from cofactor.report.figures import new_figure
from cofactor.report.page import Report
from cofactor.report.results import make_report

METRICS = ["ndcg@5", "coverage@5"]


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 60, 1500), np.minimum(rng.geometric(0.08, 1500), 40)
    log = pl.DataFrame({"u": users, "i": items, "t": rng.integers(1_700_000_000, 1_710_000_000, 1500)})
    return cf.split.random(cf.read_events(log, user="u", item="i", time="t"), 0.3)


@pytest.fixture(scope="module")
def compared(split):
    models = {"als": cf.ImplicitALS(4, iterations=3), "popular": cf.Popular(), "random": cf.Random()}
    x = split.train.interactions()
    pairs = unseen(split.test.pairs(), x)
    return cf.compare(models, x, pairs, METRICS, intervals=True), models, pairs


def sections(page):
    return re.findall(r"<h2[^>]*>([^<]+)</h2>", page.html())


def test_a_leaderboard_alone(compared):
    page = make_report(compared[0])
    assert isinstance(page, Report)
    assert sections(page) == ["Accuracy and time"]


def test_everything(split, compared):
    board, models, pairs = compared
    measured = {name: measure(model, pairs, "ndcg@5") for name, model in models.items()}
    tests = cf.paired_tests({name: found.per_user() for name, found in measured.items()})
    trials = pl.DataFrame({"factors": [4, 8, 4, 8], "alpha": [1.0, 1.0, 10.0, 10.0], "value": [0.1, 0.2, 0.3, None]})
    known = {"models": models, "train": split.train, "test": pairs, "measured": measured, "tests": tests}
    page = make_report(board, **known, trials=trials, names={1: "<b>Milk</b>"}, title="Shop")
    assert sections(page) == [
        "Accuracy and time",
        "For whom, and for what",
        "Long tail",
        "Learning curves",
        "Tuning",
        "Some users",
        "Parameters",
    ]
    html = page.html()
    assert "&lt;b&gt;Milk&lt;/b&gt;" in html
    assert "<b>Milk" not in html
    assert f"against {board['model'][0]}" in html
    assert len(re.findall(r"<h3[^>]*>User ", html)) == 3
    assert "ImplicitALS(factors=4" in html


def test_models_are_tested_against_each_other_unless_somebody_did(compared):
    board, models, pairs = compared
    html = make_report(board, models=models, test=pairs).html()
    assert "All 3 pairs" in html
    values = {name: measure(model, pairs, "ndcg@5").per_user() for name, model in models.items()}
    for difference in cf.paired_tests(values)["difference"]:
        assert f"{difference:+.4f}" in html
    assert "paired bootstrap" not in make_report(board, models={"popular": models["popular"]}, test=pairs).html()


def test_the_page_says_how_often_the_test_was_read(compared):
    board, models, pairs = compared
    n = cf.readings(pairs)
    assert n >= len(models)
    assert f"This test was read {n:,} times before" in make_report(board, models=models, test=pairs).html()
    assert "measured on this test" not in make_report(board).html()


def test_a_study_tells_its_metric(split, compared):
    study = cf.tune(
        cf.ImplicitALS(4, iterations=2), split.train, space={"factors": [2, 4], "alpha": [1.0, 9.0]}, method="grid"
    )
    html = make_report(compared[0], trials=study).html()
    assert f"{study.metric} by factors" in html
    assert "The best 4 of 4 trials" in html


def test_losses_of_what_was_held_out_stand_beside_those_of_training(compared):
    board, models, pairs = compared
    als = models["als"]
    als.held_out_loss_ = als.loss_history_ * 1.1
    (chart,) = [chart for chart in charts_of(make_report(board, models=models, test=pairs)) if "Loss of" in chart]
    del als.held_out_loss_
    assert "Loss of als" in chart
    assert "held out" in chart
    assert chart.count("chart-line") == 4  # and two beside the names


def charts_of(page):
    return re.findall(r'<figure class="chart".*?</figure>', page.html(), re.DOTALL)


def test_users_may_be_named(compared):
    board, models, pairs = compared
    user = pairs["user_id"][0]
    html = make_report(board, models=models, test=pairs, users=[user]).html()
    assert re.findall(r"<h3[^>]*>User (\d+)", html) == [str(user)]
    assert "Some users" not in sections(make_report(board, models=models, test=pairs, users=0))
    with pytest.raises(cf.ParameterError, match="not in the training data"):
        make_report(board, models=models, test=pairs, users=[12345])


def test_values_per_user_need_no_models(split, compared):
    board, models, pairs = compared
    values = {name: cf.evaluate(model, pairs, "ndcg@5", per_user=True) for name, model in models.items()}
    page = make_report(board, train=split.train, measured=values)
    assert sections(page) == ["Accuracy and time", "For whom, and for what", "Long tail"]


def test_models_that_failed_have_a_row_and_nothing_else(compared):
    board, models, pairs = compared
    row = {name: ["broken" if name == "model" else None] for name in board.columns}
    failed = pl.DataFrame(row, schema=board.schema)
    page = make_report(pl.concat([board, failed]), models={**models, "broken": cf.EASE()}, test=pairs)
    assert "broken" in page.html()
    assert "nan" not in re.sub(r"<script>.*</script>", "", page.html(), flags=re.DOTALL)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"models": {"alss": cf.Popular()}}, r"models: 'alss' is not in the leaderboard; did you mean als\? It has"),
        ({"measured": {"alss": pl.DataFrame()}}, r"measured: 'alss' is not in the leaderboard; did you mean als\?"),
        ({"train": 3}, "train: Events, Interactions or Ratings"),
        ({"k": 0}, "k must be"),
        ({"trials": pl.DataFrame({"a": [1]})}, "no column 'value'"),
    ],
)
def test_errors(compared, arguments, error):
    with pytest.raises(cf.ParameterError, match=error):
        make_report(compared[0], **arguments)


@pytest.mark.parametrize("board", [pl.DataFrame({"model": ["a"]}), pl.DataFrame({"ndcg@5": [0.1]}), {"model": ["a"]}])
def test_the_leaderboard_is_one(board):
    with pytest.raises(cf.ParameterError, match="board"):
        make_report(board)


PAGE = (Path(__file__).parents[2] / "docs" / "report.md").read_text(encoding="utf-8")


def test_examples_of_the_page_run(split, compared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 2
    names = {"cf": cf, "events": cf.read_events(split.train.collect(), user="u", item="i", time="t")}
    with pytest.warns(cf.CofactorWarning):  # test pairs that were in the training data
        exec(compile(blocks[0], "report.md", "exec"), names)
    assert Path("report.html").exists()
    exec(compile(blocks[1], "report.md", "exec"), names | {"figure": new_figure(3, 2)})


def test_the_page_names_every_plot_and_every_parameter():
    assert set(plots.__all__) == {name for name in plots.__all__ if f"`{name}(" in PAGE}
    parameters = set(inspect.signature(make_report).parameters) - {"k", "exclude_seen", "title", "lead", "users"}
    assert all(f"`{name}" in PAGE for name in parameters)

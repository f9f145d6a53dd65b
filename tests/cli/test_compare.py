import sys

import polars as pl
import pytest

import cofactor as cf
from cofactor.evaluation.unseen import unseen


@pytest.fixture
def earlier_model(log, run, tmp_path):
    """A model of the log without its last tenth."""
    pl.read_parquet(log).head(1350).write_parquet(tmp_path / "earlier.parquet")
    run("train", tmp_path / "earlier.parquet", "-o", tmp_path / "m", "-m", "popular")
    return tmp_path / "m"


def test_evaluate_leaves_out_what_was_seen(earlier_model, later, run, run_json):
    model, pairs = cf.load(earlier_model), cf.read_events(later, user="user_id", item="item_id").pairs()
    new = unseen(pairs, model.interactions_)
    assert 0 < new.height < pairs.height
    result = run("evaluate", earlier_model, later)
    assert f"{pairs.height - new.height} of {pairs.height} test pairs" in result.stderr
    found = run_json("evaluate", earlier_model, later, "--metrics", "recall@5,coverage@5")["metrics"]
    assert found == cf.evaluate(model, new, ["recall@5", "coverage@5"]).to_dicts()
    found = run_json("evaluate", earlier_model, later, "--metrics", "recall@5", "--repeats")["metrics"]
    assert found == cf.evaluate(model, pairs, ["recall@5"], exclude_seen=False).to_dicts()


def test_leaks_are_told_in_one_line(earlier_model, log, later, run, run_json):
    """A saved model knows no times; a split by time has nothing out of order."""
    lines = run("evaluate", earlier_model, later).stderr.splitlines()
    assert len([line for line in lines if "leaks" in line]) == 1
    assert "no leaks found. to know: " in lines[0]
    assert "not checked for want of times: user_order" in lines[0]
    options = ["--time", "time", "--models", "popular", "--metrics", "ndcg@5"]
    assert "note: no leaks found. to know" in run("compare", log, *options).stderr
    told = run("compare", log, *options, "--test", "10%").stderr
    assert "test events are before the same user's last training event" in told


def test_unseen():
    train = cf.Interactions.from_frame(pl.DataFrame({"user_id": [1, 1, 2], "item_id": [5, 6, 6]}))
    pairs = pl.DataFrame({"user_id": [1, 2, 2, 9, 1], "item_id": [5, 5, 6, 5, 9]})
    assert unseen(pairs, train).rows() == [(2, 5), (9, 5), (1, 9)]


def test_compare_prints_a_leaderboard_and_writes_a_report(log, run, tmp_path):
    options = ["--time", "time", "-p", "factors=4", "-p", "als.iterations=2", "--report", tmp_path / "r.html"]
    result = run("compare", log, *options)
    for name in ("random", "popular", "personal-popular+popular", "als", "recall@10", "fit s"):
        assert name in result.stdout
    assert "±" not in result.stdout
    page = (tmp_path / "r.html").read_text()
    # Three metrics; time to fit and to recommend; by activity and popularity; two of the data, one of training.
    assert page.count('<figure class="chart"') == 10
    assert "Some users" in page
    assert result.stdout.splitlines()[-1] == f"Report written to {tmp_path / 'r.html'}"
    assert "ImplicitALS(factors=4" in page
    assert list(tmp_path.iterdir()) == [tmp_path / "r.html"]


def test_json_names_the_report(log, run_json, tmp_path):
    options = ["--time", "time", "--models", "popular", "--metrics", "ndcg@5"]
    assert run_json("compare", log, *options)["report"] is None
    found = run_json("compare", log, *options, "--report", tmp_path / "r.html")
    assert found["report"] == str(tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text().count('<figure class="chart"') == 7


def test_a_narrow_terminal_gets_a_narrow_leaderboard(log, run):
    shown = run("compare", log, "--time", "time", "--models", "popular,random", env={"COLUMNS": "80"}).stdout
    assert "±" in shown
    assert len(shown.splitlines()) == 7


@pytest.mark.parametrize("test", ["28d", "2024-03-10", "last:2", "10%", "file"])
def test_what_is_held_out(log, later, run_json, test):
    test = str(later) if test == "file" else test
    options = ["--time", "time", "--test", test, "--models", "popular,random", "--metrics", "ndcg@5", "--repeats"]
    found = run_json("compare", log, *options)
    assert [row["model"] for row in found["leaderboard"]] == ["popular", "random"]
    assert found["leaderboard"][0]["ndcg@5_low"] <= found["leaderboard"][0]["ndcg@5"]
    assert found["models"]["random"] == "Random(seed=0, weighted=False)"


def test_held_out_events_at_home(log, later, run_json, monkeypatch):
    monkeypatch.setenv("HOME", str(later.parent))
    options = ["--time", "time", "--models", "popular", "--metrics", "ndcg@5", "--repeats"]
    here, there = (run_json("compare", log, "--test", test, *options) for test in (later, f"~/{later.name}"))
    assert [row["ndcg@5"] for row in here["leaderboard"]] == [row["ndcg@5"] for row in there["leaderboard"]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--metrics", "recal@10"], "recall"),
        (["--test", "soon"], "--test "),
        (["--test", "28d", "--report", "r.pdf"], "must end in one of .html"),
        (["--test", "100d"], "train would be empty"),
        (["--test", "101%"], "fraction"),
    ],
)
def test_failures(log, run, options, message):
    assert message in run("compare", log, "--time", "time", *options, expect=1).stderr


def test_a_model_that_is_named_twice(log, run):
    told = run("compare", log, "--time", "time", "--models", "popular,random, popular", expect=2).stderr
    assert "'popular' is named twice" in told


def test_a_split_in_time_needs_times(log, run):
    assert "time" in run("compare", log, expect=1).stderr


def test_a_model_that_fails_is_told_and_the_others_are_there(log, run, run_json):
    options = ["--models", "popular,random,ease", "--metrics", "recall@5", "-p", "ease.regularization=-1"]
    result = run("compare", log, "--time", "time", *options, expect=1)
    assert "popular" in result.stdout
    assert "ease" not in result.stdout
    assert "model 'ease' failed to fit: regularization must be" in result.stderr
    options = ["--models", "popular,random", "--metrics", "recall@5", "--significance"]
    board = run_json("compare", log, "--time", "time", *options)["leaderboard"]
    assert [row["p_vs_best"] is None for row in board] == [True, False]


def test_a_report_needs_no_extra(log, run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # importing it fails
    run("compare", log, "--time", "time", "--models", "popular", "--report", tmp_path / "r.html")
    assert (tmp_path / "r.html").exists()


def test_a_test_file_that_is_not_there_is_told(log, run):
    stderr = run("compare", log, "--time", "time", "--models", "popular", "--test", "later.parquet", expect=1).stderr
    assert "--test later.parquet" in stderr
    assert "a file, and there is none of this name" in " ".join(stderr.split())

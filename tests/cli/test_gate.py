import polars as pl
import pytest

import cofactor as cf


@pytest.fixture(scope="module")
def models(log, run, tmp_path_factory):
    """A model of popularity and one of chance, of the log without its last tenth."""
    folder = tmp_path_factory.mktemp("models")
    pl.read_parquet(log).head(1350).write_parquet(folder / "earlier.parquet")
    for name in ("popular", "random"):
        run("train", folder / "earlier.parquet", "-o", folder / name, "-m", name)
    return folder


def test_exit_codes_say_the_decision(models, later, run):
    same = run("gate", models / "popular", models / "popular", later)
    assert same.stdout.startswith("promote")
    assert "95 % interval" in same.stdout
    assert len([line for line in same.stderr.splitlines() if "leaks" in line]) == 2
    worse = run("gate", models / "popular", models / "random", later, "--margin", "0", expect=1)
    assert worse.stdout.startswith("do not promote")


def test_json_holds_the_interval(models, later, run_json):
    found = run_json("gate", models / "random", models / "random", later, "--metric", "recall@5", "--margin", "0.01")
    pairs = cf.read_events(later, user="user_id", item="item_id").pairs()
    model = cf.load(models / "random")
    with pytest.warns(cf.CofactorWarning):
        expected = cf.gate(model, model, pairs, "recall@5", margin=0.01)
    assert found["promoted"] is True
    assert found["margin"] == 0.01
    assert (found["low"], found["high"], found["users"]) == (expected.low, expected.high, expected.users)


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_files_of_lists(models, later, run, tmp_path, ending):
    lists = tmp_path / f"lists.{ending}"
    run("recommend", models / "popular", "-o", lists)
    told = run("gate", lists, models / "popular", later).stdout
    assert "+0 to +0" in told


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--metric", "ndgc@10"], "did you mean ndcg"),
        (["--margin", "much"], "--margin much"),
        (["--confidence", "95"], "confidence"),
        (["--user", "who"], "who"),
    ],
)
def test_what_could_not_be_found_out_is_no_no(models, later, run, options, message):
    """1 means not to promote; a mistake must not look like it."""
    assert message in run("gate", models / "popular", models / "random", later, *options, expect=2).stderr


def test_a_test_of_what_was_learned_is_told_in_the_words_of_the_command(models, run):
    told = run("gate", models / "popular", models / "popular", models / "earlier.parquet", expect=2).stderr
    assert "pass --repeats, or a test of new pairs" in " ".join(told.split())


def test_files_that_are_no_lists(models, later, run, tmp_path):
    assert "does not exist" in run("gate", models / "popular", tmp_path / "none", later, expect=2).stderr
    assert "rank" in run("gate", models / "popular", later, later, expect=2).stderr
    (tmp_path / "empty").mkdir()
    assert run("gate", models / "popular", tmp_path / "empty", later, expect=2).stderr


def test_times_of_training_are_known_where_train_was_told_them(log, run, tmp_path):
    rows = pl.read_parquet(log).sort("time")
    rows.head(1350).write_parquet(tmp_path / "earlier.parquet")
    rows.tail(200).write_parquet(tmp_path / "later.parquet")
    run("train", tmp_path / "earlier.parquet", "--time", "time", "-o", tmp_path / "m", "-m", "popular")
    cut = rows["time"][1349]
    n = rows.tail(200).filter(pl.col("time") < cut).height
    assert n > 0
    for command in (["gate", tmp_path / "m", tmp_path / "m"], ["evaluate", tmp_path / "m"]):
        told = run(*command, tmp_path / "later.parquet", "--time", "time").stderr
        assert f"leaks: {n} of 200 test events are before the cut" in told
        assert f"the cut is {cut.isoformat()}, of the newest event that it was trained on" in told
        assert "no leaks found" in run(*command, tmp_path / "later.parquet").stderr

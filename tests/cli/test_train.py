from datetime import UTC

import polars as pl
import pytest

import cofactor as cf
from cofactor.cli.models import build_models, model_names
from cofactor.models.base.saved import read_header
from cofactor.serve.events import check_event
from cofactor.serve.store import open_store
from cofactor.serve.trained import Trained

TYPES = "type:view=1,cart=3,order=9"


def test_saves_a_model_and_sums_up(log, run, tmp_path):
    result = run("train", log, "-o", tmp_path / "m", "--param", "factors=4", "-p", "als.iterations=2", "--cap", 2)
    assert "1,500" in result.stdout
    assert "after the first iteration" in result.stdout
    model = cf.load(tmp_path / "m")
    assert (model.factors, model.iterations) == (4, 2)
    assert model.interactions_.user_items.values.max() == 2


def test_json(log, run_json, tmp_path):
    summary = run_json("train", log, "-o", tmp_path / "m", "-m", "personal-popular+popular", "--min-item-count", 3)
    assert summary["events"] == 1500
    assert summary["model"] == repr(cf.Fallback(cf.PersonalPopular(), cf.Popular()))
    assert summary["loss"] == []
    assert list(tmp_path.iterdir()) == [tmp_path / "m"]


def test_parameters_of_the_baselines(log, run, tmp_path):
    options = ["--time", "time", "-p", "half_life=60d", "-p", "popular.window=30d"]
    run("train", log, "-o", tmp_path / "m", "-m", "personal-popular+popular", *options)
    chain = cf.load(tmp_path / "m")
    assert chain.models[0].params() == {"half_life": "60d"}
    assert (chain.models[1].half_life, chain.models[1].window) == ("60d", "30d")
    run("train", log, "-o", tmp_path / "r", "-m", "random", "-p", "weighted=true")
    assert cf.load(tmp_path / "r").weighted is True


@pytest.mark.parametrize(
    ("options", "weight"),
    [
        ([], pl.len()),
        (["--weight", "one"], 1.0),
        (["--weight", TYPES], cf.weights.by_type({"view": 1, "cart": 3, "order": 9})),
        (["--weight", "sum:quantity"], pl.col("quantity")),
        (["--half-life", "30d"], cf.weights.half_life("30d")),
        (["--half-life", "30d", "--weight", "one"], cf.weights.half_life("30d").max()),
        (["--half-life", "30d", "--weight", TYPES, "--cap", "5"], None),
    ],
)
def test_weights(log, run, tmp_path, options, weight):
    path = tmp_path / "log.parquet"
    table = pl.read_parquet(log).with_columns(quantity=pl.int_range(1, pl.len() + 1) % 5 + 1)
    table.write_parquet(path)
    run("train", path, "-o", tmp_path / "m", "-m", "popular", "--time", "time", "--event-type", "event_type", *options)
    if weight is None:
        by_type = cf.weights.by_type({"view": 1, "cart": 3, "order": 9})
        weight = cf.weights.capped((by_type * cf.weights.half_life("30d")).sum(), 5)
    events = cf.read_events(table, user="user_id", item="item_id", time="time", event_type="event_type")
    expected = events.interactions(weight).to_frame()
    found = cf.load(tmp_path / "m").interactions_.to_frame()
    assert found.drop("weight").equals(expected.drop("weight"))
    assert found["weight"].to_numpy() == pytest.approx(expected["weight"].to_numpy(), rel=1e-6)


def test_columns_and_notes(log, run, tmp_path):
    table = pl.read_parquet(log).select(pl.col("time").dt.epoch("s").alias("at"), who="user_id", what="item_id")
    anonymous = pl.when(pl.int_range(pl.len()) < 10).then(None).otherwise(pl.col("who"))
    path = tmp_path / "log.csv"
    table.with_columns(anonymous.alias("who"), visit="who").write_csv(path)
    columns = ["--user", "who", "--item", "what", "--time", "at", "--session", "visit"]
    popular = ["-o", tmp_path / "m", "-m", "popular"]
    result = run("train", path, *popular, *columns, "--anonymous", "drop")
    assert result.stderr.count("note: ") == 2  # the unit of the times, and what was dropped, each once
    assert "10 of 1,500" in result.stderr
    run("train", path, *popular, *columns, "--anonymous", "session")
    assert cf.load(tmp_path / "m").interactions_.users.ids[0].startswith("s_")
    assert "null" in run("train", path, *popular, *columns, expect=1).stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-p", "fctors=3"], "als has factors, regularization"),
        (["-p", "factors=many"], "a whole number is expected"),
        (["-p", "alpha=x"], "a number is expected"),
        (["-p", "solver=magic"], "choose one of auto, cholesky"),
        (["-p", "factors"], "write NAME=VALUE"),
        (["-m", "random", "-p", "weighted=maybe"], "true or false is expected"),
        (["-p", "popular.by=weight"], "no model 'popular' was asked for, but als"),
        (["-m", "magic"], "the models are popular"),
        (["--weight", "heavy"], "give count, one, sum:COLUMN"),
        (["--weight", "type:view"], "a number for every type"),
        (["--anonymous", "maybe"], "maybe"),
    ],
)
def test_what_cannot_be_understood_is_a_usage_error(log, run, tmp_path, options, message):
    result = run("train", log, "-o", tmp_path / "m", *options, expect=2, env={"COLUMNS": "1000"})
    assert message in result.stderr
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--user", "uid"], "--user uid: there is no such column; did you mean user_id? The columns are ['user_id'"),
        (["-p", "factors=0"], "factors must be a whole number of at least 1"),
        (["--min-user-count", "1000"], "nothing is left"),
        (["--cap", "-1"], "--cap -1.0; it must be a positive"),
        (["--half-life", "30d"], "time"),
        (["-m", "popular", "-p", "window=30d"], "window='30d' needs the time of every event"),
    ],
)
def test_what_fails_is_one_line(log, run, tmp_path, options, message):
    result = run("train", log, "-o", tmp_path / "m", *options, expect=1)
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not any(tmp_path.iterdir())


def test_the_target_is_checked_before_the_events_are_read(run, tmp_path):
    (tmp_path / "file").touch()
    result = run("train", "no-such.csv", "-o", tmp_path / "file" / "m", expect=1)
    assert "cannot be written" in result.stderr


def test_none_is_a_value(log, run, tmp_path):
    run("train", log, "-o", tmp_path / "m", "-m", "als+popular", "-p", "threads=none", "-p", "factors=2")
    als, popular = cf.load(tmp_path / "m").models
    assert (als.threads, als.factors, popular.threads) == (None, 2, None)


def test_numbers_by_name(log, run, tmp_path):
    options = [
        "--time",
        "time",
        "--event-type",
        "event_type",
        "-m",
        "item-pairs-mf",
        "-p",
        "epochs=1",
        "-p",
        "factors=4",
    ]
    types = pl.read_parquet(log)["event_type"].cast(pl.String).unique().to_list()
    weights = {name: at + 1.5 for at, name in enumerate(sorted(types))}
    text = ",".join(f"{name}:{weight}" for name, weight in weights.items())
    run("train", log, "-o", tmp_path / "m", *options, "-p", f"type_weights={text}")
    assert cf.load(tmp_path / "m").type_weights == weights
    told = run("train", log, "-o", tmp_path / "n", *options, "-p", "type_weights=clicks", expect=2).stderr
    assert "numbers by name are expected, as clicks:1,carts:6" in " ".join(told.split())


def test_a_list_of_texts(log, run, tmp_path):
    run("train", log, "-o", tmp_path / "m", "--time", "time", "-m", "repurchase", "-p", "half_lives=7d,30d")
    assert cf.load(tmp_path / "m").half_lives == ["7d", "30d"]


@pytest.mark.parametrize("name", model_names())
def test_parameters_of_every_model_have_types(name):
    """Also those that its module imports for type checkers alone."""
    assert isinstance(build_models([name], [])[name], cf.models.Recommender)


def test_training_goes_on_from_a_servers_store(run, run_json, log, tmp_path):
    """The log, and after it what a server has stored; the model tells a server up to where it knows the events."""
    with open_store(tmp_path / "events.db") as store:
        store.append([check_event(10_000, 1), check_event(10_000, 2, "2026-01-01")])
        columns = ["--time", "time", "-m", "popular"]
        both = run_json("train", log, tmp_path / "events.db", "-o", tmp_path / "both", *columns)
        alone = run_json("train", tmp_path / "events.db", "-o", tmp_path / "alone", *columns)
        run("train", log, "-o", tmp_path / "log", *columns)
        assert (both["events"], alone["events"]) == (1502, 2)
        assert len(cf.load(tmp_path / "both").recommend([10_000], 3)) == 3
        store.append([check_event(10_000, 3, "2026-01-02")])
        store.refresh()
        known = {name: Trained.of(read_header(tmp_path / name)) for name in ("both", "alone", "log")}
        assert [e.item for e in store.history(10_000, known["both"])] == [3]
        assert known["both"] == known["alone"] == Trained(stored=2)
        newest = pl.read_parquet(log)["time"].max()
        assert known["log"].newest == int(newest.replace(tzinfo=UTC).timestamp() * 1e6)
        assert len(store.history(10_000, known["log"])) == 3

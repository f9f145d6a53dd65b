import gc
import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.errors import DataError, ParameterError
from cofactor.evaluation.kept_readings import readings_kept
from cofactor.evaluation.measure import measure
from cofactor.evaluation.readings import choice_of, note_choice, note_reading, readings

X = cf.datasets.synthetic(60, 30, 900, seed=0)
NUMBER = iter(range(1000, 10_000))


@pytest.fixture
def test():
    """A test side that nobody has read, of users and items that X knows."""
    i = next(NUMBER)
    drawn = np.random.default_rng(i).integers(0, 30, 40)
    return pl.DataFrame({"user_id": X.users.ids[:40], "item_id": X.items.ids.gather(drawn)})


LISTS = cf.Popular().fit(X).recommend(k=11)
RATED = cf.Ratings.from_frame(X.to_frame().select("user_id", "item_id", rating=pl.col("item_id") % 5))


@pytest.mark.parametrize(
    ("read", "n"),
    [
        (lambda test: cf.evaluate(LISTS, test), 1),
        (lambda test: cf.evaluate(cf.Popular().fit(X), test, exclude_seen=False, per_user=True), 1),
        (lambda test: cf.compare({"a": cf.Popular(), "b": cf.Random()}, X, test, exclude_seen=False), 2),
        (lambda test: cf.paired_tests({"a": LISTS, "b": LISTS.filter(pl.col("rank") > 1)}, test), 2),
        (lambda test: cf.evaluate_by_type(LISTS, test.with_columns(event_type=pl.lit("clicks"))), 1),
        (lambda test: cf.errors_by_rating(cf.BiasOnly().fit(RATED), test.with_columns(rating=1.0)), 1),
        (lambda test: cf.calibration(cf.BiasOnly().fit(RATED), test.with_columns(rating=1.0)), 1),
        (lambda test: cf.evaluate(cf.BiasOnly().fit(RATED), test.with_columns(rating=1.0), "rmse"), 1),
    ],
)
def test_every_evaluation_counts(test, read, n):
    assert readings(test) == 0
    read(test)
    assert readings(test) == n
    read(test)
    assert readings(test) == 2 * n


def test_folds_count_each():
    pairs = X.to_frame().select("user_id", "item_id").sample(fraction=1.0, shuffle=True, seed=1)
    events = cf.read_events(pairs, user="user_id", item="item_id")
    folds = cf.split.k_fold(events, 3, seed=5)
    cf.cross_validate(cf.Popular(), None, folds)
    assert [readings(fold.test) for fold in folds] == [1, 1, 1]


def test_a_measurement_knows_which_reading_it_was(test):
    assert [measure(LISTS, test).reading for _ in range(3)] == [1, 2, 3]
    assert "read 4 times" in measure(LISTS, test)._repr_html_()


def test_what_fails_is_no_reading(test):
    with pytest.raises(DataError, match="rank"):
        cf.evaluate(LISTS.drop("rank"), test)
    assert readings(test) == 0


def test_the_same_pairs_are_the_same_test(test):
    note_reading(test, 7)
    assert readings(test.sample(fraction=1.0, shuffle=True, seed=0)) == 7
    assert readings(pl.concat([test, test.head(5)])) == 7
    assert readings(test.with_columns(pl.col("user_id").cast(pl.UInt64), pl.col("item_id").cast(pl.Int32))) == 7
    assert readings(cf.read_events(test, user="user_id", item="item_id")) == 7
    assert readings(cf.Interactions.from_frame(test)) == 7
    assert readings(test.to_dict(as_series=False)) == 7


def test_other_pairs_are_another_test(test):
    note_reading(test)
    assert readings(test.head(39)) == 0
    swapped = test.with_columns(pl.col("item_id").shift(1).fill_null(test["item_id"][-1]))
    assert sorted(swapped["item_id"]) == sorted(test["item_id"])
    assert readings(swapped) == 0
    assert readings(test.select(user_id="item_id", item_id="user_id")) == 0


def test_texts_of_any_type_are_alike():
    names = pl.DataFrame({"user_id": ["mine", "yours"], "item_id": ["tea", "jam"]})
    note_reading(names, 3)
    assert readings(names.cast(pl.Categorical)) == 3
    assert readings(names.with_columns(item_id=pl.Series(["jam", "tea"]))) == 0


def test_a_choice_is_told_by_measurements(test):
    model = cf.Popular().fit(X)
    found = measure(model, test, exclude_seen=False)
    assert found.chosen_on is None
    assert "chosen on" not in found._repr_html_()
    note_choice(model, "the last 28 days of train")
    found = measure(model, test, exclude_seen=False)
    assert found.chosen_on == choice_of(model) == "the last 28 days of train"
    assert "the last 28 days of train" in found._repr_html_()
    assert choice_of(cf.Popular()) is choice_of(LISTS) is choice_of({"a": 1}) is None


def test_a_choice_keeps_no_model_alive():
    gc.collect()
    model = cf.Popular()
    note_choice(model, "something")
    from cofactor.evaluation.readings import _CHOICES

    n = len(_CHOICES)
    del model
    gc.collect()
    assert len(_CHOICES) == n - 1


def test_what_makes_no_sense_is_refused(test):
    with pytest.raises(DataError, match="no column item_id"):
        readings(test.drop("item_id"))
    with pytest.raises(ParameterError, match="n must be"):
        note_reading(test, -1)
    with pytest.raises(ParameterError, match="on must be a text"):
        note_choice(cf.Popular(), 3)


def other_process(test, folder, n=1):
    """What another process adds."""
    code = (
        "import polars as pl, sys, pathlib; from cofactor.evaluation.readings import note_reading\n"
        "from cofactor.evaluation.kept_readings import readings_kept\n"
        "with readings_kept(pathlib.Path(sys.argv[2]), 'theirs') as kept:\n"
        "    for _ in range(int(sys.argv[3])): note_reading(pl.read_parquet(sys.argv[1]), chosen_on='guesses')\n"
        "print(kept.of_model)"
    )
    test.write_parquet(path := folder.parent / "test.parquet")
    return subprocess.Popen([sys.executable, "-c", code, path, folder, str(n)], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("dtype", [pl.Int64, pl.String])
def test_a_folder_goes_on_counting(test, tmp_path, dtype):
    test, x = (
        test.with_columns(pl.all().cast(dtype)),
        X.to_frame().with_columns(pl.col("user_id", "item_id").cast(dtype)),
    )
    folder, x = tmp_path / "c", cf.Interactions.from_frame(x)

    def compared():
        return cf.compare({"a": cf.Popular()}, x, test, exclude_seen=False, folder=folder)["reading"].to_list()

    assert compared() == [1]
    assert other_process(test, folder).communicate()[0] == "1\n"
    assert (readings(test), readings(test, folder)) == (1, 2)
    assert compared() == [1]  # taken from the folder, without another look
    for kept in folder.glob("*.parquet"):
        kept.unlink()
    assert compared() == [3]
    mixed = test.sample(fraction=1, shuffle=True).cast(pl.Int32 if dtype == pl.Int64 else pl.Categorical)
    assert readings(mixed, folder) == 3
    rows = [json.loads(line) for line in (folder / "readings.jsonl").read_text().split("\n") if line]
    assert [(row["model"], row["chosen_on"]) for row in rows] == [("a", None), ("theirs", "guesses"), ("a", None)]


def test_two_processes_and_a_crash_lose_no_reading(test, tmp_path):
    folder = tmp_path / "c"
    both = [other_process(test, folder, 40) for _ in range(2)]
    assert max(int(one.communicate()[0]) for one in both) == 80
    file = folder / "readings.jsonl"
    file.write_bytes(file.read_bytes() + b'{"test": "1-0", "read')  # as a crash leaves it
    other_process(test, folder).communicate()
    file.write_bytes(file.read_bytes() + b'\xff\n[1]\n"x"\n{"test": 1}\n')
    assert readings(test, folder) == 81
    assert readings(test.head(3), folder) == 0
    with pytest.raises(ParameterError, match=r"folder: .*nowhere is no folder that there is; name one of compare"):
        readings(test, tmp_path / "nowhere")


def test_a_search_keeps_how_often_its_final_test_was_read(test, tmp_path):
    study = cf.tune(
        cf.EASE, X, space={"regularization": [1.0]}, method="grid", folder=tmp_path / "s", exclude_seen=False
    )
    study.score(test)
    other_process(test, tmp_path / "s").communicate()
    assert readings(test, tmp_path / "s") == 2
    first = json.loads((tmp_path / "s" / "readings.jsonl").read_text().split("\n")[1])
    assert first["model"] == "EASE"
    assert first["chosen_on"].endswith("the best ndcg@10 of 1 trials")


def test_a_folder_that_cannot_be_written_loses_no_result(test, tmp_path):
    (tmp_path / "readings.jsonl").mkdir()
    with readings_kept(tmp_path), pytest.warns(cf.CofactorWarning, match="that a test was read could not be kept"):
        assert measure(LISTS, test).reading == 1

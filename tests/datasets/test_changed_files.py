"""Logs that were scanned lazily, whose files change afterwards; and lines that look right, but are not."""

import json

import polars as pl
import pytest

from cofactor import datasets
from cofactor.errors import DataError

SESSION = {"session": 7, "events": [{"aid": 1, "ts": 1_659_304_800_025, "type": "clicks"}]}


def otto(folder):
    (folder / "train.jsonl").write_text(json.dumps(SESSION) + "\n")
    return datasets.otto(folder / "train.jsonl"), folder / "train.jsonl"


def next_item(folder):
    pl.DataFrame({"items": [[1, 2], [3]]}).write_parquet(folder / "train.parquet")
    pl.DataFrame({"prefix": [[1]], "target": [2]}).write_parquet(folder / "test.parquet")
    return datasets.next_item(folder / "train.parquet", folder / "test.parquet").train, folder / "train.parquet"


def leave_one_out(folder):
    pl.DataFrame({"user": [0, 1], "item": [1, 2]}).write_parquet(folder / "train.parquet")
    (folder / "test.rating").write_text("0\t3\t1\t0\n")
    (folder / "test.negative").write_text("(0,3)\t4\n")
    paths = (folder / "train.parquet", folder / "test.rating", folder / "test.negative")
    return datasets.leave_one_out_with_negatives(*paths).train, paths[0]


@pytest.mark.parametrize("read", [otto, next_item, leave_one_out])
@pytest.mark.parametrize("use", ["interactions", "sessions", "pairs", "collect"])
def test_a_file_that_is_gone_or_grew_is_named(tmp_path, read, use):
    events, path = read(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content * 2)
    with pytest.raises(DataError, match=rf"{path.name}: the file has changed"):
        getattr(events, use)()
    path.unlink()
    with pytest.raises(DataError, match=rf"{path.name}: .* is gone"):
        getattr(events, use)()


@pytest.mark.parametrize("line", ["1:9:2::3::978300760", "1::2:x:3::978300760", "1::2::3:0:978300760"])
def test_something_between_two_colons_is_an_error(tmp_path, line):
    (tmp_path / "ratings.dat").write_text(f"1::2::3::978300760\n{line}\n")
    with pytest.raises(DataError, match=r"ratings\.dat, line 2: expected 'user::item::rating::timestamp'"):
        datasets.movielens(tmp_path)


def test_times_of_ratings_are_seconds_by_definition(tmp_path):
    (tmp_path / "u.data").write_text("1\t2\t3\t5\n")
    assert datasets.movielens(tmp_path).facts.oldest.year == 1970

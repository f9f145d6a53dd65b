"""Metrics in groups, against sums made by hand."""

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.report.slices import by_activity, by_popularity


@pytest.fixture
def train():
    """Users 1 to 3 with 1, 1 and 4 items; item 10 has all users."""
    pairs = [(1, 10), (2, 10), (3, 10), (3, 11), (3, 12), (3, 13)]
    return cf.Interactions.from_frame(pl.DataFrame(pairs, schema=["user_id", "item_id"], orient="row"))


def test_by_activity(train):
    values = pl.DataFrame({"user_id": [1, 2, 3, 99], "m": [0.0, 1.0, 0.25, 0.75]})
    none = pl.DataFrame({"user_id": [3], "m": [np.nan]})
    assert by_activity({"a": values, "b": none}, "m", train)["model"].unique().to_list() == ["a"]
    found = by_activity({"a": values, "b": values.head(2)}, "m", train)
    assert found.select("model", "slice", "n", "value").rows() == [
        ("a", "0", 1, 0.75), ("a", "1 to 3", 2, 0.5), ("a", "4", 1, 0.25), ("b", "1 to 3", 2, 0.5),
    ]  # fmt: skip
    reach = 1.96 * np.std([0, 1], ddof=1) / np.sqrt(2)
    assert found.row(1)[4:] == pytest.approx((0.5 - reach, 0.5 + reach))
    assert found.row(0)[4:] == (None, None)


def test_by_popularity(train):
    pairs = pl.DataFrame({"user_id": [1, 1, 2, 2], "item_id": [11, 12, 11, 77]})
    lists = {"a": pl.DataFrame({"user_id": [1, 1, 2], "item_id": [11, 10, 10]})}
    found = by_popularity(lists, pairs, train)
    assert found.select("slice", "n").rows() == [("0", 1), ("1 to 2", 3)]
    assert found["value"].to_list() == pytest.approx([0, 1 / 3])

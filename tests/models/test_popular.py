import polars as pl
import pytest

import cofactor as cf
from cofactor.csr import CSR

LOG = pl.DataFrame(
    {
        "user_id": [1, 2, 3, 1, 2, 9],
        "item_id": ["bread", "bread", "bread", "milk", "milk", "caviar"],
        "weight": [1, 1, 1, 2, 2, 50],
    }
)


@pytest.fixture
def log():
    return cf.Interactions.from_frame(LOG, weight="weight")


@pytest.mark.parametrize(
    ("by", "wanted"),
    [("users", [("bread", 3), ("milk", 2), ("caviar", 1)]), ("weight", [("caviar", 50), ("milk", 4), ("bread", 3)])],
)
def test_popularity_counts_users_or_weights(log, by, wanted):
    table = cf.Popular(by=by).fit(log).recommend([9], exclude_seen=False)
    assert table.select("item_id", "score").rows() == wanted


def test_everybody_gets_the_same_and_nobody_what_they_have(log):
    model = cf.Popular().fit(log)
    lists = model.recommend(exclude_seen=False).group_by("user_id", maintain_order=True).agg("item_id")["item_id"]
    assert lists.to_list() == [["bread", "milk", "caviar"]] * 4
    assert model.recommend([1, 9]).select("user_id", "item_id").rows() == [(1, "caviar"), (9, "bread"), (9, "milk")]


def test_equal_items_go_by_row(interactions):
    x = cf.Interactions.from_csr(CSR.from_pairs([0, 0, 0], [4, 1, 3], [1, 1, 1], (2, 6)))
    table = cf.Popular().fit(x).recommend([1], k=6)
    assert table["item_id"].to_list() == [1, 3, 4, 0, 2, 5]


def test_new_users_get_the_same_list_whatever_they_had(log):
    histories = pl.DataFrame({"user_id": ["x", "x", "y"], "item_id": ["bread", "milk", "caviar"]})
    table = cf.Popular().fit(log).recommend_for(histories)
    assert table.select("user_id", "item_id").rows() == [("x", "caviar"), ("y", "bread"), ("y", "milk")]


@pytest.mark.parametrize(("name", "value"), [("by", "votes"), ("threads", 0), ("threads", "all")])
def test_a_bad_parameter_is_named_with_its_value(log, name, value):
    with pytest.raises(cf.ParameterError, match=f"{name} must be .*, got {value!r}"):
        cf.Popular(**{name: value}).fit(log)


def test_no_similar_items(log):
    with pytest.raises(cf.ParameterError, match="Popular has no notion of similar items"):
        cf.Popular().fit(log).similar_items()

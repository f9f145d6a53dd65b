"""Co-visitation of a log: its parameters, presets, warnings and errors. The counts are tested with the kernels."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import cofactor as cf
from cofactor.data.sessions import Sessions
from cofactor.kernels.csr import CSR

START = datetime(2022, 8, 1)
HOUR = 3600


def purchases(*rows, **roles):
    """Events of (session, item, hour, type)."""
    frame = pl.DataFrame(rows, schema=["session", "item", "hour", "type"], orient="row")
    frame = frame.with_columns(time=START + pl.duration(seconds=pl.col("hour") * HOUR))
    roles = {"time": "time", "event_type": "type"} | roles
    return cf.read_events(frame, user="session", item="item", **roles).interactions()


def weights(model):
    csr, ids = model.item_weights_, model.interactions_.items.ids
    return {(ids[int(a)], ids[int(b)]): w for a, b, w in zip(csr.row_index(), csr.indices, csr.values, strict=True)}


def test_a_session_by_hand():
    x = purchases((1, 10, 0, "clicks"), (1, 20, 1, "clicks"), (1, 20, 30, "carts"), (1, 30, 31, "orders"))
    model = cf.CoVisitation.type_weighted().fit(x)
    assert weights(model) == {(10, 20): 1, (20, 10): 1, (20, 30): 3, (30, 20): 6}
    every = cf.CoVisitation(type_weights={"clicks": 1, "carts": 6, "orders": 3}, pairs="all").fit(x)
    assert weights(every) == {(10, 20): 7, (10, 30): 3, (20, 10): 2, (20, 30): 6, (30, 10): 1, (30, 20): 7}
    bought = cf.CoVisitation.buy_to_buy().fit(x)
    assert weights(bought) == {(20, 30): 1, (30, 20): 1}
    recent = cf.CoVisitation.time_weighted().fit(x)
    assert weights(recent) == pytest.approx(
        {(10, 20): 1 + 3 / 31, (20, 10): 1, (20, 30): 4, (30, 20): 1 + 90 / 31}, rel=1e-6
    )
    halved = cf.CoVisitation(half_life="31h").fit(x)
    assert weights(halved)[20, 10] == pytest.approx(0.5)
    assert weights(halved)[10, 30] == 1


def test_presets_are_constructor_calls():
    assert cf.CoVisitation.type_weighted(neighbours=7, last_events=9).params() == (
        cf.CoVisitation(7, type_weights={"clicks": 1, "carts": 6, "orders": 3}, max_gap="24h", last_events=9).params()
    )
    assert cf.CoVisitation.buy_to_buy(["order"]).types == ["order"]
    assert cf.CoVisitation.time_weighted().recency == 3


def test_lists_follow_the_weights_of_histories():
    x = purchases((1, 1, 0, "a"), (1, 2, 0, "a"), (2, 3, 0, "a"), (2, 4, 0, "a"))
    model = cf.CoVisitation().fit(x)
    histories = pl.DataFrame({"user_id": [9, 9], "item_id": [1, 3], "weight": [1.0, 2.0]})
    assert model.recommend_for(histories)["item_id"].to_list() == [4, 2]
    assert model.recommend()["item_id"].to_list() == []
    assert_frame_equal(
        model.similar_items([2]).select("similar_item_id", "score"),
        pl.DataFrame({"similar_item_id": [1], "score": [1.0]}, schema_overrides={"score": pl.Float32}),
    )


def test_order_and_ties_of_times_do_not_matter():
    rng = np.random.default_rng(0)
    rows = [(int(s), int(i), int(h), t) for s, i, h, t in zip(
        rng.integers(0, 5, 60), rng.integers(0, 9, 60), rng.integers(0, 4, 60), rng.choice(["a", "b"], 60), strict=True
    )]  # fmt: skip
    options = {"max_gap": "1h", "type_weights": {"a": 1, "b": 2}, "last_events": None}
    one = cf.CoVisitation(**options).fit(purchases(*rows)).item_weights_
    other = cf.CoVisitation(**options).fit(purchases(*rows[::-1])).item_weights_
    assert np.array_equal(one.values, other.values)
    assert np.array_equal(one.indices, other.indices)


def test_robots_are_cut_and_counted():
    x = purchases(*((1, item, item, "a") for item in range(50)), (2, 1, 0, "a"), (2, 2, 0, "a"))
    with pytest.warns(cf.CofactorWarning, match=r"1 sessions .* last_events=10 .* longest 50\); 40 earlier") as caught:
        model = cf.CoVisitation(last_events=10).fit(x)
    assert caught[0].filename == __file__
    assert {a for a, _ in weights(model)} == {1, 2, *range(40, 50)}
    with pytest.warns(cf.CofactorWarning, match="40 earlier") as caught:
        cf.CoVisitation(last_events=10).count(Sessions.of(x))
    assert caught[0].filename == __file__


def test_sessions_of_one_event_say_nothing():
    model = cf.CoVisitation().fit(purchases((1, 1, 0, "a"), (2, 2, 0, "a"), (3, 2, 0, "a"), (3, 2, 1, "a")))
    assert model.item_weights_.nnz == 0
    assert model.recommend(exclude_seen=False).is_empty()


def test_histories_without_events_are_sessions(interactions):
    model = cf.CoVisitation(neighbours=100).fit(interactions)
    ones = interactions.user_items.to_scipy() > 0
    wanted = (ones.T.astype(np.float32) @ ones.astype(np.float32)).toarray()
    np.fill_diagonal(wanted, 0)
    assert np.array_equal(model.item_weights_.to_scipy().toarray(), wanted)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_gap": "24h"}, "max_gap='24h' needs times, which these interactions lack; make the interactions of "),
        ({"recency": 3}, "recency=3 needs times"),
        ({"half_life": "3d"}, "half_life='3d' needs times"),
        ({"types": ["a"]}, r"types=\['a'\] needs event types, .* event_type="),
        ({"type_weights": {"a": 1}}, "type_weights={'a': 1} needs event types"),
    ],
)
def test_what_interactions_without_events_lack(interactions, options, message):
    with pytest.raises(cf.DataError, match=message):
        cf.CoVisitation(**options).fit(interactions)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"type_weights": {"a": 1}}, r"type_weights={'a': 1} has no weight for \['b'\]; add it, or name .* types="),
        ({"types": "a,c"}, r"types: there are no events of \['c'\]; the types are a, b"),
        ({"type_weights": {"a": 1, "b": 0}}, r"type_weights\['b'\] must be a finite number above 0, got 0"),
        ({"type_weights": {"a": 1, "b": -2}}, r"type_weights\['b'\] .* got -2"),
        ({"type_weights": "a=1"}, "type_weights='a=1'; it must be a mapping"),
        ({"type_weights": {}}, "type_weights={}; it must be a mapping"),
        ({"types": []}, r"types=\[\]; it must be a list"),
        ({"recency": -1}, "recency must be a finite number of at least 0, got -1"),
        ({"recency": 1, "half_life": "1d"}, "half_life='1d' and recency=1: give one of them"),
        ({"last_events": 1}, "last_events must be a whole number of at least 2, got 1"),
        ({"max_gap": "soon"}, "max_gap='soon'"),
        ({"max_gap": timedelta(0)}, "max_gap=datetime"),
        ({"pairs": "twice"}, "pairs must be one of 'once', 'all', got 'twice'"),
        ({"memory_limit": "lots"}, "memory_limit='lots'; it must be a positive number of bytes, or text such as '4GB'"),
        ({"memory_limit": 0}, "memory_limit=0"),
    ],
)
def test_bad_parameters(options, message):
    x = purchases((1, 1, 0, "a"), (1, 2, 0, "b"))
    with pytest.raises(cf.ParameterError, match=message):
        cf.CoVisitation(**options).fit(x)


def test_parameters_as_text():
    x = purchases((1, 1, 0, "a"), (1, 2, 0, "b"), (1, 3, 0, "c"))
    text = cf.CoVisitation(types="a, b", type_weights="a:1,b:2.5", memory_limit="1GiB").fit(x)
    assert weights(text) == {(1, 2): 2.5, (2, 1): 1}


def test_a_memory_limit_is_kept_or_refused_with_the_figure():
    rows = [(s, i, 0, "a") for s in range(300) for i in range(s % 7, s % 7 + 12)]
    x = purchases(*rows)
    whole = cf.CoVisitation().fit(x).item_weights_
    with pytest.raises(
        cf.ParameterError, match=r"needs 0\.\d\d GB \((\d|,)+ bytes\), memory_limit is 0.00 GB; use"
    ) as e:
        cf.CoVisitation(memory_limit=1000).fit(x)
    least = int(str(e.value).split("(")[1].split(" bytes")[0].replace(",", ""))
    again = cf.CoVisitation(memory_limit=least + 200, threads=8).fit(x).item_weights_
    assert np.array_equal(again.values, whole.values)


def test_weights_far_below_the_largest_still_count():
    x = purchases((1, 1, 0, "a"), (1, 2, 0, "a"), (2, 3, 10_000, "a"), (2, 4, 10_000, "a"))
    model = cf.CoVisitation(half_life="1h").fit(x)
    assert weights(model) == {(1, 2): 2**-24, (2, 1): 2**-24, (3, 4): 1, (4, 3): 1}


def test_saved_with_its_parameters(tmp_path):
    x = purchases((1, 1, 0, "carts"), (1, 2, 0, "orders"))
    model = cf.CoVisitation.buy_to_buy().fit(x)
    model.save(tmp_path / "model")
    loaded = cf.load(tmp_path / "model")
    assert repr(loaded) == repr(model)
    assert isinstance(loaded.item_weights_, CSR)
    assert weights(loaded) == weights(model) == {(1, 2): 1, (2, 1): 1}

"""Ratings: what is taken, what is refused and told, and what is found of their scale."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import example, given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import cofactor as cf
from cofactor.data.ratings import rated_table
from cofactor.kernels.csr import CSR

NAN, INF = float("nan"), float("inf")


def log(ratings, **columns):
    n = len(ratings)
    table = pl.DataFrame({"u": [1, 1, 2, 2, 3, 3][:n], "i": list("ababab")[:n], "stars": ratings, **columns})
    return cf.read_events(table, user="u", item="i", rating="stars")


# What is taken


def test_zero_and_negative_ratings_are_ratings():
    ratings = log([-2.0, 0.0, 1.5]).ratings()
    assert ratings.to_frame().rows() == [(1, "a", -2), (1, "b", 0), (2, "a", 1.5)]
    assert ratings.to_frame().schema == {"user_id": pl.Int64, "item_id": pl.String, "rating": pl.Float32}
    assert (ratings.n_users, ratings.n_items, ratings.nnz, ratings.scale, ratings.step) == (2, 2, 3, (-2.0, 1.5), 0.5)


@pytest.mark.parametrize("dtype", [pl.Int8, pl.UInt64, pl.Float32, pl.Decimal(10, 2), pl.Boolean])
def test_numbers_of_any_type_are_ratings(dtype):
    ratings = log(pl.Series([1, 0, 1]).cast(dtype)).ratings()
    assert ratings.user_items.values.tolist() == [1, 0, 1]


def test_a_table_and_a_log_give_the_same():
    events = log([1, 5, 3, 2])
    table = events.collect().rename({"u": "user_id", "i": "item_id", "stars": "rating"})
    for form in (table, table.to_pandas(), table.to_arrow(), table.lazy()):
        assert_frame_equal(cf.Ratings.from_frame(form).to_frame(), events.ratings().to_frame())


def test_matrices():
    dense = np.array([[1.0, NAN, 0.0], [NAN, -3.0, NAN]])
    ratings = cf.Ratings.from_matrix(dense, users=["z", "a"], items=[7, 8, 9])
    assert ratings.to_frame().rows() == [("a", 8, -3), ("z", 7, 1), ("z", 9, 0)]
    assert cf.Ratings.from_matrix(np.array([[0, 2], [1, 0]])).nnz == 4  # every cell but NaN
    sparse = sp.csr_matrix(([1.0, 0.0], [0, 2], [0, 2, 2]), shape=(2, 3))
    assert cf.Ratings.from_matrix(sparse).to_frame().rows() == [(0, 0, 1), (0, 2, 0)]
    assert cf.Ratings.from_matrix(sparse.tocoo()).nnz == 2
    assert cf.Ratings.from_matrix(CSR.from_scipy(sparse)).nnz == 2
    twice = sp.coo_matrix(([1.0, 2.0, 3.0], ([0, 0, 1], [1, 1, 0])))
    with pytest.raises(cf.DataError, match="matrix: 1 of 3 entries are of a user and item that have another one"):
        cf.Ratings.from_matrix(twice)


# What is refused


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, NAN, 3.0, NAN], r"'stars': 2 of 4 ratings are no finite numbers \(2 NaN\); the first rows .*: 1, 3\."),
        (
            [1.0, None, -INF, INF],
            r"3 of 4 ratings are no finite numbers \(1 null, 2 infinite\).*: 1, 2, 3\..*events.filter",
        ),
        (["five", "4", "3", "2"], r"'stars' holds String, such as 'five'; ratings are numbers\. Cast it before"),
    ],
)
def test_what_is_no_rating_is_told_with_column_value_and_way_out(values, message):
    with pytest.raises(cf.DataError, match=message):
        log(values).ratings()
    with pytest.raises(cf.DataError, match=r"stars|rating"):
        rated_table(log(values), "test")


def test_a_log_without_ratings():
    events = cf.read_events(pl.DataFrame({"u": [1], "i": [2]}), user="u", item="i")
    with pytest.raises(cf.ParameterError, match=r"no ratings; name their column.* rating=...\), or .* ImplicitALS"):
        events.ratings()
    with pytest.raises(cf.DataError, match=r"test: the events have no ratings; name their column"):
        rated_table(events, "test")
    with pytest.raises(cf.DataError, match="these interactions were made of events without ratings"):
        cf.Ratings.of(events.interactions())


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"user_id": [1], "item_id": [2]}, "df: no column rating"),
        ({"user_id": [1], "item_id": [2], "rating": [None]}, r"df: 1 null\(s\) in rating, the first in row 0"),
        ({"user_id": [1], "item_id": [2], "rating": ["x"]}, "df: rating must be a column of numbers, got String"),
        (
            {"user_id": [1], "item_id": [2], "rating": [INF]},
            r"df: 1 ratings are not finite, the first rows: \[\(1, 2, inf",
        ),
        ({"user_id": [None], "item_id": [2], "rating": [1]}, r"df: 1 null\(s\) in user_id"),
        ({"user_id": [], "item_id": [], "rating": []}, "df: there are no rows"),
    ],
)
def test_bad_tables(table, message):
    with pytest.raises(cf.DataError, match=message):
        cf.Ratings.from_frame(pl.DataFrame(table))


def test_bad_matrices():
    with pytest.raises(cf.DataError, match="there are no ratings"):
        cf.Ratings.from_matrix(sp.csr_matrix((3, 4)))
    one = CSR.from_pairs([0], [0], [NAN], (1, 1))
    with pytest.raises(cf.DataError, match=r"the rating of 1 of 1 .* not finite \(1 null or NaN\); the first: user 0"):
        cf.Ratings.from_matrix(one)


# Scale


def test_a_declared_scale_is_kept_and_held():
    ratings = log([2, 3, 4]).ratings(scale=(1, 5))
    assert (ratings.scale, ratings.step, ratings.facts()) == ((1.0, 5.0), 1.0, {"scale": [1.0, 5.0]})
    assert "3 ratings from 1 to 5 in steps of 1" in repr(ratings)
    with pytest.raises(
        cf.DataError, match=r"the rating of 1 of 3 .* on the scale, 1 to 3 \(1 above 3\).*user 2 item 'a': 4"
    ):
        log([2, 3, 4]).ratings(scale=(1, 3))
    with pytest.raises(cf.DataError, match=r"2 below 3.5, 0|2 below 3\.5"):
        log([2, 3, 4]).ratings(scale=(3.5, 5))


@pytest.mark.parametrize("scale", [5, (1,), (5, 1), (1, 1), (1, NAN), ("1", "5"), [1, 2, 3]])
def test_a_scale_is_two_numbers(scale):
    with pytest.raises(cf.ParameterError, match=r"scale must be \(lowest, highest\), two numbers such as \(1, 5\)"):
        log([2, 3]).ratings(scale=scale)


@given(
    st.sampled_from([0.1, 0.25, 0.5, 1.0, 2.0, 10.0]),
    st.integers(-20, 20),
    st.sets(st.integers(1, 60), min_size=1, max_size=12),
)
def test_the_step_of_a_grid_is_found_or_a_multiple(step, start, places):
    values = np.array([start, *(start + p for p in places)]) * step
    found = cf.Ratings.from_matrix(values[None, :]).step
    if found is None:
        assert np.diff(np.sort(values)).min() > 10 * step
        return
    places = (values - values.min()) / found
    np.testing.assert_allclose(places, np.round(places), atol=0.02)
    if 1 in {round(d) for d in np.diff(np.sort(values)) / step}:
        assert found == pytest.approx(step, rel=1e-4)


@pytest.mark.parametrize("values", [[3.0, 3.0], [0.1, np.pi, 7.77], np.random.default_rng(0).normal(size=2000)])
def test_no_grid(values):
    ratings = cf.Ratings.from_matrix(np.array([values]))
    assert ratings.step is None
    assert "steps" not in repr(ratings)


# Duplicates


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(-3, 3), st.integers(0, 2)), min_size=1))
@example([(1, 1, 0, 0), (1, 1, 1, 1)])
@pytest.mark.filterwarnings("ignore::cofactor.CofactorWarning")
def test_the_last_is_the_newest_and_of_equal_times_the_one_further_down(rows):
    table = pl.DataFrame(rows, schema=["user_id", "item_id", "rating", "day"], orient="row")
    day = pl.datetime(2024, 1, 1) + pl.duration(days=pl.col("day"))
    events = cf.read_events(table.with_columns(t=day), user="user_id", item="item_id", rating="rating", time="t")
    by_time, by_row = {}, {}
    for user, item, rating, _ in sorted(rows, key=lambda row: row[3]):
        by_time[user, item] = rating
    for user, item, rating, _ in rows:
        by_row[user, item] = rating
    assert {row[:2]: row[2] for row in events.ratings().to_frame().rows()} == by_time
    ratings = cf.Ratings.from_frame(table)
    assert {row[:2]: row[2] for row in ratings.to_frame().rows()} == by_row
    assert ratings.n_duplicates == len(rows) - len(by_row)
    sums = table.group_by("user_id", "item_id").agg(pl.col("rating").mean()).sort("user_id", "item_id")
    np.testing.assert_allclose(events.ratings("mean").user_items.values, sums["rating"], rtol=1e-6)


def test_the_last_of_many_blocks():
    n = 400_000
    rng = np.random.default_rng(0)
    table = pl.DataFrame(
        {"user_id": rng.integers(0, 100, n), "item_id": rng.integers(0, 100, n), "rating": np.arange(n) % 1009}
    )
    with pytest.warns(
        cf.CofactorWarning, match="390,000 of 400,000 ratings are of a user and item that are rated again"
    ):
        found = cf.Ratings.from_frame(table)
    wanted = table.unique(["user_id", "item_id"], keep="last").sort("user_id", "item_id")
    assert found.user_items.values.tolist() == wanted["rating"].to_list()


def test_duplicates_are_told_or_refused():
    table = pl.DataFrame({"user_id": [1, 1, 2], "item_id": [7, 7, 7], "rating": [1.0, 4.0, 2.0]})
    with pytest.warns(cf.CofactorWarning, match="1 of 3 ratings .* the last rating of a pair is kept") as caught:
        cf.Ratings.from_frame(table)
    assert caught[0].filename == __file__
    with pytest.warns(cf.CofactorWarning, match="the ratings of a pair are averaged"):
        assert cf.Ratings.from_frame(table, "mean").user_items.values.tolist() == [2.5, 2.0]
    with pytest.raises(
        cf.DataError, match=r"1 \(user, item\) pairs .* more than once, the first: user 1 item 7, 2 times"
    ):
        cf.Ratings.from_frame(table, "error")
    with pytest.raises(cf.ParameterError, match="duplicates must be one of 'last', 'mean', 'error', got 'sum'"):
        cf.Ratings.from_frame(table, "sum")


# Interactions and splits


def test_interactions_give_the_ratings_of_their_log_or_their_weights():
    events = log([1, 5, 0, 2, 4])
    x = events.interactions()
    assert_frame_equal(cf.Ratings.of(x).to_frame(), events.ratings().to_frame())
    with pytest.warns(cf.CofactorWarning, match="left out"):
        fewer = events.interactions(min_user_count=2)
    assert cf.Ratings.of(fewer).to_frame().rows() == [(1, "a", 1), (1, "b", 5), (2, "a", 0), (2, "b", 2)]
    weighed = cf.Interactions.from_frame(pl.DataFrame({"user_id": [1], "item_id": [2], "w": [4.5]}), weight="w")
    assert cf.Ratings.of(weighed).to_frame().rows() == [(1, 2, 4.5)]


def test_models_of_implicit_feedback_refuse_ratings():
    with pytest.raises(
        cf.ParameterError, match=r"interactions: these are Ratings.*events.interactions\(...\).*BiasOnly"
    ):
        cf.Popular().fit(log([1, 2, 3]).ratings())


def test_train_and_test_of_a_split_are_rated_apart():
    rng = np.random.default_rng(1)
    n = 600
    table = pl.DataFrame({"u": np.arange(n) % 20, "i": np.arange(n) // 20, "r": rng.integers(1, 6, n)})
    times = [datetime(2024, 1, 1) + timedelta(hours=k) for k in range(n)]
    events = cf.read_events(table.with_columns(t=pl.Series(times)), user="u", item="i", rating="r", time="t")
    whole = events.ratings().to_frame()
    for split in (cf.split.random(events, 0.1), *cf.split.k_fold(events, 3), cf.split.by_time(events, "3d")):
        parts = pl.concat([split.train.ratings().to_frame(), split.test.ratings().to_frame()])
        assert_frame_equal(parts.sort("user_id", "item_id"), whole)


def test_more_users_and_items_have_no_ratings():
    table = pl.DataFrame({"user_id": [2, 2, 4], "item_id": [7, 9, 7], "rating": [0.0, 2.0, 3.0]})
    ratings = cf.Ratings.from_frame(table, scale=(0, 5))
    wider = ratings.widened(users=cf.IdMap([1, 4]), items=cf.IdMap([8]))
    assert wider.users.ids.to_list() == [1, 2, 4]
    assert wider.items.ids.to_list() == [7, 8, 9]
    assert wider.to_frame().equals(ratings.to_frame())
    assert wider.scale == (0, 5)
    assert ratings.widened().to_frame().equals(ratings.to_frame())
    with pytest.raises(cf.DataError, match="users: ids of String are added to ids of Int64"):
        ratings.widened(users=cf.IdMap(["a"]))

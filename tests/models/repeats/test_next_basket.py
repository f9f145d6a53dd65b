"""NextBasket against its equations, computed densely."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.data.baskets import Baskets

UNTIMED = {"half_life": None, "neighbour_half_life": None, "trend": None}


def make_log(seed=0, n=600, users=12, items=15):
    rng = np.random.default_rng(seed)
    basket = rng.integers(0, 60, n)
    day = basket + rng.integers(0, 2, n) * 0.5
    return pl.DataFrame(
        {
            "user": rng.integers(0, users, n) * 10,
            "item": [f"i{i:02}" for i in np.minimum(rng.integers(0, items, n), rng.integers(0, items, n))],
            "visit": basket,
            "time": [datetime(2024, 1, 1) + timedelta(days=float(d)) for d in day],
        }
    )


def interactions(log, session="visit"):
    return cf.read_events(log, user="user", item="item", time="time", session=session).interactions()


def baskets_of(log, x, session):
    """{user row: [(age, {items}), ...]}, the oldest basket first."""
    newest, found = log["time"].max(), {}
    for row in log.iter_rows(named=True):
        user, item = x.users.rows([row["user"]])[0], x.items.rows([row["item"]])[0]
        key = (user, row[session] if session else row["time"].date())
        time, items = found.get(key, (row["time"], set()))
        found[key] = (max(time, row["time"]), items | {item})
    by_user = {}
    for (user, _), (time, items) in sorted(found.items(), key=lambda f: (f[1][0], f[0][1])):
        by_user.setdefault(user, []).append(((newest - time) / timedelta(days=1), items))
    return by_user


def frequencies(by_user, shape, weight):
    out = np.zeros(shape)
    for user, baskets in by_user.items():
        for number, (age, items) in enumerate(baskets):
            out[user, list(items)] += weight(age, number, len(baskets))
    return out


def dense_scores(model, x, own, theirs, late, usual):
    trend = (4 * late + model.trend_smoothing) / (usual + model.trend_smoothing) if model.trend else 1
    profile = np.sqrt(own) * np.log(len(own) / (own > 0).sum(axis=0))
    profile /= np.maximum(np.linalg.norm(profile, axis=1, keepdims=True), 1e-30)
    similarity = profile @ profile.T
    np.fill_diagonal(similarity, 0)
    least = np.sort(similarity, axis=1)[:, -min(model.neighbours, len(own))]
    similarity[similarity < least[:, None]] = 0
    similarity /= similarity.sum(axis=1, keepdims=True)
    return trend * (model.alpha * own + (1 - model.alpha) * similarity @ theirs)


def check(model, x, wanted):
    model.fit(x)
    users, items = np.meshgrid(np.arange(x.n_users), np.arange(x.n_items), indexing="ij")
    everything = pl.DataFrame({"user_id": x.users.take(users.ravel()), "item_id": x.items.take(items.ravel())})
    found = model.predict(everything)["score"].to_numpy().reshape(wanted.shape)
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=1e-8)
    top = model.recommend(k=1, exclude_seen=False)
    np.testing.assert_allclose(top["score"], wanted.max(axis=1), rtol=2e-5)
    assert x.items.rows(top["item_id"]).tolist() == wanted.argmax(axis=1).tolist()


@pytest.mark.parametrize("session", ["visit", None])
def test_ageing_by_time_is_what_the_equation_says(session):
    log = make_log()
    x = interactions(log, session)
    model = cf.NextBasket("20d", neighbours=4, alpha=0.6, neighbour_half_life="5d", trend="3d", trend_smoothing=2.0)
    by_user, shape = baskets_of(log, x, session), (x.n_users, x.n_items)

    def decayed(days, per_day=True):
        factor = np.log(2) / days if per_day else 1
        return frequencies(by_user, shape, lambda age, *_: factor * 0.5 ** (age / days))

    late, usual = decayed(3, per_day=False).sum(axis=0), decayed(12, per_day=False).sum(axis=0)
    check(model, x, dense_scores(model, x, decayed(20), decayed(5), late, usual))


def test_ageing_by_the_number_of_baskets_is_that_of_the_paper():
    log = make_log(seed=1)
    x = interactions(log)
    model = cf.NextBasket(
        None,
        group_size=4,
        within_decay=0.8,
        group_decay=0.5,
        neighbours=5,
        alpha=0.3,
        neighbour_half_life=None,
        trend=None,
    )

    def weight(_, number, n):
        group, place = divmod(n - 1 - number, 4)
        size = min(4, n - 4 * group)
        return 0.8**place / size * 0.5**group / -(-n // 4)

    own = frequencies(baskets_of(log, x, "visit"), (x.n_users, x.n_items), weight)
    check(model, x, dense_scores(model, x, own, own, 0, 0))


def test_without_neighbours_it_is_the_decayed_personal_count():
    log = (
        make_log(seed=2)
        .unique(["user", "visit", "item"], maintain_order=True)
        .with_columns(time=pl.col("time").max().over("user", "visit"))
    )
    x = cf.read_events(log, user="user", item="item", time="time", session="visit").interactions()
    alone = cf.NextBasket("9d", neighbours=0, neighbour_half_life=None, trend=None, alpha=1.0).fit(x)
    counts = cf.PersonalPopular(half_life="9d").fit(x)
    pairs = counts.recommend(k=100, exclude_seen=False).select("user_id", "item_id")
    assert len(alone.recommend(k=100, exclude_seen=False)) == len(pairs)
    found, wanted = alone.predict(pairs)["score"], counts.predict(pairs)["score"]
    np.testing.assert_allclose(found, wanted * np.log(2) / 9, rtol=1e-5)
    assert alone.recommend().is_empty()


def test_new_users_are_scored_by_the_same_equation():
    """Their weights are decayed counts, and all known users may be neighbours."""
    x = interactions(make_log(seed=3, n=250))
    model = cf.NextBasket("20d", neighbours=3, neighbour_half_life=None, trend=None, alpha=0.6).fit(x)
    own = model.user_vectors_.to_scipy().toarray() / 0.6
    counts = np.zeros(x.n_items)
    counts[[2, 12, 13]] = 1.5, 0.25, 4.0
    given = pl.DataFrame({"user_id": ["new"] * 3, "item_id": x.items.take([2, 12, 13]), "weight": counts[[2, 12, 13]]})
    vectors = np.vstack([own, counts * np.log(2) / 20])
    profile = np.sqrt(vectors) * np.log(x.n_users / (own > 0).sum(axis=0))
    profile /= np.linalg.norm(profile, axis=1, keepdims=True)
    similarity = profile[:-1] @ profile[-1]
    nearest = np.argsort(-similarity)[:3]
    theirs = similarity[nearest] / similarity[nearest].sum() @ own[nearest]
    wanted = 0.6 * vectors[-1] + 0.4 * theirs
    table = model.recommend_for(given, k=100, exclude_seen=False)
    assert len(table) == (wanted > 0).sum()
    np.testing.assert_allclose(table["score"], wanted[x.items.rows(table["item_id"])], rtol=1e-5)


def test_loaded_models_answer_and_cannot_be_fitted_on_what_they_hold(tmp_path):
    x = interactions(make_log(seed=4))
    model = cf.NextBasket().fit(x)
    model.save(tmp_path / "m")
    loaded = cf.load(tmp_path / "m")
    assert loaded.recommend(exclude_seen=False).equals(model.recommend(exclude_seen=False))
    with pytest.raises(cf.DataError, match="half_life='90d' and neighbour_half_life='7d' and trend='7d' need the"):
        loaded.fit(loaded.interactions_)


def test_threads_change_nothing():
    x = interactions(make_log(seed=5))
    one, many = (cf.NextBasket(threads=n).fit(x).recommend(exclude_seen=False) for n in (1, 7))
    assert one.equals(many)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"half_life": "long"}, "half_life='long'; it must be a positive number with a unit"),
        ({"group_size": 0}, "group_size must be a whole number of at least 1, got 0"),
        ({"within_decay": 0}, "within_decay must be a finite number above 0, got 0"),
        ({"group_decay": 1.5}, "group_decay must be at most 1, got 1.5"),
        ({"alpha": -0.1}, "alpha must be a finite number of at least 0, got -0.1"),
        ({"neighbours": 1.5}, "neighbours must be a whole number of at least 0, got 1.5"),
        ({"trend_smoothing": 0}, "trend_smoothing must be a finite number above 0, got 0"),
        ({"half_life": None}, "neighbour_half_life='7d' needs half_life: both frequencies must be in purchases a day"),
        ({"threads": 0}, "threads must be"),
    ],
)
def test_bad_parameters_are_named(parameters, message):
    with pytest.raises(cf.ParameterError, match=message):
        cf.NextBasket(**parameters).fit(interactions(make_log()))


def test_baskets_of_filtered_interactions():
    log = pl.DataFrame(
        {
            "user": [1, 1, 1, 2, 2, 3],
            "item": ["a", "b", "a", "a", "b", "c"],
            "visit": [7, 7, 7, 7, None, 9],
            "time": [datetime(2024, 1, d) for d in (1, 1, 3, 2, 5, 8)],
        }
    )
    x = cf.read_events(log, user="user", item="item", time="time", session="visit").interactions()
    baskets = Baskets.of(x)
    assert baskets.users.tolist() == [0, 1, 1, 2]  # a session of two users is a basket of each
    assert baskets.ages.tolist() == [5, 6, 3, 0]
    assert baskets.items.to_scipy().toarray().tolist() == [[1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    with pytest.warns(cf.CofactorWarning, match="left out 1 of 3 users"):
        some = Baskets.of(x.filter(min_item_count=2))
    assert some.users.tolist() == [0, 1, 1]
    assert some.ages.tolist() == [2, 3, 0]
    assert repr(some) == "Baskets(3 baskets, 4 items in them)"
    with pytest.raises(cf.DataError, match="baskets need events with times"):
        Baskets.of(cf.Interactions.from_csr(x.user_items))

"""Repurchase against a brute-force count of its features and the optimality of its coefficients."""

import math
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.special import expit

import cofactor as cf
from cofactor.data.baskets import Baskets
from cofactor.models.repeats.repurchase import _Met, _products

DAY, START = timedelta(days=1), datetime(2024, 1, 1)
OPTIONS = {"window": "14d", "half_lives": ["5d", "40d"], "regularization": 2.0}


@pytest.fixture(scope="module")
def log_():
    """Users who come back for what they like, at paces of their own: 120 days."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(15):
        liked = rng.choice(20, 8, replace=False)
        often = rng.uniform(0.1, 0.9, 8)
        for day in np.cumsum(rng.integers(1, 9, 60)):
            if day < 120:
                rows += [(user * 10, f"i{i:02}", START + int(day) * DAY) for i in liked[rng.random(8) < often]]
    rows += [(7, "i03", START + 120 * DAY), (150, "i05", START + 30 * DAY)]
    return pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")


def interactions(log, session=None):
    return cf.read_events(log, user="user", item="item", time="time", session=session).interactions()


@pytest.fixture(scope="module")
def model(log_):
    return cf.Repurchase(**OPTIONS).fit(interactions(log_))


def brute_force(log, now, window=14, half_lives=(5, 40)):
    """{(user, item): features} of some events as they are seen from a moment, one pair at a time."""
    baskets = {}
    for user, item, time in log.iter_rows():
        first, items = baskets.get((user, time.date()), (time, set()))
        baskets[user, time.date()] = (max(first, time), items | {item})
    age = {key: (now - time) / DAY for key, (time, _) in baskets.items()}
    ages = {}
    for (user, day), (_, items) in baskets.items():
        for item in items:
            ages.setdefault((user, item), []).append(age[user, day])

    def decayed(values, span):
        return sum(0.5 ** (a / span) for a in values)

    found, tick = {}, window / 28
    for (user, item), mine in ages.items():
        n, last, first = len(mine), min(mine), max(mine)
        every = (first - last) / (n - 1) + 2 * tick if n > 1 else None
        z = [math.log(decayed(mine, span) + 0.02) for span in half_lives]
        z += [math.log(n), math.log(last + tick), math.log(first + tick)]
        z += [math.log(every), math.log((last + 2 * tick) / every)] if n > 1 else [0, 0]
        visits = [key for key in baskets if key[0] == user]
        z += [math.log(decayed([age[key] for key in visits], span) + 0.2) for span in half_lives]
        z.append(math.log((sum(len(baskets[key][1]) for key in visits) + 1) / (len(visits) + 1)))
        of_item = {u: a for (u, i), a in ages.items() if i == item}
        late, usual = (sum(decayed(a, span) for a in of_item.values()) for span in half_lives)
        z += [math.log(usual + 1), math.log((late * half_lives[1] / half_lives[0] + 20) / (usual + 20))]
        z.append(math.log((sum(len(a) > 1 for a in of_item.values()) + 2) / (len(of_item) + 10)))
        before = [a for a in of_item.values() if max(a) > window]
        z.append(math.log((sum(min(a) <= window for a in before) + 0.5) / (len(before) + 5)))
        found[user, item] = z
    return found


def at_the_cut(model, log):
    """Pairs, standardized features and outcomes of the training, from the brute-force count."""
    cut = log["time"].max() - 14 * DAY
    found = brute_force(log.filter(pl.col("time") < cut), cut)
    again = set(log.filter(pl.col("time") >= cut).select("user", "item").iter_rows())
    pairs = sorted(found)
    z = np.array([found[pair] for pair in pairs])
    return pairs, z, np.array([pair in again for pair in pairs])


def test_features_are_those_of_a_brute_force_count(model, log_):
    pairs, z, again = at_the_cut(model, log_)
    x = interactions(log_)
    past = Baskets.of(x).before(14)
    met = _Met.of(past)
    assert list(zip(x.users.take(met.users), x.items.take(met.items), strict=True)) == pairs
    own = model._features(past, met, x.n_users, model._of_items(met, x.n_items))
    np.testing.assert_allclose(own, z, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(model.centres_, z.mean(axis=0))
    np.testing.assert_allclose(model.scales_, z.std(axis=0))
    assert 0 < again.sum() < len(again)


def test_coefficients_are_the_optimum(model, log_):
    _, z, y = at_the_cut(model, log_)
    phi = _products((z - model.centres_) / model.scales_)
    ridge = np.r_[0, np.full(phi.shape[1] - 1, 2.0)]

    def loss(b):
        return (np.logaddexp(0, phi @ b) - y * (phi @ b)).sum() + 0.5 * ridge @ b**2

    b = model.coefficients_
    gradient = phi.T @ (expit(phi @ b) - y) + ridge * b
    assert np.abs(gradient).max() < 1e-4 * len(y)
    rng = np.random.default_rng(0)
    for size in (1e-3, 1e-1, 1):
        for _ in range(50):
            assert loss(b + rng.normal(0, size, len(b))) > loss(b)


def test_scores_are_probabilities_at_the_end_of_the_log(model, log_):
    found = brute_force(log_, log_["time"].max())
    scores = model.predict(pl.DataFrame(list(found), schema=["user_id", "item_id"], orient="row"))["score"]
    z = (np.array(list(found.values())) - model.centres_) / model.scales_
    np.testing.assert_allclose(scores, expit(_products(z) @ model.coefficients_), rtol=1e-4)
    other = model.predict(pl.DataFrame({"user_id": [7], "item_id": ["i05"]}))["score"]
    assert other.to_list() == [0]


def test_nothing_after_the_cut_changes_a_feature(model, log_):
    """What is bought in the window is the outcome and nothing else."""
    cut = log_["time"].max() - 14 * DAY
    after = (pl.col("time") >= cut) & (pl.col("time") < log_["time"].max())
    swapped = log_.with_columns(item=pl.when(after).then(pl.lit("i03")).otherwise("item"))
    other = cf.Repurchase(**OPTIONS).fit(interactions(swapped))
    np.testing.assert_array_equal(other.centres_, model.centres_)
    np.testing.assert_array_equal(other.scales_, model.scales_)
    assert not np.allclose(other.coefficients_, model.coefficients_)


def test_products():
    assert _products(np.array([[2.0, 3.0]])).tolist() == [[1, 2, 3, 4, 6, 9]]


def test_items_that_are_due_come_first():
    """Two of everything: one is taken every third day, the other was taken as often, but long ago."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(40):
        pause = rng.integers(40, 60)
        rows += [(user, "kept", START + int(d) * DAY) for d in range(0, 120, 3)]
        rows += [(user, "left", START + int(d) * DAY) for d in range(0, 120 - pause, 2)]
        rows += [(user, "rare", START + int(d) * DAY) for d in rng.integers(0, 120, 2)]
    log = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    best = cf.Repurchase("14d", regularization=1.0).fit(interactions(log)).recommend(k=1, exclude_seen=False)
    assert best["item_id"].to_list() == ["kept"] * 40
    assert best["score"].min() > 0.9


def histories(log):
    return log.rename({"user": "user_id", "item": "item_id"})


def test_new_users_with_times_are_judged_like_known_ones(model, log_):
    known = model.recommend(k=30, exclude_seen=False)
    events = histories(log_)
    for form in (interactions(log_), events, events.to_pandas(), events.lazy()):
        found = model.recommend_for(form, k=30, exclude_seen=False).sort("user_id", "rank")
        assert_frame_equal(found, known, rel_tol=1e-5)
    assert model.recommend_for(events, k=3).is_empty()
    late = events.filter(pl.col("user_id") == 50)  # ages count from the end of the training log
    of_one = model.recommend_for(late, k=30, exclude_seen=False)
    assert_frame_equal(of_one, known.filter(pl.col("user_id") == 50), rel_tol=1e-5)
    renamed = pl.concat([late.with_columns(user_id=pl.lit(9, pl.Int64)), events.filter(pl.col("user_id") == 0)])
    two = model.recommend_for(renamed, k=30, exclude_seen=False)
    assert two["user_id"].unique(maintain_order=True).to_list() == [9, 0]
    assert_frame_equal(two.filter(pl.col("user_id") == 9).drop("user_id"), of_one.drop("user_id"))


def test_new_users_with_sessions(log_):
    """Two visits on one day are two baskets where sessions say so."""
    visits = log_.with_columns(visit=pl.int_range(pl.len()))
    model = cf.Repurchase(**OPTIONS).fit(interactions(visits, "visit"))
    events = histories(visits).rename({"visit": "session_id"})
    known = model.recommend(exclude_seen=False)
    found = model.recommend_for(events, exclude_seen=False).sort("user_id", "rank")
    assert_frame_equal(found, known, rel_tol=1e-5)
    of_days = model.recommend_for(events.drop("session_id"), exclude_seen=False).sort("user_id", "rank")
    assert of_days["score"].to_list() != known["score"].to_list()


def test_new_users_without_times_are_ranked_by_weight(model):
    table = pl.DataFrame({"user_id": [1, 1, 1], "item_id": ["i01", "i02", "i03"], "weight": [1.0, 3.0, 2.0]})
    found = model.recommend_for(table, exclude_seen=False)
    assert found["item_id"].to_list() == ["i02", "i03", "i01"]
    assert found["score"].to_list() == [3, 2, 1]


def test_unknown_items_of_timed_histories_are_counted(model, log_):
    late = histories(log_).filter(pl.col("user_id") == 50)
    odd = pl.concat([late, late[:1].with_columns(item_id=pl.lit("?"))])
    with pytest.warns(cf.CofactorWarning, match="1 of .* rows have items that are not in the training data") as caught:
        found = model.recommend_for(odd, exclude_seen=False)
    assert caught[0].filename == __file__
    assert len(found) == model.recommend(k=10, exclude_seen=False).filter(pl.col("user_id") == 50).height
    with pytest.warns(cf.CofactorWarning):
        nothing = model.recommend_for(late.with_columns(item_id=pl.lit("?")), exclude_seen=False)
    assert nothing.is_empty()


def test_a_loaded_model_answers_as_before(model, log_, tmp_path):
    model.save(tmp_path / "model")
    loaded = cf.load(tmp_path / "model")
    assert repr(loaded) == repr(model)
    assert loaded.recommend(exclude_seen=False).equals(model.recommend(exclude_seen=False))
    timed = histories(log_)[:200]
    assert loaded.recommend_for(timed, exclude_seen=False).equals(model.recommend_for(timed, exclude_seen=False))
    assert {n for n in vars(loaded) if n.endswith("_")} == {n for n in vars(model) if n.endswith("_")}


def test_relabelling_and_order_change_nothing(model, log_):
    shuffled = cf.Repurchase(**OPTIONS).fit(interactions(log_.sample(fraction=1, shuffle=True, seed=0)))
    assert_frame_equal(shuffled.recommend(exclude_seen=False), model.recommend(exclude_seen=False), rel_tol=1e-5)
    renamed = cf.Repurchase(**OPTIONS).fit(interactions(log_.with_columns(user=1000 - pl.col("user"))))
    back = renamed.recommend(exclude_seen=False).with_columns(user_id=1000 - pl.col("user_id"))
    assert_frame_equal(
        back.sort("user_id", "rank"), model.recommend(exclude_seen=False), rel_tol=1e-5, check_row_order=True
    )


def test_without_times():
    x = cf.Interactions.from_frame(pl.DataFrame({"user_id": [1, 1], "item_id": [1, 2]}))
    with pytest.raises(cf.DataError, match=r"Repurchase\(window='28d'\) needs the events that the interactions"):
        cf.Repurchase().fit(x)
    assert cf.Repurchase(window=None).fit(x).recommend(exclude_seen=False)["item_id"].to_list() == [1, 2]


@pytest.mark.parametrize("window", ["120d", "500d"])
def test_a_log_too_short_for_the_window(log_, window):
    with pytest.raises(cf.DataError, match=rf"window='{window}': the log runs over 1\d\d\.0 days.* shorter window"):
        cf.Repurchase(window).fit(interactions(log_))


def test_nothing_to_tell_apart():
    rows = [(u, "a", START + d * DAY) for u in (1, 2) for d in (0, 30)]
    every = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    with pytest.raises(cf.DataError, match=r"of its 2 .* pairs before the last window 2 occur in it"):
        cf.Repurchase("7d").fit(interactions(every))
    none = every.with_columns(item=pl.col("time").dt.day().cast(pl.String))
    with pytest.raises(cf.DataError, match=r"of its 2 .* pairs before the last window 0 occur in it"):
        cf.Repurchase("7d").fit(interactions(none))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"window": "soon"}, "window='soon'"),
        ({"window": 28}, "window must be text such as '30d' or None, got 28"),
        ({"half_lives": []}, r"half_lives must be a list such as \['7d', '90d'\], got \[\]"),
        ({"half_lives": "7d"}, "half_lives must be a list such as"),
        ({"half_lives": ["7d", "often"]}, "half_lives='often'"),
        ({"half_lives": ["30d", "7d"]}, r"half_lives must be ascending, got \['30d', '7d'\]; sort them"),
        ({"regularization": 0}, "regularization must be a finite number above 0, got 0"),
        ({"threads": 0}, "threads"),
    ],
)
def test_bad_parameters_are_named(log_, parameters, message):
    with pytest.raises(cf.ParameterError, match=message):
        cf.Repurchase(**parameters).fit(interactions(log_))

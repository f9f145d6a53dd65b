"""SessionKNN: sessions and order from events, ages, capped sessions, bad input; scores against a table by hand."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import cofactor as cf
from cofactor.cli.models import build_models
from reference import session_knn as reference

PLAIN = {
    "lambda1": None,
    "lambda3": None,
    "idf": 0,
    "candidate_idf": 0,
    "backward": 1.0,
    "repeat": 1.0,
}  # the number of shared items, of neighbours


def log(*sessions, users=None, seconds=None):
    """One event per second, sessions in the order given."""
    rows = [
        (n if users is None else users[n], n, item, 1000 * n + at if seconds is None else seconds[n])
        for n, items in enumerate(sessions)
        for at, item in enumerate(items)
    ]
    return pl.DataFrame(rows, schema=["user", "visit", "item", "at"], orient="row")


def interactions(*sessions, time="at", user=None, **options):
    """Interactions that know their events."""
    table = log(*sessions, **options)
    unit = {"time_unit": "s", "implausible_times": "allow"} if time else {}
    return cf.read_events(table, user=user, session="visit", item="item", time=time, **unit).interactions()


def now(*items, user=0):
    return pl.DataFrame({"user_id": [user] * len(items), "item_id": list(items)})


def scores(model, history, k=100):
    table = model.recommend_for(history, k=k, exclude_seen=False)
    return dict(table.select("item_id", "score").iter_rows())


def test_by_hand():
    """Two neighbours of "a b": "a b c" shares both (most recent: b), "a d a" shares a, whose last place counts."""
    x = interactions("abc", "ada", "ef")
    model = cf.SessionKNN(lambda1=1.0, lambda3=2.0, idf=0, candidate_idf=0, backward=0.5, repeat=0.25).fit(x)
    similar = np.exp(-1) / (1 + np.exp(-1))  # of "a d a", relative to "a b c"
    wanted = {
        "c": np.exp(-1 / 2),
        "b": 0.25,
        "a": 0.5 * np.exp(-1 / 2) + similar * (0.25 + 0.5 * np.exp(-2 / 2)),
        "d": similar * 0.5 * np.exp(-1 / 2),
    }
    assert scores(model, now("a", "b")) == pytest.approx(wanted)


def test_the_order_of_rows_and_times_decides():
    model = cf.SessionKNN().fit(interactions("ax", "ax", "by", "by"))
    assert next(iter(scores(model, now("a", "b")))) == "y"
    assert next(iter(scores(model, now("b", "a")))) == "x"
    timed = now("a", "b").with_columns(time=pl.Series([2, 1]))
    assert scores(model, timed) == scores(model, now("b", "a"))


def test_weights_of_histories_say_nothing():
    model = cf.SessionKNN().fit(interactions("ax", "by"))
    weighed = now("a", "b").with_columns(weight=pl.Series([9.0, 0.1]))
    assert scores(model, weighed) == scores(model, now("a", "b"))


def test_the_newest_sessions_are_sampled():
    x = interactions("ax", "ay", "az", seconds=[500, 900, 100])
    assert set(scores(cf.SessionKNN(sample_size=1).fit(x), now("a"))) == {"a", "y"}
    assert set(scores(cf.SessionKNN(sample_size=2).fit(x), now("a"))) == {"a", "x", "y"}
    assert set(scores(cf.SessionKNN(2).fit(x), now("a"))) == {"a", "x", "y"}  # ties go to the newer


def test_ages_in_time_and_in_sessions():
    x = interactions("ax", "ay", "az", seconds=[0, 3600, 3600 * 24])
    by_time = scores(cf.SessionKNN(lambda2="12h", **PLAIN).fit(x), now("a"))
    assert by_time["y"] / by_time["x"] == pytest.approx(np.exp(1 / 12))
    assert by_time["z"] / by_time["x"] == pytest.approx(np.exp(2))
    by_number = scores(cf.SessionKNN(lambda2=2, **PLAIN).fit(x), now("a"))
    assert by_number["z"] / by_number["x"] == pytest.approx(np.exp(1))
    old = scores(cf.SessionKNN(lambda2="1s", **PLAIN).fit(x), now("x"))  # 86,400 lambdas old, and the only one
    assert set(old) == {"a", "x"}
    assert np.isfinite(list(old.values())).all()


def test_ages_in_time_need_times():
    x = interactions("ax", "ay", time=None)
    with pytest.raises(cf.DataError, match=r"lambda2='3d' needs times.*or give lambda2 as a number of sessions"):
        cf.SessionKNN(lambda2="3d").fit(x)
    ages = scores(cf.SessionKNN(lambda2=1, **PLAIN).fit(x), now("a"))  # in the order of the ids
    assert ages["y"] / ages["x"] == pytest.approx(np.e)


def test_cosine_divides_by_distinct_items():
    x = interactions("ax", "aayyz")
    found = scores(cf.SessionKNN(similarity="cosine", **PLAIN).fit(x), now("a"))
    assert found["z"] / found["x"] == pytest.approx(np.sqrt(2 / 3))
    assert found["y"] == pytest.approx(2 * found["z"])  # at each of its places


def test_rare_items_decide_with_idf():
    x = interactions("cx", "cy", "cy", "rx", "cz")
    plain, weighed = (scores(cf.SessionKNN(**{**PLAIN, "idf": idf}).fit(x), now("r", "c"))["x"] for idf in (0, 1))
    assert plain == pytest.approx(2.0)
    assert weighed == pytest.approx(1 + np.log1p(5 / 4) / np.log1p(5))
    rare = scores(cf.SessionKNN(**{**PLAIN, "candidate_idf": 1}).fit(x), now("c"))
    assert rare["y"] == pytest.approx(2 * np.log1p(5 / 2))


def test_users_continue_all_their_events_in_time():
    """Over sessions, wherever they stand in the log; recommend_for of the same rows and interactions says the same."""
    x = interactions("ab", "bc", "cd", users=[7, 8, 7], seconds=[50, 10, 5], user="user")
    model = cf.SessionKNN().fit(x)
    mine = model.recommend([7], exclude_seen=False)
    rows = pl.DataFrame({"user_id": [7] * 4, "item_id": ["c", "d", "a", "b"]})
    assert_frame_equal(model.recommend_for(rows, exclude_seen=False), mine)
    assert_frame_equal(model.recommend_for(x, exclude_seen=False).filter(pl.col("user_id") == 7), mine)
    assert model.recommend([7]).is_empty()
    assert set(model.recommend([8])["item_id"]) == {"a", "d"}


def test_a_chain_keeps_the_order():
    x = interactions("ax", "ax", "by", "by", "q")
    chain = cf.Fallback(cf.SessionKNN(), cf.Popular()).fit(x)
    alone = cf.SessionKNN().fit(x)
    for history in (now("a", "b"), now("b", "a")):
        table = chain.recommend_for(history, k=5, exclude_seen=False)
        assert table["item_id"].to_list()[:4] == list(scores(alone, history))
        assert len(table) == 5


def test_it_equals_the_twin_on_a_random_log():
    rng = np.random.default_rng(0)
    sessions = [rng.integers(0, 30, rng.integers(1, 8)).tolist() for _ in range(200)]
    x = interactions(*sessions)
    model = cf.SessionKNN(20, sample_size=50, lambda2="1h").fit(x)
    past, knn = model._arguments()
    histories = [rng.permutation(30)[: rng.integers(1, 6)] for _ in range(50)]
    table = pl.concat([now(*items.tolist(), user=n) for n, items in enumerate(histories)])
    found = model.recommend_for(table, k=30, exclude_seen=False)
    for n, items in enumerate(histories):
        wanted = reference.scores(past, knn, items, np.arange(1, len(items) + 1))
        mine = found.filter(pl.col("user_id") == n)
        np.testing.assert_allclose(mine["score"], np.sort(wanted[wanted > 0])[::-1], rtol=1e-5)
        np.testing.assert_allclose(mine["score"], wanted[mine["item_id"].to_numpy()], rtol=1e-5)


# Bad input


def test_sessions_of_one_event_and_identical_times():
    model = cf.SessionKNN().fit(interactions("a", "b", "a", seconds=[5, 5, 5]))
    assert set(scores(model, now("a"))) == {"a"}
    assert scores(model, now("b")).keys() == {"b"}


def test_out_of_order_logs_are_sorted():
    table = log("abc", "bca", "cab", "ab")
    times = {"time": "at", "time_unit": "s", "implausible_times": "allow"}
    events = {"user": None, "session": "visit", "item": "item", **times}
    models = [
        cf.SessionKNN().fit(cf.read_events(some, **events).interactions())
        for some in (table, table.sample(fraction=1.0, shuffle=True, seed=1))
    ]
    assert scores(models[0], now("a", "b")) == scores(models[1], now("a", "b"))


def test_long_sessions_are_capped_and_counted():
    robot = [*range(3000), 1, 2]
    with pytest.warns(cf.CofactorWarning, match=r"1 sessions have more than last_events=50 .*3,002\); 2,952 earlier"):
        model = cf.SessionKNN(last_events=50).fit(interactions(robot, [1, 7]))
    assert set(scores(model, now(1))) == {*range(2952, 3000), 1, 2, 7}
    assert scores(model, now(7, *[1] * 50)).keys() == scores(model, now(1)).keys()
    whole = cf.SessionKNN(last_events=None, lambda3=None).fit(interactions(robot, [1, 7]))
    assert len(scores(whole, now(*robot), k=5000)) == 3000


def test_unknown_items_and_empty_prefixes():
    model = cf.SessionKNN().fit(interactions("ab", "bc"))
    with pytest.warns(cf.CofactorWarning, match="2 of 3 rows have items that are not in the training data"):
        table = model.recommend_for(pl.concat([now("?", user=1), now("a", "?", user=2)]), exclude_seen=False)
    assert table["user_id"].unique().to_list() == [2]
    assert_frame_equal(table, model.recommend_for(now("a", user=2), exclude_seen=False))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"neighbours": 0}, "neighbours must be a whole number of at least 1, got 0"),
        ({"sample_size": 2.5}, "sample_size must be a whole number"),
        ({"lambda1": 0}, "lambda1 must be a finite number above 0, got 0"),
        ({"lambda2": -3}, "lambda2 must be a finite number above 0"),
        ({"lambda2": "soon"}, "lambda2='soon'; it must be a positive number with a unit"),
        ({"lambda2": True}, "lambda2 must be a finite number above 0, got True"),
        ({"lambda3": float("inf")}, "lambda3 must be a finite number above 0"),
        ({"idf": -1}, "idf must be a finite number of at least 0"),
        ({"candidate_idf": "much"}, "candidate_idf must be"),
        ({"backward": -0.1}, "backward must be"),
        ({"repeat": -0.1}, "repeat must be a finite number of at least 0"),
        ({"last_events": 0}, "last_events must be a whole number of at least 1"),
        ({"similarity": "jaccard"}, "similarity must be one of 'dot', 'cosine', got 'jaccard'"),
        ({"threads": 0}, "threads"),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises(cf.ParameterError, match=message):
        cf.SessionKNN(**params).fit(interactions("ab"))


def test_a_number_or_a_length_of_time_from_the_command_line():
    for text, value in (("30d", "30d"), ("5000", 5000.0), ("none", None)):
        (model,) = build_models(["session-knn"], [f"lambda2={text}", "similarity=cosine"]).values()
        assert (model.lambda2, model.similarity) == (value, "cosine")

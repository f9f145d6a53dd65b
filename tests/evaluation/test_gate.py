import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.errors import DataError, ParameterError
from cofactor.evaluation.gate import gate

USERS = pl.DataFrame({"user_id": range(400)})
TEST = USERS.with_columns(item_id=1)


def lists(p, n=400, seed=0):
    """A hit for a share of the users, the others nothing."""
    hit = np.random.default_rng(seed).random(n) < p
    return USERS.head(n).filter(pl.Series(hit)).with_columns(item_id=1, rank=1)


def test_better_worse_and_alike():
    old = lists(0.4)
    assert gate(old, old, TEST, "hit_rate@1").promoted
    assert gate(old, old, TEST, "hit_rate@1", margin=0).promoted
    assert gate(old, lists(0.6, seed=1), TEST, "hit_rate@1", margin=0).promoted
    assert not gate(old, lists(0.2, seed=1), TEST, "hit_rate@1").promoted
    alike = lists(0.4, seed=3)
    assert not gate(old, alike, TEST, "hit_rate@1").promoted  # 400 users cannot tell 1 %
    assert gate(old, alike, TEST, "hit_rate@1", margin=0.15).promoted


def test_the_numbers_are_those_of_the_paired_test():
    old, new = lists(0.4), lists(0.45, seed=1)
    found = gate(old, new, TEST, "mrr@1", margin="5%", n_resamples=5000)
    row = cf.paired_tests({"new": new, "old": old}, TEST, "mrr@1").row(0, named=True)
    assert (found.difference, found.low, found.high) == (row["difference"], row["low"], row["high"])
    assert found.users == 400
    assert found.baseline == pytest.approx(old.height / 400)
    assert found.candidate == pytest.approx(new.height / 400)
    assert found.margin == pytest.approx(0.05 * found.baseline)
    assert found.reading == cf.readings(TEST) - 2


def test_it_says_what_it_decided():
    text = str(gate(lists(0.4), lists(0.2, seed=1), TEST, "hit_rate@1", margin=0.01))
    assert text.startswith("do not promote: hit_rate@1 0.")
    assert "95 % interval -0." in text
    assert text.endswith("margin 0.01; 400 users")


def test_models_of_other_users_are_measured_on_all():
    x = cf.datasets.synthetic(60, 30, 900, seed=0)
    fewer = cf.Interactions.from_frame(x.to_frame().filter(pl.col("user_id") < 30))
    test = pl.DataFrame({"user_id": range(60), "item_id": [3, 4] * 30})
    with pytest.warns(cf.CofactorWarning, match="training data of a model"):
        found = gate(cf.Popular().fit(x), cf.Popular().fit(fewer), test, "recall@30", margin=0)
    new = test.join(x.to_frame(), on=["user_id", "item_id"], how="anti").height
    assert found.users == new
    assert found.baseline == 1
    assert found.candidate < 1
    assert not found.promoted


def test_a_candidate_worse_by_the_margin_seldom_passes():
    """At most 2.5 % and noise, of shares of 400 users and a margin in either form."""
    rng = np.random.default_rng(1)
    for margin in ("20%", 0.08):
        passed = 0
        for _ in range(60):
            hard = rng.beta(2, 3, 400)  # 0.4 on average
            old, new = (rng.random(400) < hard * worse for worse in (1, 0.8))
            tables = [USERS.filter(pl.Series(hit)).with_columns(item_id=1, rank=1) for hit in (old, new)]
            passed += gate(*tables, TEST, "hit_rate@1", margin=margin, n_resamples=500).promoted
        assert passed <= 60 * 0.025 + 2 * np.sqrt(60 * 0.025 * 0.975)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin": -0.1}, "margin=-0.1: give a number of at least 0, or a share"),
        ({"margin": "a bit"}, "margin='a bit'"),
        ({"margin": True}, "margin=True"),
        ({"metric": "ndgc@10"}, "did you mean ndcg"),
        ({"metric": "coverage@10"}, "coverage@10"),
        ({"confidence": 95}, "confidence"),
        ({"n_resamples": 1}, "n_resamples"),
        ({"exclude_seen": 1}, "exclude_seen"),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    x = cf.datasets.synthetic(60, 30, 900, seed=0)
    models = cf.Popular().fit(x), cf.Random().fit(x)
    with pytest.raises(ParameterError, match=message):
        gate(*models, x, **({"metric": "recall@5", "exclude_seen": False} | options))


def test_one_user_is_too_few():
    one = lists(0.4).head(1)
    with pytest.raises(DataError, match=r"1 user\(s\) can be measured, and at least 2"):
        gate(one, one, one.select("user_id", "item_id"), "hit_rate@1")


def test_where_nobody_has_a_hit_nothing_is_decided():
    misses = USERS.with_columns(item_id=2, rank=1)
    with pytest.raises(DataError, match="both have a hit_rate@1 of 0 for all 400 users"):
        gate(misses, misses, TEST, "hit_rate@1")

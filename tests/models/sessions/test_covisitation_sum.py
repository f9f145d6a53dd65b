"""Sums of co-visitation matrices."""

from datetime import datetime

import numpy as np
import polars as pl
import pytest

import cofactor as cf


@pytest.fixture(scope="module")
def bought():
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "session": rng.integers(0, 40, 300),
            "item": rng.integers(0, 20, 300),
            "type": rng.choice(["clicks", "carts", "orders"], 300),
            "time": np.datetime64(datetime(2022, 8, 1), "us") + rng.integers(0, 10**6, 300).astype("timedelta64[s]"),
        }
    )
    return cf.read_events(frame, user="session", item="item", time="time", event_type="type").interactions()


def test_the_sum_is_that_of_the_matrices(bought):
    matrices = (
        cf.CoVisitation.type_weighted(),
        cf.CoVisitation.buy_to_buy(neighbours=3),
        cf.CoVisitation.time_weighted(),
    )
    model = cf.CoVisitationSum(*matrices, weights=[1, 10, 0.5]).fit(bought)
    wanted = sum(
        np.float32(w) * m.fit(bought).item_weights_.to_scipy().toarray()
        for m, w in zip(matrices, (1, 10, 0.5), strict=True)
    )
    assert np.array_equal(model.item_weights_.to_scipy().toarray(), wanted)
    assert all(np.all(np.diff(model.item_weights_.row(a)[0]) > 0) for a in range(20))
    alone = cf.CoVisitationSum(matrices[0]).fit(bought)
    assert np.array_equal(alone.item_weights_.values, matrices[0].item_weights_.values)


def test_what_each_matrix_leaves_out_is_told(bought):
    with pytest.warns(cf.CofactorWarning, match="last_events=2 events") as caught:
        cf.CoVisitationSum(cf.CoVisitation(), cf.CoVisitation(last_events=2)).fit(bought)
    assert [w.filename for w in caught] == [__file__]


@pytest.mark.parametrize(
    ("args", "weights", "message"),
    [
        ((), None, r"CoVisitationSum needs CoVisitation models to add up, got \(\)"),
        ((cf.Popular(),), None, "needs CoVisitation models"),
        ((cf.CoVisitation(),), [1, 2], "one number for each of 1 matrices"),
        ((cf.CoVisitation(),), [0], "weights must be a finite number above 0, got 0"),
        ((cf.CoVisitation(),), "1", "weights must be a list"),
        ((cf.CoVisitation(neighbours=0),), None, "neighbours must be"),
    ],
)
def test_bad_parameters(bought, args, weights, message):
    with pytest.raises(cf.ParameterError, match=message):
        cf.CoVisitationSum(*args, weights=weights).fit(bought)

"""Log loss and the area under the ROC curve: by hand, against scikit-learn's definitions, and what is refused."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cofactor as cf
from cofactor.metrics import parse
from cofactor.metrics.errors import Rated
from cofactor.metrics.probabilities import log_loss, roc_auc

TEST = pl.DataFrame({"user_id": [1, 1, 2, 2], "item_id": [7, 8, 7, 8], "rating": [1.0, 0.0, 1.0, 0.0]})
TABLE = TEST.with_columns(rating=pl.Series([0.8, 0.3, 0.4, 0.4]))


def rated(truth, predicted):
    arrays = [np.asarray(a, np.float64) for a in (truth, predicted)]
    return Rated(*arrays, arrays[1])


def value(subject, test, metric):
    return cf.evaluate(subject, test, metric, n_bootstrap=0)["value"].item()


def test_by_hand():
    assert value(TABLE, TEST, "log_loss") == pytest.approx(-np.log([0.8, 0.7, 0.4, 0.6]).mean())
    assert value(TABLE, TEST, "roc_auc") == pytest.approx(3.5 / 4)
    higher = TEST.with_columns(pl.col("rating") * 2 + 3), TABLE.with_columns(pl.col("rating") * 2 + 3)
    assert value(higher[1], higher[0], "log_loss") == pytest.approx(value(TABLE, TEST, "log_loss"))
    assert value(higher[1], higher[0], "roc_auc") == pytest.approx(3.5 / 4)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=1, max_size=30))
def test_the_area_is_the_share_of_pairs_in_order(pairs):
    truth, predicted = np.array([(0.0, 0), (1.0, 0), *pairs], float).T
    one = rated(truth, predicted / 8)
    high, low = predicted[truth == 1], predicted[truth == 0]
    share = np.mean((high[:, None] > low) + 0.5 * (high[:, None] == low))
    assert roc_auc(one) == pytest.approx(share)
    assert roc_auc(rated(1 - truth, predicted / 8)) == pytest.approx(1 - share)
    assert 0 <= log_loss(one) <= -np.log(1e-7)


def test_a_coin_and_certainty():
    truth = np.array([1.0, 0, 1])
    assert log_loss(rated(truth, [0.5] * 3)) == pytest.approx(np.log(2))
    assert log_loss(rated(truth, truth)) < 1e-6
    assert log_loss(rated(truth, 1 - truth)) == pytest.approx(-np.log(np.finfo(np.float32).eps), rel=1e-6)
    assert log_loss(rated([1.0, 1.0], [0.5, 0.5])) == pytest.approx(np.log(2))


def test_which_way_is_better():
    assert parse("roc_auc").kind.higher_is_better
    assert not parse("log_loss").kind.higher_is_better


@pytest.mark.parametrize(
    ("metric", "test", "table", "message"),
    [
        ("log_loss", [1, 2, 3, 1], [1, 2, 3, 1], "two values, such as 0 and 1; it has 1, 2, 3"),
        ("roc_auc", [1, 2, 3, 1], [1, 2, 3, 1], "two values, such as 0 and 1; it has 1, 2, 3"),
        ("log_loss", [5, 5, 5, 5], [1, 2, 3, 1], "it has 5"),
        ("roc_auc", [1, 1, 1, 1], [1, 0, 1, 1], "all 4 ratings of the test are 1; it needs both values"),
        ("log_loss", [0, 1, 0, 1], [0.5, 2, 0.5, -1], "2 of 4 predictions, the first 2, are not from 0 to 1; it is of"),
    ],
)
def test_what_has_no_probabilities(metric, test, table, message):
    truth, predicted = (TEST.with_columns(rating=pl.Series(own, dtype=pl.Float64)) for own in (test, table))
    with pytest.raises(cf.DataError, match=message):
        value(predicted, truth, metric)

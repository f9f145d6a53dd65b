from math import log

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.errors import CofactorWarning, DataError, ParameterError
from cofactor.evaluation.evaluate import evaluate

KINDS = pl.DataFrame({"item_id": list("abcde"), "kind": ["A", "A", "B", "B", "A"]})
LISTS = pl.DataFrame({"user_id": [1, 1, 1, 2, 3, 3], "item_id": list("abcacd"), "rank": [1, 2, 3, 1, 1, 2]})
TEST = pl.DataFrame({"user_id": [1, 2, 3], "item_id": list("xxx")})
TRAIN = pl.DataFrame({"user_id": [1, 1, 1, 2, 4], "item_id": list("decaa")})


def per_user(name, features=KINDS, lists=LISTS, **options):
    return evaluate(lists, TEST, name, item_features=features, per_user=True, **options)[name].to_numpy()


def test_diversity_by_hand():
    np.testing.assert_allclose(per_user("intra_list_diversity@3"), [2 / 3, np.nan, 0])
    np.testing.assert_allclose(per_user("intra_list_diversity@2"), [0, np.nan, 0])


def test_an_item_without_features_is_far_from_all():
    with pytest.warns(CofactorWarning, match="1 of 4 items have no row"):
        values = per_user("intra_list_diversity@3", KINDS.filter(pl.col("item_id") != "b"))
    np.testing.assert_allclose(values, [1, np.nan, 0])


def test_diversity_by_the_vectors_of_the_model():
    x = cf.datasets.synthetic(60, 40, 900, seed=0)
    model = cf.ImplicitALS(8, iterations=2, seed=0).fit(x)
    found = evaluate(model, x, "intra_list_diversity@6", exclude_seen=False, per_user=True)
    other = x.to_frame().filter(pl.col("item_id") > 20)  # rows of other training data are not those of the vectors
    assert evaluate(model, x, "intra_list_diversity@6", exclude_seen=False, per_user=True, train=other).equals(found)
    unit = model.item_factors_ / np.linalg.norm(model.item_factors_, axis=1, keepdims=True)
    for row in (0, 7, 31):
        rows = model.top_k(x.users.rows(found["user_id"][[row]]), 6, exclude_seen=False).rows[0]
        cosines = (unit[rows] @ unit[rows].T)[np.triu_indices(6, 1)]
        assert found[row, 1] == pytest.approx(1 - cosines.mean(), abs=1e-6)


def test_vectors_must_come_from_somewhere():
    with pytest.raises(ParameterError, match=r"intra_list_diversity@3 needs vectors of items.*item_factors_"):
        evaluate(LISTS, TEST, "intra_list_diversity@3")


def test_calibration_by_hand():
    # User 1 has B A B and gets A A B; user 2 has A and gets A; of user 3 nothing is known.
    expected = 1 / 3 * log(1 / 3 / (0.99 * 2 / 3 + 0.01 / 3)) + 2 / 3 * log(2 / 3 / (0.99 / 3 + 0.02 / 3))
    np.testing.assert_allclose(per_user("calibration@3", train=TRAIN), [expected, 0, np.nan], atol=1e-12)
    alone = evaluate(LISTS, TEST, "calibration@3", train=TRAIN, item_features=KINDS)
    assert alone["n_users"].item() == 2
    assert alone["value"].item() == pytest.approx(expected / 2)


def test_a_list_of_other_categories_is_kept_finite():
    lists = pl.DataFrame({"user_id": [2], "item_id": ["c"], "rank": [1]})
    assert per_user("calibration@1", lists=lists, train=TRAIN)[1] == pytest.approx(log(100))


def test_an_item_of_several_categories_counts_for_each_in_part():
    several = pl.DataFrame({"item_id": ["a", "c"], "kinds": [["A", "B"], ["B"]]})
    lists = pl.DataFrame({"user_id": [2], "item_id": ["c"], "rank": [1]})
    expected = 1 / 2 * log(100) + 1 / 2 * log(1 / 2 / (0.99 + 0.01 / 2))
    assert per_user("calibration@1", several, lists, train=TRAIN)[1] == pytest.approx(expected)


def test_which_column_has_the_categories():
    two = KINDS.with_columns(other=pl.lit("x"), year=pl.lit(2000))
    assert per_user("calibration@3", two, train=TRAIN, category="other")[0] == pytest.approx(0)
    by_year = evaluate(LISTS, TEST, "calibration@3", train=TRAIN, item_features=two, category="year")
    assert by_year["value"].item() == pytest.approx(0)
    for options, message in [
        ({"item_features": two}, r"2 columns of categories \(kind, other\).*category="),
        ({"item_features": two.select("item_id", "year")}, "no column of categories"),
        ({"item_features": two, "category": "knd"}, "category='knd' is no column of item_features"),
        ({"category": "kind"}, "category='kind' is a column of item_features, and these are not given"),
        ({}, "calibration@3 needs categories of items: give item_features="),
    ]:
        with pytest.raises(ParameterError, match=message):
            evaluate(LISTS, TEST, "calibration@3", train=TRAIN, **options)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (KINDS.drop("item_id"), "item_features: no column item_id"),
        (KINDS.select("item_id"), "item_features: there is no column beside item_id"),
        (pl.concat([KINDS, KINDS[:1]]), "item_features: 2 rows share their item_id with others, the first is 'a'"),
        (KINDS.with_columns(kind=pl.lit(None, pl.String)), "item_features: column 'kind' has no category"),
    ],
)
def test_features_that_cannot_be_used(features, message):
    with pytest.raises(DataError, match=message):
        evaluate(LISTS, TEST, "calibration@3", train=TRAIN, item_features=features)

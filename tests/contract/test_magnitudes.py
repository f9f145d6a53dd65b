"""Weights of any size: lists of finite numbers, or an error that says what to do; never something else."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cofactor as cf
from cofactor.kernels.csr import CSR
from zoo import NAMES, RATED, make, value

LIMIT = "models compute in float32, with (weights|ratings) up to 1e[+]12"


def weighed(interactions, values):
    return cf.Interactions.from_csr(interactions.user_items.with_values(np.asarray(values, np.float32)))


def scaled(interactions, scale):
    return weighed(interactions, interactions.user_items.values * np.float64(scale))


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.mark.parametrize("scale", [1e18, 1e20, 1e30, 5e37, 1e-20, 1e-30, 1e-40])
def test_weights_beyond_float32_are_refused_by_name(name, interactions, scale):
    x = scaled(interactions, scale)
    user = np.searchsorted(x.user_items.indptr, x.user_items.values.argmax(), side="right") - 1
    item = x.user_items.indices[x.user_items.values.argmax()]
    with pytest.raises(cf.DataError, match=LIMIT) as error:
        make(name).fit(x)
    assert f"of user {user} and item {item}; " in str(error.value)
    assert f"divide all {'ratings' if name in RATED else 'weights'} by about" in str(error.value)


def assert_lists_or_error(name, x):
    """Fit and list: all of it is sane, or refused with a way out."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = make(name).fit(x)
        except cf.CofactorError as error:
            refused = str(error)
        else:
            refused = ""
        if refused:
            assert any(way in refused for way in ("raise it", "lower alpha", "divide all weights"))
            return
        lists = model.recommend(k=5, exclude_seen=False)
        told = any(issubclass(w.category, cf.CofactorWarning) and "lower l1" in str(w.message) for w in caught)
        assert not [w for w in caught if not issubclass(w.category, cf.CofactorWarning)]
    assert lists["score"].is_finite().all()
    assert model.predict(lists)[value(name)].is_finite().all()
    assert told or lists["user_id"].n_unique() == x.n_users


@pytest.mark.parametrize("scale", [1e-11, 1e-6, 1e6, 1e9, 1e11])
def test_any_unit_of_weights(name, interactions, scale):
    assert_lists_or_error(name, scaled(interactions, scale))


MIXES = {
    "one giant": lambda w, _: np.where(np.arange(len(w)) == 17, 1e12, w),
    "old events": lambda w, rng: w * rng.choice([1, 1e-6, 1e-15, 1e-30, 1e-40], len(w)),
    "both": lambda w, rng: w * rng.choice([1e11, 1e-30, 1e-12], len(w)),
}


@pytest.mark.parametrize("mix", MIXES)
def test_weights_of_very_different_sizes(name, interactions, mix):
    values = MIXES[mix](interactions.user_items.values.astype(np.float64), np.random.default_rng(0))
    assert_lists_or_error(name, weighed(interactions, values))


@pytest.mark.parametrize("make_model", [cf.ItemKNN, cf.UserKNN, cf.PureSVD, cf.ImplicitALS, cf.RP3beta, cf.GraphFilter])
@settings(max_examples=15)
@given(power=st.integers(-36, 36))
def test_models_that_say_nothing_of_units_list_the_same_in_all(make_model, power):
    """By powers of two, so that nothing is rounded."""
    rng = np.random.default_rng(3)
    rows, columns = np.nonzero(rng.random((30, 25)) < 0.3)
    x = CSR.from_pairs(rows, columns, rng.choice([1.0, 2.0, 5.0], len(rows)), (30, 25))
    one, other = (make_model().fit(m).recommend(k=5) for m in (x, x.with_values(x.values * np.float32(2.0**power))))
    assert one.select("user_id", "item_id").equals(other.select("user_id", "item_id"))


def test_weights_of_new_histories_are_checked_too(interactions):
    model = cf.ItemKNN().fit(interactions)
    with pytest.raises(cf.DataError, match=r"the largest weight is 1e\+30, of row 1 and item 8; " + LIMIT):
        model.recommend_for({"user_id": [5, 6], "item_id": [3, 8], "weight": [1.0, 1e30]})


def test_similar_rows_with_tiny_weights_keep_their_cosine():
    """Their squares are no numbers in float32."""
    x = CSR.from_pairs([0, 1, 0, 1, 2, 3], [0, 0, 1, 1, 2, 2], [1.0, 1.0, 1e-30, 1e-30, 1.0, 2.0], (4, 3))
    found = cf.ItemKNN().fit(x).similar_items([0])
    assert found["similar_item_id"].to_list() == [1]
    np.testing.assert_allclose(found["score"], 1, rtol=1e-6)

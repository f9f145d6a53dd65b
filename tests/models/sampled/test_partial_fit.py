"""Going on from vectors that are there: with new users, items and pairs, and with other parameters."""

from copy import copy

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.errors import CofactorWarning, DataError, NotFittedError, ParameterError
from models.sampled.learning import LOSSES, N_ITEMS, N_KINDS, N_USERS, kind_of, make, share_of_own_kind

every_loss = pytest.mark.parametrize("loss", LOSSES)


@pytest.fixture(scope="module")
def news():
    """Ten pairs of each of 40 new users, and of each of 20 new items, which old users have."""
    rng = np.random.default_rng(3)
    users = np.repeat(np.arange(N_USERS, N_USERS + 40), 10)
    items = rng.integers(N_ITEMS // N_KINDS, size=len(users)) * N_KINDS + kind_of(users)
    of = np.repeat(np.arange(N_ITEMS, N_ITEMS + 20), 10)
    by = rng.integers(N_USERS // N_KINDS, size=len(of)) * N_KINDS + kind_of(of)
    return pl.DataFrame({"user_id": [*users, *by], "item_id": [*items, *of]}).unique(maintain_order=True)


@every_loss
def test_new_users_and_items_are_learned_and_old_ones_go_on(loss, x, news):
    model = make(loss, epochs=30).fit(x)
    before = model.recommend(list(range(N_USERS)), k=5)
    model.partial_fit(news, epochs=10)
    assert (model.interactions_.n_users, model.interactions_.n_items) == (N_USERS + 40, N_ITEMS + 20)
    assert model.epochs == 30
    assert share_of_own_kind(model.recommend(list(range(N_USERS, N_USERS + 40)), k=5)) > 0.75
    assert share_of_own_kind(model.recommend(k=2, items=list(range(N_ITEMS, N_ITEMS + 20)))) > 0.75
    assert share_of_own_kind(before) > 0.8


@every_loss
def test_scores_change_little(loss, x, news):
    """One more epoch leaves the scores of what was known near what they were; one from the start does not."""

    def scores(model):
        return (model.user_factors_[:N_USERS] @ model.item_factors_[:N_ITEMS].T).ravel()

    model = make(loss, epochs=30).fit(x)
    before = scores(model)
    after = scores(model.partial_fit(news, epochs=1))
    anew = scores(make(loss, epochs=1).fit(model.interactions_))
    assert np.corrcoef(before, after)[0, 1] > 0.9
    assert np.corrcoef(before, anew)[0, 1] < 0.7


def test_the_temperature_that_was_found_stays(x, news):
    model = make("softmax", temperature=None, epochs=2).fit(x)
    model.temperature_ = 0.123  # none of those that are tried
    assert model.partial_fit(news, epochs=1).temperature_ == 0.123


def test_pairs_that_are_known_get_the_sum_of_both_weights(x, pairs):
    model = make(epochs=1).fit(x).partial_fit(pairs.head(7).with_columns(weight=pl.lit(2.5)), epochs=1)
    weights = model.interactions_.to_frame().join(pairs.head(7), on=["user_id", "item_id"])["weight"]
    assert weights.to_list() == [3.5] * 7
    assert model.interactions_.user_items.nnz == x.user_items.nnz


def test_ids_that_had_no_pair_yet_are_learned_later(x, news):
    """Their vectors are zeros till then, from which a cosine could not start."""
    wider = x.widened(users=cf.IdMap(range(N_USERS, N_USERS + 40)), items=cf.IdMap(range(N_ITEMS, N_ITEMS + 20)))
    for loss in ("bpr", "softmax"):
        model = make(loss).fit(wider)
        assert not model.user_factors_[N_USERS:, :8].any()
        assert not model.item_factors_[N_ITEMS:, :8].any()
        model.partial_fit(news, epochs=15)
        assert share_of_own_kind(model.recommend(list(range(N_USERS, N_USERS + 40)), k=5)) > 0.75
        assert share_of_own_kind(model.recommend(k=2, items=list(range(N_ITEMS, N_ITEMS + 20)))) > 0.75


def test_ids_of_another_type_are_refused_and_nothing_changes(x, pairs):
    model = make("bpr", epochs=1).fit(x)
    before = model.user_factors_
    with pytest.raises(DataError, match="users: ids of Int64 are added to ids of String"):
        model.partial_fit(pairs.head(3).with_columns(pl.col("user_id").cast(pl.String)))
    assert model.user_factors_ is before
    assert model.interactions_.n_users == x.n_users


def test_narrower_ids_are_as_good(x, pairs):
    model = make("bpr", epochs=1).fit(x).partial_fit(pairs.head(3).with_columns(pl.col("user_id").cast(pl.Int32)))
    assert model.interactions_.users.dtype == x.users.dtype


def test_an_unfitted_model_cannot_go_on(pairs):
    with pytest.raises(NotFittedError):
        make().partial_fit(pairs)


def test_epochs_have_to_be_given_in_full(x, pairs):
    with pytest.raises(ParameterError, match="epochs"):
        make("bpr", epochs=1).fit(x).partial_fit(pairs, epochs=0)


# With features


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_features_are_remembered_and_new_ones_may_be_given(loss, x, kinds, news):
    model = make(loss).fit(x, item_features=kinds)
    late = [5000 + kind for kind in range(N_KINDS)]
    table = pl.DataFrame({"item_id": late, "kind": [f"kind {kind}" for kind in range(N_KINDS)]})
    model.partial_fit(news.filter(pl.col("item_id") < N_ITEMS), epochs=3, item_features=table)
    assert model.interactions_.n_items == len(kinds) + len(late)
    best = model.recommend(k=1, items=late)
    assert (kind_of(best["user_id"]) == best["item_id"].to_numpy() - 5000).mean() > 0.9
    assert share_of_own_kind(model.recommend(k=3, items=list(range(N_ITEMS, N_ITEMS + 12)))) > 0.9


def test_values_that_were_not_there_are_counted(x, kinds, news):
    model = make("bpr", epochs=2).fit(x, item_features=kinds)
    table = pl.DataFrame({"item_id": [5000, 5001], "kind": ["kind 1", "kind of its own"]})
    with pytest.warns(
        CofactorWarning, match="values that were not there when features were learned are none: 1 of kind"
    ):
        model.partial_fit(news.filter(pl.col("item_id") < N_ITEMS), epochs=1, item_features=table)
    described = np.diff(model.item_described_.indptr)
    assert described[model.interactions_.items.rows([5000, 5001])].tolist() == [1, 0]
    assert described[: len(kinds)].tolist() == [1] * len(kinds)


def test_without_a_table_everything_is_remembered(x, kinds, groups, news):
    model = make("bpr", epochs=2).fit(x, item_features=kinds, user_features=groups)
    model.partial_fit(news, epochs=1)
    described = np.diff(model.item_described_.indptr)
    assert described[: len(kinds)].tolist() == [1] * len(kinds)
    assert not described[len(kinds) :].any()
    assert model.interactions_.n_users == N_USERS + 40


@pytest.mark.parametrize("options", [{"loss": "bpr"}, {"loss": "softmax"}, {"loss": "softmax", "biases": True}])
def test_features_alone_add_what_is_new_without_training(options, x, kinds, groups, tmp_path):
    model = make(**options).fit(x, item_features=kinds, user_features=groups)
    before = copy(model)
    late = pl.DataFrame({"item_id": [5000 + k for k in range(N_KINDS)], "kind": [f"kind {k}" for k in range(N_KINDS)]})
    people = groups.head(12).with_columns(user_id=pl.lit(7000) + pl.int_range(12))
    model.partial_fit(item_features=late)
    assert model.partial_fit(user_features=people) is model
    for side in ("user", "item"):
        ids = getattr(before.interactions_, f"{side}s").ids
        rows = getattr(model.interactions_, f"{side}s").rows(ids)
        old, new = (getattr(one, f"{side}_factors_") for one in (before, model))
        np.testing.assert_allclose(new[rows], old, atol=1e-5)
    best = model.recommend(k=1, items=late["item_id"])
    assert (kind_of(best["user_id"]) == best["item_id"].to_numpy() - 5000).mean() > 0.9
    lists = model.recommend(people["user_id"], k=3)
    assert lists["user_id"].n_unique() == 12
    assert (kind_of(lists["item_id"]) == kind_of(lists["user_id"] - 7000)).mean() > 0.9
    history = pl.DataFrame({"user_id": [1, 1], "item_id": [0, N_KINDS]})
    assert (kind_of(model.recommend_for(history, k=3)["item_id"]) == 0).all()  # 5000 is of kind 0, too
    model.save(tmp_path / "saved")
    assert cf.load(tmp_path / "saved").recommend(people["user_id"], k=3).equals(lists)


def test_features_alone_of_a_model_without_are_an_error(x, kinds, dislikes):
    model = make("bpr", epochs=1).fit(x)
    for given in ({"item_features": kinds}, {"user_features": kinds.rename({"item_id": "user_id"})}):
        with pytest.raises(ParameterError, match=f"{next(iter(given))}: the model was fitted without"):
            model.partial_fit(**given)
    with pytest.raises(ParameterError, match="partial_fit needs interactions, or item_features or user_features"):
        model.partial_fit()
    with pytest.raises(ParameterError, match="dislikes are trained on"):
        model.partial_fit(dislikes=dislikes)
    assert model.recommend(k=1).height == N_USERS


def test_features_alone_keep_dislikes(x, kinds, dislikes):
    model = make("bpr", epochs=2).fit(x, item_features=kinds, dislikes=dislikes)
    n = model.dislikes_.nnz
    model.partial_fit(item_features=pl.DataFrame({"item_id": [-5], "kind": ["kind 0"]}))
    assert model.dislikes_.nnz == n
    assert model.dislikes_.shape == (model.interactions_.n_users, model.interactions_.n_items)


# Starting from another model


@pytest.mark.parametrize(
    ("one", "other"), [("bpr", "warp"), ("bpr", "softmax"), ("softmax", "bpr"), ("softmax", "ccl")]
)
def test_another_loss_may_start_from_the_vectors(one, other, x):
    model = make(other, epochs=1).fit(x, warm_start=make(one, epochs=30).fit(x))
    assert share_of_own_kind(model.recommend(k=5)) > 0.8


def test_the_start_is_where_the_other_model_ended(x):
    """Hardly a step further: the same scores."""
    for loss in ("bpr", "softmax"):
        first = make(loss).fit(x)
        model = make(loss, epochs=1, learning_rate=1e-9).fit(x, warm_start=first)
        np.testing.assert_allclose(
            model.user_factors_ @ model.item_factors_.T, first.user_factors_ @ first.item_factors_.T, atol=1e-4
        )


def test_the_start_is_where_it_ended_with_features_too(x, kinds, groups):
    for loss in ("bpr", "logistic", "softmax"):
        tables = {"item_features": kinds, "user_features": groups}
        first = make(loss).fit(x, **tables)
        model = make(loss, epochs=1, learning_rate=1e-9).fit(x, warm_start=first, **tables)
        np.testing.assert_allclose(
            model.user_factors_ @ model.item_factors_.T, first.user_factors_ @ first.item_factors_.T, atol=1e-4
        )


def test_features_may_come_later(x, kinds, groups):
    """One side after the other; what was learned stays."""
    slow = make("bpr", epochs=1, learning_rate=1e-9)
    plain = make("bpr").fit(x)
    of_items = make("bpr").fit(x, warm_start=plain, item_features=kinds)
    both = slow.fit(x, warm_start=of_items, user_features=groups)
    assert both.item_described_.nnz == both.interactions_.n_items == N_ITEMS
    assert both.user_described_.nnz == len(groups)
    before = of_items.user_factors_ @ of_items.item_factors_[:N_ITEMS].T
    np.testing.assert_allclose(both.user_factors_[:N_USERS] @ both.item_factors_.T, before, atol=1e-4)


def test_vectors_of_another_length_are_refused(x):
    with pytest.raises(ParameterError, match=r"warm_start has factors=4, this model factors=8; give both the same"):
        make().fit(x, warm_start=make(factors=4, epochs=1).fit(x))


def test_only_a_fitted_model_of_the_kind_is_a_start(x):
    with pytest.raises(NotFittedError):
        make().fit(x, warm_start=make())
    with pytest.raises(ParameterError, match="warm_start must be a fitted SampledMF, or None"):
        make().fit(x, warm_start=cf.Popular().fit(x))


def test_the_model_started_from_stays_as_it_was(x):
    first = make("bpr").fit(x)
    before = first.user_factors_.copy(), first.item_factors_.copy()
    make("bpr").fit(x, warm_start=first)
    assert np.array_equal(first.user_factors_, before[0])
    assert np.array_equal(first.item_factors_, before[1])

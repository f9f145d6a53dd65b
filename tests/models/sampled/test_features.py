"""What is known of items and users besides: new ones by their features alone, categories of negatives, dislikes."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import cofactor as cf
from cofactor.errors import CofactorWarning, DataError, ParameterError
from models.sampled.learning import LOSSES, N_ITEMS, N_USERS, kind_of, make, share_of_own_kind

every_loss = pytest.mark.parametrize("loss", LOSSES)
NEW_ITEMS = list(range(N_ITEMS, N_ITEMS + 12))
NEW_USERS = list(range(N_USERS, N_USERS + 12))


# New ones


@every_loss
def test_new_items_are_recommended_for_their_kind(loss, x, kinds):
    model = make(loss).fit(x, item_features=kinds)
    assert model.interactions_.n_items == len(kinds)
    best = model.recommend(k=3, items=NEW_ITEMS)
    assert share_of_own_kind(best) > 0.9
    assert share_of_own_kind(model.recommend(k=5)) > 0.8


@every_loss
def test_new_users_get_what_their_group_likes(loss, x, groups):
    model = make(loss).fit(x, user_features=groups)
    lists = model.recommend(NEW_USERS, k=5)
    assert lists["user_id"].to_list() == np.repeat(NEW_USERS, 5).tolist()
    assert share_of_own_kind(lists) > 0.9
    similar = model.similar_users(NEW_USERS, k=3)
    assert (kind_of(similar["user_id"]) == kind_of(similar["similar_user_id"])).mean() > 0.8


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_new_users_get_new_items(loss, x, kinds, groups):
    model = make(loss).fit(x, item_features=kinds, user_features=groups)
    assert share_of_own_kind(model.recommend(NEW_USERS, k=3, items=NEW_ITEMS)) > 0.9


def test_without_features_nothing_is_known_of_new_users(x, groups):
    """A user of whom there is neither a pair nor a feature gets no list."""
    wider = x.widened(users=cf.IdMap([9999]))
    assert make().fit(wider).recommend([9999]).is_empty()
    with pytest.warns(CofactorWarning, match="1 of 253 users have no row in the table"):
        model = make().fit(wider, user_features=groups)
    assert model.recommend([9999]).is_empty()
    assert not model.recommend(NEW_USERS).is_empty()


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_cold_items_show_what_features_buy(loss, log, kinds):
    """Among items held out with all their pairs, lists by features are far better than chance."""
    train, test = cf.split.cold_items(cf.read_events(log, user="user_id", item="item_id"), 0.2, seed=0)
    pairs = test.pairs()
    cold = pairs["item_id"].unique()
    table = kinds.filter(pl.col("item_id") < N_ITEMS)

    def recall(model):
        lists = model.recommend(pairs["user_id"].unique(), k=4, items=cold, unknown="skip")
        return cf.evaluate(lists, pairs, ["recall@4"], n_bootstrap=0)["value"].item()

    x = train.interactions()
    described = recall(make(loss).fit(x, item_features=table))
    wider = x.widened(items=cf.IdMap.from_values(cold))
    chance = recall(cf.Random(seed=0).fit(wider))
    assert described > 2 * chance


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
@pytest.mark.parametrize("sampler", ["exact", "uniform", "popularity"])
def test_items_without_a_pair_are_no_negatives(loss, sampler, x, kinds):
    """Nothing is learned against a feature that only they have."""
    table = kinds.with_columns(age=pl.when(pl.col("item_id") < N_ITEMS).then(pl.lit("old")).otherwise(pl.lit("new")))
    model = make(loss, sampler=sampler).fit(x, item_features=table)
    values = model.item_features_.names["value"]
    moved = model.feature_vectors_.any(axis=1)
    assert moved[values != "new"].all()
    assert not moved[values == "new"].any()


def test_vectors_are_sums_of_those_of_features(x, kinds):
    model = make("bpr").fit(x, item_features=kinds)
    described = model.item_described_.to_scipy() @ model.feature_vectors_
    np.testing.assert_allclose(model.item_factors_[NEW_ITEMS, :8], described[NEW_ITEMS], rtol=1e-5)
    biases = model.item_described_.to_scipy() @ model.feature_biases_
    np.testing.assert_allclose(model.item_factors_[NEW_ITEMS, 8], biases[NEW_ITEMS], rtol=1e-5)


def test_items_without_a_row_have_a_vector_of_their_own(x, kinds):
    with pytest.warns(CofactorWarning, match="20 of 92 items have no row in the table, and no features"):
        model = make().fit(x, item_features=kinds.filter(pl.col("item_id") >= 20))
    assert share_of_own_kind(model.recommend(k=5)) > 0.8


@pytest.mark.parametrize("side", ["item", "user"])
@pytest.mark.parametrize("inside", [False, True])
def test_a_table_of_nobody_who_is_known_is_refused(side, inside, x, kinds, groups):
    """Ids that interactions were widened by before are nobody either."""
    table = (kinds if side == "item" else groups).with_columns(pl.col(f"{side}_id") + 1000)
    model = cf.Blend(cf.Popular(), make()) if inside else make()
    told = rf"{side}_features: none of the \d+ {side}s with interactions, such as \d+, has a row .* first id is 1000"
    with pytest.raises(DataError, match=told):
        model.fit(x, **{f"{side}_features": table})
    wider = x.widened(**{f"{side}s": cf.IdMap.from_values(table[f"{side}_id"])})
    with pytest.raises(DataError, match=told):
        model.fit(wider, **{f"{side}_features": table})


def test_new_ids_are_told_in_the_log(x, kinds, groups, caplog):
    with caplog.at_level("INFO", "cofactor"):
        make(epochs=1).fit(x, item_features=kinds, user_features=groups)
    assert [record.message for record in caplog.records if "new" in record.message] == [
        "item_features: 12 of 92 ids are new, known by features alone",
        "user_features: 12 of 252 ids are new, known by features alone",
    ]


def test_features_of_no_use_are_refused(x, kinds):
    with pytest.raises(DataError, match="item_features"):
        make().fit(x, item_features=pl.concat([kinds, kinds.head(1)]))
    with pytest.raises(DataError, match=r"user_features.*item_features"):
        make().fit(x, user_features=kinds)


def test_lists_and_features_come_back_from_a_folder(x, kinds, groups, tmp_path):
    model = make().fit(x, item_features=kinds, user_features=groups)
    model.save(tmp_path / "model")
    again = cf.load(tmp_path / "model")
    assert again.item_features_ == model.item_features_
    assert again.user_features_ == model.user_features_
    assert_frame_equal(again.recommend(NEW_USERS), model.recommend(NEW_USERS))


def test_results_with_features_do_not_depend_on_threads(x, kinds, groups):
    for loss in ("bpr", "softmax"):
        one, *others = (
            make(loss, epochs=2, threads=n).fit(x, item_features=kinds, user_features=groups) for n in (1, 2, 5)
        )
        for other in others:
            assert np.array_equal(one.user_factors_, other.user_factors_)
            assert np.array_equal(one.item_factors_, other.item_factors_)


def test_a_blend_with_models_of_fewer_items_says_what_to_do(x, kinds):
    model, popular = make().fit(x, item_features=kinds), cf.Popular().fit(x)
    with pytest.raises(ParameterError, match=r"A model with features knows .*: fit the other on its interactions_"):
        cf.Blend.fitted(model, popular)
    blend = cf.Blend.fitted(model, cf.Popular().fit(model.interactions_))
    assert blend.recommend(k=3)["user_id"].n_unique() == x.n_users


# Categories of negatives


@every_loss
def test_negatives_of_the_own_category_count_less(loss, x, kinds):
    """Then other items of the kind score the more beside those of other kinds."""
    own = np.equal.outer(kind_of(np.arange(N_USERS)), kind_of(np.arange(N_ITEMS)))

    def gap(discount):
        options = {"category": "kind", "category_discount": discount, "epochs": 8}
        model = make(loss, **options).fit(x, item_features=kinds)
        scores = model.user_factors_ @ model.item_factors_[:N_ITEMS].T
        return (scores[own].mean() - scores[~own].mean()) / scores.std()

    assert gap(1.0) > gap(0.0)


def test_no_discount_is_as_if_there_were_no_category(x, kinds):
    one, other = (
        make(**options, epochs=3).fit(x, item_features=kinds)
        for options in ({}, {"category": "kind", "category_discount": 0.0})
    )
    assert np.array_equal(one.user_factors_, other.user_factors_)


def test_categories_have_to_be_there(x, kinds):
    with pytest.raises(ParameterError, match="category='kind' is a column of item_features, which were not given"):
        make(category="kind").fit(x)
    with pytest.raises(ParameterError, match=r"category='colour' must be a column .* these are 'kind'"):
        make(category="colour").fit(x, item_features=kinds)
    numbers = kinds.with_columns(price=pl.col("item_id") * 1.5)
    with pytest.raises(ParameterError, match=r"category='price' must be a column .* these are 'kind'"):
        make(category="price").fit(x, item_features=numbers)


# Dislikes


FEW = [loss for loss, options in LOSSES.items() if "negatives" not in options]


@pytest.mark.parametrize("loss", FEW)
def test_disliked_items_go_down(loss, x, dislikes):
    def mean_rank(model):
        lists = model.recommend(k=N_ITEMS)
        return lists.join(dislikes, on=["user_id", "item_id"])["rank"].mean()

    plain, told = make(loss).fit(x), make(loss, dislike_share=0.7).fit(x, dislikes=dislikes)
    assert mean_rank(told) > mean_rank(plain) + 5


def test_dislikes_of_no_use_are_counted(x, pairs, dislikes):
    more = pl.concat([dislikes, pairs.head(3), pl.DataFrame({"user_id": [9999], "item_id": [0]})])
    told = "dislikes: 1 of .* pairs have a user or an item that is not in the interactions and 3 of .* are among the"
    with pytest.warns(CofactorWarning, match=told):
        model = make("bpr", epochs=2).fit(x, dislikes=more)
    assert np.array_equal(model.user_factors_, make("bpr", epochs=2).fit(x, dislikes=dislikes).user_factors_)


def test_dislikes_are_for_few_negatives(x, dislikes):
    with pytest.raises(
        ParameterError, match=r"dislikes are for losses with few negatives \('bpr', .* not for loss='ccl'"
    ):
        make("ccl").fit(x, dislikes=dislikes)


@pytest.mark.parametrize("saved", [False, True])
def test_partial_fit_goes_on_with_dislikes(saved, x, pairs, dislikes, tmp_path):
    """Those of before, of known ids as well as new ones, and those that are given then."""
    model = make("bpr", epochs=2).fit(x, dislikes=dislikes)
    if saved:
        model.save(tmp_path / "model")
        model = cf.load(tmp_path / "model")
    more = pl.DataFrame({"user_id": [N_USERS, 0], "item_id": [0, N_ITEMS]})
    news = pl.DataFrame({"user_id": [-1, N_USERS, N_USERS], "item_id": [1, 2, N_ITEMS]})
    model.partial_fit(news, epochs=1, dislikes=more)
    ids = model.interactions_.users.ids, model.interactions_.items.ids
    rows = model.dislikes_.row_index(), model.dislikes_.indices
    told = pl.DataFrame({name: of.gather(at) for name, of, at in zip(("user_id", "item_id"), ids, rows, strict=True)})
    assert_frame_equal(told, pl.concat([dislikes, more]), check_row_order=False)


def test_partial_fit_learns_from_dislikes(x, pairs, dislikes):
    one, other = (make("bpr", epochs=2).fit(x, dislikes=dislikes) for _ in range(2))
    del other.dislikes_
    one.partial_fit(pairs.head(1), epochs=1)
    other.partial_fit(pairs.head(1), epochs=1)
    assert not np.array_equal(one.user_factors_, other.user_factors_)


def test_dislikes_that_became_interactions_are_counted(x, dislikes):
    model = make("bpr", epochs=2).fit(x, dislikes=dislikes)
    with pytest.warns(CofactorWarning, match=r"dislikes: 2 of \d+ pairs are among the interactions, too"):
        model.partial_fit(dislikes.head(2), epochs=1)
    assert model.dislikes_.nnz == len(dislikes) - 2


def test_a_fit_without_dislikes_forgets_them(x, dislikes):
    assert not hasattr(make("bpr", epochs=1).fit(x, dislikes=dislikes).fit(x), "dislikes_")

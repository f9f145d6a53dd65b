"""What models of item-to-item weights list, and which items they call similar."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cofactor as cf
from cofactor.kernels.csr import CSR
from reference.similarity import dense, similarities


def interactions_of(matrix):
    rows, columns = np.nonzero(matrix)
    return cf.Interactions.from_csr(CSR.from_pairs(rows, columns, matrix[rows, columns], matrix.shape))


# Lists


@st.composite
def signed_models(draw):
    """A fitted SLIM whose weights are of both signs, zeros among them, and the dense twins of data and weights."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_users, n_items = draw(st.integers(1, 12)), draw(st.integers(2, 40))
    x = interactions_of((rng.random((n_users, n_items)) < 0.3) * rng.choice([1.0, 2.0], (n_users, n_items)))
    kept = rng.random((n_items, n_items)) < draw(st.sampled_from([0.05, 0.3]))
    rows, columns = np.nonzero(kept)
    weights = rng.choice([-2.0, -0.5, 0.0, 0.25, 1.0], len(rows))
    model = cf.SLIM(non_negative=False, l1_regularization=0.0)
    model.interactions_, model.item_weights_ = x, CSR.from_pairs(rows, columns, weights, kept.shape)
    return model, dense(x.user_items), dense(model.item_weights_)


@given(signed_models())
def test_lists_are_what_stands_above_the_items_that_are_not_reached(made):
    """An item with a score of 0 or less says no more than one that the history does not reach."""
    model, x, w = made
    top = model.top_k(np.arange(len(x)), 1000, exclude_seen=False)
    for user, scores in enumerate(x @ w):
        wanted = sorted(np.flatnonzero(scores > 0), key=lambda i: (-scores[i], i))
        assert top.rows[user][top.rows[user] >= 0].tolist() == wanted
        assert (top.scores[user, len(wanted) :] == -np.inf).all()
        assert (top.rows[user, len(wanted) :] == -1).all()


def test_an_item_that_scores_below_zero_is_not_listed_before_one_that_scores_zero():
    log = pl.DataFrame({"user_id": [1, 1, 2, 2, 3, 3, 4, 5], "item_id": [1, 2, 1, 2, 3, 4, 3, 5]})
    model = cf.SLIM(0.01, 0.1, non_negative=False).fit(log)
    assert (model.recommend(k=10, exclude_seen=False)["score"] > 0).all()
    scored = model.predict(model.recommend(k=10).select("user_id", "item_id"))
    assert (scored["score"] > 0).all()


@pytest.mark.parametrize("make", [lambda: cf.SLIM(0.5, 5.0), cf.ItemKNN, cf.RP3beta, cf.CoVisitation])
def test_what_has_no_negative_weights_lists_all_that_is_reached(interactions, make):
    model = make().fit(interactions)
    reached = (dense(interactions.user_items) > 0) @ (dense(model.item_weights_) > 0)
    lengths = model.recommend(k=1000, exclude_seen=False).group_by("user_id").len().sort("user_id")["len"]
    assert lengths.to_list() == (reached > 0).sum(axis=1).tolist()


# Similar items


def assert_similar(model, wanted, k):
    """``wanted`` (n_items, n_items) are the similarities, the diagonal 0; lists hold the k largest above 0."""
    table = model.similar_items(k=k)
    for item, row in enumerate(wanted):
        found = table.filter(pl.col("item_id") == item)
        best = np.sort(row)[::-1][:k]
        best = best[best > 0]
        np.testing.assert_allclose(found["score"], best, rtol=1e-4)
        np.testing.assert_allclose(row[found["similar_item_id"].to_numpy()], found["score"], rtol=1e-4)
        assert found["rank"].to_list() == list(range(1, len(best) + 1))
    some = [7, 3]
    asked = model.similar_items(some, k=k)
    assert asked.equals(pl.concat([table.filter(pl.col("item_id") == item) for item in some]))


def walk(x, alpha, beta):
    to_item, to_user = x / x.sum(1, keepdims=True), x.T / x.sum(0)[:, None]
    w = (to_user**alpha * (x.T > 0)) @ (to_item**alpha * (x > 0)) / (x > 0).sum(0) ** beta
    np.fill_diagonal(w, 0)
    return w


@pytest.mark.parametrize("k", [2, 20, 1000])
@pytest.mark.parametrize("of", ["scored", "history"])
@pytest.mark.parametrize(
    "options",
    [
        {"similarity": "cosine", "shrinkage": 3.0},
        {"similarity": "asymmetric", "alpha": 0.2},
        {"similarity": "jaccard"},
        {"similarity": "tfidf"},
        {"similarity": "bm25", "k1": 0.9, "b": 0.4},
    ],
    ids=lambda options: options["similarity"],
)
def test_neighbours_kept_for_scores_do_not_bound_similar_items(interactions, options, of, k):
    model = cf.ItemKNN(neighbours=3, neighbours_of=of, **options).fit(interactions)
    kind = options["similarity"]
    rest = {name: value for name, value in options.items() if name != "similarity"}
    assert_similar(model, similarities(dense(interactions.user_items).T, kind, **rest), k)


@pytest.mark.parametrize("k", [2, 1000])
@pytest.mark.parametrize("normalize", [True, False])
def test_similar_items_of_walks_are_where_they_end(interactions, normalize, k):
    model = cf.RP3beta(0.7, 0.4, 3, normalize=normalize).fit(interactions)
    assert_similar(model, walk(dense(interactions.user_items), 0.7, 0.4), k)


@pytest.mark.parametrize("k", [2, 1000])
@pytest.mark.parametrize(
    "model",
    [
        cf.SLIM(2.0, 5.0, top_n=2),
        cf.SLIM(0.2, 2.0, non_negative=False),
        cf.EASE(20.0, top_n=2),
        cf.EASE(20.0, form="primal"),
        cf.EASE(20.0, form="dual"),
        cf.EASE(20.0, weights="binary"),
    ],
    ids=repr,
)
def test_similar_items_of_learned_weights_are_those_of_the_largest_cosine(interactions, model, k):
    x = dense(interactions.user_items)
    if model.params().get("weights") == "binary":
        x = (x > 0).astype(float)
    assert_similar(model.fit(interactions), similarities(x.T, "cosine"), k)


@given(st.integers(0, 2**32), st.integers(1, 30))
def test_similar_items_of_any_data(seed, k):
    rng = np.random.default_rng(seed)
    x = (rng.random((12, 15)) < 0.2) * rng.choice([0.5, 1.0, 4.0], (12, 15))
    assert_similar(cf.ItemKNN(neighbours=1).fit(interactions_of(x)), similarities(x.T, "cosine"), k)


def test_an_item_of_few_users_has_the_neighbours_that_it_has():
    """Nobody's nearest neighbour: it was in no column of the matrix that is pruned for scores."""
    log = pl.DataFrame(
        [(u, i) for u in range(20) for i in ("a", "b", "c", "d", "e")] + [(0, "niche"), (1, "niche")],
        schema=["user_id", "item_id"],
        orient="row",
    )
    found = cf.ItemKNN(neighbours=3).fit(log).similar_items(["niche"])
    assert found["similar_item_id"].to_list() == ["a", "b", "c", "d", "e"]
    np.testing.assert_allclose(found["score"], np.sqrt(0.1), rtol=1e-6)


@pytest.mark.parametrize("make", [cf.CoVisitation, lambda n: cf.CoVisitationSum(cf.CoVisitation(n))])
def test_similar_items_of_sessions_are_the_row_that_is_kept(interactions, make):
    whole, cut = make(1000).fit(interactions), make(4).fit(interactions)
    assert cut.similar_items(k=1000).equals(whole.similar_items(k=4))


def test_models_that_were_saved_before_answer_too(interactions, tmp_path):
    """Nothing but what format 1 has held from the beginning is needed."""
    model = cf.ItemKNN(neighbours=2).fit(interactions)
    model.save(tmp_path / "model")
    loaded = cf.load(tmp_path / "model")
    assert {name for name in vars(loaded) if name.endswith("_")} == {"item_weights_", "interactions_"}
    assert loaded.similar_items(k=9).equals(model.similar_items(k=9))

"""ItemKNN against its formulas written out, and against implicit."""

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.kernels.csr import CSR
from reference.similarity import dense, kept, similarities

KINDS = ["cosine", "asymmetric", "jaccard", "tfidf", "bm25"]


@pytest.fixture(scope="module")
def binary(interactions):
    x = interactions.user_items
    return cf.Interactions.from_csr(CSR(x.indptr, x.indices, np.ones(x.nnz, np.float32), x.n_columns))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("neighbours", [1, 7, 1000])
def test_the_formulas(interactions, binary, kind, weighted, neighbours):
    x = interactions if weighted else binary
    options = {"alpha": 0.3, "k1": 2.0, "b": 0.4} | ({} if kind == "bm25" else {"shrinkage": 3.0})
    wanted = similarities(dense(x.item_users), kind, **options)
    for of in ("scored", "history"):
        model = cf.ItemKNN(kind, neighbours, neighbours_of=of, **options).fit(x)
        got = dense(model.item_weights_)
        # Near ties may swap: what is kept has the value of its pair, and as much is kept.
        np.testing.assert_allclose(got[got > 0], wanted[got > 0], rtol=1e-5)
        axis = 0 if of == "scored" else 1
        few = kept(wanted, neighbours, of=of)
        np.testing.assert_allclose(np.sort(got, axis), np.sort(few, axis), rtol=1e-5, atol=1e-7)


@pytest.mark.filterwarnings("ignore:Method expects CSR input")  # of implicit to itself
@pytest.mark.parametrize("name", ["Cosine", "TFIDF", "BM25"])
def test_implicit_finds_the_same(interactions, name):
    nearest = pytest.importorskip("implicit.nearest_neighbours", reason="implicit is not installed")
    theirs = getattr(nearest, f"{name}Recommender")(K=41, num_threads=1)  # it counts the item itself as one
    theirs.fit(interactions.user_items.to_scipy(), show_progress=False)
    wanted = theirs.similarity.toarray()
    np.fill_diagonal(wanted, 0)
    got = dense(cf.ItemKNN(name.lower(), 40).fit(interactions).item_weights_)
    np.testing.assert_allclose(got, np.maximum(wanted, 0), rtol=1e-4, atol=1e-6)


def test_scores_are_sums_over_the_history(interactions):
    model = cf.ItemKNN(neighbours=5).fit(interactions)
    scores = dense(interactions.user_items) @ dense(model.item_weights_)
    table = model.recommend(k=40, exclude_seen=False)
    np.testing.assert_allclose(table["score"], scores[table["user_id"], table["item_id"]], rtol=1e-5)
    assert len(table) == (scores > 0).sum()


@pytest.mark.parametrize("additions", [0, 1e9])
def test_scores_of_pairs_are_the_same_whether_looked_up_or_taken_from_all(interactions, monkeypatch, additions):
    monkeypatch.setattr("cofactor.models.base.item_weights._LOOKUP", additions)
    model = cf.ItemKNN(neighbours=5).fit(interactions)
    wanted = dense(interactions.user_items) @ dense(model.item_weights_)
    users, items = (axis.ravel() for axis in np.indices(wanted.shape))
    order = np.random.default_rng(0).permutation(len(users))
    for some in (order, order[:3], order[:0]):
        got = model.predict(pl.DataFrame({"user_id": users[some], "item_id": items[some]}))["score"]
        np.testing.assert_allclose(got, wanted[users[some], items[some]], rtol=1e-5, atol=1e-7)


def test_an_item_alone_is_nobodys_neighbour():
    """Item 9 was seen once, by a user who has nothing else."""
    x = cf.Interactions.from_frame(pl.DataFrame({"user_id": [1, 1, 2, 2, 3], "item_id": [1, 2, 1, 2, 9]}))
    for kind in KINDS:
        model = cf.ItemKNN(kind).fit(x)
        assert model.recommend([3], exclude_seen=False).is_empty()
        assert 9 not in model.recommend(exclude_seen=False)["item_id"]
        assert model.similar_items([9]).is_empty()


def test_everything_equally_popular_goes_by_item_row():
    x = cf.Interactions.from_csr(CSR.from_pairs(*np.nonzero(np.ones((6, 8))), np.ones(48), (6, 8)))
    model = cf.ItemKNN(neighbours=3).fit(x)
    np.testing.assert_allclose(dense(model.item_weights_)[:, 7], [1, 1, 1, 0, 0, 0, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(dense(model.item_weights_)[:, 0], [0, 1, 1, 1, 0, 0, 0, 0], rtol=1e-6)


def test_any_number_of_threads_gives_the_same(interactions):
    one, two = (cf.ItemKNN("bm25", 4, threads=t).fit(interactions).item_weights_ for t in (1, 5))
    assert np.array_equal(one.indices, two.indices)
    assert np.array_equal(one.values, two.values)


@pytest.mark.parametrize("make", [cf.ItemKNN, cf.UserKNN])
@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"similarity": "pearson"}, "similarity must be one of 'cosine', 'asymmetric', .* got 'pearson'"),
        ({"neighbours": 0}, "neighbours must be a whole number of at least 1, got 0"),
        ({"neighbours": 2.5}, "neighbours must be a whole number"),
        ({"shrinkage": -1}, "shrinkage must be a finite number of at least 0, got -1"),
        ({"shrinkage": 5, "similarity": "bm25"}, "bm25 divides by nothing that could be shrunk; .* shrinkage=0"),
        ({"alpha": 1.5}, "alpha must be at most 1, got 1.5"),
        ({"k1": -1}, "k1 must be a finite number of at least 0"),
        ({"b": float("nan")}, "b must be a finite number"),
    ],
)
def test_bad_parameters(interactions, make, params, message):
    with pytest.raises(cf.ParameterError, match=message):
        make(**params).fit(interactions)


def test_bad_side(interactions):
    for make in (cf.ItemKNN, cf.RP3beta):
        with pytest.raises(cf.ParameterError, match="neighbours_of must be one of 'scored', 'history', got 'both'"):
            make(neighbours_of="both").fit(interactions)


def test_memory_is_asked_for_first(interactions, monkeypatch):
    monkeypatch.setattr("cofactor.system.memory.available_memory", lambda: 1000)
    for make in (cf.ItemKNN, cf.RP3beta):
        with pytest.raises(cf.ParameterError, match=r"with 100 neighbours of 40 items needs .* use fewer neighbours"):
            make().fit(interactions)

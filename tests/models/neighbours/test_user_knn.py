"""UserKNN against its formula written out."""

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from reference.similarity import dense, kept, similarities

KINDS = ["cosine", "asymmetric", "jaccard", "tfidf", "bm25"]


def without_twins(s, x):
    """Users of equal histories say nothing about each other."""
    return np.where((x[:, None] == x[None]).all(2), 0, s)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("neighbours", [3, 1000])
def test_the_formula(interactions, kind, neighbours):
    x = dense(interactions.user_items)
    options = {"alpha": 0.3, "k1": 2.0, "b": 0.4} | ({} if kind == "bm25" else {"shrinkage": 3.0})
    s = kept(without_twins(similarities(x, kind, **options), x), neighbours, of="history")
    model = cf.UserKNN(kind, neighbours, **options).fit(interactions)
    table = model.recommend(k=40, exclude_seen=False)
    scores = s @ x
    np.testing.assert_allclose(table["score"], scores[table["user_id"], table["item_id"]], rtol=1e-4)
    assert len(table) == (scores > 0).sum()


def test_a_new_user_gets_what_similar_users_have():
    x = cf.Interactions.from_frame(
        pl.DataFrame({"user_id": [1, 1, 1, 2, 2, 3], "item_id": ["a", "b", "c", "b", "d", "e"]})
    )
    model = cf.UserKNN().fit(x)
    histories = pl.DataFrame({"user_id": [7, 7, 8, 9], "item_id": ["a", "b", "d", "e"]})
    table = model.recommend_for(histories)
    assert table.select("user_id", "item_id").rows() == [(7, "c"), (7, "d"), (8, "b")]
    np.testing.assert_allclose(table["score"], [2 / 6**0.5, 1 / 2, 1 / 2**0.5], rtol=1e-6)


def test_users_of_the_same_history_leave_room_for_others():
    """With one neighbour: neither the user itself nor its twin takes the place."""
    x = cf.Interactions.from_frame(pl.DataFrame({"user_id": [1, 1, 2, 2, 3, 3], "item_id": [1, 2, 1, 2, 2, 3]}))
    model = cf.UserKNN(neighbours=1).fit(x)
    assert model.recommend([1, 2])["item_id"].to_list() == [3, 3]
    assert model.recommend_for(pl.DataFrame({"user_id": [5, 5], "item_id": [1, 2]}))["item_id"].to_list() == [3]


def test_many_users_at_once(interactions, monkeypatch):
    model = cf.UserKNN("tfidf", 8).fit(interactions)
    table = model.recommend(k=5)
    scores = model.predict(table)
    monkeypatch.setattr("cofactor.models.neighbours.user_knn._LISTS", 50)
    monkeypatch.setattr("cofactor.models.neighbours.user_knn._ENTRIES", 50)
    assert model.recommend(k=5).equals(table)
    assert model.predict(table).equals(scores)

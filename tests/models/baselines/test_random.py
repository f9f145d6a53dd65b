import numpy as np
import pytest

import cofactor as cf
from cofactor.kernels.csr import CSR


def test_every_item_is_equally_likely():
    x = cf.datasets.synthetic(4000, 20, 8000, seed=0)
    counts = cf.Random(seed=1).fit(x).recommend(k=1, exclude_seen=False)["item_id"].value_counts()["count"]
    assert len(counts) == 20
    assert counts.is_between(200 - 5 * np.sqrt(200), 200 + 5 * np.sqrt(200)).all()


def test_seeds_give_different_lists(interactions):
    lists = [cf.Random(seed=s).fit(interactions).recommend(k=5)["item_id"].to_list() for s in (0, 1, 2**63, 2**80)]
    assert len({tuple(items) for items in lists}) == 4


def test_a_list_does_not_depend_on_who_else_is_asked_or_on_its_length(interactions):
    model = cf.Random(seed=5).fit(interactions)
    every = model.recommend(k=40)
    assert model.recommend([17], k=40)["item_id"].equals(every.filter(user_id=17)["item_id"])
    assert model.recommend(k=3).equals(every.filter(every["rank"] <= 3))


def test_scores_are_uniform(interactions):
    scores = cf.Random().fit(interactions).recommend(k=40, exclude_seen=False)["score"]
    assert scores.is_between(0, 1, closed="left").all()
    assert scores.mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("seed", [-1, 0.5, "lucky", None])
def test_a_bad_seed_is_named(interactions, seed):
    with pytest.raises(cf.ParameterError, match=f"seed must be a whole number of at least 0, got {seed!r}"):
        cf.Random(seed=seed).fit(interactions)


def test_weighted_draws_are_in_proportion_to_popularity():
    """The first place is an item's share of all interactions; the second is drawn from what is left."""
    counts = np.array([1, 2, 3, 10])
    users = 8000
    rows = np.concatenate([np.arange(n) for n in counts])
    items = np.repeat(np.arange(4), counts)
    x = cf.Interactions.from_csr(CSR.from_pairs(rows, items, np.ones(len(rows)), (users, 4)))
    lists = cf.Random(seed=2, weighted=True).fit(x).recommend(k=2, exclude_seen=False)["item_id"].to_numpy()
    first, second = lists.reshape(-1, 2).T
    share = counts / counts.sum()
    assert np.bincount(first) / users == pytest.approx(share, abs=0.02)
    after = share[:, None] * share[None, :] / (1 - share[:, None])
    np.fill_diagonal(after, 0)
    assert np.bincount(second) / users == pytest.approx(after.sum(axis=0), abs=0.02)


def test_items_of_nobody_come_last_and_equal_popularity_is_uniform():
    x = cf.Interactions.from_csr(CSR.from_pairs([0, 0, 0], [1, 3, 4], np.ones(3), (3000, 6)))
    table = cf.Random(weighted=True).fit(x).recommend(k=6, exclude_seen=False)
    assert set(table.filter(table["rank"] > 3)["item_id"]) == {0, 2, 5}
    first = table.filter(table["rank"] == 1)["item_id"].to_numpy()
    assert np.bincount(first, minlength=6)[[1, 3, 4]] / 3000 == pytest.approx([1 / 3] * 3, abs=0.03)


def test_weighted_is_true_or_false(interactions):
    with pytest.raises(cf.ParameterError, match="weighted must be one of True, False, got 'yes'"):
        cf.Random(weighted="yes").fit(interactions)

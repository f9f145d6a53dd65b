import numpy as np
import pytest

import cofactor as cf


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

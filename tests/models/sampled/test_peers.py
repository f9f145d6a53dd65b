"""The same losses in implicit, on the same pairs: ours find about as many of the pairs held out, or more."""

import numpy as np
import pytest

import cofactor as cf
from models.sampled.learning import make, ndcg

SEEDS, EPOCHS = range(4), 60


@pytest.fixture(scope="module")
def implicit():
    return pytest.importorskip("implicit.cpu", reason="implicit is not installed (extra bench)")


def agree(ours, theirs, x, held_out):
    """Means over seeds; one run's figure has a standard deviation of .015."""
    means = [np.mean([ndcg(make(seed).recommend(k=10), held_out) for seed in SEEDS]) for make in (ours, theirs)]
    assert means[1] > 1.5 * ndcg(cf.Random().fit(x).recommend(k=10), held_out)
    assert means[0] > means[1] - 0.015


def fitted(model, x):
    model.fit(x.user_items.to_scipy(), show_progress=False)
    return cf.FactorModel.from_vectors(np.asarray(model.user_factors), np.asarray(model.item_factors), x)


def test_bpr_is_that_of_implicit(implicit, x, held_out):
    given = {"factors": 8, "learning_rate": 0.05, "regularization": 0.01}
    more = {"iterations": EPOCHS, "num_threads": 1}
    agree(
        lambda seed: make("bpr", **given, optimizer="sgd", epochs=EPOCHS, seed=seed).fit(x),
        lambda seed: fitted(implicit.bpr.BayesianPersonalizedRanking(**given, **more, random_state=seed), x),
        x,
        held_out,
    )


def test_the_logistic_loss_is_that_of_implicit(implicit, x, held_out):
    given = {"learning_rate": 1.0, "regularization": 0.6, "iterations": EPOCHS, "num_threads": 1}
    agree(
        lambda seed: make("logistic", epochs=EPOCHS, seed=seed).fit(x),
        lambda seed: fitted(implicit.lmf.LogisticMatrixFactorization(8, **given, random_state=seed), x),
        x,
        held_out,
    )

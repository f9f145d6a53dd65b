"""Batches with shared negatives against the float64 twin, whose derivatives are those of finite differences."""

import numpy as np
import pytest
import scipy.sparse as sp

from cofactor.kernels.arguments import Table
from cofactor.kernels.csr import CSR
from device import kernels
from reference import shared_negatives as reference

N_USERS, N_ITEMS, N_FEATURES, WIDTH = 9, 14, 5, 16
LOSSES = ["softmax", "bsl", "ccl", "softmax@k"]
BASIC = {"sampler": "uniform", "negatives": 21, "batch_size": 10, "seed": 3}


def interactions(n_users=N_USERS, n_items=N_ITEMS, density=0.3, seed=0):
    """Weights that are not 1, and a user without items."""
    rng = np.random.default_rng(seed)
    x = (rng.random((n_users, n_items)) < density) * rng.uniform(0.5, 2.0, (n_users, n_items))
    x[n_users // 2] = 0
    return CSR.from_scipy(sp.csr_matrix(x))


def table(n_rows=N_USERS + N_ITEMS + N_FEATURES, optimizer="sgd", rate=0.3, *, width=WIDTH, filled=10, seed=1):
    values = np.zeros((n_rows, width), np.float32)
    values[:, :filled] = np.random.default_rng(seed).standard_normal((n_rows, min(filled, width))) * 0.5
    return Table.new(values, optimizer, rate)


def bias_table(optimizer="sgd", rate=0.1):
    return table(optimizer=optimizer, rate=rate, width=1, seed=2)


def all_parts(seed=4):
    """Users of their own row and some items' rows, items of their own row and features; one item has no parts."""
    rng = np.random.default_rng(seed)
    n_rows = N_USERS + N_ITEMS + N_FEATURES
    users, items = np.zeros((N_USERS, n_rows)), np.zeros((N_ITEMS, n_rows))
    users[:, :N_USERS] = np.eye(N_USERS)
    users[:, N_USERS : N_USERS + N_ITEMS] = (rng.random((N_USERS, N_ITEMS)) < 0.3) * 0.25
    items[:, N_USERS : N_USERS + N_ITEMS] = np.eye(N_ITEMS)
    items[:, N_USERS + N_ITEMS :] = rng.random((N_ITEMS, N_FEATURES)) < 0.4
    items[3] = 0
    return CSR.from_scipy(sp.csr_matrix(users)), CSR.from_scipy(sp.csr_matrix(items))


def options_of(loss, score="cosine", **others):
    options = {"loss": loss, "score": score, **BASIC, "temperature": 0.4}
    if loss == "bsl":
        options["positive_temperature"] = 0.7
    if loss == "ccl":
        options |= {"margin": 0.1, "negative_weight": 3.0}
        del options["temperature"]
    if loss == "softmax@k":
        options |= {"quantiles": np.linspace(-0.5, 0.5, N_USERS, dtype=np.float32), "quantile_temperature": 0.3}
    return options | others


def extras():
    rng = np.random.default_rng(5)
    return {
        "groups": rng.integers(0, 3, (N_ITEMS, 2)).astype(np.int32),
        "group_discounts": np.array([0.3, 0.9], np.float32),
        "log_q": rng.standard_normal(N_ITEMS).astype(np.float32),
    }


def assert_like_the_twin(x, vectors, biases=None, *parts, atol=2e-5, **options):
    loss, values, bias_values = reference.epoch(x, vectors, biases, *parts, **options)
    assert kernels.shared_negatives_epoch(x, vectors, biases, *parts, **options) == pytest.approx(loss, rel=2e-6)
    np.testing.assert_allclose(vectors.values, values, atol=atol)
    if biases is not None:
        np.testing.assert_allclose(biases.values[:, 0], bias_values, atol=atol)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("score", ["cosine", "dot"])
def test_an_epoch_is_the_twins(cpu_level, loss, score):
    assert_like_the_twin(interactions(), table(), **options_of(loss, score))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "adam"])
def test_with_everything_at_once(cpu_level, loss, optimizer):
    rate = {"sgd": 0.3, "adagrad": 0.05, "adam": 0.01}[optimizer]
    options = options_of(loss, sampler="exact", regularization=0.2, **extras())
    if loss == "ccl":
        del options["log_q"]
    assert_like_the_twin(interactions(), table(optimizer=optimizer, rate=rate), bias_table(), *all_parts(), **options)

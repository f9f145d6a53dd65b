"""Penalties beyond what floats hold: the loss of an epoch is that of before its steps, and does not tell."""

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.kernels.csr import CSR


@pytest.mark.filterwarnings("ignore:.*training diverged and was stopped")
@pytest.mark.parametrize("epochs", [2, 5])
def test_sampled_negatives(epochs):
    rng = np.random.default_rng(0)
    rows, columns = np.nonzero(rng.random((60, 40)) < 0.2)
    matrix = CSR.from_pairs(rows, columns, np.ones(len(rows)), (60, 40))
    model = cf.SampledMF(4, loss="bpr", optimizer="sgd", learning_rate=0.1, regularization=1e30, epochs=epochs)
    with pytest.raises(cf.CofactorError, match="SampledMF: training left numbers that are not finite; lower regulari"):
        model.fit(matrix, progress=False)


@pytest.mark.parametrize("epochs", [1, 3])
def test_pairs_of_items(epochs):
    rng = np.random.default_rng(0)
    log = {"user": np.repeat(np.arange(50), 6), "item": rng.integers(0, 20, 300), "time": 10**9 + np.arange(300)}
    events = cf.read_events(pl.DataFrame(log), user="user", item="item", time="time")
    with pytest.raises(cf.CofactorError, match="ItemPairsMF: training left numbers that are not finite; lower regul"):
        cf.ItemPairsMF(4, regularization=1e30, epochs=epochs).fit(events)

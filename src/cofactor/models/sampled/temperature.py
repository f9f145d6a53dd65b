"""The temperature of a softmax over scores, read off the interactions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.kernels.filters import Filters
from cofactor.models.base.epochs import Plan, part_of_more
from cofactor.models.base.held_out import entries, mean_ndcg, some_entries
from cofactor.models.sampled.rows import Rows
from cofactor.models.sampled.training import Training, tables

if TYPE_CHECKING:
    from cofactor.kernels.cpu import Kernels
    from cofactor.kernels.csr import CSR

__all__ = ["chosen_temperature"]

_TEMPERATURES = (0.07, 0.1, 0.14, 0.2, 0.3)
_SAFE = 0.2  # where too little can be held out to tell
_USERS, _HELD_OUT, _FEW, _PLACES = 5000, 0.1, 30, 10
_TRIAL = {"factors": 32, "negatives": 512}
_EPOCHS = 8


def chosen_temperature(kernels: Kernels, matrix: CSR, use: dict[str, Any]) -> float:
    """The temperature with which short trainings on some users find most of a tenth of their pairs, held out (NDCG@10).

    Parameters
    ----------
    kernels : Kernels
    matrix : CSR (n_users, n_items)
    use : dict
        The model's parameters, all of them numbers but this one.
    """
    rng = np.random.default_rng(use["seed"])
    if matrix.n_rows > _USERS:
        matrix = matrix.take(np.sort(rng.choice(matrix.n_rows, _USERS, replace=False)))
    out = some_entries(matrix, _HELD_OUT, _USERS, rng)
    kept, wanted = entries(matrix, ~out), entries(matrix, out)
    if wanted.nnz < _FEW:
        return _SAFE
    users = np.flatnonzero(np.diff(wanted.indptr)).astype(np.int32)
    wanted, seen, rows = wanted.take(users), Filters(kept.take(users)), Rows(*kept.shape)
    trial = use | {name: min(most, use[name]) for name, most in _TRIAL.items()}

    def gain(temperature: float) -> float:
        given = trial | {"temperature": temperature, "positive_temperature": positive_temperature(trial, temperature)}
        training = Training(kernels, kept, rows, tables(rows, given), given)
        training.run(Plan(_EPOCHS, cosine=True), None, progress=False)
        of_users, of_items = training.factors()
        top = kernels.top_k(of_users[users], of_items, _PLACES, filters=seen, threads=use.get("threads"))
        return mean_ndcg(top, wanted)

    with part_of_more():
        return max(_TEMPERATURES, key=gain)


def positive_temperature(use: dict[str, Any], temperature: float) -> float:
    """The one of "bsl" for the observed pair: a tenth above that of the others, unless it is given.

    A weaker pull is a little better on sparse logs, up to a quarter above; beyond, negatives win and lists fall apart
    (Gowalla, a tenth of train held out, temperature .1: recall@20 .205, .210, .139 at 1, 1.25 and 1.5 times it).
    """
    given: float = use.get("positive_temperature", 1.1 * temperature)
    return given

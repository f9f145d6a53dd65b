"""Stochastic gradient descent on pairs of items, one of which follows the other, each against negatives.

A pair (i, j, weight w) has the vector of i, row i of the table, and that of j: row j too where vectors are ``shared``,
else row ``n_items + j``. ``s_ij`` is their inner product. Against its negatives k a pair loses w times

"logistic"
    ``log(1 + exp(-s_ij)) + sum_k log(1 + exp(s_ik))``,
"softmax"
    ``-log(exp(t_ij) / (exp(t_ij) + sum_k exp(t_ik)))``, with ``t_ij = s_ij - log_q[j]``, which makes up for items that
    are drawn more often than others (Bengio & Senecal 2008; Yi et al., RecSys 2019).

Pairs come in random order in blocks. The negatives of a pair are ``negatives`` in a row of its block, the first of them
so many places further on as chance says: of the next items of the other pairs ("in_batch": the block's next items
shuffled, as many times as there are negatives), or of a pool that is drawn for the block. What equals the next item of
the pair is no negative of it. Gradients are those at the vectors as the block found them; each row then takes one step
for each of its places in the block. A vector of a pair is also drawn to 0 by ``regularization / 2`` times its squared
length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cofactor.kernels import native
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from cofactor.kernels.arguments import Table
    from cofactor.kernels.arrays import Float, Rows

__all__ = ["item_pairs_epoch"]


def item_pairs_epoch(
    items: Rows,
    next_items: Rows,
    weights: Float | None,
    vectors: Table,
    *,
    n_items: int,
    loss: str = "logistic",
    sampler: str = "in_batch",
    negatives: int = 1,
    alias: tuple[Float, Rows] | None = None,
    log_q: Float | None = None,
    shared: bool = True,
    regularization: float = 0.0,
    batch_size: int = 256,
    seed: int = 0,
    epoch: int = 0,
    rate: float = 1.0,
    learn: bool = True,
    threads: int | None = None,
) -> tuple[float, float]:
    """One pass over pairs in random order; changes ``vectors`` in place.

    The losses are explained on top of this file. A pair reads and writes two rows, three with drawn negatives, however
    many negatives it has. Threads share the rows without locks (Hogwild, Niu et al., NIPS 2011): with more than one,
    results differ from run to run.

    Parameters
    ----------
    items, next_items : (n_pairs,) int32
    weights : (n_pairs,) float32, optional
    vectors : Table
        n_items rows, or twice as many where they are not ``shared``; their width is a multiple of 16.
    n_items : int
        Below 2^30.
    loss : {"logistic", "softmax"}
    sampler : {"in_batch", "uniform", "popularity"}
        "popularity" draws from the alias table.
    negatives : int
        Of a pair; below ``batch_size`` in a batch, else at most that.
    alias : arrays of ``alias_table``, optional
    log_q : (n_items,) float32, optional
    shared : bool
    regularization : float
    batch_size : int
        Pairs of a block, 2 to 8,192.
    seed, epoch : int
        What is random depends on both.
    rate : float
        What learning rates are multiplied by.
    learn : bool
        False only measures.

    Returns
    -------
    loss : float
        Weighted mean over the pairs, each as it was when its turn came; not finite once vectors are not.
    accuracy : float
        Share of the pairs that score above the first of their negatives.
    """
    if (sampler == "popularity") != (alias is not None):
        raise ValueError("the popularity sampler, and no other, has an alias table")
    keep, aliases = alias or (None, None)
    total, weight, above, compared = native.lib.item_pairs_epoch(
        items, next_items, weights, n_items, *vectors.slower(rate), shared, loss, sampler == "in_batch", keep, aliases,
        negatives, log_q, regularization, seed, epoch, batch_size, learn, resolve_threads(threads),
    )  # fmt: skip
    return total / max(weight, 1e-30), above / max(compared, 1)

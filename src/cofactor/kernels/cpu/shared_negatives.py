"""Stochastic gradient descent on positives against negatives that a whole batch shares.

A batch of B pairs (user u, item i, weight w) is scored against N negative items j that all of it shares. The
vector of user u is row u of the table, that of item i row ``n_users + i``, or a weighted sum of rows where there
are parts. ``s_ui`` is the inner product of both vectors, of their directions with ``score="cosine"`` (a vector of
zeros has a score of 0 and stays one), plus the bias of the item. With ``t`` for the temperature, ``q`` for
``log_q`` and ``z_uj = s_uj / t - q_j``, ``z_ui = s_ui / t``, a pair loses

"softmax"
    ``log(exp(z_ui) + sum_j c_j exp(z_uj)) - z_ui``: the sampled softmax (Bengio & Senécal 2008). With the
    logarithm of how often item j is expected among the negatives as ``q_j``, the sum estimates that over the
    whole catalogue. The positive was not sampled, so nothing is subtracted from it; Yi et al. (RecSys 2019),
    equation 3, subtract from both.
"bsl"
    ``log(sum_j c_j exp(z_uj)) - s_ui / positive_temperature``: the bilateral softmax loss (Wu et al., ICDE 2024)
    as its authors' program has it, whose weight of the sum is ``positive_temperature / temperature`` here (all is
    divided by it). The positive is not in the sum. A pair without negatives loses nothing.
"ccl"
    ``max(0, 1 - s_ui) + negative_weight sum_j c_j max(0, s_uj - margin) / sum_j c_j``: the cosine contrastive
    loss (SimpleX, Mao et al., CIKM 2021), equation 1; has no ``temperature`` and no ``log_q``.
"softmax@k"
    that of "softmax" times ``sigmoid((s_ui - quantiles_u) / quantile_temperature)``: SL@K (Yang et al., KDD
    2025), with quantiles that are the k-th best score of the user's items. Derivatives go through the weight, as
    in the authors' program.

``c_j`` is 0 where j is no negative of the pair: the item itself, and with "exact" all that the user has in ``x``.
Else it is 1 less the ``group_discounts`` of all columns in which the groups of i and j agree, at least 0.

The gradient of a batch is that of the mean over its pairs of weight times loss, plus ``regularization / 2`` times the
mean squared length of the vectors of its users, of its items and of its negatives (three means), and
``bias_regularization / 2`` times the mean squared bias of its items and of its negatives. Every row that a batch names
takes one step of the optimizer. Results are the same for every number of threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cofactor.kernels import native
from cofactor.kernels.arguments import NO_BIASES, optional_csr
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from cofactor.kernels.arguments import Table
    from cofactor.kernels.arrays import Float, Rows
    from cofactor.kernels.csr import CSR

__all__ = ["shared_negatives_epoch"]


def shared_negatives_epoch(
    x: CSR,
    vectors: Table,
    biases: Table | None = None,
    user_parts: CSR | None = None,
    item_parts: CSR | None = None,
    *,
    loss: str,
    score: str,
    sampler: str,
    negatives: int,
    batch_size: int,
    temperature: float = 1.0,
    positive_temperature: float = 1.0,
    margin: float = 0.0,
    negative_weight: float = 1.0,
    quantiles: Float | None = None,
    quantile_temperature: float = 1.0,
    alias: tuple[Float, Rows] | None = None,
    log_q: Float | None = None,
    groups: Rows | None = None,
    group_discounts: Float | None = None,
    regularization: float = 0.0,
    bias_regularization: float = 0.0,
    seed: int = 0,
    epoch: int = 0,
    rate: float = 1.0,
    update_users: bool = True,
    update_items: bool = True,
    threads: int | None = None,
) -> float:
    """One pass over the entries of ``x`` in random order; changes ``vectors`` and ``biases`` in place.

    The losses are explained on top of this file. A batch costs ``6 B N width`` operations in three matrix products,
    and all of them need memory for ``2 B + 20 N`` vectors and for a user's number of every entry.

    Parameters
    ----------
    x : CSR
        Users x items; the values are weights of the pairs.
    vectors : Table
        Rows of users, then of items, then of whatever else the parts name; their width is a multiple of 16.
    biases : Table, optional
        A number for every row of ``vectors``, of which an item's bias is made like its vector; users have none.
    user_parts, item_parts : CSR, optional
        Users or items x rows of ``vectors``; values are weights.
    loss : {"softmax", "bsl", "ccl", "softmax@k"}
    score : {"cosine", "dot"}
    sampler : {"exact", "uniform", "popularity", "in_batch"}
        Negatives are drawn uniformly, from the alias table if there is one, or are items of the batch's first pairs.
    negatives, batch_size : int
        N, with repeats, and B; "in_batch" has at most B negatives.
    quantiles : (n_users,) float32, optional
    alias : (n_items,) float32 and (n_items,) int32, optional
        With which probability an item is kept, and which one is taken else; "popularity" needs it, "in_batch" has none.
    log_q : (n_items,) float32, optional
    groups : (n_items, n_fields) int32, optional
    group_discounts : (n_fields,) float32, optional
    regularization, bias_regularization : float
    seed, epoch : int
        What is random depends on both.
    rate : float
        What learning rates are multiplied by.
    update_users, update_items : bool
        Without the first, no gradient of a user's vector is used and rows before ``n_users`` stay; without the second,
        none of an item's, and all other rows and all biases stay.

    Returns
    -------
    float
        Mean of weight times loss, each as it was when its batch came; not finite once vectors are not.
    """
    vectors, item_biases = vectors.slower(rate), (biases or NO_BIASES).slower(rate)
    keep, aliases = alias or (None, None)
    return native.lib.shared_negatives_epoch(
        x.indptr, x.indices, x.values, x.n_columns, *vectors, *item_biases, *optional_csr(user_parts),
        *optional_csr(item_parts), loss, score, temperature, positive_temperature, margin, negative_weight, quantiles,
        quantile_temperature, sampler, negatives, keep, aliases, log_q, groups, group_discounts, regularization,
        bias_regularization, batch_size, seed, epoch, update_users, update_items, resolve_threads(threads),
    )  # fmt: skip

"""Stochastic gradient descent on positives, each against a few negatives of its own.

A positive is an entry (user u, item i, weight w) of a matrix; its negatives j are drawn for it alone. The vector of
user u is row u of the table, that of item i row ``n_users + i``, or a weighted sum of rows where there are parts.
``s_ui = u . v_i + b_i`` with the biases of the items, if there are any. A positive loses w times

"bpr"
    ``sum_j c_j log(1 + exp(s_uj - s_ui))`` (Rendle et al., UAI 2009, equation 5 with the sign of a loss).
"hinge"
    ``sum_j c_j max(0, margin - s_ui + s_uj)``.
"adaptive_hinge"
    the same for the one j of largest ``s_uj``, as in Spotlight (Kula 2017).
"warp"
    ``L c_j max(0, margin - s_ui + s_uj)`` for the first j, of at most ``max_trials``, for which that is above 0; after
    t draws ``L = 1 + 1/2 + ... + 1/r`` with ``r = max(1, (n_items - 1) // t)`` (Weston et al., IJCAI 2011, equations
    7 to 9).
"logistic"
    ``log(1 + exp(-s_ui)) + sum_j c_j log(1 + exp(s_uj))``, pointwise, where users have biases too:
    ``s_ui = u . v_i + b_u + b_i``.

``c_j`` is 1 less the ``group_discounts`` of all columns in which the groups of i and j agree, at least 0. The gradient
of w times this loss moves the vectors that take part: those of the user and of all items whose scores have a
derivative. Each is also drawn to 0 by ``regularization / 2`` times its squared length, its bias by
``bias_regularization / 2`` times its square, whatever w is; with "logistic" the user's once for every item.

Every entry comes once an epoch, in one of two ways:

- Users come in random order, block by block; inside a block of up to 32,768 entries the order is random. Every entry
  takes one step of the optimizer for every row it touches. Threads share the rows without locks (Hogwild, Niu et al.,
  NIPS 2011): with more than one, results differ from run to run. With one negative an entry reads and writes three rows
  and needs 16 bytes of a block.
- With ``deterministic`` the entries come in batches, in a random order of all of them, and every row that a batch
  touches takes one step against the sum of its gradients, all of them from the parameters at the start of the batch:
  the same, bit for bit, for every number of threads. A batch needs memory for ``batch_size (negatives + 2)`` vectors.
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

__all__ = ["pairwise_epoch"]


def pairwise_epoch(
    x: CSR,
    vectors: Table,
    biases: Table | None = None,
    user_parts: CSR | None = None,
    item_parts: CSR | None = None,
    *,
    loss: str,
    sampler: str,
    negatives: int = 1,
    max_trials: int = 30,
    alias: tuple[Float, Rows] | None = None,
    dislikes: CSR | None = None,
    dislike_share: float = 0.0,
    groups: Rows | None = None,
    group_discounts: Float | None = None,
    margin: float = 1.0,
    regularization: float = 0.0,
    bias_regularization: float = 0.0,
    seed: int = 0,
    epoch: int = 0,
    rate: float = 1.0,
    last_rate: float | None = None,
    deterministic: bool = False,
    batch_size: int = 1024,
    update_users: bool = True,
    update_items: bool = True,
    threads: int | None = None,
) -> tuple[float, int, int]:
    """One pass over the entries of ``x`` in random order, see above; changes ``vectors`` and ``biases`` in place.

    Parameters
    ----------
    x : CSR
        Users x items; the values are weights of the entries.
    vectors : Table
        Rows of users, then of items, then of whatever else the parts name; their width is a multiple of 16.
    biases : Table, optional
        A number for every row of ``vectors``, of which biases are made like vectors.
    user_parts, item_parts : CSR, optional
        Users or items x rows of ``vectors``; values are weights.
    loss : "bpr", "hinge", "adaptive_hinge", "warp" or "logistic"
    sampler : {"exact", "uniform", "popularity"}
        "exact" never draws what the user has in ``x``, the others do not look at it.
    negatives, max_trials : int
        Negatives of an entry, with repeats; the second for "warp", the first for all others. Below 65,536.
    alias : arrays of ``alias_table``, optional
        Where items are drawn from it, and not uniformly; "popularity" needs it.
    dislikes : CSR (n_users, n_items), optional
        A user's negative is one of these with probability ``dislike_share``, and always where "exact" leaves none.
    dislike_share : float
    groups : (n_items, n_fields) int32, optional
    group_discounts : (n_fields,) float32, optional
    margin, regularization, bias_regularization : float
    rate, last_rate : float
        What learning rates are multiplied by, at the end by the second if it is given.
    seed, epoch : int
        What is random depends on both. Negative d of entry e is that of stream e of the seed ``epoch_seed``.
    update_users, update_items : bool
        Without the first, rows before ``n_users`` stay; without the second all others do.

    Returns
    -------
    loss : float
        Mean over the entries that were not skipped, each as it was when its turn came; not finite once vectors are not.
    skipped : int
        Entries of users who have no negatives, as they have seen everything.
    violations : int
        Negatives that scored above the positive ("bpr", "logistic"), or above it less the margin.
    """
    vectors, of_biases = vectors.slower(rate), (biases or NO_BIASES).slower(rate)
    total, skipped, violations = native.lib.pairwise_epoch(
        x.indptr, x.indices, x.values, x.n_columns, *vectors, *of_biases, *optional_csr(user_parts),
        *optional_csr(item_parts), loss, sampler == "exact", max_trials if loss == "warp" else negatives,
        *_alias(sampler, alias), *optional_csr(dislikes)[:2], dislike_share, groups, group_discounts, margin,
        regularization, bias_regularization, _falls_to(rate, last_rate), seed, epoch, deterministic, batch_size,
        update_users, update_items, resolve_threads(threads),
    )  # fmt: skip
    return total / max(x.nnz - skipped, 1), skipped, violations


def _falls_to(rate: float, last_rate: float | None) -> float:
    return 1.0 if last_rate is None or rate == 0 else last_rate / rate


def _alias(sampler: str, alias: tuple[Float, Rows] | None) -> tuple[Float | None, Rows | None]:
    if sampler == "popularity" and alias is None:
        raise ValueError("the popularity sampler needs an alias table")
    return alias or (None, None)

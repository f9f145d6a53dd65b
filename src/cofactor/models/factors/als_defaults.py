r"""What ImplicitALS takes for the parameters that are not given: read off the log, and one number tried out on it.

``alpha`` makes the mean weight 1, and ``unobserved_weight`` lets all pairs together pull ten times as hard towards zero
as the observed ones pull away. ``regularization`` follows from what noise can do: where nobody prefers anything, the
matrix of weights has singular values up to about :math:`w (\sqrt{n_u} + \sqrt{n_i})` beyond those of popularity, w
being the mean of ``alpha`` times weight, :math:`n_u` and :math:`n_i` the mean pairs of a user and an item. At zero,
vectors grow along a singular direction whose value exceeds :math:`\sqrt{\lambda_u \lambda_i}`, the regularization of
a mean user and a mean item; smaller ones vanish. So

.. math::
    \lambda = s \, w \frac{\sqrt{n_u} + \sqrt{n_i}}
                         {\big((n_u + \alpha_0 n_I) (n_i + \alpha_0 n_U)\big)^{\nu / 2}}

takes the share s of the noise away, and how many ``factors`` there are hardly matters. Real logs have much structure
below that level, which only trying shows: :func:`chosen_share` does. See docs/decisions/0010.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from cofactor.models.base.held_out import entries, some_entries

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from cofactor.kernels.arrays import Rows, TopK
    from cofactor.kernels.csr import CSR

__all__ = ["EXACT_UP_TO", "Matrix", "Settings", "chosen_share", "gather_for", "settings_for"]

EXACT_UP_TO = 64
"""Factors up to which solver="auto" solves exactly; beyond, three steps of conjugate gradient cost a fraction."""


_FACTORS = 128
_NARROW_FROM = 1 << 22  # numbers in the vectors of both sides, 16 MiB: what the caches near a core do not hold
_PULL = 10.0  # of all pairs, in units of the observed ones'
_SHARES = (0.12, 0.3, 0.6, 0.75, 0.9)
_SAFE = 0.9  # the share where the log is too small to tell

_USERS = 5000  # at most, that shares are tried on
_HELD_OUT = 0.1
_ENOUGH, _FEW = 3000, 30  # pairs held out that are enough, and too few to say anything
_DRAWS = 3
_AS_GOOD = 0.99  # of the most that was found: the largest such share, as it errs on the side of popularity
_PLACES = 10


class Matrix(Protocol):
    """What is asked of the matrix: a CSR answers it, and so does one that lies in parts elsewhere."""

    @property
    def shape(self) -> tuple[int, int]: ...  # noqa: D102
    @property
    def nnz(self) -> int: ...  # noqa: D102
    def total(self) -> float: ...  # noqa: D102
    def take(self, rows: ArrayLike) -> CSR: ...  # noqa: D102


class Settings(NamedTuple):
    """The parameters that a model was, or is to be, fitted with."""

    factors: int
    regularization: float
    alpha: float
    unobserved_weight: float


def gather_for(gather: str, solver: str, factors: int, n_vectors: int) -> str:
    """How sweeps read the fixed side: conjugate gradient alone knows 16 bits.

    They are taken where there is something to gain, and enough vectors for roundings to cancel: the loss then stays
    within a part in 10,000 (docs/decisions/0020).
    """
    if solver != "cg" or gather != "auto":
        return gather if solver == "cg" else "float32"
    return "bfloat16" if factors > EXACT_UP_TO and factors * n_vectors >= _NARROW_FROM else "float32"


def settings_for(
    matrix: Matrix,
    *,
    factors: int | None,
    regularization: float | None,
    alpha: float | None,
    unobserved_weight: float | None,
    exponent: float,
    share: float,
) -> Settings:
    """Put numbers in the place of what is None.

    Parameters
    ----------
    matrix : CSR (n_users, n_items)
    factors, regularization, alpha, unobserved_weight : optional
        As given to the model.
    exponent : float
        Of the regularization.
    share : float
        Of the noise that the regularization takes away.
    """
    n_users, n_items = matrix.shape
    n, cells = max(matrix.nnz, 1), max(n_users * n_items, 1)
    mean = matrix.total() / n if matrix.nnz else 1.0
    alpha = 1 / mean if alpha is None else alpha
    unobserved = min(1.0, _PULL * n / cells) * alpha * mean if unobserved_weight is None else unobserved_weight
    if regularization is None:
        of_user, of_item = n / max(n_users, 1), n / max(n_items, 1)
        noise = alpha * mean * (np.sqrt(of_user) + np.sqrt(of_item))
        terms = (of_user + unobserved * n_items) * (of_item + unobserved * n_users)
        regularization = float(share * noise / terms ** (exponent / 2))
    factors = max(1, min(_FACTORS, n_users, n_items)) if factors is None else factors
    return Settings(factors, regularization, float(alpha), float(unobserved))


def chosen_share(matrix: Matrix, seed: int, fitted: Callable[[CSR, float], Callable[[Rows], TopK]]) -> float:
    """The share of the noise with which lists find most of a tenth of the pairs, held out (NDCG@10), or 1 % less.

    Parameters
    ----------
    matrix : CSR (n_users, n_items)
    seed : int
    fitted : callable
        Fits a model of some share on a part of the pairs, and gives what ranks ten unseen items for some of its rows.
    """
    gains, n_out = np.zeros(len(_SHARES)), 0
    for draw in range(_DRAWS):
        kept, out = _parted(matrix, np.random.default_rng([seed, draw]))
        n_out += out.nnz
        users = np.flatnonzero(np.diff(out.indptr)).astype(np.int32)
        if not len(users):
            continue
        gains += [_gain(fitted(kept, share)(users), out.take(users)) for share in _SHARES]
        if n_out >= _ENOUGH:
            break
    if n_out < _FEW:
        return _SAFE
    return _SHARES[int(np.flatnonzero(gains >= _AS_GOOD * gains.max())[-1])]


def _parted(matrix: Matrix, rng: np.random.Generator) -> tuple[CSR, CSR]:
    """Some users' pairs, without and with only those held out; every user keeps one at least."""
    n_users = matrix.shape[0]
    some = np.sort(rng.choice(n_users, _USERS, replace=False)) if n_users > _USERS else np.arange(n_users)
    part = matrix.take(some)
    out = some_entries(part, _HELD_OUT, part.n_rows, rng)
    return entries(part, ~out), entries(part, out)


def _gain(top: TopK, wanted: CSR) -> float:
    """Sum over users of the NDCG of their lists."""
    discounts = 1 / np.log2(np.arange(2, _PLACES + 2))
    rows = np.repeat(np.arange(len(top.rows)), top.rows.shape[1])
    hits = wanted.lookup(rows, top.rows.ravel()).reshape(top.rows.shape) > 0
    ideal = np.cumsum(discounts)[np.minimum(np.diff(wanted.indptr), _PLACES) - 1]
    return float(((hits @ discounts[: hits.shape[1]]) / ideal).sum())

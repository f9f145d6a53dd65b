r"""SLIM: sparse linear methods for top-n recommendation.

Minimises, over item-to-item weights W (n_items x n_items) with a zero diagonal and, by default, no negative weights,

.. math::
    \tfrac{1}{2} \|X - X W\|_F^2 + \tfrac{\beta}{2} \|W\|_F^2 + \lambda \|W\|_1

where X are the weights of the interactions, :math:`\lambda` = ``l1_regularization`` and :math:`\beta` =
``l2_regularization``: an elastic net for every column, each on its own. As a mean over the users with a mixing ratio
(scikit-learn, irspack) that is ``alpha`` :math:`= (\lambda + \beta) / n_U` and ``l1_ratio``
:math:`= \lambda / (\lambda + \beta)`.

Sources: Ning & Karypis 2011, "SLIM: sparse linear methods for top-n recommender systems", eq. 3-4 (loss), and the same
paper's fsSLIM (``neighbours``); Friedman, Hastie & Tibshirani 2010, "Regularization paths for generalized linear models
via coordinate descent", sections 2.1-2.2 (coordinate steps, covariance updates). Departures: coordinate descent runs on
a working set of items, which grows until the optimality conditions of all items hold to the tolerance; with X'X at hand
the weights that are not zero, if these are 2,048 or fewer, are every few sweeps solved for at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.checks import check_at_least, check_flag, check_type, warn
from cofactor.errors import ParameterError
from cofactor.kernels.arrays import width_of
from cofactor.kernels.csr import CSR
from cofactor.models.base.fitting import in_one_step
from cofactor.models.base.item_weights import ItemWeightModel
from cofactor.system.memory import available_memory, require_memory
from cofactor.system.progress import progress_bar
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.data.interactions import Interactions
    from cofactor.kernels.arrays import Float
    from cofactor.kernels.cpu import Kernels


__all__ = ["SLIM"]

_COLUMNS = 256  # at least, of one call of a kernel
_CALLS = 16  # at most, where there are more: the bar moves, and a device has work for all of it
_ACTIVE = 8192  # items that one column may work on with X'X at hand


class SLIM(ItemWeightModel):
    r"""Sparse item-to-item weights by one elastic net per item (Ning & Karypis 2011).

    Only items with a score above 0, that of an item which the history does not reach, are listed: lists may be shorter
    than k. Similar items are those of the largest cosine between the items' weights over users, however few of them W
    has weights for.

    Parameters
    ----------
    l1_regularization : float
        Weight of the sum of the magnitudes of W, in units of co-occurrences (summed products of weights): an item
        that no other one shares more than this with gets no weights at all.
    l2_regularization : float
        Half the weight of the squared norm of W; added to the squared norm of each item. The parameter to tune first.
    non_negative : bool
        Allow no weights below 0. Otherwise every item, not only those that share users, may get one: slower.
    neighbours : int, optional
        Choose the weights of an item among that many others of the largest cosine to it (fsSLIM): quicker, and a
        little less accurate. By default among all.
    top_n : int, optional
        Keep as many weights of every column, the largest by magnitude. By default all.
    tolerance : float
        Column i is done when no weight of it, changed alone, would take more than
        :math:`\frac12\,\mathrm{tolerance}^2 |x_i|^2` off the loss: a step of length ``tolerance`` in units of
        :math:`|x_i| / \sqrt{|x_j|^2 + \beta}`. Holds for the weights before ``top_n``.
    iterations : int
        At most so many sweeps over the weights of a column; columns that take more are counted in a warning.
    threads : int, optional
        Default: what affinity and container limits grant. Results do not depend on it.
    device : {"cpu", "torch", "cuda"}
        Where to compute; never chosen for you.

    Attributes
    ----------
    item_weights_ : CSR (n_items, n_items)
        W; row = item of the history, column = scored item.

    Notes
    -----
    With X'X at hand (4 n_items^2 bytes; taken where many items share users and it fits into half of the memory) a
    step costs as many multiply-adds as a column works on items, without it as many as an item has users.

    Examples
    --------
    >>> import cofactor as cf
    >>> x = cf.datasets.synthetic(n_users=200, n_items=50, n_interactions=2000, factors=4, seed=0)
    >>> model = cf.SLIM(l1_regularization=0.5, l2_regularization=20.0).fit(x)
    >>> model.recommend(users=[0], k=3).columns
    ['user_id', 'item_id', 'score', 'rank']
    """

    item_weights_: CSR

    def __init__(
        self,
        l1_regularization: float = 1.0,
        l2_regularization: float = 100.0,
        *,
        non_negative: bool = True,
        neighbours: int | None = None,
        top_n: int | None = None,
        tolerance: float = 1e-3,
        iterations: int = 1000,
        threads: int | None = None,
        device: str = "cpu",
    ) -> None:
        self.l1_regularization = l1_regularization
        self.l2_regularization = l2_regularization
        self.non_negative = non_negative
        self.neighbours = neighbours
        self.top_n = top_n
        self.tolerance = tolerance
        self.iterations = iterations
        self.threads = threads
        self.device = device

    @in_one_step
    def fit(self, interactions: Interactions, *, progress: bool | None = None, warm_start: SLIM | None = None) -> Self:
        """Learn the weights.

        Parameters
        ----------
        interactions : Interactions
        progress : bool, optional
            Show a bar over the items; by default in a terminal and in a notebook.
        warm_start : SLIM, optional
            A fitted model whose weights, by item id, each column starts from: fewer steps where data or regularization
            changed little. The answer is the same within the tolerance.

        Raises
        ------
        ParameterError
            A parameter is out of its range, the work would not fit into memory, or a column needs more than 8,192
            items with X'X at hand.

        Warns
        -----
        CofactorWarning
            More than half of the items that share users with others have no weights, or columns are not within the
            tolerance.
        """
        self._check()
        check_type("warm_start", warm_start, SLIM | None, "a fitted SLIM, or None")
        x = interactions
        kernels = self._kernels()
        gramian = self._gramian(kernels, x)
        sides = kernels.hold(x.user_items), kernels.hold(x.item_users)
        start = None if warm_start is None else _by_column(warm_start, x)
        pieces, status = [], np.empty(x.n_items, np.uint8)
        with progress_bar("SLIM", progress, total=x.n_items, unit="items") as bar:
            step = max(_COLUMNS, -(-x.n_items // _CALLS))
            for begin in range(0, x.n_items, step):
                end = min(begin + step, x.n_items)
                weights, status[begin:end] = self._columns(kernels, sides, (begin, end), gramian, start)
                self._refuse_many(x, status[:end])
                pieces.append(weights)
                bar.update(end - begin)
        columns = _stacked(pieces, x.n_items)
        self._warn(x, columns, status)
        self.item_weights_ = columns.transposed()
        return self

    def _columns(
        self,
        kernels: Kernels,
        sides: tuple[CSR, CSR],
        columns: tuple[int, int],
        gramian: Float | None,
        start: CSR | None,
    ) -> tuple[CSR, NDArray[np.uint8]]:
        return kernels.slim_columns(
            *sides,
            *columns,
            l1=self.l1_regularization,
            l2=self.l2_regularization,
            non_negative=self.non_negative,
            tolerance=self.tolerance,
            iterations=self.iterations,
            gramian=gramian,
            start=start,
            neighbours=self.neighbours,
            top_n=self.top_n,
            max_active=_ACTIVE,
            threads=self.threads,
        )

    def _gramian(self, kernels: Kernels, x: Interactions) -> Float | None:
        """X'X where it pays and fits. It costs a step for each pair of entries that share a user, and n^2 floats."""
        n, threads = x.n_items, resolve_threads(self.threads)
        base = 24 * x.nnz + threads * (9 * x.n_users + 60 * n + 4 * min(n, 2048) ** 2)
        require_memory(base, f"SLIM on {x.n_users:,} users and {n:,} items", "fewer items (k_core) or fewer threads")
        width = width_of(n)
        pairs = float(np.square(np.diff(x.user_items.indptr).astype(np.float64)).sum())
        available = available_memory()
        if pairs < n**2 / 4 or (available is not None and 4 * n * width > available / 2):
            return None
        by_user = x.user_items
        padded = CSR(by_user.indptr, by_user.indices, by_user.values, width)
        return kernels.sparse_product(x.item_users, padded, threads=self.threads)

    def _refuse_many(self, x: Interactions, status: NDArray[np.uint8]) -> None:
        if len(bad := np.flatnonzero(status == 2)):
            raise ParameterError(
                f"item {x.items.take(bad[:1])[0]!r} needs more than {_ACTIVE:,} others at once with "
                f"l1_regularization={self.l1_regularization}; raise it, or give neighbours (at most {_ACTIVE:,})"
            )

    def _warn(self, x: Interactions, columns: CSR, status: NDArray[np.uint8]) -> None:
        if unfinished := int((status == 1).sum()):
            warn(
                f"{unfinished:,} of {x.n_items:,} items are not within tolerance={self.tolerance} after "
                f"iterations={self.iterations} sweeps; raise iterations, tolerance or l2_regularization"
            )
        longer = np.diff(x.user_items.indptr)[x.user_items.row_index()] > 1
        sharing = np.zeros(x.n_items, bool)
        sharing[x.user_items.indices[longer]] = True
        without = int((sharing & (np.diff(columns.indptr) == 0)).sum())
        if 2 * without > sharing.sum():
            warn(
                f"{without:,} of {sharing.sum():,} items that share users with others have no weights and are never "
                f"recommended; lower l1_regularization={self.l1_regularization}"
            )

    def _check(self) -> None:
        for name in ("l1_regularization", "l2_regularization"):
            check_at_least(name, getattr(self, name), 0)
        check_at_least("tolerance", self.tolerance, 0, above=True)
        check_at_least("iterations", self.iterations, 1, whole=True)
        for name in ("neighbours", "top_n"):
            if getattr(self, name) is not None:
                check_at_least(name, getattr(self, name), 1, whole=True)
        check_flag("non_negative", self.non_negative)
        resolve_threads(self.threads)


def _stacked(pieces: list[CSR], n_columns: int) -> CSR:
    """One matrix of the rows of all pieces."""
    ends = np.cumsum([0, *(piece.nnz for piece in pieces)], dtype=np.int64)
    offsets = [piece.indptr[1:] + at for piece, at in zip(pieces, ends, strict=False)]
    return CSR(
        np.concatenate([np.zeros(1, np.int64), *offsets]),
        np.concatenate([np.zeros(0, np.int32), *(piece.indices for piece in pieces)]),
        np.concatenate([np.zeros(0, np.float32), *(piece.values for piece in pieces)]),
        n_columns,
    )


def _by_column(model: SLIM, x: Interactions) -> CSR:
    """A model's weights over the items of ``x``, a row for every scored item."""
    old = model._fitted().items
    at = x.items.rows(old.ids)
    rows, columns = at[model.item_weights_.row_index()], at[model.item_weights_.indices]
    known = (rows >= 0) & (columns >= 0)
    values = model.item_weights_.values[known]
    return CSR.from_pairs(columns[known], rows[known], values, (x.n_items, x.n_items))

r"""EASE: an item-to-item model in closed form.

Minimises, over item-to-item weights B (n_items x n_items) with a zero diagonal,

.. math::
    \sum_u w_u |x_u - x_u B|^2 + \sum_{i,j} \lambda_i B_{ij}^2, \qquad
    w_u = |x_u|_0^{-\epsilon}, \quad \lambda_i = \lambda g_i^\nu + \frac{p}{1 - p} g_i

where :math:`x_u` is a user's history, :math:`g_i = \sum_u w_u x_{ui}^2` how often item i occurs, :math:`\lambda` =
``regularization``, :math:`\nu` = ``regularization_exponent``, p = ``dropout`` and :math:`\epsilon` =
``user_exponent``. With :math:`P = (X^T W X + \Lambda)^{-1}` the answer is :math:`B = I - P\,\mathrm{diag}(1/P_{ii})`.

Sources: Steck 2019, "Embarrassingly shallow autoencoders for sparse data", eq. 8 (one :math:`\lambda` for all); Steck
2020, "Autoencoders that don't overfit towards the identity", eq. 10 (``dropout``, the closed form of denoising). A
regularization that grows with popularity is what EASE on popularity-normalised columns comes to
(:math:`X D^{-\nu/2}`, scores taken back by :math:`D^{\nu/2}`). The dual form is the Woodbury identity: with
:math:`Z = W^{1/2} X \Lambda^{-1/2}` and :math:`N = (I + Z Z^T)^{-1}`, users x users,

.. math::
    P = \Lambda^{-1/2} (I - Z^T N Z) \Lambda^{-1/2}, \qquad x_u P = w_u^{-1/2} (N Z)_u \Lambda^{-1/2}

so that neither B nor P is ever formed, and a user of the training data needs one row of N.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from cofactor.checks import check_at_least, check_choice
from cofactor.errors import CofactorError, ParameterError
from cofactor.kernels import blas
from cofactor.kernels.csr import CSR
from cofactor.kernels.filters import Filters
from cofactor.models.base.batches import batch_bytes, scores_in_batches, top_k_in_batches
from cofactor.models.base.fitting import in_one_step
from cofactor.models.base.item_weights import ItemWeightModel
from cofactor.system.memory import require_memory
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.data.interactions import Interactions
    from cofactor.kernels.arrays import Float, Rows, TopK


__all__ = ["EASE"]

_TRUNCATED_ROWS = 512  # columns of B cut to their largest weights at a time


class EASE(ItemWeightModel):
    r"""Item-to-item weights in closed form (Steck 2019), by the inverse of a matrix of items or of users.

    The most accurate of the models without a training loop where interactions are many per item. Costs n^3 / 2
    multiply-adds and 4 n^2 bytes, n being the number of items (primal) or of users (dual).

    Similar items are those of the largest cosine between the items' weights over users, in all forms alike: B says what
    an item adds to the others of a history, which of two that are nearly the same is little.

    Parameters
    ----------
    regularization : float
        Weight of the squared norm of B: the parameter to tune, from 50 (sparse data) to some thousands.
    regularization_exponent : float
        0: the same for all items; above, that power of an item's popularity multiplies it.
    dropout : float
        Share of each history that a denoising autoencoder would leave out while it learns; adds to the
        regularization in proportion to popularity.
    user_exponent : float
        A user weighs the number of its items to minus this power.
    popularity_exponent : float
        Scores are divided by the item's popularity to this power.
    weights : {"given", "binary"}
        Take the weights of interactions as they are, or 1 for all.
    form : {"auto", "primal", "dual"}
        Invert a matrix of items, or one of users: the same model. "auto" takes the smaller one.
    top_n : int, optional
        Keep as many weights of every column of B, the largest by magnitude, sparse: small and fast, but only items
        with a score above 0, that of an item which the history does not reach, are recommended. By default the primal
        form keeps B dense, and the dual form the inverse of users x users.
    threads : int, optional
        Where SciPy's BLAS is not OpenBLAS, the inverse takes the threads that BLAS likes.
    device : {"cpu", "torch", "cuda"}

    Attributes
    ----------
    item_weights_ : (n_items, n_items) float32, or CSR with ``top_n``
        B; row = item of the history, column = scored item. Not there in the dual form without ``top_n``.
    user_inverse_ : (n_users, n_users) float32
        N, of the dual form without ``top_n``; with it ``item_scale_``, ``item_factor_`` and ``popularity_scale_``,
        (n_items,) float32: :math:`\Lambda^{-1/2}`, :math:`\Lambda^{-1/2} / P_{ii}` and what scores are multiplied by.

    Examples
    --------
    >>> import cofactor as cf
    >>> x = cf.datasets.synthetic(n_users=200, n_items=50, n_interactions=2000, factors=4, seed=0)
    >>> model = cf.EASE(regularization=20.0).fit(x)
    >>> model.recommend(users=[0], k=3).columns
    ['user_id', 'item_id', 'score', 'rank']
    """

    user_inverse_: Float
    item_scale_: Float
    item_factor_: Float
    popularity_scale_: Float

    def __init__(
        self,
        regularization: float = 500.0,
        *,
        regularization_exponent: float = 0.0,
        dropout: float = 0.0,
        user_exponent: float = 0.0,
        popularity_exponent: float = 0.0,
        weights: Literal["given", "binary"] = "given",
        form: Literal["auto", "primal", "dual"] = "auto",
        top_n: int | None = None,
        threads: int | None = None,
        device: str = "cpu",
    ) -> None:
        self.regularization = regularization
        self.regularization_exponent = regularization_exponent
        self.dropout = dropout
        self.user_exponent = user_exponent
        self.popularity_exponent = popularity_exponent
        self.weights = weights
        self.form = form
        self.top_n = top_n
        self.threads = threads
        self.device = device

    @in_one_step
    def fit(self, interactions: Interactions, *, progress: bool | None = None) -> Self:
        """Solve; ``progress`` changes nothing, the inverse is one call.

        Raises
        ------
        ParameterError
            A parameter is out of its range, or the inverse would not fit into memory.
        CofactorError
            The regularization is too small for these interactions in float32.
        """
        self._check()
        x = interactions
        dual = self.form == "dual" or (self.form == "auto" and x.n_users < x.n_items)
        self._require_memory(x, dual)
        histories = self._weighed(x.user_items)
        popularity, regularization = self._popularity(histories)
        scale = np.maximum(popularity, 1e-30) ** -self.popularity_exponent
        scale[popularity == 0] = 1
        (self._fit_dual if dual else self._fit_primal)(histories, popularity, regularization, scale)
        return self

    # The primal form.

    def _fit_primal(
        self,
        histories: CSR,
        popularity: NDArray[np.float64],
        regularization: NDArray[np.float64],
        scale: NDArray[np.float64],
    ) -> None:
        scaled = histories.scaled(rows=np.sqrt(self._user_weights(histories)))
        kernels = self._kernels()
        p = kernels.sparse_product(scaled.transposed(), scaled, lower=True, threads=self.threads)
        del scaled
        kernels.set_diagonal(p, popularity + regularization)
        solved = kernels.invert(p, threads=self.threads)
        diagonal = kernels.fetch(kernels.diagonal(p)).astype(np.float64)
        self._require_sound(solved, diagonal, popularity, regularization)
        factor = (-scale / diagonal).astype(np.float32)
        kernels.mirror_scaled(p, factor if self.top_n is None else np.ones_like(factor), 0, threads=self.threads)
        p = kernels.fetch(p)
        if self.top_n is None:
            self.item_weights_ = p
            return
        self.item_weights_ = self._truncated(lambda rows: p[rows[0] : rows[-1] + 1], factor)

    # The dual form.

    def _fit_dual(
        self,
        histories: CSR,
        popularity: NDArray[np.float64],
        regularization: NDArray[np.float64],
        scale: NDArray[np.float64],
    ) -> None:
        self.item_scale_ = (1 / np.sqrt(regularization)).astype(np.float32)
        z = self._z(histories)
        columns = z.transposed()
        kernels, threads = self._kernels(), self.threads
        held = kernels.sparse_product(z, columns, lower=True, threads=threads)
        kernels.set_diagonal(held, kernels.fetch(kernels.diagonal(held)) + 1)
        solved = kernels.invert(held, threads=threads)
        explained = np.ones(len(popularity))
        if solved:
            explained = kernels.fetch(kernels.quadratic_forms(held, columns, threads=threads))
        diagonal = 1 - explained  # of the square root of Lambda times P times that
        self._require_sound(solved, diagonal / regularization, popularity, regularization)
        diagonal_of_inverse = kernels.fetch(kernels.diagonal(held))
        kernels.mirror_scaled(held, np.ones(len(diagonal_of_inverse), np.float32), 0, threads=threads)
        kernels.set_diagonal(held, diagonal_of_inverse)
        self.item_factor_ = (np.sqrt(regularization) / diagonal).astype(np.float32)
        self.popularity_scale_ = scale.astype(np.float32)
        if self.top_n is None:
            self.user_inverse_ = kernels.fetch(held)
            return

        def weights(rows: Rows) -> Float:  # the columns of B, but for a factor of each
            through = kernels.fetch(kernels.dense_product(held, columns.take(rows), threads=threads))
            through = np.ascontiguousarray(through.T)
            return kernels.fetch(kernels.dense_product(through, columns, threads=threads)) * self.item_scale_

        self.item_weights_ = self._truncated(weights, self.popularity_scale_ * self.item_factor_)
        del self.item_scale_, self.item_factor_, self.popularity_scale_

    @cached_property
    def _columns(self) -> CSR:
        """Z with items in rows."""
        return self._z(self._weighed(self.interactions_.user_items)).transposed()

    def _z(self, histories: CSR) -> CSR:
        """Histories scaled by user weights and the regularization of items."""
        return histories.scaled(rows=np.sqrt(self._user_weights(histories)), columns=self.item_scale_)

    def _known_scores(self, users: Rows) -> Float:
        """Scores (len(users), n_items) of users of the training data."""
        histories = self._weighed(self.interactions_.user_items.take(users))
        kernels = self._kernels()
        scores = kernels.fetch(kernels.dense_product(self.user_inverse_[users], self._columns, threads=self.threads))
        scores *= -(self._user_weights(histories) ** -0.5).astype(np.float32)[:, None]
        scores *= self.item_factor_
        scores[histories.row_index(), histories.indices] += histories.values
        scores *= self.popularity_scale_
        return scores

    def _new_scores(self, histories: CSR) -> Float:
        """Scores (n, n_items) of any histories."""
        histories = self._weighed(histories)
        row, item = histories.row_index(), histories.indices
        z, kernels, threads = histories.scaled(columns=self.item_scale_), self._kernels(), self.threads
        through = kernels.fetch(kernels.sparse_product(z, self._columns, threads=threads))
        through = blas.matmul(through, self.user_inverse_, threads=threads)
        scores = kernels.fetch(kernels.dense_product(through, self._columns, threads=threads))
        scores[row, item] -= z.values
        scores *= self.item_factor_
        scores[row, item] += histories.values
        scores *= self.popularity_scale_
        return scores

    @property
    def _is_dual(self) -> bool:
        return not hasattr(self, "item_weights_")

    @property
    def _width(self) -> int:
        """Floats that the scores of a user take while they are computed."""
        return self.interactions_.n_items + 2 * self.interactions_.n_users

    def _top_k(self, users: Rows, k: int, filters: Filters) -> TopK:
        if not self._is_dual:
            return super()._top_k(users, k, filters)
        top = self._batches(lambda rows: self._known_scores(users[rows]), len(users), k, filters)
        top.rows[np.diff(self.interactions_.user_items.indptr)[users] == 0] = -1
        return top

    def _top_k_for(self, histories: CSR, k: int, filters: Filters) -> TopK:
        if not self._is_dual:
            return super()._top_k_for(histories, k, filters)
        take = histories.take
        top = self._batches(lambda rows: self._new_scores(take(rows)), histories.n_rows, k, filters)
        top.rows[np.diff(histories.indptr) == 0] = -1
        return top

    def _batches(self, scores_of: Callable[[Rows], Float], n: int, k: int, filters: Filters) -> TopK:
        kernels = self._kernels()
        return top_k_in_batches(scores_of, n, self._width, k, kernels=kernels, filters=filters, threads=self.threads)

    def _scores(self, users: Rows, items: Rows) -> Float:
        if not self._is_dual:
            return super()._scores(users, items)
        return scores_in_batches(self._known_scores, users, items, self._width)

    # Both forms.

    def _user_weights(self, histories: CSR) -> NDArray[np.float64]:
        return np.maximum(np.diff(histories.indptr), 1) ** -np.float64(self.user_exponent)

    def _popularity(self, histories: CSR) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """How often each item occurs, and its regularization."""
        values = histories.values.astype(np.float64) ** 2
        values *= np.repeat(self._user_weights(histories), np.diff(histories.indptr))
        popularity = np.bincount(histories.indices, values, minlength=histories.n_columns).astype(np.float64)
        grown = np.where(popularity > 0, popularity, 1) ** self.regularization_exponent
        return popularity, self.regularization * grown + self.dropout / (1 - self.dropout) * popularity

    def _truncated(self, rows_of: Callable[[Rows], Float], factor: Float) -> CSR:
        """The largest weights of every column j of B, which is ``factor[j]`` times a row."""
        n, (rows, columns, values), kernels = len(factor), ([], [], []), self._kernels()
        assert self.top_n is not None
        for begin in range(0, n, _TRUNCATED_ROWS):
            some = np.arange(begin, min(n, begin + _TRUNCATED_ROWS), dtype=np.int32)
            block = rows_of(some)
            itself = CSR.one_each(some, n)
            best = kernels.select_top_k(
                np.abs(block), self.top_n, filters=Filters(exclude=itself), threads=self.threads
            )
            at, place = np.nonzero(best.rows >= 0)
            found = block[at, best.rows[at, place]] * factor[some[at]]
            kept = found != 0
            rows.append(best.rows[at, place][kept])
            columns.append(some[at][kept])
            values.append(found[kept])
        return CSR.from_pairs(np.concatenate(rows), np.concatenate(columns), np.concatenate(values), (n, n))

    def _require_sound(
        self,
        solved: bool,
        diagonal: NDArray[np.float64],
        popularity: NDArray[np.float64],
        regularization: NDArray[np.float64],
    ) -> None:
        """Raise unless the diagonal of P lies where it must: an inverse that drowned in roundoff does not."""
        product = diagonal * regularization
        least = regularization / (popularity + regularization)
        if solved and bool(((product > 0.9 * least) & (product < 1.1)).all()):
            return
        raise CofactorError(
            f"the equations have no solution in float32: regularization={self.regularization} is too small for these "
            f"interactions (their squared weights add up to {popularity.max():,.6g} for one item); raise it"
        )

    def _require_memory(self, x: Interactions, dual: bool) -> None:
        needed = {form: self._bytes_needed(x, form == "dual") for form in ("primal", "dual")}
        form, other = ("dual", "primal") if dual else ("primal", "dual")
        ways = [f'form="{other}" ({needed[other] / 2**30:,.1f} GiB)'] if needed[other] < needed[form] else []
        ways.append("Interactions.filter(min_user_count=..., min_item_count=...) on the data first")
        ways.append("ItemKNN, SLIM or GraphFilter, which keep no such matrix")
        require_memory(
            needed[form],
            f"EASE, {form} form, on {x.n_users:,} users and {x.n_items:,} items",
            ", or ".join(ways),
        )

    def _bytes_needed(self, x: Interactions, dual: bool) -> int:
        n = x.n_users if dual else x.n_items
        kept = 0 if self.top_n is None else 40 * x.n_items * min(self.top_n, x.n_items) + 16 * _TRUNCATED_ROWS * n
        batch = batch_bytes(x.n_items + 2 * x.n_users) if dual else 0
        return 4 * n * n + 4 * 12 * x.nnz + kept + batch + (resolve_threads(self.threads) << 25)  # BLAS has buffers

    def _learned(self) -> dict[str, str]:
        if not self._is_dual:
            return super()._learned()
        scales = dict.fromkeys(("item_scale_", "item_factor_", "popularity_scale_"), "float32 items")
        return {"user_inverse_": "float32 users users", **scales}

    def _check(self) -> None:
        check_at_least("regularization", self.regularization, 0, above=True)
        for name in ("regularization_exponent", "dropout", "user_exponent", "popularity_exponent"):
            check_at_least(name, getattr(self, name), 0)
        if self.dropout >= 1:
            raise ParameterError(f"dropout must be below 1, got {self.dropout!r}")
        check_choice("weights", self.weights, ("given", "binary"))
        check_choice("form", self.form, ("auto", "primal", "dual"))
        if self.top_n is not None:
            check_at_least("top_n", self.top_n, 1, whole=True)
        resolve_threads(self.threads)

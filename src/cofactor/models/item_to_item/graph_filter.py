r"""Graph filters: recommendation as smoothing a history over the graph of users and items, in closed form.

With R the interactions, :math:`D_U` and :math:`D_I` the sums of its rows and columns (degrees), a history h is scored
by

.. math::
    \Big(h D_I^{-\beta} R^T D_U^{-\gamma}\Big)^{\circ p} R D_I^{-\delta} / \sigma_1^2
    + \omega \, h D_I^{-\beta} V V^T D_I^{\beta}

The first part is a walk of three steps, items - users - items, :math:`\beta` = ``history_exponent``, :math:`\gamma` =
``user_exponent``, :math:`\delta` = ``item_exponent``, the users on the way weighed to the power p = ``amplification``.
The second is the ideal low-pass filter: V holds the first ``factors`` right singular vectors of
:math:`\tilde R = D_U^{-\gamma/2} R D_I^{-(\beta+\delta)/2}`, frequencies beyond which are cut off, :math:`\omega` =
``low_pass``; :math:`\sigma_1` is its largest singular value, so that both parts have gain 1 at the lowest frequency.

Sources: Shen et al. 2021, "How powerful is graph convolution for recommendation?" (GF-CF, eq. 12: :math:`\beta = \gamma
/ 2 = \delta = 1/2`, linear filter and ideal low-pass; there :math:`\sigma_1 = 1`); Fu et al. 2022, "Revisiting
neighborhood-based link prediction for collaborative filtering" (LinkProp, eq. 6: the exponents as parameters); Breese,
Heckerman & Kadie 1998, section 2.2.3 (case amplification).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from cofactor.checks import check_at_least, check_choice
from cofactor.kernels import blas
from cofactor.kernels.csr import CSR
from cofactor.kernels.filters import Filters
from cofactor.kernels.svd import svd_bytes, truncated_svd
from cofactor.models.base.batches import batch_bytes, scores_in_batches, top_k_in_batches
from cofactor.models.base.chance import above_chance
from cofactor.models.base.fitting import in_one_step
from cofactor.models.base.recommender import Recommender
from cofactor.system.memory import require_memory
from cofactor.system.progress import progress_bar
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from typing import Self

    from cofactor.data.interactions import Interactions
    from cofactor.kernels.arrays import Float, Rows, TopK


__all__ = ["GraphFilter"]

_FACTORS = 256  # at most, unless given


class GraphFilter(Recommender):
    """Linear and ideal low-pass filters of the user-item graph (GF-CF, LinkProp), without training.

    Nothing of the size items x items or users x users is formed: scores take O(nnz) multiply-adds a user. Strong where
    interactions are few per item. The defaults are GF-CF. Similar items are what a history of the item alone is scored
    by: nothing is pruned for scores.

    Parameters
    ----------
    history_exponent : float
        How much the items of the history are marked down by their popularity.
    user_exponent : float
        How much users on the way are marked down by their activity.
    item_exponent : float
        How much scored items are marked down by their popularity.
    amplification : float
        Power of what the walk brings to each user on its way: above 1, users who share much with the history count
        more, and the filter is no longer linear.
    low_pass : float
        Weight of the ideal low-pass filter beside the walk; 0 leaves it out.
    factors : int, optional
        Cut-off of the ideal low-pass filter: how many singular vectors pass it. By default 256, as in GF-CF, or as many
        as have singular values beyond what chance would bring about where these are fewer, as on small logs.
    weights : {"given", "binary"}
        Take the weights of interactions as they are, or 1 for all.
    seed : int
        Of the singular vectors.
    threads : int, optional

    Attributes
    ----------
    history_scale_, item_scale_, user_scale_ : (n_items,), (n_items,) and (n_users,) float32
        The powers of the degrees; ``item_scale_`` is divided by the square of the largest singular value.
    item_vectors_ : (n_items, factors) float32
        V; without columns if ``low_pass`` is 0.

    Examples
    --------
    >>> import cofactor as cf
    >>> x = cf.datasets.synthetic(n_users=200, n_items=50, n_interactions=2000, factors=4, seed=0)
    >>> model = cf.GraphFilter(factors=8).fit(x)
    >>> model.recommend(users=[0], k=3).columns
    ['user_id', 'item_id', 'score', 'rank']
    """

    history_scale_: Float
    item_scale_: Float
    user_scale_: Float
    item_vectors_: Float

    def __init__(
        self,
        *,
        history_exponent: float = 0.5,
        user_exponent: float = 1.0,
        item_exponent: float = 0.5,
        amplification: float = 1.0,
        low_pass: float = 0.3,
        factors: int | None = None,
        weights: Literal["given", "binary"] = "given",
        seed: int = 0,
        threads: int | None = None,
    ) -> None:
        self.history_exponent = history_exponent
        self.user_exponent = user_exponent
        self.item_exponent = item_exponent
        self.amplification = amplification
        self.low_pass = low_pass
        self.factors = factors
        self.weights = weights
        self.seed = seed
        self.threads = threads

    @in_one_step
    def fit(self, interactions: Interactions, *, progress: bool | None = None) -> Self:
        """Compute degrees and, for the low-pass filter, singular vectors; ``progress`` shows their iterations.

        Raises
        ------
        ParameterError
            A parameter is out of its range, or the vectors would not fit into memory.
        """
        self._check()
        x = interactions
        require_memory(
            self._bytes_needed(x),
            f"GraphFilter(factors={self._most_factors}) on {x.n_users:,} users and {x.n_items:,} items",
            "fewer factors, or low_pass=0",
        )
        r = self._weighed(x.user_items)
        degrees = r.row_sums(), np.bincount(r.indices, r.values, minlength=x.n_items)
        users, items = (np.where(degree > 0, degree, 1) for degree in degrees)
        self.history_scale_ = (items**-self.history_exponent).astype(np.float32)
        self.user_scale_ = (users**-self.user_exponent).astype(np.float32)
        middle = items ** (-(self.history_exponent + self.item_exponent) / 2)
        values = r.values * np.repeat(users ** (-self.user_exponent / 2), np.diff(r.indptr)) * middle[r.indices]
        filtered = r.with_values(values.astype(np.float32))
        with progress_bar("GraphFilter", progress) as bar:
            svd = truncated_svd(
                self._kernels(),
                filtered,
                self._most_factors if self.low_pass else 1,
                seed=self.seed,
                tolerance=1e-2,
                threads=self.threads,
                on_iteration=lambda _: bar.update(),
            )
        gain = float(svd.values[0]) ** 2
        self.item_scale_ = (items**-self.item_exponent / (gain if gain > 0 else 1)).astype(np.float32)
        kept = svd.right.shape[1] if self.factors is not None else above_chance(svd.values, filtered)
        self.item_vectors_ = np.ascontiguousarray(svd.right[:, : kept if self.low_pass else 0])
        return self

    @property
    def _most_factors(self) -> int:
        return _FACTORS if self.factors is None else self.factors

    def _scores_of(self, histories: CSR) -> Float:
        """Scores (n, n_items) of any histories."""
        histories = self._weighed(histories)
        signal, kernels, threads = histories.scaled(columns=self.history_scale_), self._kernels(), self.threads
        met = kernels.fetch(kernels.sparse_product(signal, self._item_users, threads=threads))
        met *= self.user_scale_
        if self.amplification != 1:
            np.power(met, np.float32(self.amplification), out=met)
        scores = kernels.fetch(kernels.dense_product(met, self._item_users, threads=threads))
        scores *= self.item_scale_
        if self.item_vectors_.shape[1]:
            spectrum = kernels.fetch(kernels.dense_product(self._spectral, signal, threads=threads))
            smooth = blas.matmul(np.ascontiguousarray(spectrum.T), self._spectral, threads=threads)
            smooth *= np.float32(self.low_pass) / self.history_scale_
            scores += smooth
        return scores

    @cached_property
    def _item_users(self) -> CSR:
        """R with items in rows."""
        return self._weighed(self.interactions_.item_users)

    @cached_property
    def _spectral(self) -> Float:
        """V with factors in rows."""
        return np.ascontiguousarray(self.item_vectors_.T)

    @property
    def _width(self) -> int:
        """Floats that the scores of a user take while they are computed."""
        return 2 * self.interactions_.n_items + self.interactions_.n_users

    def _top_k(self, users: Rows, k: int, filters: Filters) -> TopK:
        return self._top_k_for(self.interactions_.user_items.take(users), k, filters)

    def _top_k_for(self, histories: CSR, k: int, filters: Filters) -> TopK:
        top = top_k_in_batches(
            lambda rows: self._scores_of(histories.take(rows)),
            histories.n_rows,
            self._width,
            k,
            kernels=self._kernels(),
            filters=filters,
            threads=self.threads,
        )
        top.rows[np.diff(histories.indptr) == 0] = -1  # nothing known, nothing recommended
        return top

    def _scores(self, users: Rows, items: Rows) -> Float:
        matrix = self.interactions_.user_items
        return scores_in_batches(lambda rows: self._scores_of(matrix.take(rows)), users, items, self._width)

    def _similar_items(self, items: Rows, k: int) -> TopK:
        itself = CSR.one_each(items, self.interactions_.n_items)
        return self._top_k_for(itself, k, Filters(exclude=itself))

    def _bytes_needed(self, x: Interactions) -> int:
        factors = self._most_factors if self.low_pass else 1
        batch = batch_bytes(2 * x.n_items + x.n_users)
        return svd_bytes(x.user_items, factors) + 8 * factors * x.n_items + batch + 36 * x.nnz

    def _learned(self) -> dict[str, str]:
        of_items = dict.fromkeys(("history_scale_", "item_scale_"), "float32 items")
        return {**of_items, "user_scale_": "float32 users", "item_vectors_": "float32 items f"}

    def _check(self) -> None:
        for name in ("history_exponent", "user_exponent", "item_exponent", "low_pass"):
            check_at_least(name, getattr(self, name), 0)
        check_at_least("amplification", self.amplification, 0, above=True)
        if self.factors is not None:
            check_at_least("factors", self.factors, 1, whole=True)
        check_choice("weights", self.weights, ("given", "binary"))
        check_at_least("seed", self.seed, 0, whole=True)
        resolve_threads(self.threads)

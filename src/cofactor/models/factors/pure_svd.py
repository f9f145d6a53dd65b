r"""PureSVD: the interactions themselves, unknown ones counted as zero, approximated by a matrix of low rank.

Minimises :math:`|X D^{-\epsilon} - U \Sigma V^T|_F^2` over matrices of rank k: the k largest singular triplets. A user
is scored by :math:`x_u V V^T`, the projection of the history on what the items have in common.

Sources: Cremonesi, Koren & Turrin 2010, "Performance of recommender algorithms on top-n recommendation tasks", eq. 13;
Nikolakopoulos, Kalantzis, Gallopoulos & Garofalakis 2019, "EigenRec", for the scaling of items: D holds the squared
norms of X's columns (how often an item occurs when weights are 1), so that their d is :math:`1 - 2 \epsilon`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from cofactor.checks import check_at_least, check_choice
from cofactor.kernels.svd import svd_bytes, truncated_svd
from cofactor.models.base.chance import above_chance
from cofactor.models.base.factor import FactorModel
from cofactor.models.base.fitting import in_one_step
from cofactor.system.memory import require_memory
from cofactor.system.progress import progress_bar
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from typing import Self

    from cofactor.data.interactions import Interactions
    from cofactor.kernels.arrays import Float
    from cofactor.kernels.csr import CSR


__all__ = ["PureSVD"]

_FACTORS = 64  # at most, unless given
_CHANCE = 1.25  # of histories as they are, long and short ones together


class PureSVD(FactorModel):
    """Truncated singular value decomposition of the interactions (Cremonesi, Koren & Turrin 2010).

    Parameters
    ----------
    factors : int, optional
        Number of singular vectors: the parameter to tune, few tens to few hundreds. Cut to what the matrix has. By
        default as many as have singular values beyond what chance would bring about, at most 64: few on small logs.
    popularity_exponent : float
        Columns are divided by their squared norm to this power before the decomposition; 0.25 is a good try where
        popular items take too much room (EigenRec).
    weights : {"given", "binary"}
        Take the weights of interactions as they are, or 1 for all.
    seed : int
    threads : int, optional

    Attributes
    ----------
    user_factors_ : (n_users, factors) float32
        Histories times ``item_factors_``.
    item_factors_ : (n_items, factors) float32
        Right singular vectors, orthonormal.
    singular_values_ : (factors,) float32
        Largest first.

    Examples
    --------
    >>> import cofactor as cf
    >>> x = cf.datasets.synthetic(n_users=200, n_items=50, n_interactions=2000, factors=4, seed=0)
    >>> model = cf.PureSVD(factors=8).fit(x)
    >>> model.recommend(users=[0], k=3).columns
    ['user_id', 'item_id', 'score', 'rank']
    """

    singular_values_: Float

    def __init__(
        self,
        factors: int | None = None,
        *,
        popularity_exponent: float = 0.0,
        weights: Literal["given", "binary"] = "given",
        seed: int = 0,
        threads: int | None = None,
    ) -> None:
        self.factors = factors
        self.popularity_exponent = popularity_exponent
        self.weights = weights
        self.seed = seed
        self.threads = threads

    @in_one_step
    def fit(self, interactions: Interactions, *, progress: bool | None = None) -> Self:
        """Decompose.

        Raises
        ------
        ParameterError
            A parameter is out of its range, or the vectors would not fit into memory.
        """
        self._check()
        x, factors = interactions, _FACTORS if self.factors is None else self.factors
        require_memory(
            svd_bytes(x.user_items, factors) + 4 * factors * x.n_users,
            f"PureSVD(factors={factors}) on {x.n_users:,} users and {x.n_items:,} items",
            "fewer factors",
        )
        histories = self._weighed(x.user_items)
        norms = np.bincount(histories.indices, histories.values.astype(np.float64) ** 2, minlength=x.n_items)
        scale = np.where(norms > 0, norms, 1) ** -self.popularity_exponent
        matrix = histories.scaled(columns=scale)
        unit = np.float32(2.0) ** np.round(np.log2(np.abs(matrix.values).max(initial=1e-30)))
        matrix = matrix.with_values(matrix.values / unit)  # fourth powers of large weights would leave float32
        with progress_bar("PureSVD", progress) as bar:
            svd = truncated_svd(
                self._kernels(),
                matrix,
                factors,
                seed=self.seed,
                threads=self.threads,
                on_iteration=lambda _: bar.update(),
            )
        kept = factors if self.factors is not None else above_chance(svd.values, matrix, _CHANCE)
        self.item_factors_, self.singular_values_ = np.ascontiguousarray(svd.right[:, :kept]), svd.values[:kept] * unit
        self.user_factors_ = self._fold_in(x.user_items)
        return self

    def _fold_in(self, histories: CSR) -> Float:
        by_factor = np.ascontiguousarray(self.item_factors_.T)
        kernels = self._kernels()
        vectors = kernels.fetch(kernels.dense_product(by_factor, self._weighed(histories), threads=self.threads))
        return np.ascontiguousarray(vectors.T)

    def _learned(self) -> dict[str, str]:
        return {**super()._learned(), "singular_values_": "float32 f"}

    def _check(self) -> None:
        if self.factors is not None:
            check_at_least("factors", self.factors, 1, whole=True)
        check_at_least("popularity_exponent", self.popularity_exponent, 0)
        check_choice("weights", self.weights, ("given", "binary"))
        check_at_least("seed", self.seed, 0, whole=True)
        resolve_threads(self.threads)

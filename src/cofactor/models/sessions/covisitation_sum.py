"""Several co-visitation matrices added up to one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.checks import check_at_least
from cofactor.errors import ParameterError
from cofactor.kernels.csr import CSR
from cofactor.models.base.fitting import fitted_copies, in_one_step
from cofactor.models.base.item_weights import ItemWeightModel
from cofactor.models.sessions.covisitation import CoVisitation
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from cofactor.data.interactions import Interactions
    from cofactor.kernels.arrays import Rows, TopK

__all__ = ["CoVisitationSum"]


class CoVisitationSum(ItemWeightModel):
    """Score items by the weighted sum of several co-visitation matrices: one recommender, one pass over the log.

    ``W = sum_m weight_m W_m``, where W_m is the ``item_weights_`` of the m-th :class:`CoVisitation`. Counts of rare
    events are small: give such matrices larger weights to be heard. Similar items are the largest of an item's row.

    Parameters
    ----------
    *matrices : CoVisitation
        What is counted, each fitted on the way. Each reports what its own ``last_events`` leaves out.
    weights : sequence of numbers, optional
        One positive weight for each; equal ones unless given.
    threads : int, optional
        For ranking; counting has the threads of the matrices.

    Attributes
    ----------
    item_weights_ : CSR (n_items, n_items)
        A row has the neighbours of all matrices.

    Examples
    --------
    >>> import cofactor as cf
    >>> carts = cf.CoVisitationSum(cf.CoVisitation.type_weighted(), cf.CoVisitation.buy_to_buy(), weights=[1, 10])
    """

    item_weights_: CSR

    def __init__(
        self, *matrices: CoVisitation, weights: Sequence[float] | None = None, threads: int | None = None
    ) -> None:
        self.matrices = matrices
        self.weights = weights
        self.threads = threads

    def params(self) -> dict[str, Any]:
        """The matrices and how they are added up."""
        weights = list(self.weights) if isinstance(self.weights, list | tuple | np.ndarray) else self.weights
        return {"matrices": self.matrices, "weights": weights, "threads": self.threads}

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.params().items() if name != "matrices")
        return f"CoVisitationSum({''.join(f'{matrix!r}, ' for matrix in self.matrices)}{given})"

    @in_one_step
    def fit(self, interactions: Interactions, *, progress: bool | None = None) -> Self:
        """Read the sessions once and count every matrix.

        Raises
        ------
        ParameterError
            There is no matrix, or the weights are not one positive number for each.
        ParameterError, DataError
            As ``CoVisitation.fit``.
        """
        self._add_up(interactions, interactions.n_items, progress)
        return self

    def _add_up(self, data: Any, n_items: int, progress: bool | None = None) -> None:  # noqa: ANN401
        """Fit the matrices on data that ``CoVisitation`` takes, and add them up."""
        weights = self._weights()
        self.matrices = fitted_copies(self, self.matrices, lambda matrix: matrix.fit(data, progress=progress))
        total: Any = None
        for matrix, weight in zip(self.matrices, weights, strict=True):
            added = matrix.item_weights_.to_scipy()
            added.data = added.data * np.float32(weight)
            total = added if total is None else total + added
        total.sort_indices()
        indptr, indices, values = total.indptr.astype(np.int64), total.indices.astype(np.int32), total.data
        self.item_weights_ = CSR(indptr, indices, values.astype(np.float32), n_items)

    def _check(self) -> None:
        self._weights()

    def _similar_items(self, items: Rows, k: int) -> TopK:
        return self._heaviest(items, k)

    def _weights(self) -> list[float]:
        resolve_threads(self.threads)
        if self.weights is not None and not isinstance(self.weights, list | tuple | np.ndarray):
            raise ParameterError(f"weights must be a list of numbers, one for each matrix, got {self.weights!r}")
        if not self.matrices or not all(isinstance(m, CoVisitation) for m in self.matrices):
            raise ParameterError(f"CoVisitationSum needs CoVisitation models to add up, got {self.matrices!r}")
        weights = [1.0] * len(self.matrices) if self.weights is None else list(self.weights)
        if len(weights) != len(self.matrices):
            raise ParameterError(
                f"weights must be one number for each of {len(self.matrices)} matrices, got {self.weights!r}"
            )
        for weight in weights:
            check_at_least("weights", weight, 0, above=True)
        for matrix in self.matrices:
            matrix._check()
        return weights

r"""Vectors that were trained elsewhere, ranked, saved and measured here.

New users are folded in by the ridge regression of 1 on what they have and 0 on all other items,

.. math:: |h_u - V p_u|^2 + \lambda |p_u|^2, \qquad \lambda = r \cdot \mathrm{tr}(V^T V) / f,

with h the history (1 for each item in it, whatever its weight), V the item vectors and f their length. It asks nothing
of how V was trained. Were :math:`r = 0`, the scores :math:`V p_u` would be the projection of the history on what the
item vectors can tell apart, which is the same whatever scale or turn they share with the user vectors; the mean of the
history's vectors, which is what r grows towards, has lists that change with it. With r = 1 directions that hardly any
item has count for little, so that it works for more factors than items, too.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.checks import check_at_least, check_flag, shown
from cofactor.data.ids import IdMap
from cofactor.data.interactions import Interactions
from cofactor.errors import DataError, ParameterError
from cofactor.kernels.csr import CSR
from cofactor.models.base.factor import FactorModel
from cofactor.models.base.fitting import as_interactions, check_weights
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import ArrayLike

    from cofactor.data.ids import IdValues
    from cofactor.kernels.arrays import Float, Rows, TopK
    from cofactor.kernels.filters import Filters

__all__ = ["FixedFactors"]

_LARGEST_SCORE = 1e37  # sums of products stay inside float32


class FixedFactors(FactorModel):
    """User and item vectors from elsewhere; made by :meth:`FactorModel.from_vectors`.

    :meth:`fit` keeps the vectors, by id, and takes over other interactions, of whose users and items the model then
    knows: what they have seen. Users who have no vector are folded in, as those of ``recommend_for`` are; items must
    have one.

    Parameters
    ----------
    regularization : float
        Of the fold-in, in units of the mean squared length of the item vectors along an axis.
    threads : int, optional

    Attributes
    ----------
    user_factors_, item_factors_ : (n_users, factors), (n_items, factors) float32
        In the order of the ids. With an item bias they have one column more: the bias of items, and 1 for users.
    n_biases_ : int
        1 with an item bias, else 0.
    """

    n_biases_: int

    def __init__(self, *, regularization: float = 1.0, threads: int | None = None) -> None:
        self.regularization = regularization
        self.threads = threads

    def place(
        self,
        users: ArrayLike,
        items: ArrayLike,
        interactions: Any = None,  # noqa: ANN401
        *,
        user_ids: IdMap | IdValues | None = None,
        item_ids: IdMap | IdValues | None = None,
        item_bias: ArrayLike | None = None,
    ) -> Self:
        """Take over vectors; see :meth:`FactorModel.from_vectors`."""
        self._check()
        x = None if interactions is None else as_interactions(interactions)
        user_vectors, item_vectors = _floats("users", users, 2), _floats("items", items, 2)
        if user_vectors.shape[1] != item_vectors.shape[1]:
            raise DataError(
                f"users have vectors of {user_vectors.shape[1]} numbers and items of {item_vectors.shape[1]}; a score "
                "is the product of the two, number by number"
            )
        if item_bias is not None:
            bias = _floats("item_bias", item_bias, 1)
            if len(bias) != len(item_vectors):
                raise DataError(f"item_bias has {len(bias)} numbers for {len(item_vectors)} items; give one for each")
            item_vectors = np.column_stack([item_vectors, bias])
            user_vectors = np.column_stack([user_vectors, np.ones(len(user_vectors), np.float32)])
        largest = float(np.abs(user_vectors).max(initial=0)) * float(np.abs(item_vectors).max(initial=0))
        if largest * user_vectors.shape[1] > _LARGEST_SCORE:
            raise DataError(
                f"users and items have numbers whose products reach {largest:.3g}, which float32 cannot add up; divide "
                "one of them by a number: it changes no list"
            )
        known = (None, None) if x is None else (x.users, x.items)
        user_map, self.user_factors_ = _in_order("user", user_vectors, user_ids, known[0])
        item_map, self.item_factors_ = _in_order("item", item_vectors, item_ids, known[1])
        nothing = CSR.from_pairs([], [], [], (len(user_map), len(item_map)))
        self.n_biases_, self.interactions_ = int(item_bias is not None), Interactions(user_map, item_map, nothing)
        return self if x is None else self.fit(x.widened(user_map, item_map))

    def fit(self, interactions: Interactions, *, progress: bool | None = None) -> Self:
        """Take over what users have seen; vectors stay as they are.

        Raises
        ------
        ParameterError
            There are no vectors yet.
        DataError
            An item has no vector.
        """
        self._check()
        if progress is not None:
            check_flag("progress", progress)
        x = as_interactions(interactions)
        check_weights(x.user_items, x.items, x.users)
        if not hasattr(self, "interactions_"):
            raise ParameterError("FixedFactors trains no vectors; make it with FactorModel.from_vectors(users, items)")
        own = self.interactions_
        rows = own.items.rows(x.items.ids, "interactions: item_id")
        if len(unknown := np.flatnonzero(rows < 0)):
            raise DataError(
                f"interactions: {len(unknown):,} of {x.n_items:,} items have no vector, the first is "
                f"{x.items.take(unknown[:1])[0]!r}; leave them out, or give vectors for all"
            )
        at = own.users.rows(x.users.ids, "interactions: user_id")
        users = np.empty((x.n_users, self.item_factors_.shape[1]), np.float32)
        users[at >= 0] = self.user_factors_[at[at >= 0]]
        new = {"item_factors_": self.item_factors_[rows], "user_factors_": users, "interactions_": x.without_log}
        if (at < 0).any():
            folded = copy(self)
            vars(folded).update(new)
            users[at < 0] = folded._fold_in(x.user_items.take(np.flatnonzero(at < 0)))
        self.__dict__ = vars(self) | new  # in one step
        return self

    def _fold_in(self, histories: CSR) -> Float:
        kernels, factors = self._kernels(), self.item_factors_.shape[1]
        gramian = kernels.fetch(kernels.gramian(kernels.hold(self.item_factors_), threads=self.threads))
        gramian = gramian.astype(np.float64)
        gramian[np.diag_indices(factors)] += self.regularization * np.trace(gramian) / factors
        inverse = np.linalg.pinv(gramian, rcond=1e-6, hermitian=True)  # without regularization it may have none
        by_factor = np.ascontiguousarray(self.item_factors_.T)
        sums = kernels.fetch(kernels.dense_product(by_factor, histories.binary(), threads=self.threads))
        vectors: Float = np.ascontiguousarray((inverse @ sums).T, np.float32)
        return vectors

    def _top_k(self, users: Rows, k: int, filters: Filters) -> TopK:
        vectors = self.user_factors_[users]
        known = np.count_nonzero(vectors, axis=1).astype(np.int64)  # users are known by their vector, not their history
        return self._nearest(vectors, known, k, filters)

    def _compared(self, vectors: Float) -> Float:
        return np.ascontiguousarray(vectors[:, : vectors.shape[1] - self.n_biases_])

    def _learned(self) -> dict[str, str]:
        return {**super()._learned(), "n_biases_": "number"}

    def _check_state(self) -> None:
        if self.n_biases_ not in (0, 1) or self.item_factors_.shape[1] <= self.n_biases_:
            raise DataError(f"n_biases_ is {self.n_biases_!r} of {self.item_factors_.shape[1]} columns")

    def _check(self) -> None:
        check_at_least("regularization", self.regularization, 0)
        resolve_threads(self.threads)


def _floats(name: str, given: ArrayLike, n_axes: int) -> Float:
    """Vectors or a bias as float32 of one's own, after a check of all that can be wrong with them."""
    shape = "an array (n, factors)" if n_axes == 2 else "an array (n,)"
    try:
        array = np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:  # tensors that NumPy cannot read, and ragged lists
        raise ParameterError(
            f"{name}: {shape} of floating numbers is expected, got {type(given).__name__}: "
            f"{str(error).splitlines()[0]} (a tensor of torch: tensor.detach().float().cpu().numpy())"
        ) from error
    if array.dtype.kind != "f" or array.ndim != n_axes:
        told = f"{array.dtype} of shape {array.shape}" if array.ndim else shown(given)
        raise DataError(
            f"{name}: {shape} of floating numbers is expected, got {told}"
            f"{'; cast it to float32' if array.ndim == n_axes and array.dtype.kind in 'iub' else ''}"
        )
    if n_axes == 2 and not array.shape[1]:
        raise DataError(f"{name}: vectors have no numbers, the shape is {array.shape}")
    with np.errstate(over="ignore"):
        own = np.array(array, np.float32, order="C")
    if not (fine := np.isfinite(own)).all():
        at = tuple(np.argwhere(~fine)[0])
        raise DataError(f"{name}: row {at[0]} holds {array[at]}, which is no finite number in float32")
    return own


def _in_order(side: str, vectors: Float, ids: IdMap | IdValues | None, known: IdMap | None) -> tuple[IdMap, Float]:
    """The ids of vectors, ascending, and the vectors in that order."""
    if ids is None:
        if known is not None and len(known) != len(vectors):
            raise DataError(
                f"{side}s has {len(vectors)} vectors, but interactions has {len(known)} {side}s; give one for each in "
                f"the order of interactions.{side}s, or say whose they are: {side}_ids"
            )
        return IdMap(np.arange(len(vectors))) if known is None else known, vectors
    ids, order = IdMap.in_order(ids, f"{side}_ids")
    if len(ids) != len(vectors):
        raise DataError(f"{side}_ids has {len(ids)} ids for {len(vectors)} vectors; give one for each")
    return ids, vectors if order is None else vectors[order]

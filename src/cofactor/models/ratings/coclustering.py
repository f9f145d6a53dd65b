r"""Co-clustering of users and items (George & Merugu 2005, "A scalable collaborative filtering framework", model 6).

Users are in one of K clusters, items in one of L; with the means of users and items, of their clusters g and h, and of
the blocks of both,

.. math:: \hat r_{ui} = \bar r_{g(u) h(i)} + (\bar r_u - \bar r_{g(u)}) + (\bar r_i - \bar r_{h(i)})

and the clusters are those that minimise the squared error: each user moves to the best cluster with the items held
fixed, then each item (algorithm 1 there). Departures: users start in the clusters that fit them best among blocks drawn
at random, not in random ones; means are taken anew between users and items, not only between iterations; and it ends
early when nobody moves any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cofactor.checks import check_at_least
from cofactor.errors import DataError
from cofactor.models.base.fitting import in_one_step
from cofactor.models.base.learned import check_range
from cofactor.models.base.rating import RatingModel
from cofactor.system.progress import progress_bar
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.data.ratings import Ratings
    from cofactor.kernels.arrays import Float, Rows
    from cofactor.kernels.csr import CSR

__all__ = ["CoClustering"]


class CoClustering(RatingModel):
    """Predict ratings by clusters of users and of items.

    Parameters
    ----------
    user_clusters, item_clusters : int
    iterations : int
        At most; it ends when nobody moves.
    seed : int
        Of the clusters that it starts with.
    threads : int, optional

    Attributes
    ----------
    mean_ : float
    user_clusters_, item_clusters_ : (n_users,) and (n_items,) int32
    user_means_, item_means_ : (n_users,) and (n_items,) float32
    block_means_ : (user_clusters, item_clusters) float32
    user_cluster_means_, item_cluster_means_ : (user_clusters,) and (item_clusters,) float32
        The mean of all ratings stands for what has none.
    loss_history_ : (iterations,) float64
        Mean squared error on the training data after each iteration.
    """

    mean_: float
    user_clusters_: NDArray[np.int32]
    item_clusters_: NDArray[np.int32]
    user_means_: Float
    item_means_: Float
    block_means_: Float
    user_cluster_means_: Float
    item_cluster_means_: Float
    loss_history_: NDArray[np.float64]

    def __init__(
        self,
        user_clusters: int = 3,
        item_clusters: int = 3,
        *,
        iterations: int = 20,
        seed: int = 0,
        threads: int | None = None,
    ) -> None:
        self.user_clusters = user_clusters
        self.item_clusters = item_clusters
        self.iterations = iterations
        self.seed = seed
        self.threads = threads

    @in_one_step
    def fit(self, ratings: Ratings, *, progress: bool | None = None) -> Self:
        """Move users and items by turns; an iteration takes O(nnz + rows of both sides x clusters of both)."""
        self._check()
        x, rng = ratings.user_items, np.random.default_rng(self.seed)
        table = _Table(x)
        items = rng.integers(self.item_clusters, size=x.n_columns)
        users = table.best_for_users(items, table.drawn(rng, self.user_clusters, self.item_clusters))
        losses = []
        with progress_bar("CoClustering", progress, total=self.iterations) as bar:
            for _ in range(self.iterations):
                before = users, items
                users = table.best_for_users(items, self._means(table, users, items))
                items = table.best_for_items(users, self._means(table, users, items))
                losses.append(table.loss(users, items, self._means(table, users, items)))
                bar.set_postfix(loss=f"{losses[-1]:.6g}", refresh=False)
                bar.update()
                if all(map(np.array_equal, before, (users, items))):
                    break
        means = self._means(table, users, items)
        self.mean_ = table.mean
        self.user_clusters_, self.item_clusters_ = users.astype(np.int32), items.astype(np.int32)
        self.user_means_, self.item_means_ = (m.astype(np.float32) for m in (table.users, table.items))
        self.block_means_, self.user_cluster_means_, self.item_cluster_means_ = (m.astype(np.float32) for m in means)
        self.loss_history_ = np.array(losses)
        return self

    def _means(self, table: _Table, users: NDArray[np.int64], items: NDArray[np.int64]) -> _Means:
        return table.means(users, items, (self.user_clusters, self.item_clusters))

    def _learned(self) -> dict[str, str]:
        k, m = self.user_clusters, self.item_clusters
        return {
            "mean_": "number",
            **{f"{side}_clusters_": f"int32 {side}s" for side in ("user", "item")},
            **{f"{side}_means_": f"float32 {side}s" for side in ("user", "item")},
            "block_means_": f"float32 {k} {m}",
            "user_cluster_means_": f"float32 {k}",
            "item_cluster_means_": f"float32 {m}",
            "loss_history_": "float64 iterations",
        }

    def _check_state(self) -> None:
        check_range("user_clusters_", self.user_clusters_, self.user_clusters)
        check_range("item_clusters_", self.item_clusters_, self.item_clusters)
        if not len(self.loss_history_):
            raise DataError("loss_history_ is empty")

    def _check(self) -> None:
        for name in ("user_clusters", "item_clusters", "iterations"):
            check_at_least(name, getattr(self, name), 1, whole=True)
        check_at_least("seed", self.seed, 0, whole=True)
        resolve_threads(self.threads)

    # A user's vector: the block means of its cluster, what it lies above its cluster, 1, and the mean of its cluster.
    # An item's: 1 at its cluster, 1, what it lies above its cluster, and 0. One that nobody knows has a 1 there, not
    # at a cluster, so that the user's mean remains; a user that nobody knows has the means of item clusters.

    def _user_vectors(self, users: Rows) -> Float:
        vectors = self._of_users(self.user_clusters_[users], self.user_means_[users])
        vectors[users < 0] = [*self.item_cluster_means_, 0, 1, self.mean_]
        return vectors

    def _of_users(self, clusters: NDArray[np.integer], means: NDArray[np.floating]) -> Float:
        own = self.user_cluster_means_[clusters]
        return np.column_stack([self.block_means_[clusters], means - own, np.ones_like(own), own]).astype(np.float32)

    def _item_vectors(self, items: Rows) -> Float:
        clusters = self.item_clusters_[items]
        vectors = np.zeros((len(items), self.item_clusters + 3), np.float32)
        vectors[np.arange(len(items)), clusters] = 1
        vectors[:, -3] = 1
        vectors[:, -2] = self.item_means_[items] - self.item_cluster_means_[clusters]
        vectors[items < 0] = [*[0] * self.item_clusters, 1, 0, 1]
        return vectors

    def _fold_in(self, histories: CSR) -> Float:
        table = _Table(histories, self.mean_, self.item_means_.astype(np.float64))
        means = _Means(self.block_means_, self.user_cluster_means_, self.item_cluster_means_)
        vectors = self._of_users(table.best_for_users(self.item_clusters_, means), table.users)
        vectors[np.diff(histories.indptr) == 0] = self._user_vectors(np.array([-1], np.int32))
        return vectors


class _Means(NamedTuple):
    """Mean ratings of blocks, (K, L), of user clusters, (K,), and of item clusters, (L,)."""

    blocks: NDArray[np.floating]
    users: NDArray[np.floating]
    items: NDArray[np.floating]


class _Table:
    """Ratings and the means of their users and items, in float64; the items' are given where users are folded in."""

    def __init__(self, x: CSR, mean: float | None = None, items: NDArray[np.float64] | None = None) -> None:
        self.rows, self.columns, self.values = x.row_index().astype(np.int64), x.indices, x.values.astype(np.float64)
        self.n_users, self.n_items = x.shape
        self.mean = float(self.values.mean()) if mean is None else mean
        self.users = _means_of(self.rows, self.values, self.n_users, self.mean)
        self.items = _means_of(self.columns, self.values, self.n_items, self.mean) if items is None else items
        self._above = self.values - self.users[self.rows] - self.items[self.columns]

    def drawn(self, rng: np.random.Generator, n_users: int, n_items: int) -> _Means:
        """Means to start with, such that what becomes of a user depends on its ratings, not on its row."""
        blocks = rng.normal(scale=max(float(self._above.std()), 1e-12), size=(n_users, n_items))
        return _Means(blocks, np.zeros(n_users), np.zeros(n_items))

    def means(self, users: NDArray[np.integer], items: NDArray[np.integer], shape: tuple[int, int]) -> _Means:
        """The means of blocks and clusters; that of all where there are no ratings."""
        blocks = users[self.rows] * shape[1] + items[self.columns]
        counts = np.bincount(blocks, minlength=shape[0] * shape[1]).reshape(shape)
        sums = np.bincount(blocks, self.values, shape[0] * shape[1]).reshape(shape)

        def mean(axis: int | None) -> NDArray[np.float64]:
            s, n = (sums, counts) if axis is None else (sums.sum(axis), counts.sum(axis))
            return np.where(n > 0, s / np.maximum(n, 1), self.mean)

        return _Means(mean(None), mean(1), mean(0))

    def best_for_users(self, items: NDArray[np.integer], means: _Means) -> NDArray[np.int64]:
        """The cluster of each user with the least squared error, items and means held fixed."""
        over = self._above + means.items[items[self.columns]]
        return _best(self.rows, items[self.columns], over, (means.blocks - means.users[:, None]).T, self.n_users)

    def best_for_items(self, users: NDArray[np.integer], means: _Means) -> NDArray[np.int64]:
        """The cluster of each item, likewise."""
        over = self._above + means.users[users[self.rows]]
        return _best(self.columns, users[self.rows], over, means.blocks - means.items, self.n_items)

    def loss(self, users: NDArray[np.integer], items: NDArray[np.integer], means: _Means) -> float:
        """The mean squared error."""
        u, i = users[self.rows], items[self.columns]
        return float(np.mean((self._above - means.blocks[u, i] + means.users[u] + means.items[i]) ** 2))


def _means_of(at: NDArray[np.integer], values: NDArray[np.float64], n: int, otherwise: float) -> NDArray[np.float64]:
    counts = np.bincount(at, minlength=n)
    return np.where(counts > 0, np.bincount(at, values, n) / np.maximum(counts, 1), otherwise)


def _best(
    at: NDArray[np.integer],
    other: NDArray[np.integer],
    over: NDArray[np.float64],
    offsets: NDArray[np.floating],
    n: int,
) -> NDArray[np.int64]:
    """For n rows, the column c with the least sum of ``(over - offsets[other, c])**2`` over the entries ``at`` the row.

    ``offsets`` is (clusters of the other side, clusters of this side). The squares of ``over`` are the same for all.
    """
    m = len(offsets)
    keys = at * np.int64(m) + other
    counts = np.bincount(keys, minlength=n * m).reshape(n, m)
    sums = np.bincount(keys, over, n * m).reshape(n, m)
    best: NDArray[np.int64] = np.argmin(counts @ offsets**2 - 2 * (sums @ offsets), axis=1)
    return best

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
from cofactor.system.memory import require_memory
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
        self._require_room(x)
        table, shape = _Table(x), (self.user_clusters, self.item_clusters)
        items = rng.integers(self.item_clusters, size=x.n_columns)
        drawn = rng.normal(scale=max(float(table.above.std()), 1e-12), size=shape)
        users = table.by_user(items, shape[1]).best(drawn.T)
        losses: list[float] = []
        with progress_bar("CoClustering", progress, total=self.iterations) as bar:
            for _ in range(self.iterations):
                before = users, items
                of_users = table.by_user(items, shape[1])
                users = of_users.best(of_users.means(users, shape[0], table.mean).offsets)
                of_items = table.by_item(users, shape[0])
                items = of_items.best(of_items.means(items, shape[1], table.mean).offsets)
                means = of_items.means(items, shape[1], table.mean)
                losses.append((table.square + of_items.change(items, means.offsets)) / x.nnz)
                bar.set_postfix(loss=f"{losses[-1]:.6g}", refresh=False)
                bar.update()
                if all(map(np.array_equal, before, (users, items))):
                    break
        self.mean_ = table.mean
        self.user_clusters_, self.item_clusters_ = users.astype(np.int32), items.astype(np.int32)
        self.user_means_, self.item_means_ = (m.astype(np.float32) for m in (table.users, table.items))
        self.block_means_ = means.blocks.astype(np.float32)
        self.user_cluster_means_, self.item_cluster_means_ = (m.astype(np.float32) for m in (means.other, means.own))
        self.loss_history_ = np.array(losses)
        return self

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

    def _require_room(self, x: CSR) -> None:
        k, m = self.user_clusters, self.item_clusters
        sums = 6 * max(x.n_rows * m, x.n_columns * k) + 6 * k * m  # three of each side, as they are counted and added
        what = f"CoClustering({k}, {m}) on {x.n_rows:,} users and {x.n_columns:,} items"
        require_memory(8 * sums + 48 * x.nnz, what, "fewer clusters")

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
        n = len(self.item_cluster_means_)
        vectors = np.zeros((len(items), n + 3), np.float32)
        vectors[np.arange(len(items)), clusters] = 1
        vectors[:, -3] = 1
        vectors[:, -2] = self.item_means_[items] - self.item_cluster_means_[clusters]
        vectors[items < 0] = [*[0] * n, 1, 0, 1]
        return vectors

    def _fold_in(self, histories: CSR) -> Float:
        table = _Table(histories, self.mean_, self.item_means_.astype(np.float64))
        sums = table.by_user(self.item_clusters_, len(self.item_cluster_means_))
        means = _Means(self.block_means_.T, self.user_cluster_means_, self.item_cluster_means_)
        vectors = self._of_users(sums.best(means.offsets), table.users)
        vectors[np.diff(histories.indptr) == 0] = self._user_vectors(np.array([-1], np.int32))
        return vectors


class _Means(NamedTuple):
    """Mean ratings of blocks, (other, own), and of the clusters of either side."""

    blocks: NDArray[np.floating]
    own: NDArray[np.floating]
    other: NDArray[np.floating]

    @property
    def offsets(self) -> NDArray[np.float64]:
        """What the block adds to the means of user and item, (other, own)."""
        offsets: NDArray[np.float64] = self.blocks.astype(np.float64) - self.own - self.other[:, None]
        return offsets


class _Sums(NamedTuple):
    """Of every row of one side and every cluster of the other, (n, other).

    How many ratings there are, what they add up to, and by how much that is above the means of users and items.
    """

    counts: NDArray[np.float64]
    values: NDArray[np.float64]
    above: NDArray[np.float64]

    def means(self, own: NDArray[np.integer], n_own: int, otherwise: float) -> _Means:
        """Mean ratings, given the cluster of each row; ``otherwise`` where there are none."""
        n_other = self.counts.shape[1]
        at = (own[:, None] + n_own * np.arange(n_other)).ravel()
        counts, sums = (
            np.bincount(at, part.ravel(), n_own * n_other).astype(np.float64).reshape(n_other, n_own)
            for part in (self.counts, self.values)
        )

        def mean(s: NDArray[np.float64], n: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.where(n > 0, s / np.maximum(n, 1), otherwise)

        return _Means(mean(sums, counts), mean(sums.sum(0), counts.sum(0)), mean(sums.sum(1), counts.sum(1)))

    def best(self, offsets: NDArray[np.float64]) -> NDArray[np.int64]:
        """The cluster of each row with the least squared error, all else held fixed."""
        best: NDArray[np.int64] = np.argmin(self.counts @ offsets**2 - 2 * (self.above @ offsets), axis=1)
        return best

    def change(self, own: NDArray[np.integer], offsets: NDArray[np.float64]) -> float:
        """What the clusters add to the squared error of the means of users and items alone; below 0."""
        of_row = offsets.T[own]
        return float((self.counts * of_row**2).sum() - 2 * (self.above * of_row).sum())


class _Table:
    """Ratings and the means of their users and items, in float64; the items' are given where users are folded in."""

    def __init__(self, x: CSR, mean: float | None = None, items: NDArray[np.float64] | None = None) -> None:
        self._rows, self._columns = x.row_index().astype(np.int64), x.indices.astype(np.int64)
        self._shape, self._values = x.shape, x.values.astype(np.float64)
        self.mean = float(self._values.mean()) if mean is None else mean
        self.users = self._means(self._rows, x.n_rows)
        self.items = self._means(self._columns, x.n_columns) if items is None else items
        self.above = self._values - self.users[self._rows] - self.items[self._columns]
        self.square = float(self.above @ self.above)

    def by_user(self, items: NDArray[np.integer], n_clusters: int) -> _Sums:
        """Sums of every user over the clusters of items."""
        return self._sums(self._rows, items[self._columns], (self._shape[0], n_clusters))

    def by_item(self, users: NDArray[np.integer], n_clusters: int) -> _Sums:
        """Sums of every item over the clusters of users."""
        return self._sums(self._columns, users[self._rows], (self._shape[1], n_clusters))

    def _sums(self, at: NDArray[np.int64], clusters: NDArray[np.integer], shape: tuple[int, int]) -> _Sums:
        keys, size = at * shape[1] + clusters, shape[0] * shape[1]
        parts = (None, self._values, self.above)
        counts, values, above = (np.bincount(keys, part, size).reshape(shape).astype(np.float64) for part in parts)
        return _Sums(counts, values, above)

    def _means(self, at: NDArray[np.int64], n: int) -> NDArray[np.float64]:
        counts = np.bincount(at, minlength=n)
        return np.where(counts > 0, np.bincount(at, self._values, n) / np.maximum(counts, 1), self.mean)

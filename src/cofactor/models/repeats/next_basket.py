"""Next basket: what a user keeps buying, and what similar users buy of late.

After TIFU-kNN (Hu, He, Gao & Zhang, *Modeling Personalized Item Frequency Information for Next-basket Recommendation*,
SIGIR 2020): the score of an item is

    trend_i (alpha v_ui + (1 - alpha) sum_n s_un r_ni)

where v_u is the user's own frequency of items with old baskets counting less (their eq. 2-4), and the sum is the mean
over the nearest other users n (eq. 5-6). Departures: similarity is the cosine of tf-idf vectors
sqrt(v) log(n_users / users of i), and the mean is weighted by it; baskets may age by time instead of by their number;
the neighbours' vectors r may age faster than v; and scores are multiplied by the trend of the item, how often it is
taken of late beside how often it is taken at most times. No categories are read, only who took what and when.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from cofactor.checks import check_at_least
from cofactor.data.baskets import Baskets
from cofactor.errors import ParameterError
from cofactor.kernels.csr import CSR, offsets
from cofactor.kernels.filters import NO_FILTERS, Filters
from cofactor.models.base.fitting import in_one_step
from cofactor.models.base.recency import check_duration, in_days, require_times
from cofactor.models.base.recommender import Recommender
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.data.interactions import Interactions
    from cofactor.kernels.arrays import Float, Rows, TopK


__all__ = ["NextBasket"]

_BASELINE = 4  # the usual frequency of an item is that over so many times the half-life of its trend
_USERS = 256  # users whose scores are held at once by predict


class NextBasket(Recommender):
    """Rank items by the user's own decayed frequency, the recent frequency of similar users, and the item's trend.

    Made for repeat consumption (``exclude_seen=False``); what similar users take makes lists of new items too. Only
    items that the user or a neighbour has are ranked, so that lists may be shorter than k. With the times of events,
    baskets are counted and the weights of the interactions are not read. Histories given to :meth:`recommend_for` count
    by the weights they come with: give decayed counts (see :func:`cofactor.weights.half_life`).

    Parameters
    ----------
    half_life : str or None
        Age at which a basket counts half in the user's own vector, which is then in purchases a day. None: TIFU-kNN's
        decay over the number of baskets, by the next three.
    group_size : int
        Baskets in a group (m of the paper), counted from the newest; only without ``half_life``.
    within_decay, group_decay : float
        Factor from a basket to the one before it in its group, and from a group to the one before it (r_b, r_g).
    neighbours : int
        Nearest other users; 0 for the user's own history alone. To a history given to :meth:`recommend_for` all users
        of the training data are others.
    alpha : float
        Share of the user's own frequency, between 0 and 1; the neighbours have the rest.
    neighbour_half_life : str or None
        Age at which the neighbours' baskets count half; None for their vectors as they are. Needs ``half_life``.
    trend : str or None
        Half-life of an item's recent frequency, which is divided by that over four times as long; None for no trend.
    trend_smoothing : float
        Purchases that are added to both frequencies, so that rare items have a trend near 1.
    threads : int, optional

    Attributes
    ----------
    user_vectors_, neighbour_vectors_ : CSR (n_users, n_items)
        Frequencies times trend and share: what scores are summed of.
    neighbours_ : CSR (n_users, n_users)
        Weights of the nearest users; every row adds up to 1.
    item_profiles_ : CSR (n_items, n_users)
        Unit vectors of the users, in columns, that similarity is the product of.
    trend_, idf_ : (n_items,) float32
    """

    user_vectors_: CSR
    neighbour_vectors_: CSR
    neighbours_: CSR
    item_profiles_: CSR
    trend_: Float
    idf_: Float

    def __init__(
        self,
        half_life: str | None = "90d",
        *,
        group_size: int = 7,
        within_decay: float = 0.9,
        group_decay: float = 0.7,
        neighbours: int = 300,
        alpha: float = 0.75,
        neighbour_half_life: str | None = "7d",
        trend: str | None = "7d",
        trend_smoothing: float = 50.0,
        threads: int | None = None,
    ) -> None:
        self.half_life = half_life
        self.group_size = group_size
        self.within_decay = within_decay
        self.group_decay = group_decay
        self.neighbours = neighbours
        self.alpha = alpha
        self.neighbour_half_life = neighbour_half_life
        self.trend = trend
        self.trend_smoothing = trend_smoothing
        self.threads = threads

    @in_one_step
    def fit(self, interactions: Interactions, *, progress: bool | None = None) -> Self:
        """Count baskets and find every user's neighbours; ``progress`` changes nothing.

        Raises
        ------
        DataError
            A half-life or the trend is given and the interactions were not made of events with times. Without any of
            them such interactions count as one basket a user, with their weights as frequencies.
        """
        self._check()
        x = interactions
        timed = {"half_life": self.half_life, "neighbour_half_life": self.neighbour_half_life, "trend": self.trend}
        if given := [f"{name}={value!r}" for name, value in timed.items() if value is not None]:
            require_times(x, *given)
        baskets = Baskets.of(x) if x.events is not None and x.events.time is not None else None
        own = x.user_items if baskets is None else self._own(baskets, x.n_users)
        users = np.bincount(x.user_items.indices, minlength=x.n_items)
        self.idf_ = np.log(max(x.n_users, 1) / np.maximum(users, 1)).astype(np.float32)
        self.trend_ = np.ones(x.n_items, np.float32) if baskets is None else self._trend(baskets)
        theirs = own
        if baskets is not None and self.neighbour_half_life is not None:
            theirs = baskets.weighed(_per_day(baskets.ages, self.neighbour_half_life), x.n_users)
        profiles = self._profiles(own)
        self.item_profiles_ = profiles.transposed()
        everybody = np.arange(x.n_users, dtype=np.int32)
        self.neighbours_ = self._nearest(profiles, Filters(exclude=CSR.one_each(everybody, x.n_users)))
        self.user_vectors_ = own.scaled(columns=self.trend_ * np.float32(self.alpha))
        self.neighbour_vectors_ = theirs.scaled(columns=self.trend_ * np.float32(1 - self.alpha))
        return self

    def _learned(self) -> dict[str, str]:
        return {
            "user_vectors_": "csr users items",
            "neighbour_vectors_": "csr users items",
            "neighbours_": "csr users users",
            "item_profiles_": "csr items users",
            "trend_": "float32 items",
            "idf_": "float32 items",
        }

    def _check(self) -> None:
        for name in ("half_life", "neighbour_half_life", "trend"):
            check_duration(name, getattr(self, name))
        check_at_least("group_size", self.group_size, 1, whole=True)
        check_at_least("neighbours", self.neighbours, 0, whole=True)
        check_at_least("trend_smoothing", self.trend_smoothing, 0, above=True)
        for name in ("within_decay", "group_decay", "alpha"):
            check_at_least(name, value := getattr(self, name), 0, above=name != "alpha")
            if value > 1:
                raise ParameterError(f"{name} must be at most 1, got {value!r}")
        if self.neighbour_half_life is not None and self.half_life is None:
            raise ParameterError(
                f"neighbour_half_life={self.neighbour_half_life!r} needs half_life: both frequencies must be in "
                "purchases a day; give half_life, or neighbour_half_life=None"
            )
        resolve_threads(self.threads)

    def _own(self, baskets: Baskets, n_users: int) -> CSR:
        if self.half_life is not None:
            return baskets.weighed(_per_day(baskets.ages, self.half_life), n_users)
        counts = np.bincount(baskets.users, minlength=n_users)
        ends = np.cumsum(counts)
        back = ends[baskets.users] - 1 - np.arange(baskets.n_baskets)  # baskets of the user after this one
        group, place = np.divmod(back, self.group_size)
        n_groups = -(-counts // self.group_size)[baskets.users]
        size = np.minimum(self.group_size, counts[baskets.users] - group * self.group_size)
        return baskets.weighed(self.within_decay**place * self.group_decay**group / (size * n_groups), n_users)

    def _trend(self, baskets: Baskets) -> Float:
        n = baskets.items.n_columns
        if self.trend is None:
            return np.ones(n, np.float32)
        basket = baskets.items.row_index()
        late, usual = (
            np.bincount(
                baskets.items.indices, 0.5 ** (baskets.ages / (days * in_days(self.trend)))[basket], minlength=n
            )
            for days in (1, _BASELINE)
        )
        return ((_BASELINE * late + self.trend_smoothing) / (usual + self.trend_smoothing)).astype(np.float32)

    def _profiles(self, vectors: CSR) -> CSR:
        """Unit vectors whose products are similarities."""
        values = np.sqrt(vectors.values) * self.idf_[vectors.indices]
        norms = np.sqrt(vectors.row_sums(values.astype(np.float64) ** 2))
        values /= np.maximum(norms, 1e-30)[vectors.row_index()].astype(np.float32)
        return vectors.with_values(values)

    def _nearest(self, profiles: CSR, filters: Filters = NO_FILTERS) -> CSR:
        """Weights of the nearest users of some users, (n, n_users); every row that has any adds up to 1."""
        n_users = self.item_profiles_.n_columns
        if not self.neighbours or not n_users:
            return CSR(np.zeros(profiles.n_rows + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), n_users)
        rows, scores = self._kernels().linear_top_k(
            profiles, self.item_profiles_, self.neighbours, filters=filters, threads=self.threads
        )
        scores = np.where((rows >= 0) & (scores > 0), scores, 0)
        order = np.argsort(rows, axis=1, kind="stable")
        rows, scores = np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)
        kept = scores > 0
        sums = scores.sum(axis=1, dtype=np.float64, keepdims=True)
        weights = (scores / np.maximum(sums, 1e-30)).astype(np.float32)
        return CSR(offsets(kept.sum(axis=1)), rows[kept], weights[kept], n_users)

    def _top_k(self, users: Rows, k: int, filters: Filters) -> TopK:
        return self._ranked(self.user_vectors_.take(users), self.neighbours_.take(users), k, filters)

    def _top_k_for(self, histories: CSR, k: int, filters: Filters) -> TopK:
        per_day = 1.0 if self.half_life is None else math.log(2) / in_days(self.half_life)
        own = histories.scaled(columns=self.trend_ * np.float32(self.alpha * per_day))
        return self._ranked(own, self._nearest(self._profiles(histories)), k, filters)

    def _ranked(self, own: CSR, neighbours: CSR, k: int, filters: Filters) -> TopK:
        # One product: the rows of [1, neighbours] times the columns of [own; neighbours' vectors].
        n, theirs = own.n_rows, self.neighbour_vectors_
        left = CSR(
            neighbours.indptr + np.arange(n + 1),
            np.insert(neighbours.indices + n, neighbours.indptr[:-1], np.arange(n)).astype(np.int32),
            np.insert(neighbours.values, neighbours.indptr[:-1], 1),
            n + theirs.n_rows,
        )
        right = CSR(
            np.concatenate([own.indptr, own.indptr[-1] + theirs.indptr[1:]]),
            np.concatenate([own.indices, theirs.indices]),
            np.concatenate([own.values, theirs.values]),
            own.n_columns,
        )
        return self._kernels().linear_top_k(left, right, k, filters=filters, threads=self.threads)

    def _scores(self, users: Rows, items: Rows) -> Float:
        scores = self.user_vectors_.lookup(users, items)
        theirs = self.neighbour_vectors_.to_scipy()
        asked, at = np.unique(users, return_inverse=True)
        order = np.argsort(at, kind="stable")
        for begin in range(0, len(asked), _USERS):
            first, last = np.searchsorted(at[order], (begin, begin + _USERS))
            piece = order[first:last]
            summed = self.neighbours_.take(asked[begin : begin + _USERS]).to_scipy() @ theirs
            scores[piece] += CSR.from_scipy(summed).lookup(at[piece] - begin, items[piece])
        return scores


def _per_day(ages: NDArray[np.float64], half_life: str) -> NDArray[np.float64]:
    """Weights of baskets by their ages in days, which make a steady one a day add up to 1."""
    days = in_days(half_life)
    return 0.5 ** (ages / days) * (math.log(2) / days)

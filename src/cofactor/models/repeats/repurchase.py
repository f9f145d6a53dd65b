"""Repurchase: how likely a user is to take each item of the own history again, learned from the log itself.

The log is cut one window before its end. y_ui says whether the pair (u, i), met before the cut, meets again after it,
z_ui describes the pair as it stood at the cut, and a logistic regression on z and all products of two of its entries,
phi(z), tells one from the other:

    minimise over b   sum_ui [log(1 + exp(s_ui)) - y_ui s_ui] + regularization / 2 |b|^2,    s_ui = b_0 + b phi(z_ui)

by Newton's method (b_0 is not penalised). Scores are the probabilities for z at the end of the log.

What z holds is what the closed forms of Bhagat, Muralidharan, Lobzhanidze & Vishwanath (*Buy It Again: Modeling Repeat
Purchase Recommendations*, KDD 2018) are made of: how often a pair meets, how long ago it last did beside its usual
interval, and how many users of the item ever repeat it. Departures: a regression weighs these instead of a
distribution derived from them; several half-lives instead of one rate; the pace of the user and the trend of the item.
"""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - the command line reads the types of parameters
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy

from cofactor.checks import check_at_least
from cofactor.data.baskets import Baskets
from cofactor.data.events import read_events
from cofactor.data.histories import read_histories
from cofactor.data.ids import IdMap
from cofactor.data.interactions import Interactions
from cofactor.data.tables import TableLike, read_table
from cofactor.errors import DataError, ParameterError
from cofactor.kernels.blas import limited
from cofactor.kernels.csr import CSR, offsets
from cofactor.models.base.fitting import in_one_step
from cofactor.models.base.recency import check_duration, in_days, require_times
from cofactor.models.base.recommender import Recommender
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from typing import Self

    import polars as pl
    from numpy.typing import NDArray

    from cofactor.data.log import Log
    from cofactor.kernels.arrays import Float, Rows, TopK
    from cofactor.kernels.filters import Filters

    Double = NDArray[np.float64]

__all__ = ["Repurchase"]

_BLOCK = 16_384  # pairs whose products are held at once
_TOLERANCE = 1e-12  # of the loss: when Newton's method has arrived
_STEPS = 50


class Repurchase(Recommender):
    """Rank the items of a user's own history by the probability that they are taken again within a window of time.

    Only items of the history come back, so ``recommend(exclude_seen=True)`` gives empty lists: this model is for repeat
    consumption (``exclude_seen=False``); :class:`Fallback` or :class:`Blend` add what is new. Baskets (sessions, or
    days) are counted, and the weights of the interactions are not read.

    Histories given to :meth:`recommend_for` are judged like those of training where they have times: a table with a
    column ``time`` (and ``session_id``, else a day is a basket), or Interactions made of events with times. Their ages
    count from the end of the training log, or of the histories if that is later. Histories without times are ranked
    by the weights that they come with, which are then the scores.

    Parameters
    ----------
    window : str or None
        How far ahead to look, such as ``"28d"``; the last such window of the log is what is learned from, so the log
        must be longer, better several times. None: for logs without times, rank by weight and learn nothing.
    half_lives : sequence of str
        Ascending; how often a pair, a user and an item were there is counted once with each.
    regularization : float
        Ridge penalty on standardized coefficients, in units of pairs; above 0.
    threads : int, optional

    Attributes
    ----------
    scores_ : CSR (n_users, n_items)
        Probabilities of all pairs of the histories; the weights without ``window``.
    coefficients_ : (1 + f + f (f + 1) / 2,) float64
        b: the constant, the f features, and the products of the f features with themselves and each other.
    centres_, scales_ : (f,) float64
        Means and standard deviations of the features at the cut, by which they are standardized.
    item_features_ : (n_items, len(half_lives) + 2) float32
    newest_ : float
        The end of the training log, in days since 1970.
    """

    scores_: CSR
    coefficients_: Double
    centres_: Double
    scales_: Double
    item_features_: Float
    newest_: float

    def __init__(
        self,
        window: str | None = "28d",
        *,
        half_lives: Sequence[str] = ("14d", "60d", "180d"),
        regularization: float = 300.0,
        threads: int | None = None,
    ) -> None:
        self.window = window
        self.half_lives = half_lives
        self.regularization = regularization
        self.threads = threads

    def params(self) -> dict[str, Any]:
        """The constructor's parameters and their values; a saved model has its half-lives as a list."""
        given = self.half_lives
        return {**super().params(), "half_lives": tuple(given) if isinstance(given, list) else given}

    @in_one_step
    def fit(self, interactions: Interactions, *, progress: bool | None = None) -> Self:
        """Learn from the last window of the log, then judge every pair at its end; ``progress`` changes nothing.

        O(pairs f^4 / 4) for f features, some 20, in each of a few Newton steps.

        Raises
        ------
        DataError
            The interactions were not made of events with times; or the log is not longer than the window, or nothing
            of before comes again in the last one, or everything does.
        """
        self._check()
        if self.window is None:
            self.scores_ = interactions.user_items
            return self
        require_times(interactions, f"Repurchase(window={self.window!r})")
        baskets = Baskets.of(interactions)
        self.newest_ = baskets.newest
        window = in_days(self.window)
        past = baskets.before(window)
        met = _Met.of(past)
        after = baskets.weighed((baskets.ages <= window).astype(np.float64), interactions.n_users)
        again = after.lookup(met.users, met.items) > 0
        if not 0 < again.sum() < len(again):
            raise DataError(
                f"window={self.window!r}: the log runs over {baskets.ages.max(initial=0):.1f} days, and of its "
                f"{len(again):,} (user, item) pairs before the last window {again.sum():,} occur in it; nothing can be "
                "learned unless some do and some do not: give a shorter window or a longer log"
            )
        features = self._features(past, met, interactions.n_users, self._of_items(met, interactions.n_items))
        self.centres_, scales = features.mean(axis=0), features.std(axis=0)
        self.scales_ = np.where(scales > 0, scales, 1)
        self.coefficients_ = _logistic((features - self.centres_) / self.scales_, again, self.regularization)
        self.item_features_ = self._of_items(_Met.of(baskets), interactions.n_items).astype(np.float32)
        self.scores_ = self._scored(baskets, interactions.n_users)
        return self

    def _learned(self) -> dict[str, str]:
        if self.window is None:
            return {"scores_": "csr users items"}
        n = len(self.half_lives)
        f = 3 * n + 8  # of a pair n + 5, of its user n + 1, of its item n + 2
        return {
            "scores_": "csr users items",
            "coefficients_": f"float64 {1 + f + f * (f + 1) // 2}",
            "centres_": f"float64 {f}",
            "scales_": f"float64 {f}",
            "item_features_": f"float32 items {n + 2}",
            "newest_": "number",
        }

    def _check(self) -> None:
        check_duration("window", self.window)
        if not isinstance(self.half_lives, list | tuple) or not self.half_lives:
            raise ParameterError(f"half_lives must be a list such as ['7d', '90d'], got {self.half_lives!r}")
        for span in self.half_lives:
            check_duration("half_lives", span)
        if any(b <= a for a, b in pairwise(map(in_days, self.half_lives))):
            raise ParameterError(f"half_lives must be ascending, got {list(self.half_lives)!r}; sort them")
        check_at_least("regularization", self.regularization, 0, above=True)
        resolve_threads(self.threads)

    def _of_items(self, met: _Met, n_items: int) -> Double:
        assert self.window is not None
        return _item_features(met, n_items, [in_days(span) for span in self.half_lives], in_days(self.window))

    def _features(self, baskets: Baskets, met: _Met, n_users: int, items: NDArray[np.floating]) -> Double:
        """What is known of every pair, (n_pairs, f)."""
        assert self.window is not None
        half_lives = [in_days(span) for span in self.half_lives]
        users = _user_features(baskets, n_users, half_lives)
        return np.hstack([_pair_features(met, half_lives, in_days(self.window)), users[met.users], items[met.items]])

    def _scored(self, baskets: Baskets, n_users: int) -> CSR:
        """Probabilities of all pairs of some baskets, (n_users, n_items)."""
        met = _Met.of(baskets)
        z = (self._features(baskets, met, n_users, self.item_features_) - self.centres_) / self.scales_
        probabilities = _probabilities(z, self.coefficients_).astype(np.float32)
        indptr = offsets(np.bincount(met.users, minlength=n_users))
        return CSR(indptr, met.items, probabilities, baskets.items.n_columns)

    def _read_histories(self, histories: TableLike | Interactions) -> tuple[pl.Series, CSR]:
        items = self.interactions_.items
        if not isinstance(histories, Interactions):
            histories = read_table(histories, ("user_id", "item_id"), "histories")
        users, weights = read_histories(histories, items)
        events = None if self.window is None else _events(histories)
        if events is None:
            return users, weights
        ids = IdMap.from_values(users)
        rows = ids.rows(users)
        ascending = weights.take(np.argsort(rows))
        baskets = Baskets.of(Interactions(ids, items, ascending, events))
        baskets = replace(baskets, ages=baskets.ages + max(self.newest_ - baskets.newest, 0))
        return users, self._scored(baskets, len(users)).take(rows)

    def _top_k(self, users: Rows, k: int, filters: Filters) -> TopK:
        return self._top_k_for(self.scores_.take(users), k, filters)

    def _top_k_for(self, histories: CSR, k: int, filters: Filters) -> TopK:
        n = histories.n_rows
        itself = CSR.one_each(np.arange(n, dtype=np.int32), n)
        return self._kernels().linear_top_k(itself, histories, k, filters=filters, threads=self.threads)

    def _scores(self, users: Rows, items: Rows) -> Float:
        return self.scores_.lookup(users, items)


class _Met(NamedTuple):
    """Which users and items have met, each pair once, and when: one age for every basket that has the item."""

    users: Rows  # (n_pairs,), pairs ascending by user, then item
    items: Rows
    pair: NDArray[np.int64]  # (n_meetings,) which pair
    ages: Double  # (n_meetings,) days

    @classmethod
    def of(cls, baskets: Baskets) -> Self:
        basket = baskets.items.row_index()
        keys = baskets.users[basket].astype(np.int64) * baskets.items.n_columns + baskets.items.indices
        pairs, pair = np.unique(keys, return_inverse=True)
        users, items = np.divmod(pairs, max(baskets.items.n_columns, 1))
        return cls(users.astype(np.int32), items.astype(np.int32), pair, baskets.ages[basket])

    def counted(self, half_life: float) -> Double:
        """Meetings of every pair, those of an age of ``half_life`` days for half."""
        weights = 0.5 ** (self.ages / half_life)
        return np.bincount(self.pair, weights, minlength=len(self.users)).astype(np.float64, copy=False)


def _pair_features(met: _Met, half_lives: list[float], window: float) -> Double:
    n = len(met.users)
    tick = window / 28  # what is this short is no time
    counts = np.bincount(met.pair, minlength=n)
    newest, oldest = np.full(n, np.inf), np.zeros(n)
    np.minimum.at(newest, met.pair, met.ages)
    np.maximum.at(oldest, met.pair, met.ages)
    often = counts > 1
    interval = (oldest - newest) / np.maximum(counts - 1, 1) + 2 * tick
    columns = [np.log(met.counted(span) + 0.02) for span in half_lives]
    columns += [np.log(counts), np.log(newest + tick), np.log(oldest + tick)]
    columns += [np.where(often, np.log(interval), 0), np.where(often, np.log((newest + 2 * tick) / interval), 0)]
    return np.column_stack(columns)


def _user_features(baskets: Baskets, n_users: int, half_lives: list[float]) -> Double:
    columns = [np.log(np.bincount(baskets.users, 0.5 ** (baskets.ages / s), n_users) + 0.2) for s in half_lives]
    taken = np.bincount(baskets.users, np.diff(baskets.items.indptr), n_users)
    columns.append(np.log((taken + 1) / (np.bincount(baskets.users, minlength=n_users) + 1)))
    return np.column_stack(columns)


def _item_features(met: _Met, n_items: int, half_lives: list[float], window: float) -> Double:
    """How much an item is taken, its trends, how many users take it twice, and how many of before did so of late."""

    def users(which: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(met.items[which], minlength=n_items)

    rates = [np.bincount(met.items, met.counted(span), n_items) for span in half_lives]
    columns = [np.log(rates[-1] + 1)]
    for (short, late), (long, usual) in pairwise(zip(half_lives, rates, strict=True)):
        columns.append(np.log((late * long / short + 20) / (usual + 20)))
    n = len(met.users)
    times = np.bincount(met.pair, minlength=n)
    of_late = np.bincount(met.pair[met.ages <= window], minlength=n)
    columns.append(np.log((users(times > 1) + 2) / (users(times > 0) + 10)))
    columns.append(np.log((users((of_late > 0) & (of_late < times)) + 0.5) / (users(of_late < times) + 5)))
    return np.column_stack(columns)


def _products(z: Double) -> Double:
    """1, z, and the products of every two entries of z, (n, 1 + f + f (f + 1) / 2)."""
    one, other = np.triu_indices(z.shape[1])
    return np.hstack([np.ones((len(z), 1)), z, z[:, one] * z[:, other]])


def _probabilities(z: Double, b: Double) -> Double:
    logits = [_products(z[at : at + _BLOCK]) @ b for at in range(0, len(z), _BLOCK)]
    return np.asarray(scipy.special.expit(np.concatenate([*logits, np.empty(0)])))


def _logistic(z: Double, y: NDArray[np.bool_], regularization: float) -> Double:
    """The b that minimises the loss at the head of this file; Newton steps, halved until they lower it enough."""

    def at(b: Double) -> tuple[float, Double, Double]:
        loss, gradient, hessian = 0.5 * float(ridge @ b**2), ridge * b, np.diag(ridge)
        for begin in range(0, len(z), _BLOCK):
            phi, truth = _products(z[begin : begin + _BLOCK]), y[begin : begin + _BLOCK]
            s = phi @ b
            p = scipy.special.expit(s)
            loss += float((np.logaddexp(0, s) - truth * s).sum())
            gradient = gradient + phi.T @ (p - truth)
            root = phi * np.sqrt(p * (1 - p))[:, None]
            hessian += root.T @ root
        return loss, gradient, hessian

    f = z.shape[1]
    b = np.zeros(1 + f + f * (f + 1) // 2)
    ridge = np.full(len(b), float(regularization))
    ridge[0] = 0
    share = y.mean()
    b[0] = np.log(share / (1 - share))
    loss, gradient, hessian = at(b)
    for _ in range(_STEPS):
        with limited(1):  # some hundred unknowns: more threads would wait for each other
            step = scipy.linalg.solve(hessian, gradient, assume_a="pos")
        gain, length = float(gradient @ step), 1.0
        if gain <= _TOLERANCE * loss:
            break
        new = at(b - step)
        while new[0] > loss - 0.1 * length * gain and length > 1e-6:
            length /= 2
            new = at(b - length * step)
        b = b - length * step
        loss, gradient, hessian = new
    return b


def _events(histories: pl.DataFrame | Interactions) -> Log | None:
    """The events that histories are made of, if these have times."""
    if isinstance(histories, Interactions):
        return histories.events if histories.events is not None and histories.events.time is not None else None
    if "time" not in histories.columns:
        return None
    session = "session_id" if "session_id" in histories.columns else None
    return read_events(histories, user="user_id", item="item_id", time="time", session=session)

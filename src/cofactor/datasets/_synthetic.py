"""Interactions and event logs drawn from planted factors, with the long tails of real data.

A user ``u`` picks one of ``factors`` topics with probability ``user_factors[u]``, then an item of that topic
with probability ``item_factors[:, topic]``: the expected matrix ``user_factors @ item_factors.T`` has rank
``factors`` exactly, and sampling from it costs O(log n_items) per interaction, never users x items.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cofactor.checks import check_at_least, check_type, is_number
from cofactor.data.events import Events, read_events
from cofactor.data.interactions import Interactions
from cofactor.errors import ParameterError
from cofactor.kernels.csr import CSR, offsets

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["planted_factors", "synthetic", "synthetic_events"]

# Spreads (standard deviations of the logarithm) that give the shape of MovieLens 20M: at 138,000 users,
# 27,000 items and 17 M interactions the median user has about 70, the busiest some thousands, the top item
# about 50,000.
_ACTIVITY_SPREAD = 1.1
_POPULARITY_SPREAD = 1.4
_TOPIC_SPREAD = 2.4
_TOPIC_CONCENTRATION = 0.2  # Dirichlet: small means that a user likes few topics

_CHUNK = 1 << 22  # interactions (or scores) handled at once
_ROUNDS = 12  # of sampling with rejection, before the few unfinished users are drawn exactly

_EVENT_TYPES = {"view": 0.9, "cart": 0.07, "order": 0.03}


def planted_factors(
    n_users: int, n_items: int, factors: int = 16, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the factors that `synthetic` and `synthetic_events` plant for the same arguments.

    Their product is the distribution of each user's next item, so ranking by it is the best that any model
    can reach on such data.

    Parameters
    ----------
    n_users, n_items, factors, seed : int

    Returns
    -------
    user_factors : (n_users, factors) float64
        Probability of each topic; rows add up to 1.
    item_factors : (n_items, factors) float64
        Probability of each item inside a topic; columns add up to 1.

    Raises
    ------
    ParameterError
        A count is below 1.
    """
    for name, value in {"n_users": n_users, "n_items": n_items, "factors": factors}.items():
        check_at_least(name, value, 1, whole=True)
    check_at_least("seed", seed, 0, whole=True)
    rng = np.random.default_rng([seed, 0])
    users = rng.dirichlet(np.full(factors, _TOPIC_CONCENTRATION), n_users) + 1e-3
    popularity = rng.normal(0, _POPULARITY_SPREAD, n_items)
    items = np.exp(popularity[:, None] + rng.normal(0, _TOPIC_SPREAD, (n_items, factors)))
    return users / users.sum(1, keepdims=True), items / items.sum(0)


def synthetic(
    n_users: int = 1000, n_items: int = 500, n_interactions: int = 20_000, *, factors: int = 16, seed: int = 0
) -> Interactions:
    """Draw distinct (user, item) pairs with planted factors, long-tailed activity and popularity.

    Each user's items are a draw without replacement from the user's row of the planted product (see
    `planted_factors`). Activity is lognormal. 17 M pairs of 138,000 users and 27,000 items take about
    20 seconds and half a gigabyte.

    Parameters
    ----------
    n_users, n_items : int
        Ids are ``0 .. n - 1``. Some may have no interaction.
    n_interactions : int
        Exact number of pairs.
    factors : int
        Rank of the planted structure.
    seed : int
        Equal arguments give equal data.

    Returns
    -------
    Interactions
        All weights are 1.

    Raises
    ------
    ParameterError
        A count is below 1, or more interactions are asked for than there are (user, item) pairs.
    """
    user_topics, item_factors = planted_factors(n_users, n_items, factors, seed)
    check_at_least("n_interactions", n_interactions, 1, whole=True)
    if n_interactions > n_users * n_items:
        raise ParameterError(
            f"n_interactions={n_interactions!r}: {n_users:,} users x {n_items:,} items allow 1 to {n_users * n_items:,}"
        )
    topic_items = item_factors.T
    rng = np.random.default_rng([seed, 1])
    degrees = _degrees(_activity(n_users, rng), n_interactions, n_items)
    indptr = offsets(degrees)
    indices = np.empty(n_interactions, np.int32)
    topic_steps = _steps(topic_items)
    for start, stop in _user_chunks(indptr):
        keys = _distinct_draws(user_topics[start:stop], topic_items, topic_steps, degrees[start:stop], rng)
        indices[indptr[start] : indptr[stop]] = keys % n_items
    return Interactions.from_csr(CSR(indptr, indices, np.ones(n_interactions, np.float32), n_items))


def synthetic_events(
    n_users: int = 1000,
    n_items: int = 500,
    n_events: int = 50_000,
    *,
    factors: int = 16,
    start: datetime = datetime(2024, 1, 1),
    days: float = 90.0,
    event_types: Mapping[str, float] = _EVENT_TYPES,
    seed: int = 0,
) -> Events:
    """Draw an event log with the structure of `synthetic`: repeats allowed, in time order.

    Parameters
    ----------
    n_users, n_items, factors, seed : int
        As in `synthetic`.
    n_events : int
    start : datetime
        The events spread evenly over ``days`` days from here.
    days : float
    event_types : mapping of name to share
        Each event's type is drawn independently with these probabilities.

    Returns
    -------
    Events
        Columns ``user_id`` (int32), ``item_id`` (int32), ``time``, ``event_type`` (enum). 17 bytes per event.

    Raises
    ------
    ParameterError
        A count is below 1, or the shares are not positive.
    """
    check_at_least("n_events", n_events, 1, whole=True)
    check_at_least("days", days, 0, above=True)
    check_type("start", start, datetime, "a datetime")
    check_type("event_types", event_types, Mapping, "a mapping of names to shares")
    if not event_types or not all(is_number(share) and share > 0 for share in event_types.values()):
        raise ParameterError(f"event_types={dict(event_types)!r}: give at least one name with a positive share")
    shares = np.array(list(event_types.values()), np.float64)
    user_topics, topic_items = planted_factors(n_users, n_items, factors, seed)
    rng = np.random.default_rng([seed, 1])
    user_steps, type_steps = _steps(_activity(n_users, rng)[None]), _steps(shares[None] / shares.sum())
    topic_steps, item_steps = _steps(user_topics), _steps(topic_items.T)
    types = pl.Series(list(event_types), dtype=pl.Enum(list(event_types)))
    chunks = []
    for first in range(0, n_events, _CHUNK):
        at = np.arange(first, min(first + _CHUNK, n_events))
        none = np.zeros(len(at), np.int64)
        users = _draw(user_steps, none, rng)
        items = _draw(item_steps, _draw(topic_steps, users, rng), rng)
        seconds = (at + rng.random(len(at))) * (timedelta(days=days).total_seconds() / n_events)
        columns = {
            "user_id": users.astype(np.int32),
            "item_id": items.astype(np.int32),
            "time": np.datetime64(start, "us") + (seconds * 1e6).astype("timedelta64[us]"),
            "event_type": types.gather(_draw(type_steps, none, rng)),
        }
        chunks.append(pl.DataFrame(columns))
    return read_events(pl.concat(chunks), user="user_id", item="item_id", time="time", event_type="event_type")


def _activity(n_users: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Share of all interactions that each user has."""
    activity: NDArray[np.float64] = np.exp(rng.normal(0, _ACTIVITY_SPREAD, n_users))
    activity /= activity.sum()
    return activity


def _degrees(shares: NDArray[np.float64], total: int, most: int) -> NDArray[np.int64]:
    """Whole numbers in proportion to ``shares`` that add up to ``total``, none above ``most``."""
    expected = shares * total
    full = np.zeros(len(shares), bool)
    while (over := (expected >= most) & ~full).any():
        full |= over
        rest = shares * ~full
        expected = np.where(full, most, rest * ((total - most * full.sum()) / max(rest.sum(), 1e-300)))
    degrees = np.floor(expected).astype(np.int64)
    order = np.argsort(-(expected - degrees), kind="stable")
    while short := total - int(degrees.sum()):
        free = order[degrees[order] < most]
        degrees[free[:short]] += 1
    return degrees


def _user_chunks(indptr: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Split the users into runs with about `_CHUNK` interactions each."""
    marks = np.searchsorted(indptr, np.arange(_CHUNK, indptr[-1], _CHUNK))
    bounds = np.unique([0, *marks.tolist(), len(indptr) - 1]).tolist()
    return list(pairwise(bounds))


def _distinct_draws(
    user_topics: NDArray[np.float64],
    topic_items: NDArray[np.float64],
    topic_steps: NDArray[np.float64],
    degrees: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Sorted ``user * n_items + item`` of ``degrees[user]`` distinct items per user.

    Every round draws as many items as are still missing and drops the repeats, which is the same as drawing
    one after the other without replacement. Where repeats are the rule, `_finish` makes the remaining draws
    at once.
    """
    n_items = topic_items.shape[1]
    user_steps = _steps(user_topics)
    keys = np.empty(0, np.int64)
    missing = degrees
    for _ in range(_ROUNDS):
        users = np.repeat(np.arange(len(degrees)), missing)
        items = _draw(topic_steps, _draw(user_steps, users, rng), rng)
        keys = np.sort(np.concatenate([keys, users * n_items + items]))
        keys = keys[np.diff(keys, prepend=-1) > 0]  # np.unique hashes, which is many times slower than sorting
        missing = degrees - np.bincount(keys // n_items, minlength=len(degrees))
        if not missing.any():
            return keys
    unfinished = np.flatnonzero(missing)
    block = max(1, _CHUNK // n_items)
    finished = [
        _finish(users, user_topics[users] @ topic_items, keys, missing[users], rng)
        for users in np.split(unfinished, range(block, len(unfinished), block))
    ]
    return np.sort(np.concatenate([keys, *finished]))


def _finish(
    users: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    keys: NDArray[np.int64],
    missing: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Draw ``missing`` more items per user without replacement: the largest of log p + Gumbel noise."""
    n_items = probabilities.shape[1]
    scores = np.log(probabilities) + rng.gumbel(size=probabilities.shape)
    taken = [keys[slice(*np.searchsorted(keys, (u * n_items, (u + 1) * n_items)))] - u * n_items for u in users]
    chosen = []
    for user, row, seen, n in zip(users, scores, taken, missing, strict=True):
        row[seen] = -np.inf
        chosen.append(user * n_items + np.argpartition(-row, n - 1)[:n])
    return np.concatenate(chosen)


def _steps(distributions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cumulative distributions of all rows on one ascending line: row ``r`` covers ``r .. r + 1``."""
    steps: NDArray[np.float64] = np.cumsum(distributions, axis=1)
    steps /= steps[:, -1:]
    steps += np.arange(len(steps))[:, None]
    return steps


def _draw(steps: NDArray[np.float64], rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """One column for every entry of ``rows``, from that row's distribution."""
    n_columns = steps.shape[1]
    at = np.searchsorted(steps.ravel(), rows + rng.random(len(rows)), side="right") - rows * n_columns
    columns: NDArray[np.int64] = np.minimum(at, n_columns - 1)  # row + number may round up to the next row
    return columns

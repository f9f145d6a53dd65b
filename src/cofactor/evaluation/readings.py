"""How often a test side was read, and on what the parameters of a model were chosen, as far as this process saw it.

A test that was read many times, while models were changed in between, has become a validation set: the best of many
readings is better than what comes. Nobody counts by hand; every evaluation counts here.
"""

from __future__ import annotations

from collections import Counter
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import polars as pl

from cofactor.checks import check_at_least, check_type
from cofactor.data.tables import TableLike, pairs_of
from cofactor.metrics.hits import Relevance

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["choice_of", "note_choice", "note_reading", "readings"]

_COUNTS: Counter[tuple[int, int]] = Counter()
_CHOICES: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
_LOCK = Lock()


def readings(test: TableLike) -> int:
    """How often this process has measured a model or a table on a test side.

    ``evaluate``, ``compare`` (once for each model), ``cross_validate``, ``paired_tests`` (likewise),
    ``errors_by_rating``, ``calibration`` and ``evaluate_by_type`` count, where they come to a result. Two test sides
    are the same if they have the same pairs of user and item, in any order, type of table or number of repeats.

    Parameters
    ----------
    test : Events, Interactions, Ratings, or table with ``user_id`` and ``item_id``

    Raises
    ------
    DataError
        A column is missing or holds null, or there is no row.

    Examples
    --------
    >>> import polars as pl
    >>> from cofactor import evaluate
    >>> test = pl.DataFrame({"user_id": [11], "item_id": [12]})
    >>> lists = pl.DataFrame({"user_id": [11], "item_id": [12], "rank": [1]})
    >>> for _ in range(2):
    ...     found = evaluate(lists, test, "hit_rate@1")
    >>> readings(test)
    2
    """
    return _COUNTS[_fingerprint(Relevance.from_pairs(pairs_of(test)))]


def note_reading(test: TableLike | Relevance, n: int = 1) -> int:
    """Count ``n`` more readings of a test side, and give how many there are now."""
    check_at_least("n", n, 0, whole=True)
    key = _fingerprint(test if isinstance(test, Relevance) else Relevance.from_pairs(pairs_of(test)))
    with _LOCK:
        _COUNTS[key] += n
        return _COUNTS[key]


def note_choice(model: object, on: str) -> None:
    """Remember on what the parameters of a model were chosen, in words; measurements of it say so."""
    check_type("on", on, str, "a text, such as 'the last 28 days of train'")
    _CHOICES[model] = on


def choice_of(model: object) -> str | None:
    """What was noted, None where nothing was, as of models whose parameters somebody chose by hand."""
    try:
        return _CHOICES.get(model)
    except TypeError:  # what nobody can note anything of
        return None


def _fingerprint(relevance: Relevance) -> tuple[int, int]:
    """Number of the pairs, and the sum of the products of hashes of their user and item: equal for equal sets."""
    users, items = (_hashes(ids, seed) for ids, seed in ((relevance.users, 1), (relevance.items, 2)))
    with np.errstate(over="ignore"):
        return relevance.n_pairs, int((users[relevance.user] * items[relevance.item]).sum())


def _hashes(ids: pl.Series, seed: int) -> NDArray[np.uint64]:
    """An odd number for each id, the same for every type that holds the id."""
    if ids.dtype == pl.UInt64:
        ids = ids.reinterpret(signed=True)
    elif ids.dtype.is_integer():
        ids = ids.cast(pl.Int64)
    elif ids.dtype in (pl.Categorical, pl.Enum):
        ids = ids.cast(pl.String)
    return ids.hash(seed).to_numpy() | np.uint64(1)

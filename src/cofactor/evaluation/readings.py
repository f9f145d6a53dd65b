"""How often a test side was read, and on what the parameters of a model were chosen, as far as it was seen.

A test that was read many times, while models were changed in between, has become a validation set: the best of many
readings is better than what comes. Nobody counts by hand; every evaluation of this process counts here, and those of
others where they are kept in a folder.
"""

from __future__ import annotations

from collections import Counter
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import polars as pl

from cofactor.checks import check_at_least, check_path, check_type
from cofactor.data.tables import TableLike, pairs_of
from cofactor.errors import ParameterError
from cofactor.evaluation.kept_readings import KeptReadings, keeping
from cofactor.metrics.hits import Relevance

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["choice_of", "note_choice", "note_reading", "readings", "times"]

_COUNTS: Counter[tuple[int, int]] = Counter()
_CHOICES: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
_LOCK = Lock()


def times(n: int) -> str:
    """How often, in words."""
    return "once" if n == 1 else f"{n:,} times"


def readings(test: TableLike, folder: str | Path | None = None) -> int:
    """How often a model or a table was measured on a test side: by this process, and as a folder tells of others.

    ``evaluate``, ``compare`` (once for each model), ``cross_validate``, ``paired_tests`` (likewise),
    ``errors_by_rating``, ``calibration`` and ``evaluate_by_type`` count, where they come to a result. Two test sides
    are the same if they have the same pairs of user and item, in any order, type of table or number of repeats.

    Parameters
    ----------
    test : Events, Interactions, Ratings, or table with ``user_id`` and ``item_id``
    folder : path, optional
        Of ``compare``, ``tune`` or ``run_experiment``, which keep there what they read.

    Raises
    ------
    DataError, ParameterError
        A column is missing or holds null, or there is no row; there is no such folder.

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
    relevance, others = Relevance.from_pairs(pairs_of(test)), 0
    if folder is not None:
        if not (place := check_path("folder", folder)).is_dir():
            raise ParameterError(f"folder: {place} is no folder that there is; name one of compare, tune or a run")
        others = KeptReadings(place).others(relevance)
    return _COUNTS[_fingerprint(relevance)] + others


def note_reading(test: TableLike | Relevance, n: int = 1, chosen_on: str | None = None) -> int:
    """Count ``n`` more readings of a test side, of a model whose parameters were chosen on what is told.

    Gives how many there are now, with those of other processes in the folder where readings are kept at the moment.
    """
    check_at_least("n", n, 0, whole=True)
    relevance = test if isinstance(test, Relevance) else Relevance.from_pairs(pairs_of(test))
    key, kept = _fingerprint(relevance), keeping()
    with _LOCK:
        _COUNTS[key] += n
        count = _COUNTS[key]
    return count if kept is None else count + kept.note(relevance, n, chosen_on)


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

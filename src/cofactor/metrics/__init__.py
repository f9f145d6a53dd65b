"""Metrics by name: ``recall@10``, ``auc``, ``coverage@20``.

A new metric is one function in the file of its family and one line in the dict of its kind below.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cofactor.errors import ParameterError
from cofactor.metrics import ranking
from cofactor.metrics.auc import auc
from cofactor.metrics.catalogue import coverage

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from cofactor.metrics.hits import Hits

__all__ = ["Metric", "available", "parse", "parse_all"]

PER_USER_AT_K = {
    "recall": ranking.recall,
    "truncated_recall": ranking.truncated_recall,
    "precision": ranking.precision,
    "hit_rate": ranking.hit_rate,
    "ndcg": ranking.ndcg,
    "ndcg_fixed": ranking.ndcg_fixed,
    "map": ranking.map,
    "map_full": ranking.map_full,
    "mrr": ranking.mrr,
}
PER_USER_COMPLETE = {"auc": auc}
OVERALL_AT_K = {"coverage": coverage}


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric and the places it looks at.

    Parameters
    ----------
    name : str
        As it was asked for, such as ``recall@10``.
    family : str
        The name before the ``@``.
    k : int or None
        Places that count; None for a metric of complete lists.
    """

    name: str
    family: str
    k: int | None

    @property
    def per_user(self) -> bool:
        """Whether there is a value for every user, the mean of which is the value of the metric."""
        return self.family not in OVERALL_AT_K

    def compute(self, hits: Hits) -> NDArray[np.float64] | float:
        """Value of every user, (n_users,) float64, or of all together."""
        if self.k is None:
            return PER_USER_COMPLETE[self.family](hits)
        if self.per_user:
            return PER_USER_AT_K[self.family](hits, self.k)
        return OVERALL_AT_K[self.family](hits, self.k)


def available() -> list[str]:
    """All names, as they are written: those with ``@k`` need a number."""
    return [f"{name}@k" for name in (*PER_USER_AT_K, *OVERALL_AT_K)] + list(PER_USER_COMPLETE)


def parse(name: str) -> Metric:
    """Read the name of a metric.

    Raises
    ------
    ParameterError
        The name is not known (the message lists them all and a close one), or its k is missing, not wanted,
        or not a number from 1.

    Examples
    --------
    >>> parse("recall@10")
    Metric(name='recall@10', family='recall', k=10)
    """
    family, at, k = name.partition("@") if isinstance(name, str) else (repr(name), "", "")
    if family in PER_USER_COMPLETE:
        if at:
            raise ParameterError(f"metrics: {name!r}: {family} is of complete lists, write {family!r}")
        return Metric(name, family, None)
    if family not in PER_USER_AT_K and family not in OVERALL_AT_K:
        known = [*PER_USER_AT_K, *OVERALL_AT_K, *PER_USER_COMPLETE]
        close = difflib.get_close_matches(family.lower().replace("-", "_"), known, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]}?" if close else "."
        raise ParameterError(f"metrics: {name!r} is unknown{hint} There are: {', '.join(available())}")
    if not (k.isascii() and k.isdigit() and int(k) >= 1):
        raise ParameterError(f"metrics: {name!r} needs a whole number k >= 1 after @, such as '{family}@10'")
    return Metric(name, family, int(k))


def parse_all(names: str | Iterable[str]) -> list[Metric]:
    """Read several names; one string is one name.

    Raises
    ------
    ParameterError
        As ``parse``, or no name is given, or one is given twice.
    """
    metrics = [parse(name) for name in ([names] if isinstance(names, str) else names)]
    if not metrics:
        raise ParameterError(f"metrics: none is given; there are: {', '.join(available())}")
    seen = [metric.name for metric in metrics]
    if twice := sorted({name for name in seen if seen.count(name) > 1}):
        raise ParameterError(f"metrics: given more than once: {', '.join(twice)}")
    return metrics

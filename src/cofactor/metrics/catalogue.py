"""Metrics of all lists together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cofactor.errors import DataError, ParameterError

if TYPE_CHECKING:
    from cofactor.metrics.hits import Hits

__all__ = ["coverage"]


def coverage(hits: Hits, k: int) -> float:
    """Share of the catalogue that is among the first k places of at least one evaluated user.

    RecTools' ``CatalogCoverage(normalize=True)`` also counts the lists of users without test items.

    Raises
    ------
    ParameterError
        The size of the catalogue is not known.
    DataError
        The lists hold more items than the catalogue.
    """
    if hits.n_items is None:
        raise ParameterError("coverage needs the size of the catalogue: give the number of its items as n_items=")
    n_listed_items = int((hits.best_rank <= k).sum())
    if n_listed_items > hits.n_items:
        raise DataError(f"the lists hold {n_listed_items} distinct items, more than n_items={hits.n_items}")
    return n_listed_items / hits.n_items

"""Metrics in groups: of users by their activity, of test items by their popularity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cofactor.evaluation import slices

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cofactor.data.user_items import UserItems

__all__ = ["by_activity", "by_popularity"]

_ERRORS = 1.96  # standard errors of a mean to either side: 95 %
_SCHEMA: dict[str, Any] = {"model": pl.String, "slice": pl.String, "n": pl.Int64}
_SCHEMA |= dict.fromkeys(("value", "low", "high"), pl.Float64)


def by_activity(values: Mapping[str, pl.DataFrame], metric: str, train: UserItems) -> pl.DataFrame:
    """A metric by how many items users have in the training data; users it does not know have none.

    Users without a value, NaN, are left out.

    Parameters
    ----------
    values : mapping of model to DataFrame
        ``user_id`` and the metric, a row per user.
    metric : str
    train : Interactions or Ratings

    Returns
    -------
    DataFrame
        A row per model and group that has users: ``model``, ``slice``, ``n`` (users), ``value`` (mean), ``low``,
        ``high`` (normal 95 % interval, null for a single user).
    """
    rows = []
    for model, table in values.items():
        groups = slices.by_activity(table["user_id"], train)
        column = table[metric].to_numpy()
        for place, name in enumerate(groups.names):
            part = column[(groups.of == place) & ~np.isnan(column)]
            if part.size:
                mean = float(part.mean())
                reach = float(_ERRORS * part.std(ddof=1) / np.sqrt(part.size)) if part.size > 1 else None
                ends = (None, None) if reach is None else (mean - reach, mean + reach)
                rows.append((model, name, part.size, mean, *ends))
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


def by_popularity(lists: Mapping[str, pl.DataFrame], pairs: pl.DataFrame, train: UserItems) -> pl.DataFrame:
    """The share of test pairs that lists hold, by how many users the item has in the training data.

    Parameters
    ----------
    lists : mapping of model to DataFrame
        ``user_id`` and ``item_id``, of the users of ``pairs``.
    pairs : DataFrame
        ``user_id`` and ``item_id``.
    train : Interactions or Ratings

    Returns
    -------
    DataFrame
        As ``by_activity``; ``n`` are pairs, and there are no intervals, as those of one user go together.
    """
    groups = slices.by_popularity(pairs["item_id"], train)
    totals = np.bincount(groups.of, minlength=len(groups.names))
    there = np.flatnonzero(totals)
    rows: list[tuple[Any, ...]] = []
    for model, table in lists.items():
        listed = table.select("user_id", "item_id").with_columns(pl.lit(value=True).alias("listed"))
        found = pairs.join(listed, on=["user_id", "item_id"], how="left", maintain_order="left")["listed"].is_not_null()
        hits = np.bincount(groups.of[found.to_numpy()], minlength=len(totals))
        rows += [(model, groups.names[at], int(totals[at]), hits[at] / totals[at], None, None) for at in there]
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")

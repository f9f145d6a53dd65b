"""Metrics in groups: of users by their activity, of test items by their popularity."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cofactor.report.result_charts import users_per_item

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from cofactor.data.user_items import UserItems

__all__ = ["bands", "by_activity", "by_popularity"]

_ERRORS = 1.96  # standard errors of a mean to either side: 95 %
_SCHEMA: dict[str, Any] = {"model": pl.String, "slice": pl.String, "n": pl.Int64}
_SCHEMA |= dict.fromkeys(("value", "low", "high"), pl.Float64)


def bands(counts: NDArray[np.int64], n: int = 5) -> tuple[list[str], NDArray[np.int64]]:
    """Cut counts into ranges of about as many values each; zeros are a range of their own.

    Returns
    -------
    names : list of str
        Such as ``["0", "1", "2-4", "5-"]``, ascending, none of them empty.
    at : (len(counts),) int64
        The range of each.
    """
    positive = counts[counts > 0]
    starts = np.unique(np.quantile(positive, np.arange(n) / n, method="higher")) if positive.size else positive
    starts = np.concatenate([[0], starts] if (counts == 0).any() else [starts]).astype(np.int64)
    names = [f"{a}" if b == a + 1 else f"{a}-{b - 1}" for a, b in pairwise(starts.tolist())]
    if starts.size:
        last, most = int(starts[-1]), int(counts.max())
        names.append(f"{last}" if last == most else f"{last}-{most}")
    if starts.size > 1 and starts[0] == 0:
        names[0] = "0"
    return names, np.searchsorted(starts, counts, side="right") - 1


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
        A row per model and group: ``model``, ``slice``, ``n`` (users), ``value`` (mean), ``low``, ``high`` (normal 95 %
        interval, null for a single user).
    """
    of_users = np.append(np.diff(train.user_items.indptr), 0)  # the last place is that of -1
    counts = {name: of_users[train.users.rows(table["user_id"])] for name, table in values.items()}
    names, _ = bands(np.concatenate(list(counts.values())))
    starts = [int(name.partition("-")[0]) for name in names]
    rows = []
    for model, table in values.items():
        at = np.searchsorted(starts, counts[model], side="right") - 1
        column = table[metric].to_numpy()
        for place, name in enumerate(names):
            part = column[(at == place) & ~np.isnan(column)]
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
    of_items = np.append(users_per_item(train), 0)
    names, at = bands(of_items[train.items.rows(pairs["item_id"])])
    totals = np.bincount(at, minlength=len(names))
    rows = []
    for model, table in lists.items():
        listed = table.select("user_id", "item_id").with_columns(pl.lit(value=True).alias("listed"))
        found = pairs.join(listed, on=["user_id", "item_id"], how="left", maintain_order="left")["listed"].is_not_null()
        hits = np.bincount(at[found.to_numpy()], minlength=len(names))
        shares = hits / totals
        rows += [(model, *row, None, None) for row in zip(names, totals.tolist(), shares.tolist(), strict=True)]
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")

"""What features say of the users and items of a model, those that only features tell of included."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from cofactor.checks import warn
from cofactor.data.features import Features
from cofactor.data.ids import IdMap
from cofactor.data.tables import read_table
from cofactor.data.widened import widened
from cofactor.errors import ParameterError
from cofactor.kernels.csr import CSR
from cofactor.models.base.fitting import as_interactions
from cofactor.models.base.held_out import new_pairs
from cofactor.models.sampled.losses import LOSSES

if TYPE_CHECKING:
    from cofactor.data.features import Of
    from cofactor.data.interactions import Interactions
    from cofactor.data.tables import TableLike
    from cofactor.data.user_items import UserItems
    from cofactor.kernels.arrays import Rows

__all__ = ["Known", "categories", "describe", "disliked", "further_dislikes"]


class Known(NamedTuple):
    """What a model that was fitted before knows of one side: its features, and those of its ids."""

    ids: IdMap
    features: Features | None
    described: CSR | None


def describe(
    x: Interactions, side: Of, table: TableLike | None, known: Known | None
) -> tuple[Interactions, Features | None, CSR | None]:
    """Interactions with the ids of a table too, the features, and those of all ids.

    Parameters
    ----------
    x : Interactions
    side : {"item", "user"}
    table : table, optional
    known : Known, optional
        Its features are taken, and what they say of ids that the table has not.

    Returns
    -------
    Interactions, Features or None, CSR (n_users or n_items, n_features) or None

    Raises
    ------
    DataError
        The table cannot be used, or is the first one and tells of nobody who has interactions.
    """
    features = None if known is None else known.features
    if table is None and (known is None or features is None):
        return x, None, None
    if table is None:
        ids = x.items if side == "item" else x.users
        return x, features, _moved(known.described, known.ids, ids)  # type: ignore[union-attr, arg-type]
    remembered = features is not None
    features = features or Features.from_frame(table, side)
    x = widened(x, table, side, some_known=not remembered)
    ids = x.items if side == "item" else x.users
    if not remembered:
        return x, features, features.encode(table, ids)
    told = IdMap.from_values(read_table(table, (), f"{side}_features")[f"{side}_id"].cast(ids.dtype))
    now = _moved(features.encode(table, told), told, ids)
    before = _moved(known.described, known.ids, ids)  # type: ignore[union-attr, arg-type]
    silent = np.diff(now.indptr) == 0
    silent[ids.rows(told.ids)] = False
    kept = before.to_scipy().multiply(silent[:, None])
    return x, features, CSR.from_scipy((now.to_scipy() + kept).tocsr())


def categories(features: Features | None, described: CSR | None, column: str) -> Rows:
    """Which category of a column every item has, (n_items, 1) int32; an item without one has a number of its own.

    Raises
    ------
    ParameterError
        There is no such column, or its items may have several values or are numbers.
    """
    if features is None or described is None:
        raise ParameterError(f"category={column!r} is a column of item_features, which were not given")
    names = [one.name for one in features.columns if one.kind == "category"]
    if column not in names:
        raise ParameterError(
            f"category={column!r} must be a column of item_features with one category for each item; these are "
            f"{', '.join(map(repr, names)) or 'none'}"
        )
    begin = 0
    for one in features.columns:
        if one.name == column:
            break
        begin += one.n_features
    groups = -1 - np.arange(described.n_rows, dtype=np.int32)
    inside = (described.indices >= begin) & (described.indices < begin + one.n_features)
    groups[described.row_index()[inside]] = described.indices[inside]
    return groups[:, None]


def disliked(x: Interactions, dislikes: TableLike | Interactions, loss: str) -> CSR:
    """Users x items that they do not like, of those that are known; the others are counted in a warning."""
    if LOSSES[loss].shared:
        few = ", ".join(repr(name) for name, one in LOSSES.items() if not one.shared)
        raise ParameterError(f"dislikes are for losses with few negatives ({few}), not for loss={loss!r}")
    pairs, told = new_pairs(x, dislikes, "dislikes")
    if told:
        warn(told)
    return pairs


def further_dislikes(
    x: UserItems, before: CSR | None, dislikes: TableLike | Interactions | None
) -> pl.DataFrame | None:
    """Pairs that a model was fitted with, by its interactions, and those that come; None if there are none at all."""
    found = []
    if before is not None and before.nnz:
        users, items = x.users.ids.gather(before.row_index()), x.items.ids.gather(before.indices)
        found.append(pl.DataFrame({"user_id": users, "item_id": items}))
    if dislikes is not None:
        found.append(as_interactions(dislikes, "dislikes").to_frame().select("user_id", "item_id"))
    return pl.concat(found, how="vertical_relaxed") if found else None


def _moved(matrix: CSR, ids: IdMap, to: IdMap) -> CSR:
    """Rows of some ids as rows of others; rows of ids that are not there are empty."""
    at = to.rows(ids.ids)
    rows = at[matrix.row_index()]
    there = rows >= 0
    return CSR.from_pairs(rows[there], matrix.indices[there], matrix.values[there], (len(to), matrix.n_columns))

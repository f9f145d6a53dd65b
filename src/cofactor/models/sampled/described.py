"""What features say of the users and items of a model, those that only features tell of included."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cofactor.data.features import Features
from cofactor.data.ids import IdMap
from cofactor.data.tables import read_table
from cofactor.kernels.csr import CSR

if TYPE_CHECKING:
    from cofactor.data.features import Of
    from cofactor.data.interactions import Interactions
    from cofactor.data.tables import TableLike

__all__ = ["Known", "describe"]


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
    """
    features = None if known is None else known.features
    if table is None and (known is None or features is None):
        return x, None, None
    if table is None:
        ids = x.items if side == "item" else x.users
        return x, features, _moved(known.described, known.ids, ids)  # type: ignore[union-attr, arg-type]
    remembered = features is not None
    features = features or Features.from_frame(table, side)
    new = features.new_ids(table, x.items if side == "item" else x.users)
    x = x.widened(items=new) if side == "item" else x.widened(users=new)
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


def _moved(matrix: CSR, ids: IdMap, to: IdMap) -> CSR:
    """Rows of some ids as rows of others; rows of ids that are not there are empty."""
    at = to.rows(ids.ids)
    rows = at[matrix.row_index()]
    there = rows >= 0
    return CSR.from_pairs(rows[there], matrix.indices[there], matrix.values[there], (len(to), matrix.n_columns))

"""Interactions and ratings among the ids of tables of features too, which may tell of whom nobody has met."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from cofactor.data.features import new_ids, read_features
from cofactor.data.interactions import Interactions
from cofactor.data.ratings import Ratings
from cofactor.errors import DataError

if TYPE_CHECKING:
    from cofactor.data.features import Of
    from cofactor.data.tables import TableLike

__all__ = ["widened"]

X = TypeVar("X", Interactions, Ratings)

_log = logging.getLogger(__name__)


def widened(x: X, frame: TableLike, of: Of, *, some_known: bool = True) -> X:
    """Interactions or ratings among the ids of a table of features as well; how many are new is logged, at INFO.

    Parameters
    ----------
    x : Interactions or Ratings
    frame : table
    of : {"item", "user"}
    some_known : bool
        Whether the features of somebody with interactions have to be there, to learn from.

    Raises
    ------
    DataError
        The ids cannot be used, or the table tells of nobody who has interactions.
    """
    told, ids = read_features(frame, of)[f"{of}_id"], x.items if of == "item" else x.users
    new = new_ids(told, of, ids)
    if some_known and x.nnz:
        counts = np.bincount(x.user_items.indices if of == "item" else x.user_items.row_index(), minlength=len(ids))
        rows = ids.rows(told)
        if not counts[rows[rows >= 0]].any():
            have = f"{of}s with {'ratings' if isinstance(x, Ratings) else 'interactions'}"
            first = f", whose first id is {told[0]!r}" if len(told) else ""
            raise DataError(
                f"{of}_features: none of the {np.count_nonzero(counts):,} {have}, such as "
                f"{ids.ids[int(counts.argmax())]!r}, has a row in the table{first}; are the ids of both the same?"
            )
    if len(new):
        _log.info("%s_features: %s of %s ids are new, known by features alone", of, f"{len(new):,}", f"{len(told):,}")
    return x.widened(items=new) if of == "item" else x.widened(users=new)

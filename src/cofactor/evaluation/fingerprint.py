"""What data is, in one number: to tell whether results in a folder are of the same."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cofactor.data.log import Log
    from cofactor.data.user_items import UserItems

__all__ = ["fingerprint"]


def fingerprint(x: UserItems | None, tables: Iterable[pl.DataFrame], log: Log | None = None) -> str:
    """The SHA-256, in hexadecimal digits, of what models are fitted on and measured by.

    Parameters
    ----------
    x : Interactions or Ratings, optional
    tables : iterable of DataFrame
        Held-out pairs, and features; the order of their rows does not count.
    log : Events, optional
        Where its times matter too: their sum and the least stand for them.
    """
    digest = hashlib.sha256()
    if x is not None:
        for part in (x.user_items.indptr, x.user_items.indices, x.user_items.values):
            digest.update(np.ascontiguousarray(part).data)
        for ids in (x.users.ids, x.items.ids):
            digest.update(_bytes(ids))
    for table in tables:
        flat = [name for name, dtype in table.schema.items() if not dtype.is_nested()]
        for column in table.sort(flat).get_columns():
            digest.update(_bytes(column))
    if log is not None and log.time is not None:
        time = pl.col(log.time).cast(pl.Int64)
        digest.update(repr(log.frame.select(time.min(), (time // 1000).sum().alias("sum")).collect().row(0)).encode())
    return digest.hexdigest()


def _bytes(column: pl.Series) -> bytes:
    if column.dtype.is_numeric():
        return np.ascontiguousarray(column.to_numpy()).tobytes()
    text = column.bin.encode("hex") if column.dtype == pl.Binary else column
    text = text if text.dtype.is_nested() else text.cast(pl.String)
    return "\0".join(map(str, text.to_list())).encode()

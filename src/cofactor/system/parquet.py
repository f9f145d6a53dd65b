"""Parquet files larger than memory, written part after part."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from polars.io.plugins import register_io_source

from cofactor.checks import check_type
from cofactor.errors import ParameterError
from cofactor.system.files import check_output, replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["write_parquet_parts"]

_ROW_GROUP = 1 << 18  # what loaders read together


def write_parquet_parts(
    parts: Callable[[], Iterator[pl.DataFrame]], schema: Mapping[str, type[pl.DataType] | pl.DataType], path: str | Path
) -> None:
    """Write tables one after the other into one file, as a whole or not at all; a few of them are in memory at a time.

    Parameters
    ----------
    parts : callable
        Gives the tables, all of the same columns.
    schema : mapping
        The columns and their types.
    path : path
        A name that ends in .parquet.

    Raises
    ------
    ParameterError
        It is no such name, or the file cannot be written (the disk is full ...): what was there stays, and nothing of
        the new file is left. What ``parts`` raises comes as it is.
    """
    check_type("path", path, str | Path, "a path")
    target = check_output(path, (".parquet",))
    raised: list[BaseException] = []

    def source(
        columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        try:
            yield from parts()
        except BaseException as error:
            raised.append(error)
            raise

    frame = register_io_source(source, schema=dict(schema))
    with replacing(target) as beside:
        try:
            frame.sink_parquet(beside, row_group_size=_ROW_GROUP, engine="streaming", maintain_order=True)
        except Exception as error:
            if raised:  # polars wraps it
                raise raised[0] from None
            if isinstance(error, OSError | pl.exceptions.ComputeError):
                raise
            raise ParameterError(f"{path} could not be written: {error}") from error

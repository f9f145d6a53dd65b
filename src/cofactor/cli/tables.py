"""Files of tables that are no logs."""

from pathlib import Path

import polars as pl

from cofactor.data.sources import READ_ERRORS, open_source

__all__ = ["read_file"]


def read_file(path: Path, *roles: str) -> pl.DataFrame:
    """A table of a file of any kind that logs come in.

    Parameters
    ----------
    path : Path
    *roles : str
        Columns that there must be.

    Raises
    ------
    DataError
        It cannot be read; names the place.
    """
    source = open_source(path, roles=roles)
    try:
        return source.frame.collect()
    except READ_ERRORS as error:
        raise source.explain(error, ()) from error

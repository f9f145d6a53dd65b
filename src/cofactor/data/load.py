"""Reading saved interactions; see :mod:`cofactor.data.saved`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from cofactor.checks import check_flag, check_type
from cofactor.data.interactions import Interactions
from cofactor.data.saved import INTERACTIONS, PARTS, check_count, read_ids
from cofactor.data.tables import read_table
from cofactor.errors import DataError
from cofactor.kernels.csr import CSR
from cofactor.system.arrays import mapped_arrays
from cofactor.system.forks import require_living_threads

if TYPE_CHECKING:
    from collections.abc import Mapping
    from io import BufferedReader

__all__ = ["SavedInteractions", "load_interactions"]


class SavedInteractions(NamedTuple):
    """Interactions and what was held out of them, as they were saved; unpacks as ``train, test``."""

    train: Interactions
    test: pl.DataFrame | None
    """None where nothing was saved beside the interactions."""


def load_interactions(folder: str | Path, *, verify: bool = True) -> SavedInteractions:
    """Read what :meth:`Interactions.save` wrote: the same ids, of the same types, and the same weights.

    The matrix is mapped from its file, not copied.

    Parameters
    ----------
    folder : path
    verify : bool
        Compare every file with its sha256 first (reads them twice). What the matrix and the ids must be is always
        checked.

    Raises
    ------
    ArtifactError
        Not saved interactions, damaged, of a newer format, or they cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> x = Interactions.from_frame({"user_id": ["ann", "ann", "bo"], "item_id": [7, 8, 8]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     x.save(folder + "/shop", test={"user_id": ["bo"], "item_id": [7]})
    ...     train, test = load_interactions(folder + "/shop")
    >>> train
    Interactions(2 users x 2 items, 3 entries, density 75.000%)
    >>> test.rows()
    [('bo', 7)]
    """
    require_living_threads()
    check_type("folder", folder, str | Path, "the path of a folder")
    check_flag("verify", verify)
    with INTERACTIONS.opened(folder, verify=verify) as (header, files):
        arrays = mapped_arrays(files["arrays"])
        users, items = (read_ids(files[kind], header["counts"], kind) for kind in ("users", "items"))
        check_count(arrays["indices"], header["counts"])
        matrix = CSR(**{part: arrays[part] for part in PARTS}, n_columns=len(items))
        test = _table(files["test"], header["counts"]) if "test" in files else None
        return SavedInteractions(Interactions(users, items, matrix), test)


def _table(file: BufferedReader, counts: Mapping[str, Any]) -> pl.DataFrame:
    file.seek(0)
    table = read_table(pl.read_parquet(file), ("user_id", "item_id"), "test")
    if len(table) != counts.get("test"):
        raise DataError(f"test has {len(table)} rows, but the header counts {counts.get('test')}")
    return table

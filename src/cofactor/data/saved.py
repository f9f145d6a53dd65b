"""Interactions in a folder of JSON, safetensors and Parquet, with what is held out of them: between two scripts.

``interactions.json`` names the other files with their sha256: the matrix (safetensors), the ids of users and items in
row order, and the held-out table (Parquet). Written and replaced as models are; see
:mod:`cofactor.system.saved_folder`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from cofactor.data.ids import IdMap
from cofactor.data.log import Log
from cofactor.data.tables import read_table
from cofactor.errors import DataError
from cofactor.system.arrays import write_arrays
from cofactor.system.saved_folder import FolderKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from io import BufferedReader, BufferedWriter

    import numpy as np
    from numpy.typing import NDArray

    from cofactor.data.tables import TableLike
    from cofactor.kernels.csr import CSR

__all__ = ["INTERACTIONS", "PARTS", "check_count", "count", "id_writer", "read_ids", "save"]

PARTS = ("indptr", "indices", "values")  # of a sparse matrix
INTERACTIONS = FolderKind(
    told="saved interactions",
    again="the interactions",
    header="interactions.json",
    endings={"arrays": ".safetensors", "users": ".parquet", "items": ".parquet", "test": ".parquet"},
    counts=("users", "items", "interactions"),
    format=1,
    optional=frozenset({"test"}),
    others={"model.json": "a saved model, which cofactor.load reads"},
)


def save(folder: str | Path, users: IdMap, items: IdMap, matrix: CSR, test: TableLike | None) -> None:
    """Write interactions, and a table of any library that was held out of them; those that are there are replaced.

    Raises
    ------
    ArtifactError
        The folder holds something else than saved interactions, or cannot be written.
    DataError
        The held-out table is none, or has no ``user_id`` and ``item_id``, or a column that Parquet cannot hold.
    """
    files: dict[str, Callable[[BufferedWriter], object]] = {
        "arrays": lambda file: write_arrays(file, {part: getattr(matrix, part) for part in PARTS}),
        "users": id_writer(users),
        "items": id_writer(items),
    }
    counts = count(users, items, matrix)
    if test is not None:
        table = read_table(_by_roles(test) if isinstance(test, Log) else test, ("user_id", "item_id"), "test")
        if objects := [name for name, dtype in table.schema.items() if dtype == pl.Object]:
            raise DataError(f"test: column {objects[0]!r} holds objects of Python, which no file can; cast or drop it")
        files["test"], counts["test"] = table.write_parquet, len(table)
    INTERACTIONS.save(folder, files, {"counts": counts})


def _by_roles(log: Log) -> pl.DataFrame:
    """The columns of a log that play a role, by the names of these."""
    names = {"user": "user_id", "item": "item_id"}
    return log.collect().select(pl.col(c).alias(names.get(role, role)) for role, c in log.roles().items() if c)


def count(users: IdMap, items: IdMap, matrix: CSR) -> dict[str, int]:
    """What a header counts."""
    return {"users": len(users), "items": len(items), "interactions": matrix.nnz}


def check_count(indices: NDArray[np.int32], counts: Mapping[str, Any]) -> None:
    """Raise DataError unless there are as many interactions as a header counts."""
    if len(indices) != counts["interactions"]:
        raise DataError(f"there are {len(indices)} interactions, but the header counts {counts['interactions']}")


def id_writer(ids: IdMap) -> Callable[[BufferedWriter], object]:
    """What writes ids to a file, in row order."""
    return pl.DataFrame({"id": ids.ids}).write_parquet


def read_ids(file: BufferedReader, counts: Mapping[str, Any], kind: str) -> IdMap:
    """The ids in an open file, as many as a header counts of their kind."""
    file.seek(0)
    ids = IdMap(pl.read_parquet(file)["id"])
    if len(ids) != counts[kind]:
        raise DataError(f"{Path(file.name).name} holds {len(ids)} ids, but the header counts {counts[kind]}")
    return ids

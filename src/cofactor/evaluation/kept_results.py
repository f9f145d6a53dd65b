"""Results of a comparison in a folder, as they come: a comparison that was stopped goes on from there.

``comparison.json`` says what is compared on. Every result is two Parquet files: a row of values, and the values of
users.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import polars as pl

from cofactor.errors import ArtifactError
from cofactor.evaluation.entries import Result
from cofactor.evaluation.study import check_facts
from cofactor.system.files import write_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cofactor.evaluation.entries import Entry

__all__ = ["KeptResults"]

_HEADER = "comparison.json"
_OWN = ("model", "fold", "described", "fit_seconds", "recommend_seconds", "peak_mb")


class KeptResults:
    """The folder of a comparison.

    Parameters
    ----------
    folder : Path
    facts : mapping
        What is compared on, in the types of JSON.

    Raises
    ------
    ArtifactError
        The folder holds something else, or a comparison that differs in one of the facts.
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any]) -> None:
        self._folder = folder
        check_facts(folder, _HEADER, facts, "a comparison")

    def read(self, entry: Entry, fold: int) -> Result | None:
        """What an entry did before; None where it did nothing, failed, or was another one of this name."""
        values, users = self._paths(entry, fold)
        if not (values.exists() and users.exists()):
            return None
        try:
            row = pl.read_parquet(values).row(0, named=True)
            per_user = pl.read_parquet(users)
        except (pl.exceptions.PolarsError, OSError, LookupError) as error:
            raise ArtifactError(f"{values} cannot be read: {error}; delete it, to have it made again") from error
        if row["described"] != entry.described() or entry.kind == "table":
            return None
        seconds = {name: row[name] for name in ("fit_seconds", "recommend_seconds") if row[name] is not None}
        numbers = {name: of for name, of in row.items() if name not in _OWN}
        return Result(entry, fold, numbers, seconds, row["peak_mb"], per_user)

    def write(self, result: Result) -> None:
        """Keep a result; one that failed is not kept, to be tried again."""
        if result.error is not None or result.users is None:
            return
        values, users = self._paths(result.entry, result.fold)
        seconds = {name: result.seconds.get(name) for name in ("fit_seconds", "recommend_seconds")}
        own = {"model": result.entry.name, "fold": result.fold, "described": result.entry.described()}
        row = {**own, **seconds, "peak_mb": result.peak_mb, **result.values}
        types = {name: pl.Float64 for name in row if name not in own}
        write_table(result.users, users)
        write_table(pl.DataFrame([row], schema_overrides=types), values)

    def _paths(self, entry: Entry, fold: int) -> tuple[Path, Path]:
        name = f"{fold}-{hashlib.sha256(entry.name.encode()).hexdigest()[:12]}"
        return self._folder / f"{name}.parquet", self._folder / f"{name}-users.parquet"

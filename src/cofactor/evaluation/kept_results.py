"""Results of a comparison in a folder, as they come: a comparison that was stopped goes on from there.

``comparison.json`` says what is compared on; every result is a file beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cofactor.evaluation.entries import Result
from cofactor.evaluation.kept_measurements import kept_name, read_kept, write_kept
from cofactor.evaluation.spaces import plain
from cofactor.evaluation.study import check_facts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import polars as pl

    from cofactor.evaluation.entries import Entry

__all__ = ["KeptResults"]

_HEADER = "comparison.json"
_TOLD = ("values", "seconds", "peak_mb", "reading", "chosen_on")


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
        self.folder = folder
        check_facts(folder, _HEADER, facts, "a comparison")

    def read(self, entry: Entry, fold: int) -> Result | None:
        """What an entry did before; None where it did nothing, failed, or was another one of this name."""

        def made(told: dict[str, Any], users: pl.DataFrame) -> Result | None:
            if told["described"] != entry.described():
                return None
            return Result(entry, fold, users=users, **{name: told[name] for name in _TOLD})

        return None if entry.kind == "table" else read_kept(self._path(entry, fold), made)

    def write(self, result: Result) -> None:
        """Keep a result; one that failed is not kept, to be tried again."""
        if result.error is not None or result.users is None:
            return
        told = {"model": result.entry.name, "fold": result.fold, "described": result.entry.described()}
        told |= {name: plain(getattr(result, name)) for name in _TOLD}
        write_kept(self._path(result.entry, result.fold), told, result.users)

    def _path(self, entry: Entry, fold: int) -> Path:
        return self.folder / f"{fold}-{kept_name(entry.name)}.parquet"

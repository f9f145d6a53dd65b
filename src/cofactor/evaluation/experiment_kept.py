"""Results of a run that has not come to its end: one that was stopped, or killed, goes on from there.

``unfinished/`` in the folder of the results has a file for every model and fold that was measured, and a folder for
every search, each under a name that is made of all that it depends on: a run of something else does not find it. The
end of a run removes it.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cofactor.evaluation.experiment_results import Record
from cofactor.evaluation.kept_measurements import kept_name, read_kept, write_kept
from cofactor.evaluation.measure import Measurement
from cofactor.evaluation.spaces import plain
from cofactor.system.files import write_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cofactor.evaluation.experiment_models import ModelSpec

__all__ = ["KeptRecords"]

_RECORD = ("parameters", "chosen", "made", "fit_seconds", "tune_seconds", "tuned", "reads")
_COUNTS = (
    "n_unknown_users",
    "n_untested_users",
    "n_pairs",
    "n_seen",
    "empty",
    "recommend_seconds",
    "chosen_on",
    "reading",
)


class KeptRecords:
    """What was measured before the end of a run.

    Parameters
    ----------
    folder : Path
        That of the results.
    facts : mapping
        What all results depend on beside the model and the fold, in the types of JSON.
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any]) -> None:
        self._folder = folder / "unfinished"
        self._facts = facts
        self.n_taken = 0

    def study(self, spec: ModelSpec, fold: int) -> Path:
        """Where the trials of a model are kept while parameters are searched for."""
        return self._folder / f"{self._name(spec, fold)}-study"

    def read(self, spec: ModelSpec, fold: int) -> Record | None:
        """What became of a model before; None where it was not measured."""
        path = self._path(spec, fold)

        def made(told: dict[str, Any], table: pl.DataFrame) -> Record:
            trials = pl.read_parquet(self._trials(path)) if told["record"]["tuned"] is not None else None
            values = {
                name: float(told["overall"][name]) if name in told["overall"] else table[name].to_numpy()
                for name in told["metrics"]
            }
            found = Measurement(users=table["user_id"], values=values, **told["found"])
            return Record(spec.name, reads_before=spec.test_reads, **told["record"], trials=trials, found=found)

        record = read_kept(path, made)
        self.n_taken += record is not None
        return record

    def write(self, spec: ModelSpec, fold: int, record: Record) -> None:
        """Keep a record; of a model that failed nothing is kept, so that it is tried again."""
        if (found := record.found) is None:
            return
        overall = {name: float(of) for name, of in found.values.items() if not isinstance(of, np.ndarray)}
        told = {
            "record": {name: plain(getattr(record, name)) for name in _RECORD},
            "found": {name: plain(getattr(found, name)) for name in _COUNTS},
            "metrics": list(found.values),
            "overall": overall,
        }
        path = self._path(spec, fold)
        if record.trials is not None:
            write_table(record.trials, self._trials(path))
        table = pl.DataFrame({"user_id": found.users, **{n: v for n, v in found.values.items() if n not in overall}})
        write_kept(path, told, table)

    def remove(self) -> None:
        """Leave nothing of a run that came to its end."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _name(self, spec: ModelSpec, fold: int) -> str:
        return kept_name(self._facts, spec.name, spec.section.table, fold)

    def _path(self, spec: ModelSpec, fold: int) -> Path:
        return self._folder / f"{self._name(spec, fold)}.parquet"

    @staticmethod
    def _trials(path: Path) -> Path:
        return path.with_name(f"{path.stem}-trials.parquet")

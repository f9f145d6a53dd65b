"""What a run found, as a table, as Markdown, and with all that it takes to run it again."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cofactor.evaluation.paired import significance
from cofactor.kernels import native
from cofactor.metrics import parse_all
from cofactor.system.files import replacing, write_table
from cofactor.system.threads import resolve_threads
from cofactor.system.views import Row, View, Viewed, ViewTable
from cofactor.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cofactor.evaluation.experiment_data import Fold
    from cofactor.evaluation.measure import Measurement
    from cofactor.evaluation.study import Study
    from cofactor.models import Recommender

__all__ = ["ExperimentResult", "Published", "Record", "facts_of"]

_LONGEST_NAME = 50  # letters of a file, which may take four bytes each


@dataclass(frozen=True)
class Published:
    """A row of somebody else's.

    Parameters
    ----------
    name : str
    values : list of float
        In the order of the metrics; of the first ones where there are fewer.
    tuned_on_test, source : str
        Whether parameters or epochs were chosen on the test side, and where the numbers are from, as far as it can be
        seen.
    """

    name: str
    values: Sequence[float]
    tuned_on_test: str = ""
    source: str = ""


@dataclass
class Record:
    """What became of one model on one fold.

    Parameters
    ----------
    model : str
        Its name in the file.
    chosen : str
        On what its parameters were chosen.
    reads_before : int
        How often the test side had been read for it before, as the file tells.
    parameters : dict
        Those that the file gives, and those that were found by tuning.
    made : str, optional
        The fitted model with all of its parameters.
    fitted : Recommender, optional
        Kept of the best model only.
    found : Measurement, optional
    study : Study, optional
        Of the search for parameters, where it was a part of this run.
    tuned : dict, optional
        The parameters that a search found.
    trials : DataFrame, optional
        Those of the search.
    error : str, optional
        Why there is no measurement.
    fit_seconds, tune_seconds : float, optional
    reads : int
        How often the test side was read for it with the results in this folder, this time included.
    """

    model: str
    chosen: str
    reads_before: int
    parameters: dict[str, Any]
    made: str | None = None
    fitted: Recommender | None = None
    found: Measurement | None = None
    study: Study | None = None
    tuned: dict[str, Any] | None = None
    trials: pl.DataFrame | None = None
    error: str | None = None
    fit_seconds: float | None = None
    tune_seconds: float | None = None
    reads: int = 0


@dataclass
class ExperimentResult(Viewed):
    """The results of an experiment file.

    Parameters
    ----------
    name, description : str
    metrics : list of str
    published : list of Published
    facts : dict
        Versions, seed, threads, the files and their sha256, sizes: all that it takes to run it again.
    text : str
        The experiment file.
    folder : Path
        Where results are written.
    intervals : bool
        Whether values have intervals, where there is one fold.
    records : list of Record
    fold : Fold, optional
        The last one that was measured.
    """

    name: str
    description: str
    metrics: Sequence[str]
    published: Sequence[Published]
    facts: dict[str, Any]
    text: str
    folder: Path
    intervals: bool = True
    records: list[Record] = field(default_factory=list)
    fold: Fold | None = None

    @property
    def leaks(self) -> dict[str, str]:
        """What the leak checks say, by fold."""
        folds = {name: told for name, told in self.facts.items() if isinstance(told, dict) and "leaks" in told}
        return {name: told["leaks"] for name, told in folds.items()}

    @property
    def table(self) -> pl.DataFrame:
        """One row per model, the best in the first metric on top, those that failed at the bottom.

        ``model``, the metrics (means over the folds), of one fold ``<metric>_low`` and ``<metric>_high``, of several
        ``<metric>_std``; ``fit_seconds`` and ``tune_seconds``, means as well; ``chosen``, ``test_reads``,
        ``parameters`` (JSON, a list where folds have their own), ``made`` (all parameters of the model, as Python has
        them), ``folds`` that were measured, and ``error``.
        """
        names = list(dict.fromkeys(record.model for record in self.records))
        rows = [self._row([one for one in self.records if one.model == name]) for name in names]
        order = dict.fromkeys(("model", "chosen", "parameters", "made", "error"), pl.String)
        counts = dict.fromkeys(("test_reads", "folds"), pl.Int64)
        columns = dict.fromkeys(column for row in rows for column in row)
        schema = {column: order.get(column, counts.get(column, pl.Float64)) for column in columns}
        best = parse_all(self.metrics[0])[0].kind.higher_is_better
        table = pl.DataFrame(rows, schema=schema)
        return table.sort(self.metrics[0], descending=best, nulls_last=True, maintain_order=True)

    def _view(self) -> View:
        table = self.table.select("model", *self.metrics, "error")
        rows = [
            Row([name, *("" if value is None else f"{value:.4f}" for value in values), error or ""], strong=at == 0)
            for at, (name, *values, error) in enumerate(table.iter_rows())
        ]
        facts = {"written to": str(self.folder), **{f"leaks, {fold}": told for fold, told in self.leaks.items()}}
        return View("ExperimentResult", self.name, facts, [ViewTable("results", table.columns, rows)])

    def _row(self, records: Sequence[Record]) -> dict[str, Any]:
        found = [record.found for record in records if record.found is not None]
        row: dict[str, Any] = {"model": records[0].model}
        means = [dict(one.summary(n_bootstrap=0).select("metric", "value").iter_rows()) for one in found]
        for metric in self.metrics:
            values = [of[metric] for of in means]
            row[metric] = np.mean(values) if values else None
            if len(values) > 1:
                row[f"{metric}_std"] = np.std(values, ddof=1)
        if len(found) == 1 == len(records) and self.intervals:
            for metric, _, low, high, *_ in found[0].summary().iter_rows():
                row |= {f"{metric}_low": low, f"{metric}_high": high}
        parameters = [record.parameters for record in records]
        same = all(one == parameters[0] for one in parameters)
        errors = [record.error for record in records if record.error is not None]
        made = [record.made for record in records if record.made is not None]
        return row | {
            "fit_seconds": _mean([record.fit_seconds for record in records]),
            "tune_seconds": _mean([record.tune_seconds for record in records]),
            "recommend_seconds": _mean([one.recommend_seconds for one in found]),
            "chosen": records[0].chosen,
            "test_reads": records[0].reads_before + max(record.reads for record in records),
            "parameters": json.dumps(parameters[0] if same else parameters),
            "made": made[0] if made else None,
            "folds": len(found),
            "error": errors[0] if errors else None,
        }

    @property
    def best(self) -> Record | None:
        """The last record of the model that is the best in the first metric."""
        names = self.table.drop_nulls(self.metrics[0])["model"]
        return next((one for one in reversed(self.records) if one.model == names[0]), None) if len(names) else None

    def add(self, record: Record) -> None:
        """Take a record, and let go of all models but the best one."""
        self.records.append(record)
        best = self.best
        for one in self.records:
            one.fitted = one.fitted if one is best else None

    @property
    def significance(self) -> pl.DataFrame | None:
        """Paired tests of the others with the best model in the first metric; None where it cannot be tested so.

        That takes one fold, two models, and a metric that single users have.
        """
        metric = self.metrics[0]
        found = {one.model: one.found for one in self.records if one.found is not None}
        one_fold = len(found) == sum(one.found is not None for one in self.records)
        by_user = all(isinstance(one.values[metric], np.ndarray) for one in found.values())
        best = self.best
        if not (self.intervals and one_fold and by_user and len(found) > 1) or best is None:
            return None
        return significance(found, metric, best.model)

    @property
    def failed(self) -> dict[str, str]:
        """Why models failed, by their names."""
        return {record.model: record.error for record in self.records if record.error is not None}

    def write(self) -> None:
        """Write ``results.parquet``, ``results.md``, ``experiment.toml`` and the trials of tuning, each as a whole."""
        facts = {"cofactor_run": json.dumps(self.facts, default=str), "experiment": self.text}
        with replacing(self.folder / "results.parquet") as beside:
            self.table.write_parquet(beside, metadata=facts)
        for name, text in (("results.md", self.markdown()), ("experiment.toml", self.text)):
            with replacing(self.folder / name) as beside:
                beside.write_text(text, encoding="utf-8")
        taken = set[str]()
        for name in dict.fromkeys(one.model for one in self.records):
            tables = [one.trials for one in self.records if one.model == name]
            trials = [one.with_columns(fold=pl.lit(n)) for n, one in enumerate(tables, 1) if one is not None]
            if trials:
                file = _file_name(name, taken)
                write_table(pl.concat(trials, how="vertical_relaxed"), self.folder / "trials" / f"{file}.parquet")

    def markdown(self) -> str:
        """The results as a page: the table beside published numbers, the parameters, and how to run it again."""
        parts = [f"# {self.name}", *([self.description] if self.description else []), self.leaderboard()]
        if sources := [f"- {one.name}: {one.source}" for one in self.published if one.source]:
            parts += ["Sources:", "\n".join(sources)]
        if self.failed:
            parts += ["## Failed", "\n".join(f"- {name}: {why}" for name, why in self.failed.items())]
        if (tests := self.significance) is not None:
            parts += ["## Paired tests", _paired(tests)]
        made = self.table.select("model", "made").drop_nulls().rows()
        parts += ["## Models", "\n".join(f"- {name}: `{text}`" for name, text in made)]
        parts += ["## Run", "\n".join(f"- {key}: {_told(value)}" for key, value in self.facts.items())]
        return "\n\n".join(parts) + "\n"

    def leaderboard(self) -> str:
        """Rows of others and ours as a table of Markdown, the best in the first metric on top."""
        header = ["model", *self.metrics, "tuned on test", "parameters chosen on", "test read n times", "fit s"]
        rows: list[tuple[float, list[str]]] = []
        for one in self.published:
            values = [f"{value:.4f}" for value in one.values]
            cells = [one.name, *values, *[""] * (len(self.metrics) - len(values)), one.tuned_on_test, "", "", ""]
            rows.append((one.values[0], cells))
        for row in self.table.filter(pl.col("error").is_null()).iter_rows(named=True):
            values = [self._cell(row, metric) for metric in self.metrics]
            told = [row["chosen"], str(row["test_reads"]), f"{row['fit_seconds']:.1f}"]
            rows.append((row[self.metrics[0]], [f"**{row['model']}**", *values, "no", *told]))
        best = parse_all(self.metrics[0])[0].kind.higher_is_better
        rows.sort(key=lambda row: -row[0] if best else row[0])
        lines = [
            header,
            ["---", *["---:"] * len(self.metrics), "---", "---", "---:", "---:"],
            *(cells for _, cells in rows),
        ]
        return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)

    def _cell(self, row: Mapping[str, Any], metric: str) -> str:
        value, std, low = (row.get(key) for key in (metric, f"{metric}_std", f"{metric}_low"))
        if std is not None:
            return f"{value:.4f} ± {std:.4f}"
        return f"{value:.4f}" if low is None else f"{value:.4f} ({low:.4f}-{row[f'{metric}_high']:.4f})"


def facts_of(text: str, seed: int, threads: int | None, files: Mapping[str, str]) -> dict[str, Any]:
    """What a run is of: versions, seed, threads, and the fingerprints of the experiment and of the data."""
    return {
        "started": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
        "cofactor": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "polars": pl.__version__,
        "kernels": native.level,
        "seed": seed,
        "threads": resolve_threads(threads),
        "experiment sha256": hashlib.sha256(text.encode()).hexdigest(),
        "data sha256": dict(files),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _file_name(name: str, taken: set[str]) -> str:
    """A name for a file, which no other has, whether case counts there or not."""
    plain = re.sub(r"[^\w.-]+", "-", name)[:_LONGEST_NAME]
    file = next(one for n in count(1) if (one := plain if n == 1 else f"{plain}-{n}").lower() not in taken)
    taken.add(file.lower())
    return file


def _told(value: object) -> str:
    if isinstance(value, dict):
        return "".join(f"\n  - {key}: {one}" for key, one in value.items())
    return str(value)


def _paired(tests: pl.DataFrame) -> str:
    """Paired tests as people read them."""
    metric, best = tests["metric"][0], tests["model_b"][0]
    lines = [
        f"{metric} of the others minus that of {best}, over single users; p corrected for {tests.height} tests.",
        "",
    ]
    lines += ["| model | difference | 95 % interval | p | different |", "| --- | ---: | ---: | ---: | --- |"]
    for row in tests.iter_rows(named=True):
        interval = f"{row['low']:.4f} to {row['high']:.4f}"
        different = "yes" if row["different"] else "no"
        lines.append(f"| {row['model_a']} | {row['difference']:.4f} | {interval} | {row['p_holm']:.4f} | {different} |")
    return "\n".join(lines)

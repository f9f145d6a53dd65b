"""What an experiment file asks for: data, split, models, tuning, metrics and outputs, checked before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cofactor.checks import check_at_least, check_path, nearest
from cofactor.errors import ParameterError
from cofactor.evaluation.experiment_data import ExperimentData
from cofactor.evaluation.experiment_models import read_models
from cofactor.evaluation.experiment_section import Section
from cofactor.evaluation.measure import DEFAULT_METRICS
from cofactor.metrics import parse_all
from cofactor.metrics.errors import RatingError
from cofactor.system.threads import resolve_threads
from cofactor.system.toml import read_toml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cofactor.evaluation.experiment_models import ModelSpec
    from cofactor.evaluation.experiment_section import Kind
    from cofactor.metrics import Metric

__all__ = ["Experiment"]

_TOP: dict[str, Kind] = {
    "name": "text",
    "description": "text",
    "seed": "whole",
    "threads": "whole",
    "data": "table",
    "split": "table",
    "models": "table",
    "evaluate": "table",
    "output": "table",
    "published": "tables",
}
_EVALUATE: dict[str, Kind] = {
    "metrics": "texts",
    "exclude_seen": "flag",
    "intervals": "flag",
    "unknown_users": "text",
    "category": "text",
}
_OUTPUT: dict[str, Kind] = {
    "folder": "text",
    "report": "flag",
    "recommendations": "whole",
    "model": "flag",
    "refit": "flag",
}
_PUBLISHED: dict[str, Kind] = {"name": "text", "values": "numbers", "tuned_on_test": "text", "source": "text"}


@dataclass(frozen=True)
class Experiment:
    """What a file asks for, checked; :meth:`read` makes one, ``run_experiment`` runs it.

    Parameters
    ----------
    file : Section
        The whole file.
    data : ExperimentData
    models : dict of ModelSpec
    metrics : list of str
    """

    file: Section
    data: ExperimentData
    models: Mapping[str, ModelSpec]
    metrics: Sequence[str]

    @classmethod
    def read(cls, path: str | Path) -> Experiment:
        """Read an experiment file and check all of it but the data.

        Raises
        ------
        DataError
            The file cannot be read, or is no TOML.
        ParameterError
            A key, a class, a parameter, a metric or a value is none of the possible ones. The message names the line,
            and what may have been meant.
        """
        text = read_toml(check_path("path", path))
        file = Section(text, (), text.data)
        file.check(_TOP, ("data", "models"))
        evaluate, output = file.section("evaluate"), file.section("output")
        evaluate.check(_EVALUATE)
        output.check(_OUTPUT)
        with output.placing("recommendations"):
            check_at_least("recommendations", output.table.get("recommendations", 1), 1, whole=True)
        evaluate.choose("unknown_users", ("exclude", "zero"), "exclude")
        asked = evaluate.table.get("metrics", list(DEFAULT_METRICS))
        with evaluate.placing("metrics"):
            wanted = parse_all(asked)
            metrics = [metric.name for metric in wanted]
        with file.placing():
            check_at_least("seed", file.table.get("seed", 0), 0, whole=True)
            resolve_threads(file.table.get("threads"))
        for one in file.sections("published"):
            one.check(_PUBLISHED, ("name", "values"))
            if isinstance(values := one.table["values"], list) and len(values) > len(metrics):
                one.fail(f"values has {len(values)} numbers, but there are {len(metrics)} metrics", "values")
        models = read_models(file.section("models"))
        data = ExperimentData.read(file.section("data"), file.section("split"))
        if "category" in evaluate.table and "item_features" not in data.data.table:
            evaluate.fail("category is a column of item_features, and [data] names no such file", "category")
        _check_metrics(wanted, models, evaluate, data.data)
        for spec in models.values():
            if spec.features and not {"item_features", "user_features"} & set(data.data.table):
                spec.section.fail("features is true, and [data] names no file of item_features or user_features")
        return cls(file, data, models, metrics)

    @property
    def name(self) -> str:
        """The title of the results: ``name``, or what the file is called."""
        return str(self.file.table.get("name", self.file.file.path.stem))

    @property
    def seed(self) -> int:
        """The seed of the split, of tuning, and of every model that gives none."""
        return int(self.file.table.get("seed", 0))

    @property
    def threads(self) -> int | None:
        """The threads of every model that gives none."""
        return self.file.table.get("threads")

    def folder(self, out: str | Path | None = None) -> Path:
        """Where results go: ``out``, ``folder`` of ``[output]`` beside the file, or ``<file>-results`` there."""
        path = self.file.file.path
        return (
            path.parent / self.file.section("output").table.get("folder", f"{path.stem}-results")
            if out is None
            else check_path("out", out)
        )

    def data_folder(self, data: str | Path | None = None) -> Path:
        """What paths are relative to: ``data``, or the folder of the file."""
        return self.file.file.path.parent if data is None else check_path("data", data)

    def chosen(self, models: Sequence[str] | None) -> list[ModelSpec]:
        """The models of these names, all of them for None."""
        if models is not None and not models:
            raise ParameterError(f"models: no name is given; {self.file.file.path} has {', '.join(self.models)}")
        for name in models or ():
            if name not in self.models:
                raise ParameterError(
                    f"models: {self.file.file.path} has no model {name!r}{nearest(name, self.models) or '.'} It has "
                    f"{', '.join(self.models)}"
                )
        return [spec for name, spec in self.models.items() if models is None or name in models]


def _check_metrics(wanted: Sequence[Metric], models: Mapping[str, ModelSpec], evaluate: Section, data: Section) -> None:
    """Fail, at the line of the metrics, where the data name no file of what metrics or a model have to be told."""
    if "item_features" not in data.table and (names := [one.name for one in wanted if one.needs.categories]):
        evaluate.fail(f"{', '.join(names)} needs categories of items, and [data] names no item_features", "metrics")
    if names := [one.name for one in wanted if isinstance(one.kind, RatingError)]:
        ranking = [name for name, spec in models.items() if not hasattr(spec.model, "rate")]
        if ranking:
            evaluate.fail(
                f"{', '.join(names)} is of predicted ratings, and {', '.join(ranking)} gives scores to rank by; leave "
                "one of both out",
                "metrics",
            )

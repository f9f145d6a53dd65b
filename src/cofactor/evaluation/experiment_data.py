"""The data of an experiment file: what is read, how it is weighed, and how it is split into folds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from cofactor import datasets
from cofactor.data import split, weights
from cofactor.data.events import Events, read_events
from cofactor.data.paths import files_of
from cofactor.data.sources import open_source
from cofactor.errors import ParameterError
from cofactor.evaluation.known import features_of
from cofactor.models.base.rating import RatingModel
from cofactor.system.folders import sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cofactor.data.aggregate import Weight
    from cofactor.data.interactions import Interactions
    from cofactor.data.ratings import Ratings
    from cofactor.data.split import Split
    from cofactor.data.user_items import UserItems
    from cofactor.evaluation.experiment_section import Kind, Section

__all__ = ["ExperimentData", "Fold"]

_ROLES: dict[str, Kind] = dict.fromkeys(("user", "item", "time", "session", "event_type", "rating"), "text")
_OPTIONS: dict[str, Kind] = {
    **dict.fromkeys(("anonymous", "time_unit", "time_format", "implausible_times"), "text"),
    **dict.fromkeys(("separator", "encoding", "format"), "text"),
    "null_values": "texts",
}
# Paths and options of every reader; the first keys are required.
_READERS: dict[str, tuple[tuple[str, ...], dict[str, Kind]]] = {
    "events": (("path",), {"path": "texts", "test": "texts", **_ROLES, **_OPTIONS}),
    "movielens": (("path",), {"path": "text"}),
    "otto": (("path",), {"path": "texts"}),
    "completejourney": ((), {}),
    "movielens_fold": (("path", "fold"), {"path": "text", "fold": "wholes"}),
    "leave_one_out_with_negatives": (
        ("train", "test_rating", "test_negative"),
        {"train": "text", "test_rating": "text", "test_negative": "text"},
    ),
    "user_item_lists": (("train", "test"), {"train": "text", "test": "text"}),
    "next_item": (("train", "test"), {"train": "text", "test": "text"}),
}
_PATHS = ("path", "test", "train", "test_rating", "test_negative")
_LOGS = ("events", "movielens", "otto", "completejourney")  # one log, which [split] divides
_EVERY: dict[str, Kind] = {
    "reader": "text",
    "weight": "any",
    "filter": "text",
    "min_user_count": "whole",
    "min_item_count": "whole",
    "k_core": "flag",
    "item_features": "text",
    "user_features": "text",
}
_FEATURES = ("item_features", "user_features")
_WEIGHT: dict[str, Kind] = {
    "constant": "number",
    "types": "table",
    "column": "text",
    "half_life": "text",
    "cap": "number",
}
_SPLITS: dict[str, tuple[tuple[str, ...], dict[str, Kind]]] = {
    "by_time": (("test",), {"test": "texts"}),
    "leave_last": ((), {"n": "whole"}),
    "random": (("fraction",), {"fraction": "number", "seed": "wholes"}),
    "k_fold": ((), {"k": "whole", "seed": "whole"}),
    "cold_users": (
        ("fraction", "history_fraction"),
        {"fraction": "number", "history_fraction": "number", "seed": "wholes"},
    ),
}


@dataclass(frozen=True)
class Fold:
    """What models are fitted on, and what they are measured against.

    Parameters
    ----------
    train : Events
    test : Events, or DataFrame with ``user_id`` and ``item_id``
    weight, counts
        Arguments of ``Events.interactions``.
    candidates : DataFrame, optional
        Items of each user to rank, in place of all.
    histories : DataFrame or Events, optional
        Of users that train does not hold: lists are made of these, and what is in them may come again.
    whole : Events, optional
        The log, where it is one.
    """

    train: Events
    test: Events | pl.DataFrame
    weight: Weight = None
    counts: Mapping[str, Any] | None = None
    candidates: pl.DataFrame | None = None
    histories: Events | pl.DataFrame | None = None
    whole: Events | None = None

    def of(self, model: object) -> UserItems:
        """What a model is fitted on, made once."""
        if isinstance(model, RatingModel):
            columns = model.context_columns
            return self.train.ratings(context=columns) if columns else self.ratings
        return self.interactions

    @cached_property
    def interactions(self) -> Interactions:
        """The train side as one weight for each user and item."""
        return self.train.interactions(self.weight, **(self.counts or {}))

    @cached_property
    def ratings(self) -> Ratings:
        """The train side as one rating for each user and item."""
        return self.train.ratings()


@dataclass(frozen=True)
class ExperimentData:
    """The sections ``[data]`` and ``[split]`` of a file, checked.

    Parameters
    ----------
    data, division : Section
        ``[data]`` and ``[split]``.
    reader : str
    weight : as ``Events.interactions`` takes it
    filter : polars expression, optional
        Which events are kept.
    """

    data: Section
    division: Section
    reader: str
    weight: Weight
    filter: pl.Expr | None

    @classmethod
    def read(cls, data: Section, division: Section) -> ExperimentData:
        """Check both sections; reads no data.

        Raises
        ------
        ParameterError
            A key or a value is none of the possible ones; names the line.
        """
        reader = data.choose("reader", _READERS, "events")
        required, known = _READERS[reader]
        data.check({**_EVERY, **known}, required)
        made = cls(data, division, reader, _weight(data), _filter(data))
        if made.is_divided:
            kind = division.choose("kind", _SPLITS)
            needed, parameters = _SPLITS[kind]
            division.check({"kind": "text", **parameters}, needed)
        elif division.table:
            division.fail("the data are split as they are; leave [split] out")
        if made.filter is not None and reader not in _LOGS:
            data.fail(f"reader {reader!r} has a test side of its own, which stays as it is", "filter")
        return made

    @property
    def is_divided(self) -> bool:
        """Whether [split] says what is held out."""
        return self.reader in _LOGS and "test" not in self.data.table

    def files(self, folder: Path) -> list[Path]:
        """The files that are read, of paths, folders and globs in the file's order.

        Raises
        ------
        DataError
            One does not exist; names the line.
        """
        found: list[Path] = []
        for key in (*_PATHS, *_FEATURES):
            for path in _listed(self.data.table.get(key, [])):
                place = folder / Path(path).expanduser()
                if key == "path" and self.reader in ("movielens", "movielens_fold"):
                    self._require(place, key)
                    found += sorted(one for one in place.iterdir() if one.is_file()) if place.is_dir() else [place]
                else:
                    with self.data.placing(key):
                        found += map(Path, files_of([str(place)]))
        return found

    def features(self, folder: Path) -> dict[str, pl.DataFrame]:
        """The tables of features, by ``"item"`` and ``"user"``, of those that there are.

        Raises
        ------
        DataError
            One cannot be read, or has no row for each id; names the line.
        """
        found = {}
        for key in _FEATURES:
            if key in self.data.table:
                with self.data.placing(key):
                    of, place = key.removesuffix("_features"), folder / Path(self.data.table[key]).expanduser()
                    found[of] = features_of(open_source(place, roles=(f"{of}_id",)).frame, of)
        return found

    def _require(self, place: Path, key: str) -> None:
        if not place.exists():
            self.data.fail(f"{place} does not exist; --data names the folder that paths are relative to", key)

    def fingerprint(self, folder: Path, events: Events | None) -> dict[str, str]:
        """The sha256 of every file that was read, by its name."""
        files = self.files(folder) or list(
            map(Path, () if events is None or events.source is None else events.source.files)
        )
        return {_relative(file, folder): sha256(file) for file in files}

    def folds(self, folder: Path, seed: int) -> list[Fold]:
        """Read the data and split them.

        Raises
        ------
        DataError, ParameterError
            They cannot be read, or not be split so; names the line of the section.
        """
        self.files(folder)
        with self.data.placing(*_PATHS):
            if self.reader not in _LOGS:
                return list(self._published(folder))
            log = self._log(folder, self.data.table.get("path"))
            if "test" in self.data.table:
                return [self._fold(split.Split(log, self._log(folder, self.data.table["test"])))]
        with self.division.placing("test", "fraction", "n", "k"):
            return [self._fold(one, whole=log) for one in self._splits(log, seed)]

    def _log(self, folder: Path, path: Any) -> Events:  # noqa: ANN401
        source = [str(folder / Path(one).expanduser()) for one in _listed(path or [])]
        if self.reader == "events":
            given = {key: value for key, value in self.data.table.items() if key in (_ROLES | _OPTIONS)}
            log = read_events(source, **{"user": "user_id", "item": "item_id", **given})
        elif self.reader == "completejourney":
            log = datasets.completejourney()
        else:
            log = datasets.otto(source) if self.reader == "otto" else datasets.movielens(source[0])
        return log if self.filter is None else log.filter(self.filter)

    def _published(self, folder: Path) -> Iterator[Fold]:
        """The folds of data that are split as they are."""
        paths = {key: folder / self.data.table[key] for key in _PATHS if key in self.data.table}
        if self.reader == "movielens_fold":
            for fold in _listed(self.data.table["fold"]):
                yield self._fold(datasets.movielens_fold(paths["path"], fold))
        elif self.reader == "user_item_lists":
            train, test = (datasets.user_item_lists(paths[side]) for side in ("train", "test"))
            yield self._fold(split.Split(train, test))
        elif self.reader == "next_item":
            task = datasets.next_item(**paths)
            yield self._fold(split.Split(task.train, task.train), test=task.targets, histories=task.prefixes)
        else:
            train, pairs, candidates = datasets.leave_one_out_with_negatives(**paths)
            yield self._fold(split.Split(train, train), test=pairs, candidates=candidates)

    def _fold(self, one: Split, **others: Any) -> Fold:  # noqa: ANN401
        counts = {
            key: self.data.table[key]
            for key in ("min_user_count", "min_item_count", "k_core")
            if key in self.data.table
        }
        return Fold(
            **{
                "train": one.train,
                "test": one.test,
                "histories": one.history,
                "weight": self.weight,
                "counts": counts,
                **others,
            }
        )

    def _splits(self, log: Events, seed: int) -> list[Split]:
        given = {key: value for key, value in self.division.table.items() if key != "kind"}
        kind = self.division.table["kind"]
        if kind == "k_fold":
            return split.k_fold(log, **{"seed": seed, **given})
        if kind == "by_time":
            return [split.by_time(log, cut) for cut in _listed(given["test"])]
        if kind == "leave_last":
            return [split.leave_last(log, **given)]
        seeds = _listed(given.pop("seed", seed))
        return [getattr(split, kind)(log, seed=one, **given) for one in seeds]


def _weight(data: Section) -> Weight:
    given = data.table.get("weight")
    if given is None or given == "count":
        return None
    if isinstance(given, int | float) and not isinstance(given, bool):
        return given
    if isinstance(given, str):
        return pl.lit(1.0) if given == "one" else _sql(data, "weight", given)
    if not isinstance(given, dict):
        data.fail(
            'weight must be "count", "one", a number, an SQL expression such as "1 + COUNT(*) + 10 * SUM(cart)", or a '
            f"table with {', '.join(_WEIGHT)}; got {given!r}",
            "weight",
        )
    table = data.section("weight")
    table.check(_WEIGHT)
    if "types" in given and "column" in given:
        table.fail("an event weighs what its type says, or what a column holds; leave one of the two out", "column")
    with table.placing(*_WEIGHT):
        event = (
            weights.by_type(given["types"])
            if "types" in given
            else pl.col(given["column"])
            if "column" in given
            else pl.lit(1.0)
        )
        age = weights.half_life(given["half_life"]) if "half_life" in given else None
        pair = given.get("constant", 0) + (event if age is None else event * age).sum()
        return weights.capped(pair, given["cap"]) if "cap" in given else pair


def _filter(data: Section) -> pl.Expr | None:
    return _sql(data, "filter", data.table["filter"]) if "filter" in data.table else None


def _sql(data: Section, key: str, text: str) -> pl.Expr:
    try:
        return pl.sql_expr(text)
    except pl.exceptions.PolarsError as error:
        raise ParameterError(f"{data.place(key)}: {key} {text!r} is no SQL expression: {error}") from error


def _listed(value: Any) -> list[Any]:  # noqa: ANN401
    return value if isinstance(value, list) else [value]


def _relative(file: Path, folder: Path) -> str:
    """The name of a file below a folder, or its last part where it lies elsewhere."""
    return str(file.relative_to(folder)) if file.is_relative_to(folder) else file.name

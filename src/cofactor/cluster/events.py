"""The first pass over a log: every file is read and checked by some worker, and all ids are put together."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cofactor.checks import check_type, warn
from cofactor.cluster.engine import connected, nodes, require_ray, translated
from cofactor.cluster.interactions import ClusterInteractions
from cofactor.cluster.shards import Description
from cofactor.data.aggregate import as_expression
from cofactor.data.columns import Facts, require_columns
from cofactor.data.events import read_events
from cofactor.data.ids import IdMap
from cofactor.data.paths import files_of
from cofactor.errors import CofactorWarning, DataError, ParameterError

if TYPE_CHECKING:
    from datetime import datetime

    from numpy.typing import NDArray

    from cofactor.data.aggregate import Weight
    from cofactor.data.columns import Bounds

__all__ = ["ClusterEvents", "read"]

_GROUPS = 4  # of files, for each thread of the cluster
_TOGETHER = 8  # tables of ids that are put together at once
ROLES = ("user", "item", "time", "session", "event_type", "rating")


@dataclass(frozen=True)
class _Survey:
    """What one worker found in some of the files."""

    frame: pl.LazyFrame
    schema: dict[str, pl.DataType]
    roles: dict[str, str | None]
    facts: Facts
    bounds: dict[str, Bounds]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ClusterEvents:
    """An event log that lies in files which all nodes see; ``Cluster.read_events`` makes it.

    Attributes
    ----------
    frames : list of LazyFrame
        The events of some files each, ids and times in their final form.
    users, items : IdMap
    user_counts, item_counts : (n,) int64
        Events of each.
    facts : Facts
    """

    frames: list[pl.LazyFrame]
    roles: dict[str, str | None]
    bounds: dict[str, Bounds]
    users: IdMap
    items: IdMap
    user_counts: NDArray[np.int64]
    item_counts: NDArray[np.int64]
    facts: Facts

    @property
    def n_events(self) -> int:
        """Number of events."""
        return self.facts.n_events

    def interactions(
        self,
        weight: Weight = None,
        *,
        workers: int | None = None,
        threads: int | None = None,
        checkpoint: str | Path | None = None,
        every: int = 1,
        wire: str = "float32",
    ) -> ClusterInteractions:
        """How strongly users are tied to items, in parts on workers, which are started when a model is fitted.

        Parameters
        ----------
        weight : as in ``Events.interactions``
        workers, threads : int, optional
            How many workers of how many threads each; by default one for each node, with all of its threads.
        checkpoint : folder or address, optional
            Where the state of a fit is kept, to go on from after the driver died. Every node sees it; addresses such as
            ``s3://bucket/folder`` need fsspec.
        every : int
            Iterations between checkpoints.
        wire : {"float32", "float16"}
            The form in which rows of a fit of ``ImplicitALS`` go from node to node: 16 bits are half as much to send,
            and losses differ by less than 1e-4.

        Raises
        ------
        ParameterError
            A parameter is out of its range, or there are more workers than the cluster has room for.
        """
        expression = as_expression(weight)
        described = Description(
            self.frames, dict(self.roles), dict(self.bounds), self.facts, expression, self.users, self.items
        )
        return ClusterInteractions(
            described, self.user_counts, self.item_counts,
            workers=workers, threads=threads, checkpoint=checkpoint, every=every, wire=wire,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"ClusterEvents({self.n_events:,} events, {len(self.users):,} users, {len(self.items):,} items)"


def read(source: object, options: dict[str, Any]) -> ClusterEvents:
    """The first pass; see ``Cluster.read_events``."""
    check_type("source", source, str | Path | list, "files of Parquet, a folder or a glob")
    names = [str(name) for name in (source if isinstance(source, list) else [source])]
    files = files_of(names)
    if other := [file for file in files if not file.lower().endswith((".parquet", ".pq"))]:
        raise ParameterError(f"source: a cluster reads Parquet, not {other[0]}; write it with polars: sink_parquet()")
    signature(read_events).bind(files, **options)
    ray = connected()
    n_groups = max(1, min(len(files), _GROUPS * sum(node["threads"] for node in nodes())))
    groups = [list(group) for group in np.array_split(np.array(files, object), n_groups)]
    survey = ray.remote(_survey).options(num_returns=3, scheduling_strategy="SPREAD", max_retries=3)
    with translated("the log could not be read"):
        told, users, items = zip(*(survey.remote(group, options) for group in groups), strict=True)
        surveys: list[_Survey | None] = ray.get(list(told))
        there = [i for i, one in enumerate(surveys) if one is not None]
        if not there:
            raise DataError("the log is empty: it has columns, but no events")
        found = [one for one in surveys if one is not None]
        _check_alike(found, [groups[i] for i in there])
        tables = [ray.get(_together(ray, [side[i] for i in there])) for side in (users, items)]
    for note in dict.fromkeys(note for one in found for note in one.notes):
        warn(note)
    ids = [IdMap(table["id"]) for table in tables]
    counts = [table["n"].to_numpy().astype(np.int64) for table in tables]
    facts = _joined([one.facts for one in found])
    bounds = {name: _hull([one.bounds[name] for one in found]) for name in _common([one.bounds for one in found])}
    return ClusterEvents(
        [one.frame for one in found], found[0].roles, bounds, ids[0], ids[1], counts[0], counts[1], facts
    )


def _survey(
    files: list[str], options: dict[str, Any]
) -> tuple[_Survey | None, pl.DataFrame | None, pl.DataFrame | None]:
    """Read and check some files: what they are, and their users and items with numbers of events; None of no events."""
    for file in files:
        if "://" not in file and not Path(file).is_file():
            raise DataError(
                f"{file}: the driver sees this file, node {_own_address()} does not; put it where all nodes find it by "
                "the same name"
            )
    files = _with_events(files, {role: options.get(role) for role in ROLES})
    if not files:
        return None, None, None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CofactorWarning)
        events = read_events(files, **options)
        sides = [
            events.frame.group_by(pl.col(column).alias("id")).agg(pl.len().cast(pl.Int64).alias("n"))
            for column in (events.user, events.item)
        ]
        users, items = (_sorted(side.collect(engine="streaming")) for side in sides)
    notes = tuple(str(one.message) for one in caught if issubclass(one.category, CofactorWarning))
    schema = dict(events.frame.collect_schema())
    facts = events.facts
    return _Survey(events.frame, schema, events.roles(), facts, dict(events.bounds), notes), users, items


def _with_events(files: list[str], roles: dict[str, Any]) -> list[str]:
    """Those files that have rows, by what stands at their ends; DataError unless all have the same columns, and these.

    Whether columns differ must not hang on which files come together. What cannot be read is told by who reads it.
    """
    kept, schemas = [], []
    for file in files:
        try:
            frame = pl.scan_parquet(file)
            if not frame.select(pl.len()).collect().item():
                continue
            schemas.append(dict(frame.collect_schema()))
        except (pl.exceptions.PolarsError, OSError):
            return files
        kept.append(file)
    for file, schema in zip(kept, schemas, strict=True):
        _check_columns(schemas[0], kept[0], schema, file)
    if kept:
        try:
            require_columns(schemas[0], roles)
        except DataError as error:  # files of other workers may have them: whose fault it is must be told
            raise DataError(f"{kept[0]}: {error}") from None
    return kept


def _own_address() -> str:
    return str(require_ray().util.get_node_ip_address())


def _sorted(table: pl.DataFrame) -> pl.DataFrame:
    """In the order of ``IdMap``."""
    kind = table["id"].dtype
    return table.sort(pl.col("id").cast(pl.String) if kind in (pl.Categorical, pl.Enum) else pl.col("id"))


def _merged(*tables: pl.DataFrame) -> pl.DataFrame:
    return _sorted(pl.concat(tables).group_by("id").agg(pl.col("n").sum()))


def _together(ray: Any, tables: list[Any]) -> Any:  # noqa: ANN401
    """Tables of ids put together in a tree, so that no task has many in hand."""
    merged = ray.remote(_merged).options(max_retries=3)
    while len(tables) > 1:
        tables = [merged.remote(*tables[at : at + _TOGETHER]) for at in range(0, len(tables), _TOGETHER)]
    return tables[0]


def _check_alike(found: list[_Survey], groups: list[list[str]]) -> None:
    for one, files in zip(found, groups, strict=True):
        _check_columns(found[0].schema, groups[0][0], one.schema, files[0])


def _check_columns(first: dict[str, pl.DataType], its_file: str, other: dict[str, pl.DataType], file: str) -> None:
    for column in first.keys() | other.keys():
        there, here = first.get(column, "missing"), other.get(column, "missing")
        if there != here:
            raise DataError(
                f"column {column!r} is {there} in {its_file} and {here} in {file}; the files of a log have the same "
                "columns: write them again with one schema"
            )


def _joined(facts: list[Facts]) -> Facts:
    oldest: list[datetime] = [one.oldest for one in facts if one.oldest is not None]
    newest: list[datetime] = [one.newest for one in facts if one.newest is not None]
    return Facts(sum(one.n_events for one in facts), min(oldest, default=None), max(newest, default=None))


def _common(bounds: list[dict[str, Bounds]]) -> list[str]:
    return sorted(set.intersection(*map(set, bounds)))


def _hull(bounds: list[Bounds]) -> Bounds:
    return min(low for low, _ in bounds), max(high for _, high in bounds)

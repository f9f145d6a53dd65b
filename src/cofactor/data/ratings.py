"""Explicit ratings: what users said of items, of any sign, on a scale."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np
import polars as pl
import scipy

from cofactor.checks import check_at_least, check_choice, check_type, is_number, shown, warn
from cofactor.data.columns import prepare
from cofactor.data.context import Context, in_order_of_pairs, require_context, widths_of
from cofactor.data.id_columns import first_rows
from cofactor.data.ids import IdMap, IdValues
from cofactor.data.interactions import Interactions
from cofactor.data.log import Log
from cofactor.data.sources import READ_ERRORS
from cofactor.data.tables import TableLike, read_table
from cofactor.data.user_items import UserItems
from cofactor.errors import DataError, ParameterError
from cofactor.kernels.csr import CSR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cofactor.system.views import View

__all__ = ["Duplicates", "Ratings", "Scale", "rated_table"]

Duplicates: TypeAlias = Literal["last", "mean", "error"]
Scale: TypeAlias = tuple[float, float]
"""The lowest and the highest rating that can be given."""

_WAYS = "name their column: read_events(..., rating=...), or give interactions() to a model such as ImplicitALS or EASE"
_MOST_LEVELS = 1000
_CLOSE = 1e-3  # of a step: what float32 leaves of grids such as .1, .2, .3


class Ratings(UserItems):
    """What users said of items: two id maps and one sparse matrix, in which 0 and negative values are ratings too.

    ``context`` is None, or the columns that ``Events.ratings`` was asked to keep, a row for every entry of the matrix.

    Parameters
    ----------
    users, items : IdMap, or a list, an array or a Series of ids
        The ids of the rows and of the columns, in their order. Ids that are not ascending are sorted, and the rows and
        columns with them.
    user_items : CSR
        Users in rows, items in columns; (n_users, n_items), every entry a rating.
    scale : (lowest, highest), optional
        The ratings that can be given, where not all of them occur; without it, the lowest and the highest that do.
    n_duplicates : int
        Ratings that were left out, or averaged with others of their user and item, when these were made.

    Raises
    ------
    DataError
        There are no ratings, one is not finite or beyond the scale, or ids and matrix do not fit together.

    Examples
    --------
    >>> import polars as pl
    >>> table = pl.DataFrame({"user_id": [1, 1, 2], "item_id": [7, 8, 7], "rating": [4.5, 0.5, 3.0]})
    >>> Ratings.from_frame(table)
    Ratings(2 users x 2 items, 3 ratings from 0.5 to 4.5 in steps of 0.5)
    """

    value = "rating"

    def __init__(
        self,
        users: IdMap | IdValues,
        items: IdMap | IdValues,
        user_items: CSR,
        *,
        scale: Scale | None = None,
        n_duplicates: int = 0,
    ) -> None:
        self.declared_scale = None if scale is None else _checked_scale(scale)
        check_at_least("n_duplicates", n_duplicates, 0, whole=True)
        self.n_duplicates = n_duplicates
        self.context: pl.DataFrame | None = None
        super().__init__(users, items, user_items)

    @classmethod
    def from_events(
        cls, events: Log, duplicates: Duplicates = "last", *, scale: Scale | None = None, context: Context | None = None
    ) -> Self:
        """Build from a log with a ``rating`` role; see ``Events.ratings``."""
        names = list(widths_of(context))
        check_type("events", events, Log, "Events; from_frame takes tables")
        check_choice("duplicates", duplicates, ("last", "mean", "error"))
        if events.rating is None:
            raise ParameterError(f"these events have no ratings; {_WAYS}")
        require_context(events.frame.collect_schema().names(), names, "events")
        _check_column(events, events.rating)
        value = pl.col(events.rating)
        users, items, matrix = events.aggregated(value.mean())
        n_more = events.n_events - matrix.nnz
        if n_more and duplicates == "error":
            _refuse_duplicates(events)
        if n_more and duplicates == "last":
            users, items, matrix = events.aggregated(_last(events, value))
        _tell_duplicates(n_more, events.n_events, duplicates)
        ratings = cls(users, items, matrix, scale=scale, n_duplicates=n_more)
        if names:
            picked = {name: _last(events, pl.col(name)) for name in names}
            ratings.context = in_order_of_pairs(events, picked, ratings.users, ratings.items)
        return ratings

    @classmethod
    def from_frame(
        cls,
        df: TableLike,
        duplicates: Duplicates = "last",
        *,
        scale: Scale | None = None,
        context: Context | None = None,
    ) -> Self:
        """Build from a table with the columns ``user_id``, ``item_id`` and ``rating``.

        Parameters
        ----------
        df : polars, pandas or Arrow table
        duplicates : {"last", "mean", "error"}
            What becomes of several ratings of one user and item; the last is the one furthest down.
        scale : (lowest, highest), optional
            See the class.
        context : names of columns, optional
            To keep beside the ratings; see ``Events.ratings``.

        Raises
        ------
        DataError
            A column is missing, an id is null, a rating is no finite number or beyond the scale, the table is empty,
            or a pair is rated twice and ``duplicates="error"``.
        """
        table = rated_table(df, "df", keep=list(widths_of(context)))
        if not len(table):
            raise DataError("df: there are no rows, so there are no ratings")
        checked = prepare(table.lazy(), user="user_id", item="item_id")
        log = Log(checked.frame, user="user_id", item="item_id", rating="rating", bounds=checked.bounds)
        return cls.from_events(log, duplicates, scale=scale, context=context)

    @classmethod
    def from_matrix(
        cls,
        matrix: CSR | scipy.sparse.spmatrix | scipy.sparse.sparray | NDArray[Any],
        users: IdMap | IdValues | None = None,
        items: IdMap | IdValues | None = None,
        *,
        scale: Scale | None = None,
    ) -> Self:
        """Take over a users x items matrix.

        Parameters
        ----------
        matrix : CSR, sparse matrix of SciPy, or 2-D array
            Of a sparse matrix every stored entry is a rating, a stored 0 as well. Of an array every cell but NaN.
        users, items : IdMap, or a list, an array or a Series of ids, optional
            The ids of the rows and columns, in their order; 0, 1, 2, ... unless given.
        scale : (lowest, highest), optional
            See the class.

        Raises
        ------
        DataError
            See the class; or a sparse matrix stores several entries for one user and item.
        """
        if isinstance(matrix, np.ndarray) and matrix.ndim == 2 and matrix.dtype.kind in "biuf":
            rows, columns = np.nonzero(~np.isnan(matrix))
            csr = CSR.from_pairs(rows, columns, matrix[rows, columns], matrix.shape)
        else:
            told = "a CSR, a sparse matrix of SciPy or a 2-D array of numbers"
            check_type("matrix", matrix, CSR | scipy.sparse.spmatrix | scipy.sparse.sparray, told)
            csr = matrix if isinstance(matrix, CSR) else _from_scipy(matrix)
        return cls(
            IdMap(pl.int_range(csr.n_rows, eager=True)) if users is None else users,
            IdMap(pl.int_range(csr.n_columns, eager=True)) if items is None else items,
            csr,
            scale=scale,
        )

    @classmethod
    def of(cls, interactions: Interactions) -> Self:
        """The ratings of the pairs of interactions: those of their log, or else their weights."""
        check_type("interactions", interactions, Interactions, "Interactions")
        x, events = interactions, interactions.events
        if events is None:
            return cls(x.users, x.items, x.user_items)
        if events.rating is None:
            raise DataError(
                f"these interactions were made of events without ratings, and their weights are none; {_WAYS}"
            )
        ratings = cls.from_events(events)
        if ratings.nnz == x.nnz and ratings.users == x.users and ratings.items == x.items:
            return ratings
        return cls(x.users, x.items, x.user_items.with_values(x.per_pair(_last(events, pl.col(events.rating)))))

    def widened(self, users: IdMap | None = None, items: IdMap | None = None) -> Self:
        """The same ratings among more users and items, who have none; see ``Interactions.widened``."""
        users, items, csr = self._among(users, items)
        wider = type(self)(users, items, csr, scale=self.declared_scale, n_duplicates=self.n_duplicates)
        wider.context = self.context
        return wider

    @property
    def without_log(self) -> Self:
        """The same without context."""
        if self.context is None:
            return self
        bare = copy(self)
        bare.context = None
        return bare

    def to_frame(self) -> pl.DataFrame:
        """One row per rating: ``user_id``, ``item_id`` (original types), ``rating`` (Float32), and the context."""
        table = super().to_frame()
        return table if self.context is None else table.hstack(self.context.get_columns())

    @property
    def scale(self) -> Scale:
        """The lowest and the highest rating: as declared, or else of those that there are."""
        if self.declared_scale is not None:
            return self.declared_scale
        return self._range

    @cached_property
    def step(self) -> float | None:
        """The distance between neighbouring ratings that can be given, such as 0.5; None where they are on no grid."""
        levels = np.sort(pl.Series(self.user_items.values).unique().to_numpy()).astype(np.float64)
        if not 2 <= len(levels) <= _MOST_LEVELS:
            return None
        least = float(np.diff(levels).min())
        for step in least / np.arange(1, 11):
            places = (levels - levels[0]) / step
            if np.abs(places - np.round(places)).max() < _CLOSE and places[-1] < _MOST_LEVELS:
                return float(f"{step:.6g}")
        return None

    @property
    def is_constant(self) -> bool:
        """Whether all ratings are the same, so that there is nothing to learn from them."""
        least, most = self._range
        return least == most

    def facts(self) -> dict[str, Any]:
        """The scale, if it was declared."""
        return {} if self.declared_scale is None else {"scale": list(self.declared_scale)}

    def _view(self) -> View:
        view, (low, high) = super()._view(), self.scale
        facts = {"scale": f"{low:g} to {high:g}{'' if self.declared_scale is None else ', as declared'}"}
        if step := self.__dict__.get("step"):
            facts["scale"] += f", in steps of {step:g}"
        if self.n_duplicates:
            facts["rated again"] = f"{self.n_duplicates:,} ratings, left out or averaged"
        return replace(view, lead=f"{self.nnz:,} ratings", facts={**facts, **view.facts})

    def _check_values(self) -> None:
        values = self.user_items.values
        if not len(values):
            raise DataError("there are no ratings: the matrix has no entry")
        low, high = self.declared_scale or (-np.inf, np.inf)
        least, most = self._range = float(values.min()), float(values.max())
        if low <= least and most <= high and np.isfinite([least, most]).all():
            return
        kinds = {"null or NaN": np.isnan(values), "infinite": np.isinf(values)}
        self._refuse(kinds, "finite", "Correct such ratings or leave them out")
        kinds = {f"below {low:g}": values < low, f"above {high:g}": values > high}
        wanted = f"on the scale, {low:g} to {high:g}"
        self._refuse(kinds, wanted, "Correct such ratings, leave them out, or declare a wider scale=")

    def __repr__(self) -> str:
        low, high = self.scale
        grid = "" if self.step is None else f" in steps of {self.step:g}"
        return (
            f"Ratings({self.n_users:,} users x {self.n_items:,} items, {self.nnz:,} ratings from {low:g} to "
            f"{high:g}{grid})"
        )


def rated_table(given: TableLike, what: str, *, keep: Sequence[str] = ()) -> pl.DataFrame:
    """The columns ``user_id``, ``item_id`` and ``rating`` (Float64) of Ratings, Interactions, Events or a table.

    Columns to ``keep``, by the names that they have in the log, follow these. Interactions are taken as ``Ratings.of``
    takes them. Of Events and tables every row is there, also of pairs that are rated more than once.

    Raises
    ------
    DataError
        A column is missing, an id or a rating is null, or a rating is no finite number.
    """
    if isinstance(given, Log):
        if given.rating is None:
            raise DataError(f"{what}: the events have no ratings; {_WAYS}")
        _check_column(given, given.rating)
        roles = {"user_id": given.user, "item_id": given.item, "rating": given.rating}
        require_context(given.frame.collect_schema().names(), keep, what)
        given = given.frame.select(*(pl.col(column).alias(role) for role, column in roles.items()), *keep)
    if isinstance(given, Interactions):
        given = Ratings.of(given)
    table = read_table(given.to_frame() if isinstance(given, Ratings) else given, ("user_id", "item_id"), what)
    table = read_table(table, ("rating",), what)
    require_context(table.columns, keep, what)
    table = table.select("user_id", "item_id", "rating", *keep)
    dtype = table.schema["rating"]
    if len(table) and not (dtype.is_numeric() or dtype == pl.Boolean):
        raise DataError(
            f"{what}: rating must be a column of numbers, got {dtype}, {_example(table['rating'])}; cast it"
        )
    table = table.with_columns(pl.col("rating").cast(pl.Float64))
    bad = ~table["rating"].is_finite()
    if bad.any():
        raise DataError(
            f"{what}: {bad.sum()} ratings are not finite, the first rows: {table.filter(bad).head(3).rows()}; correct "
            "them or leave the rows out"
        )
    return table


def _example(values: pl.Series) -> str:
    """What stands in a column that should hold numbers."""
    first = values.drop_nulls().head(1).to_list()
    return f"such as {shown(first[0])}" if first else "all null"


def _check_column(events: Log, column: str) -> None:
    """Raise DataError unless a column of a log holds finite numbers only; one streaming pass."""
    frame, dtype = events.frame, events.frame.collect_schema()[column]
    value = pl.col(column)
    if not (dtype.is_numeric() or dtype == pl.Boolean):
        example = _example(frame.select(value).filter(value.is_not_null()).head(1).collect().to_series())
        raise DataError(
            f"column {column!r} holds {dtype}, {example}; ratings are numbers. Cast it before read_events: "
            f"pl.col({column!r}).cast(pl.Float64)"
        )
    kinds = {"null": value.is_null()}
    if dtype.is_float():
        kinds |= {"NaN": value.is_nan(), "infinite": value.is_infinite()}
    try:
        row = frame.select(bad.sum().alias(kind) for kind, bad in kinds.items()).collect(engine="streaming").row(0)
    except READ_ERRORS as error:
        raise events.explained(error, [column]) from error
    counts = {kind: n for kind, n in zip(kinds, row, strict=True) if n}
    if counts:
        told = ", ".join(f"{n:,} {kind}" for kind, n in counts.items())
        where = first_rows(frame, pl.any_horizontal(kind.fill_null(value=False) for kind in kinds.values()))
        raise DataError(
            f"column {column!r}: {sum(counts.values()):,} of {events.n_events:,} ratings are no finite numbers ({told})"
            f"; the first rows (from 0): {where}. Correct them, or leave such events out: "
            f"events.filter(pl.col({column!r}).is_finite())"
        )


def _last(events: Log, value: pl.Expr) -> pl.Expr:
    """The last rating of a pair: the newest, and of equal times the one further down."""
    if events.time is None:
        return value.last()
    time = pl.col(events.time)
    return value.filter(time == time.max()).last()


def _refuse_duplicates(events: Log) -> None:
    pair = events.frame.group_by(events.user, events.item).len().filter(pl.col("len") > 1)
    twice = pair.sort(events.user, events.item).collect(engine="streaming")
    user, item, n = twice.row(0)
    raise DataError(
        f"{len(twice):,} (user, item) pairs are rated more than once, the first: user {user!r} item {item!r}, {n} times"
        "; duplicates='last' keeps the last rating, 'mean' their mean"
    )


def _tell_duplicates(n_more: int, n: int, duplicates: Duplicates) -> None:
    if n_more:
        kept = "the last rating of a pair is kept" if duplicates == "last" else "the ratings of a pair are averaged"
        warn(f"{n_more:,} of {n:,} ratings are of a user and item that are rated again: {kept}")


def _from_scipy(matrix: Any) -> CSR:  # noqa: ANN401
    csr, given = CSR.from_scipy(matrix), matrix.tocoo()
    if n_more := given.nnz - csr.nnz:
        raise DataError(
            f"matrix: {n_more:,} of {given.nnz:,} entries are of a user and item that have another one: keep one"
        )
    return csr


def _checked_scale(scale: Any) -> Scale:  # noqa: ANN401
    pair = isinstance(scale, tuple | list) and len(scale) == 2 and all(is_number(end) for end in scale)
    if not pair or not scale[0] < scale[1]:
        raise ParameterError(f"scale must be (lowest, highest), two numbers such as (1, 5), got {shown(scale)}")
    return float(scale[0]), float(scale[1])

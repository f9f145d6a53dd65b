"""The weighted users x items matrix that models are fitted on."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl
import scipy

from cofactor.checks import check_at_least, check_flag, check_type, warn
from cofactor.data.aggregate import Weight, aggregate, summed
from cofactor.data.codes import renumbered
from cofactor.data.columns import prepare, require_columns
from cofactor.data.ids import IdMap, IdValues
from cofactor.data.log import Log
from cofactor.data.saved import save
from cofactor.data.tables import TableLike, read_table
from cofactor.data.user_items import UserItems
from cofactor.errors import DataError
from cofactor.kernels.csr import CSR, offsets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.system.views import View

__all__ = ["Interactions"]


class Interactions(UserItems):
    """How strongly every user is tied to every item: two id maps and one sparse matrix.

    Every user and item has at least one entry when built from events; a matrix given by ``from_csr`` may have
    empty rows and columns.

    Parameters
    ----------
    users, items : IdMap, or a list, an array or a Series of ids
        The ids of the rows and of the columns, in their order. Ids that are not ascending are sorted, and the rows and
        columns with them.
    user_items : CSR
        Users in rows, items in columns; (n_users, n_items), weights finite and > 0.
    events : Events, optional
        The log that the weights were made of, for models that read its times, types or sessions.

    Raises
    ------
    DataError
        The shape differs from the number of ids, an id is null or occurs twice, the matrix is not what ``CSR`` says, or
        a weight is not finite and positive.
    """

    value = "weight"

    def __init__(
        self, users: IdMap | IdValues, items: IdMap | IdValues, user_items: CSR, events: Log | None = None
    ) -> None:
        check_type("user_items", user_items, CSR, "a CSR; from_csr takes matrices of SciPy")
        check_type("events", events, Log | None, "Events, or None")
        super().__init__(users, items, user_items)
        self.events = events
        self.derived: dict[str, Any] = {}  # what was read of the events, for the next who needs it

    @classmethod
    def from_frame(cls, df: TableLike, weight: str | None = None) -> Self:
        """Build from a table with the columns ``user_id`` and ``item_id``.

        Parameters
        ----------
        df : polars, pandas or Arrow table
            Repeated pairs are added up.
        weight : str, optional
            The column of weights; without it every row weighs 1.

        Raises
        ------
        DataError
            A column is missing, an id is null, a weight is no number, or not finite and positive, the table is
            empty.
        """
        if weight is not None:
            check_type("weight", weight, str, "the name of a column, or None")
        frame = df if isinstance(df, pl.LazyFrame) else read_table(df, (), "df").lazy()
        schema = frame.collect_schema()
        require_columns(schema.names(), {"user": "user_id", "item": "item_id", "weight": weight})
        if weight is not None and not (schema[weight].is_numeric() or schema[weight] == pl.Boolean):
            raise DataError(f"weight={weight!r} is a column of {schema[weight]}; weights are numbers, cast it first")
        checked = prepare(frame, user="user_id", item="item_id")
        expr = pl.len() if weight is None else summed(pl.col(weight))
        return cls(*aggregate(checked.frame, "user_id", "item_id", expr, checked.bounds))

    @classmethod
    def from_csr(
        cls,
        csr: CSR | scipy.sparse.spmatrix | scipy.sparse.sparray | NDArray[Any],
        users: IdMap | IdValues | None = None,
        items: IdMap | IdValues | None = None,
    ) -> Self:
        """Take over a users x items matrix, of cofactor or of SciPy (any format, repeated entries are added up).

        Parameters
        ----------
        csr : CSR, sparse matrix or 2-D array
        users, items : IdMap, or a list, an array or a Series of ids, optional
            The ids of the rows and columns, in their order; 0, 1, 2, ... unless given.

        Raises
        ------
        DataError
            See the class.
        """
        given: Any = scipy.sparse.csr_matrix(csr) if isinstance(csr, np.ndarray) and csr.ndim == 2 else csr
        sparse = CSR | scipy.sparse.spmatrix | scipy.sparse.sparray
        check_type("csr", given, sparse, "a CSR, a sparse matrix of SciPy or a 2-D array")
        matrix = given if isinstance(given, CSR) else CSR.from_scipy(given)
        return cls(
            IdMap(pl.int_range(matrix.n_rows, eager=True)) if users is None else users,
            IdMap(pl.int_range(matrix.n_columns, eager=True)) if items is None else items,
            matrix,
        )

    @cached_property
    def without_log(self) -> Self:
        """The same users, items and weights without the events that they were made of: what a fitted model keeps."""
        if self.events is None:
            return self
        kept = type(self)(self.users, self.items, self.user_items)
        if "item_users" in self.__dict__:
            kept.__dict__["item_users"] = self.item_users
        return kept

    def widened(self, users: IdMap | None = None, items: IdMap | None = None) -> Self:
        """The same entries among more users and items, of whom nothing is known yet: empty rows and columns.

        Parameters
        ----------
        users, items : IdMap, optional
            Ids to add, of the type of those that are there; known ones change nothing.

        Raises
        ------
        DataError
            They are of another type.
        """
        users, items, csr = self._among(users, items)
        return type(self)(users, items, csr, self.events)

    def per_pair(self, weight: Weight) -> NDArray[np.float32]:
        """Aggregate the events of every pair once more, with another weight.

        Parameters
        ----------
        weight : as in ``Events.interactions``
            Here it may also be zero or negative.

        Returns
        -------
        (nnz,) float32
            One number for every entry of ``user_items``, in its order.

        Raises
        ------
        DataError
            The interactions know no events: they were made by ``from_csr`` or ``from_frame``, or loaded.
        """
        if self.events is None:
            raise DataError(
                "these interactions know no events; make them with read_events(...).interactions(...), and fit again "
                "instead of loading"
            )
        users, items, matrix = self.events.aggregated(weight)
        if users == self.users and items == self.items and np.array_equal(matrix.indices, self.user_items.indices):
            return matrix.values
        rows = users.rows(self.users.ids)[self.user_items.row_index()]
        columns = items.rows(self.items.ids)[self.user_items.indices]
        there = (rows >= 0) & (columns >= 0)
        there[there] = matrix.contains(rows[there], columns[there])
        if not there.all():
            raise DataError(
                f"{int((~there).sum()):,} of {self.nnz:,} (user, item) pairs are not among the events any more: their "
                "query gives others at every run, or the log has changed. Collect the events first: "
                "events.with_frame(events.collect())"
            )
        return matrix.lookup(rows, columns)

    def filter(self, min_user_count: int = 0, min_item_count: int = 0, *, k_core: bool = False) -> Self:
        """Leave out users with few items and items with few users.

        Both are counted on the matrix as it is, so that what remains may have smaller counts; users and items
        that lose all their entries go too. With ``k_core`` the filter repeats until every remaining user and
        item meets its minimum. What is left out is reported by one ``CofactorWarning``.

        Parameters
        ----------
        min_user_count : int
            Least number of distinct items of a user.
        min_item_count : int
            Least number of distinct users of an item.
        k_core : bool

        Raises
        ------
        ParameterError
            A minimum is negative.
        DataError
            Nothing is left.
        """
        result, report = self.without_rare(min_user_count, min_item_count, k_core=k_core)
        if report is not None:
            warn(report)
        return result

    def without_rare(self, min_user_count: int, min_item_count: int, *, k_core: bool) -> tuple[Self, str | None]:
        """Do as ``filter`` does, but return the report instead of warning."""
        for name, value in (("min_user_count", min_user_count), ("min_item_count", min_item_count)):
            check_at_least(name, value, 0, whole=True)
        check_flag("k_core", k_core)
        kept = _frequent(self.user_items, min_user_count, min_item_count, k_core=k_core)
        if kept.all():
            return self, None
        wanted = f"at least {min_user_count} items a user and {min_item_count} users an item"
        if not kept.any():
            raise DataError(
                f"nothing is left of {self.nnz:,} interactions with {wanted}; lower min_user_count= or min_item_count="
            )
        result = self._with_entries(kept)
        return result, (
            f"{wanted}{' (k-core)' if k_core else ''}: left out {self.n_users - result.n_users:,} of "
            f"{self.n_users:,} users, {self.n_items - result.n_items:,} of {self.n_items:,} items and "
            f"{self.nnz - result.nnz:,} of {self.nnz:,} interactions"
        )

    def save(self, folder: str | Path, test: TableLike | None = None) -> None:
        """Write users, items and weights to a folder, for another script.

        :func:`cofactor.load_interactions` reads them. Interactions that are there are replaced at the very end, in one
        step. The events that the weights were made of are not saved.

        Parameters
        ----------
        folder : path
        test : Events, Interactions, Ratings, or table with ``user_id`` and ``item_id``, optional
            What was held out, kept beside them: a table with all its columns, of Events the columns that play a role,
            by the name of that.

        Raises
        ------
        ArtifactError
            The folder holds something else than saved interactions, or cannot be written.
        DataError
            ``test`` cannot be used.
        """
        check_type("folder", folder, str | Path, "the path of a folder")
        held_out = test.to_frame() if isinstance(test, UserItems) else test
        save(folder, self.users, self.items, self.user_items, held_out)

    def _with_entries(self, kept: NDArray[np.bool_]) -> Self:
        """Keep the given entries, (nnz,) bool, and the users and items that still have one."""
        matrix = self.user_items
        counts = np.bincount(matrix.row_index()[kept], minlength=self.n_users)
        users, (columns, items) = np.flatnonzero(counts), renumbered(matrix.indices[kept], self.n_items)
        csr = CSR(offsets(counts[users]), columns, matrix.values[kept], len(items))
        return type(self)(IdMap(self.users.take(users)), IdMap(self.items.take(items)), csr, self.events)

    def _check_values(self) -> None:
        values = self.user_items.values
        if not len(values) or (values.min() > 0 and values.max() < np.inf):  # a NaN fails both
            return
        kinds = {
            "null or NaN": np.isnan(values),
            "infinite": np.isposinf(values),
            "zero": values == 0,
            "negative": values < 0,
        }
        self._refuse(
            kinds,
            "positive and finite",
            "Filter such events out first, or change the weight expression (in a matrix of SciPy, eliminate_zeros() "
            "removes stored zeros); a weight below 1e-45 counts as zero",
        )

    def _view(self) -> View:
        view = super()._view()
        log = "none" if self.events is None else f"kept: column {self.events.user!r} by {self.events.item!r}"
        return replace(view, facts={**view.facts, "log": log})

    def __repr__(self) -> str:
        cells = self.n_users * self.n_items
        return (
            f"Interactions({self.n_users:,} users x {self.n_items:,} items, {self.nnz:,} entries, "
            f"density {self.nnz / cells if cells else 0:.3%})"
        )


def _frequent(matrix: CSR, min_user_count: int, min_item_count: int, *, k_core: bool) -> NDArray[np.bool_]:
    """Which entries belong to users and items with enough entries, (nnz,) bool."""
    rows, kept = matrix.row_index(), np.ones(matrix.nnz, np.bool_)
    while True:
        users = np.bincount(rows[kept], minlength=matrix.n_rows) >= min_user_count
        items = np.bincount(matrix.indices[kept], minlength=matrix.n_columns) >= min_item_count
        remaining = kept & users[rows] & items[matrix.indices]
        if not k_core or np.array_equal(remaining, kept):
            return remaining
        kept = remaining

"""What every model is and does: the contract between algorithms and everything built on top of them."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import polars as pl

from cofactor.checks import check_at_least, check_choice, check_flag, check_type, warn
from cofactor.data.histories import read_histories
from cofactor.data.ids import IdMap, is_everyone, row_numbers
from cofactor.data.log import Log
from cofactor.data.tables import TableLike, read_table
from cofactor.errors import ParameterError, UnknownIdError
from cofactor.kernels.csr import CSR
from cofactor.kernels.filters import NO_FILTERS, Filters
from cofactor.models.base.fitting import as_interactions, check_weights
from cofactor.models.base.model import Model
from cofactor.models.base.ranks import ranks_in_batches
from cofactor.models.base.saved import restore, save
from cofactor.system.forks import require_living_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Self

    from numpy.typing import ArrayLike, NDArray

    from cofactor.data.interactions import Interactions
    from cofactor.data.user_items import UserItems
    from cofactor.kernels.arrays import Float, Ranks, Rows, TopK

__all__ = ["UNKNOWN", "Ids", "Recommender", "Unknown", "known_rows", "load", "ranked_table"]

Ids: TypeAlias = "pl.Series | NDArray[Any] | Iterable[Any]"
Unknown: TypeAlias = Literal["error", "skip"]
_Lists: TypeAlias = "Callable[[pl.Series, CSR, Filters], TopK]"
_PAIR = ("user_id", "item_id")
UNKNOWN = ("error", "skip")


class Recommender(Model):
    """A model that ranks items for users.

    A subclass fits in :meth:`fit` and answers four questions on row numbers: :meth:`_top_k`, :meth:`_top_k_for`,
    :meth:`_scores` and, where it has the notion, :meth:`_similar_items`. Ids, filters, tables, errors and saving are
    done here once for all models.
    """

    @property
    def ordered(self) -> bool:
        """Whether the order of a history matters."""
        return False

    # What a subclass provides.

    @abstractmethod
    def fit(self, interactions: Interactions, *, progress: bool | None = None) -> Self:
        """Learn from interactions; ``progress`` shows a bar (default: in a terminal and in a notebook)."""

    @abstractmethod
    def _top_k(self, users: Rows, k: int, filters: Filters) -> TopK:
        """Lists for users of the training data, within the filters."""

    @abstractmethod
    def _top_k_for(self, histories: CSR, k: int, filters: Filters) -> TopK:
        """Lists for users known only by their history (a row each, over the training data's items).

        Where the model is ``ordered`` these are :class:`~cofactor.data.histories.Histories`, with positions.
        """

    @abstractmethod
    def _scores(self, users: Rows, items: Rows) -> Float:
        """Score of each (user, item) pair."""

    def _ranks(self, users: Rows, wanted: CSR, filters: Filters) -> Ranks:
        """Where the wanted items, a row for each user, stand in the complete lists within the filters."""
        n_items = self.interactions_.n_items
        return ranks_in_batches(lambda rows: self._top_k(users[rows], n_items, filters.take(rows)), wanted)

    def _training_data(self, given: Any) -> UserItems:  # noqa: ANN401
        x = as_interactions(given)
        check_weights(x.user_items, x.items, x.users)
        return x

    def _of_events(self, events: Log) -> UserItems:
        """What a log says of new users."""
        return as_interactions(events)

    def _read_histories(self, histories: TableLike | UserItems) -> tuple[pl.Series, CSR]:
        """Users in order of appearance and what :meth:`_top_k_for` is asked with, a row each."""
        return read_histories(histories, self.interactions_.items, ordered=self.ordered)

    def _check_histories(self, histories: CSR) -> None:
        """Raise DataError for values of histories that the model cannot compute with."""
        check_weights(histories, self.interactions_.items)

    def _similar_items(self, items: Rows, k: int) -> TopK:
        raise ParameterError(
            f"{type(self).__name__} has no notion of similar items; use a model that has, as ImplicitALS and ItemKNN"
        )

    # What every model does.

    def recommend(
        self,
        users: Ids | None = None,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        items: Ids | None = None,
        exclude: TableLike | None = None,
        unknown: Unknown = "error",
    ) -> pl.DataFrame:
        """Rank items for users of the training data.

        Parameters
        ----------
        users : ids, optional
            Who to recommend to, in this order; by default everyone in the training data.
        k : int
            Length of the lists. A list is shorter, never filled up, where fewer items are left.
        exclude_seen : bool
            Leave out what the user has in the training data.
        items : ids, optional
            The only items to choose from.
        exclude : DataFrame with user_id and item_id, optional
            Pairs to leave out as well.
        unknown : {"error", "skip"}
            What to do with users or items that the training data does not hold.

        Returns
        -------
        DataFrame
            ``user_id``, ``item_id``, ``score`` (Float32), ``rank`` (Int32, from 1). Ties go to the lower item row.

        Raises
        ------
        UnknownIdError
            A user or item is not in the training data and ``unknown="error"``.
        ParameterError
            ``k`` is below 1, another parameter is none of the possible ones, or ``items`` leaves nothing to recommend.
        """
        x = self._fitted_for_tables()
        check_at_least("k", k, 1, whole=True)
        check_choice("unknown", unknown, UNKNOWN)
        rows = np.arange(x.n_users, dtype=np.int32) if users is None else known_rows(x.users, users, "user", unknown)
        excluded = None if exclude is None else _excluded_pairs(exclude, rows, x)
        filters = Filters(excluded, self._allowed(items, unknown))
        top = self.top_k(rows, k, exclude_seen=exclude_seen, filters=filters)
        return ranked_table(x.users.take(rows), "user_id", x.items, "item_id", top)

    def recommend_for(
        self,
        histories: TableLike | Interactions | Log,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        items: Ids | None = None,
        unknown: Unknown = "error",
    ) -> pl.DataFrame:
        """Rank items for users that ``fit`` never saw, from their histories.

        Parameters
        ----------
        histories : DataFrame with user_id, item_id and (optional) weight and time, Interactions, or Events
            Weights mean what they meant in training. Models of sequences (``SessionKNN``) take the rows of a user in
            the order of ``time`` where there is such a column, else as they stand, the oldest first, each for one
            event whatever its weight; ``Repurchase`` reads how long ago they were from it; ``HistoryRerank`` reads an
            ``event_type`` too; others do not look at it.
            Models of ratings need ``rating`` in the place of ``weight``, and take the last of a user and item.
            Items that the training data does not hold are left out and counted in a :class:`CofactorWarning`.
        k, exclude_seen, items, unknown
            As in :meth:`recommend`.

        Returns
        -------
        DataFrame
            As :meth:`recommend`, users in order of their first appearance.
        """
        lists = lambda _, csr, filters: self.top_k_for(csr, k, exclude_seen=exclude_seen, filters=filters)  # noqa: E731
        return self._recommend_by(lists, histories, k, items, unknown)

    def similar_items(self, items: Ids | None = None, k: int = 10, *, unknown: Unknown = "error") -> pl.DataFrame:
        """The k most similar items of each given item (default: of every item), itself left out.

        Returns
        -------
        DataFrame
            ``item_id``, ``similar_item_id``, ``score`` (Float32), ``rank`` (Int32, from 1).
        """
        x = self._fitted_for_tables()
        check_at_least("k", k, 1, whole=True)
        check_choice("unknown", unknown, UNKNOWN)
        rows = np.arange(x.n_items, dtype=np.int32) if items is None else known_rows(x.items, items, "item", unknown)
        return ranked_table(
            x.items.take(rows), "item_id", x.items, "similar_item_id", self._similar_items(rows, int(k))
        )

    def predict(self, pairs: TableLike, *, unknown: Unknown = "error") -> pl.DataFrame:
        """Score given (user_id, item_id) rows, in their order; with ``unknown="skip"`` unknown ones get a null score.

        Returns
        -------
        DataFrame
            ``user_id``, ``item_id``, ``score`` (Float32).
        """
        x = self._fitted_for_tables()
        check_choice("unknown", unknown, UNKNOWN)
        table = read_table(pairs, _PAIR, "pairs").select(_PAIR)
        find = IdMap.require if unknown == "error" else lambda ids, values, what: ids.rows(values, f"{what}s")
        users, items = find(x.users, table["user_id"], "user"), find(x.items, table["item_id"], "item")
        known = (users >= 0) & (items >= 0)
        scores = np.full(len(table), np.nan, np.float32)
        scores[known] = self._scores(users[known], items[known])
        score = pl.Series("score", scores).set(pl.Series(~known), None)
        return table.with_columns(score)

    def top_k(self, users: ArrayLike, k: int = 10, *, exclude_seen: bool = True, filters: Filters = NO_FILTERS) -> TopK:
        """Rank items for users by row number, without ids and tables: what :meth:`recommend` is made of.

        For servers, and for what ranks again what this model ranked.

        Parameters
        ----------
        users : (n,) integer
            Rows of the training data, ``0 <= row < n_users``, in any order.
        k : int
        exclude_seen : bool
            Leave out what the user has in the training data.
        filters : Filters
            What else is left out, a row for each of ``users``, and the items to choose from.

        Returns
        -------
        TopK
            ``rows`` of items and ``scores``, (n, at most k); -1 and minus infinity where a list ends.

        Raises
        ------
        ParameterError
            A row is no row of the training data, or the filters are of other users or items.
        """
        x = self._fitted()
        check_at_least("k", k, 1, whole=True)
        check_flag("exclude_seen", exclude_seen)
        check_type("filters", filters, Filters, "Filters")
        rows = row_numbers("users", users, x.n_users)
        return self._top_k(rows, int(k), self._unseen(rows, filters) if exclude_seen else filters)

    def ranks(
        self, users: ArrayLike, wanted: CSR, *, exclude_seen: bool = True, filters: Filters = NO_FILTERS
    ) -> Ranks:
        """Tell where items stand in the complete lists of users, by row number: exact metrics are computed from it.

        Models of factors count the items that score more, without lists; others make the lists of some users at a time.

        Parameters
        ----------
        users : (n,) integer
            Rows of the training data, in any order.
        wanted : CSR (n, n_items)
            The items asked about, a row for each of ``users``; values are not read.
        exclude_seen, filters
            As in :meth:`top_k`.

        Returns
        -------
        Ranks
            Of the wanted items, in the order of ``wanted``.

        Raises
        ------
        ParameterError
            As :meth:`top_k`, or ``wanted`` is of other users or items.
        """
        x = self._fitted()
        check_flag("exclude_seen", exclude_seen)
        check_type("filters", filters, Filters, "Filters")
        check_type("wanted", wanted, CSR, "a CSR of users and items")
        rows = row_numbers("users", users, x.n_users)
        if wanted.shape != (len(rows), x.n_items):
            raise ParameterError(f"wanted has shape {wanted.shape}; it must be {(len(rows), x.n_items)}")
        return self._ranks(rows, wanted, self._unseen(rows, filters) if exclude_seen else filters)

    def top_k_for(
        self, histories: CSR, k: int = 10, *, exclude_seen: bool = True, filters: Filters = NO_FILTERS
    ) -> TopK:
        """Rank items for histories (n, n_items) over the training data's items: what :meth:`recommend_for` is made of.

        Parameters, result and errors are those of :meth:`top_k`; ``exclude_seen`` leaves out what the history has.
        Models to which the order matters (``ordered``) take :class:`~cofactor.data.histories.Histories`.
        """
        x = self._fitted()
        check_at_least("k", k, 1, whole=True)
        check_flag("exclude_seen", exclude_seen)
        check_type("filters", filters, Filters, "Filters")
        check_type("histories", histories, CSR, "a CSR over the training data's items; recommend_for takes tables")
        if histories.n_columns != x.n_items:
            raise ParameterError(f"histories have {histories.n_columns} items; the training data has {x.n_items}")
        self._check_histories(histories)
        return self._top_k_for(histories, int(k), filters.excluding(histories) if exclude_seen else filters)

    def save(self, folder: str | Path) -> None:
        """Write the model to a folder; see :mod:`cofactor.models.base.saved`."""
        check_type("folder", folder, str | Path, "the path of a folder")
        save(self, folder)

    # Shared by the above.

    def _fitted_for_tables(self) -> UserItems:
        """What the model was fitted on, after a check that tables can be made here."""
        require_living_threads()
        return self._fitted()

    def _recommend_by(
        self, lists: _Lists, histories: TableLike | UserItems | Log, k: int, items: Ids | None, unknown: Unknown
    ) -> pl.DataFrame:
        """Lists of the users of histories, as a table; they are asked for with users, histories and filters."""
        x = self._fitted_for_tables()
        check_at_least("k", k, 1, whole=True)
        check_choice("unknown", unknown, UNKNOWN)
        users, csr = self._read_histories(self._of_events(histories) if isinstance(histories, Log) else histories)
        top = lists(users, csr, Filters(allowed=self._allowed(items, unknown)))
        return ranked_table(users, "user_id", x.items, "item_id", top)

    def _unseen(self, users: Rows, filters: Filters) -> Filters:
        x = self.interactions_
        return filters.excluding(x.user_items if is_everyone(users, x.n_users) else x.user_items.take(users))

    def _allowed(self, items: Ids | None, unknown: Unknown) -> Rows | None:
        if items is None:
            return None
        allowed = np.unique(known_rows(self.interactions_.items, items, "item", unknown))
        if not len(allowed):
            raise ParameterError("items leaves nothing to recommend; give at least one item of the training data")
        return allowed


def ranked_table(ids: pl.Series, name: str, others: IdMap, other_name: str, top: TopK) -> pl.DataFrame:
    """Ranked lists as a public table: one row per (id, other id)."""
    at, column = np.nonzero(top.rows >= 0)
    return pl.DataFrame(
        [
            ids.gather(at).alias(name),
            others.take(top.rows[at, column]).alias(other_name),
            pl.Series("score", top.scores[at, column]),
            pl.Series("rank", (column + 1).astype(np.int32)),
        ]
    )


def known_rows(ids: IdMap, values: Ids, what: str, unknown: Unknown) -> Rows:
    """Row numbers of ids; unknown ones raise, or are left out and counted."""
    if unknown == "error":
        try:
            return ids.require(values, what)
        except UnknownIdError as error:
            raise UnknownIdError(f"{error}; unknown='skip' leaves them out") from None
    rows = ids.rows(values, f"{what}s")
    if n := int((rows < 0).sum()):
        warn(f"{n} of {len(rows)} {what} ids are not in the training data; skipped")
    return rows[rows >= 0]


def _excluded_pairs(exclude: TableLike, users: Rows, x: UserItems) -> CSR:
    """Pairs to leave out as rows of the users asked for; pairs of other users or unknown items say nothing here."""
    table = read_table(exclude, _PAIR, "exclude")
    user, item = (ids.rows(table[c], f"exclude: {c}") for ids, c in ((x.users, "user_id"), (x.items, "item_id")))
    named = pl.DataFrame({"user": user, "item": item})
    named = named.filter(pl.col("item") >= 0).unique()
    pairs = pl.DataFrame({"user": users}).with_row_index("at").join(named, on="user")
    return CSR.from_pairs(pairs["at"], pairs["item"], np.ones(len(pairs), np.float32), (len(users), x.n_items))


def load(folder: str | Path, *, verify: bool = True) -> Recommender:
    """Read a saved model; its arrays are mapped from the file, not copied.

    Parameters
    ----------
    folder : path
    verify : bool
        Compare every file with its sha256 first, and check every entry of every array (reads the files twice). Without
        it only types, shapes, ids and weights are checked: for files that nobody else can write.

    Raises
    ------
    ArtifactError
        Not a saved model, damaged, of a newer format, or it cannot be read.
    """
    require_living_threads()
    check_type("folder", folder, str | Path, "the path of a folder")
    check_flag("verify", verify)
    model = restore(folder, verify=verify)
    assert isinstance(model, Recommender)
    return model

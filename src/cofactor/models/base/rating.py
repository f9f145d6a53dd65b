"""What models of ratings share: they predict what a user would say of an item, and rank by that."""

from __future__ import annotations

from abc import abstractmethod
from copy import copy
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import polars as pl
import scipy

from cofactor.checks import check_choice, check_flag, shown, warn
from cofactor.data.ids import IdMap, row_numbers
from cofactor.data.interactions import Interactions
from cofactor.data.log import Log
from cofactor.data.ratings import Ratings, rated_table
from cofactor.data.tables import TableLike, read_table
from cofactor.errors import DataError, ParameterError
from cofactor.kernels.arrays import Ranks, TopK
from cofactor.kernels.csr import CSR
from cofactor.models.base.batches import pieces
from cofactor.models.base.fitting import LARGEST_WEIGHT, check_weights
from cofactor.models.base.nearest import most_similar
from cofactor.models.base.recommender import Recommender

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from numpy.typing import ArrayLike

    from cofactor.data.context import Context
    from cofactor.data.user_items import UserItems
    from cofactor.kernels.arrays import Float, Rows
    from cofactor.kernels.filters import Filters

__all__ = ["RatingModel", "UnknownRated", "as_ratings"]

UnknownRated: TypeAlias = Literal["estimate", "error", "skip"]
_PAIR = ("user_id", "item_id")
_PIECE = 1 << 16  # pairs rated at once
_FLOATS = 1 << 24  # of the vectors of users whose lists are made at once
_LEVELS = 100  # that float32 must have between the least and the greatest rating
_COARSE = 0.1  # distance of neighbours in float32 at which equal ratings may have been different ones


class RatingModel(Recommender):
    """A model that predicts ratings.

    A subclass fits in ``fit`` and says what it learned as vectors: the rating of a pair is the inner product of its
    :meth:`_user_vectors` and :meth:`_item_vectors`, biases included, such as ``[p, mean + b, 1]`` and ``[q, 1, b]``.
    Users known only by their ratings get theirs from :meth:`_fold_in`. One whose ratings are no inner products
    overrides :meth:`_ratings`, :meth:`_top_k` and :meth:`_top_k_for`. One that knows how far off it may be gives
    :meth:`_stds`, one that knows what items are alike :meth:`_compared`.
    """

    _data_class = Ratings
    _fitted_on = "ratings"
    interactions_: Ratings

    # What a subclass provides.

    @abstractmethod
    def _user_vectors(self, users: Rows) -> Float:
        """Vectors (n, f) of users by row; -1 stands for one that nobody knows."""

    @abstractmethod
    def _item_vectors(self, items: Rows) -> Float:
        """Vectors (n, f) of items by row; -1 stands for one that nobody knows."""

    @abstractmethod
    def _fold_in(self, histories: CSR) -> Float:
        """Vectors (n, f) of users known only by their ratings (a row each, over the training data's items)."""

    def _stds(self, users: Rows, items: Rows) -> Float | None:
        """Standard deviation of each (user, item) pair's rating around the predicted one, rows as in ``_ratings``."""
        return None

    def _rated(self, users: Rows, items: Rows, codes: Rows | None) -> tuple[Float, Float | None]:
        """Ratings and standard deviations; in contexts, where ``codes`` say which."""
        return self._ratings(users, items), self._stds(users, items)

    @property
    def context_columns(self) -> tuple[str, ...]:
        """Columns that tables of pairs have besides, which tell the context of a rating."""
        return ()

    def _context_codes(self, table: pl.DataFrame, what: str) -> Rows | None:
        """Of each row of a table the categories of its context, (n, n_columns), -1 where nothing is known of one."""
        return None

    def _compared(self) -> Float | None:
        """Vectors (n_items, f), biases left out, whose cosines tell how similar items are, where there are any."""
        return None

    def _compared_users(self) -> Float | None:
        """Those of users, (n_users, f): a model has both or neither."""
        return None

    # What every model of ratings does.

    @property
    def _as_fitted(self) -> Self:
        """The model with the parameters that it was fitted with, whatever was set since; threads as they are."""
        fitted = copy(self)
        vars(fitted).update(self._params_to_save())
        return fitted

    def _params_to_save(self) -> dict[str, Any]:
        return {
            **self.params(),
            **self._fitted_params,
            **({"threads": self.threads} if "threads" in self.params() else {}),
        }

    def _ratings(self, users: Rows, items: Rows) -> Float:
        """Rating of each (user, item) pair; with a row of -1, by what is known of the other side."""
        ratings = np.empty(len(users), np.float32)
        for piece in pieces(len(users), _PIECE):
            vectors = self._user_vectors(users[piece]), self._item_vectors(items[piece])
            np.einsum("ij,ij->i", *vectors, out=ratings[piece])
        return ratings

    def _scores(self, users: Rows, items: Rows) -> Float:
        return self._ratings(users, items)

    def _similar_items(self, items: Rows, k: int) -> TopK:
        if (vectors := self._compared()) is None:
            return super()._similar_items(items, k)
        return most_similar(self._kernels(), vectors, items, k, self.threads)

    def _top_k(self, users: Rows, k: int, filters: Filters) -> TopK:
        return self._best(lambda some: self._user_vectors(users[some]), len(users), k, filters)

    def _top_k_for(self, histories: CSR, k: int, filters: Filters) -> TopK:
        return self._best(lambda some: self._fold_in(histories.take(some)), histories.n_rows, k, filters)

    def _best(self, vectors_of: Callable[[Rows], Float], n: int, k: int, filters: Filters) -> TopK:
        """Lists of ``n`` users; ``vectors_of`` gives the vectors of some of 0 ... n - 1."""
        items, kernels = self._every_item(), self._kernels()
        return TopK.stacked(
            [
                kernels.top_k(vectors_of(some), items, k, filters=filters.take(some), threads=self.threads)
                for some in _slices(n, items.shape[1])
            ]
        )

    def _ranks(self, users: Rows, wanted: CSR, filters: Filters) -> Ranks:
        if type(self)._top_k is not RatingModel._top_k:
            return super()._ranks(users, wanted, filters)  # lists of a subclass that ranks otherwise
        items, kernels = self._every_item(), self._kernels()
        parts = []
        for some in _slices(len(users), items.shape[1]):
            vectors, asked = self._user_vectors(users[some]), wanted.take(some)
            parts.append(kernels.ranks(vectors, items, asked, filters=filters.take(some), threads=self.threads))
        return Ranks.stacked(parts)

    def _every_item(self) -> Float:
        rows = np.arange(self.interactions_.n_items, dtype=np.int32)
        return self._once("every item", lambda: self._item_vectors(rows))

    def predict(self, pairs: TableLike, *, unknown: UnknownRated = "estimate", clip: bool = False) -> pl.DataFrame:
        """Rate given (user_id, item_id) rows, in their order.

        Parameters
        ----------
        pairs : DataFrame with user_id and item_id
            And with the columns of context, for models that were fitted with some.
        unknown : {"estimate", "error", "skip"}
            What to do with users and items that the training data does not hold: rate them by what is known of the
            other side (of neither, by what is known of all), counted in a ``CofactorWarning``; raise; or leave null.
        clip : bool
            Bring ratings beyond the scale of the training data to its ends.

        Returns
        -------
        DataFrame
            ``user_id``, ``item_id``, columns of context, ``rating`` (Float32) and, where the model knows it, ``std``
            (Float32): the standard deviation of the rating that the user would give around the predicted one.

        Raises
        ------
        UnknownIdError
            A user or item is not in the training data and ``unknown="error"``.
        """
        x = self._fitted_for_tables()
        check_choice("unknown", unknown, ("estimate", "error", "skip"))
        check_flag("clip", clip)
        table = read_table(pairs, (*_PAIR, *self.context_columns), "pairs").select(*_PAIR, *self.context_columns)
        find = IdMap.require if unknown == "error" else lambda ids, values, what: ids.rows(values, f"{what}s")
        users, items = find(x.users, table["user_id"], "user"), find(x.items, table["item_id"], "item")
        nobody = (users < 0) | (items < 0)
        if unknown == "estimate" and nobody.any():
            warn(
                f"predict: {nobody.sum():,} of {len(nobody):,} rows have users ({(users < 0).sum():,}) or items "
                f"({(items < 0).sum():,}) that are not in the training data; rated by what is known of the other side"
            )
        codes = self._context_codes(table, "pairs")
        if unknown == "estimate" and codes is not None and (codes < 0).any():
            counts = ", ".join(
                f"{n:,} of {name}" for name, n in zip(self.context_columns, (codes < 0).sum(axis=0), strict=True) if n
            )
            warn(f"predict: categories that are not in the training data are taken for the mean one: {counts}")
        ratings, stds = self._within(self._rated(users, items, codes), clip=clip)
        columns = [pl.Series("rating", ratings)] + ([] if stds is None else [pl.Series("std", stds)])
        if unknown == "skip":
            columns = [column.set(pl.Series(nobody), None) for column in columns]
        return table.with_columns(columns)

    def rate(
        self, users: ArrayLike, items: ArrayLike, *, clip: bool = False, context: TableLike | None = None
    ) -> tuple[Float, Float | None]:
        """Rate pairs by row number, without ids and tables: what :meth:`predict` is made of.

        Parameters
        ----------
        users, items : (n,) integer
            Rows of the training data; -1 is a user or item that it does not hold.
        clip : bool
            As in :meth:`predict`.
        context : table, optional
            The columns of context, a row for each pair, for models that were fitted with some; without it the context
            is unknown.

        Returns
        -------
        ratings : (n,) float32
        stds : (n,) float32, or None
            Their standard deviations, where the model knows them.

        Raises
        ------
        ParameterError
            A row is neither -1 nor one of the training data, or there are not as many users as items.
        """
        x = self._fitted()
        check_flag("clip", clip)
        u, i = row_numbers("users", users, x.n_users, least=-1), row_numbers("items", items, x.n_items, least=-1)
        if len(u) != len(i):
            raise ParameterError(f"users and items must be pairs, got {len(u)} users and {len(i)} items")
        return self._within(self._rated(u, i, self._codes_of(context, len(u))), clip=clip)

    def _codes_of(self, context: TableLike | None, n: int) -> Rows | None:
        columns = self.context_columns
        if not columns:
            if context is not None:
                raise ParameterError(f"context: this {type(self).__name__} was fitted without any; leave it out")
            return None
        if context is None:
            return np.full((n, len(columns)), -1, np.int32)
        table = read_table(context, columns, "context")
        if len(table) != n:
            raise ParameterError(f"context must have a row for each of {n:,} pairs, got {len(table):,}")
        return self._context_codes(table, "context")

    def _within(self, found: tuple[Float, Float | None], *, clip: bool) -> tuple[Float, Float | None]:
        """Ratings on the scale, where that is wanted."""
        if clip:
            np.clip(found[0], *self.interactions_.scale, out=found[0])
        return found

    def item_vectors(self) -> pl.DataFrame:
        """What was learned of the items, biases left out: their cosines tell how similar they are.

        Returns
        -------
        DataFrame
            ``item_id`` and ``vector`` (Array of Float32), a row for each item of the training data.

        Raises
        ------
        ParameterError
            The model has no vectors.
        """
        return self._vector_table("item", self._compared)

    def user_vectors(self) -> pl.DataFrame:
        """What was learned of the users, biases left out: ``user_id`` and ``vector``, else as :meth:`item_vectors`.

        A number of a user's vector belongs to that of an item's at the same place; sampled models have those of all
        samples, one sample after the other.
        """
        return self._vector_table("user", self._compared_users)

    def _vector_table(self, side: Literal["user", "item"], compared: Callable[[], Float | None]) -> pl.DataFrame:
        x = self._fitted_for_tables()
        if (vectors := compared()) is None:
            raise ParameterError(f"{type(self).__name__} has no vectors of {side}s; use a model that has, as BiasedMF")
        ids = x.users if side == "user" else x.items
        return pl.DataFrame({f"{side}_id": ids.ids, "vector": np.ascontiguousarray(vectors)})

    # What it is given.

    def _training_data(self, given: Any) -> UserItems:  # noqa: ANN401
        return as_ratings(given)

    def _of_events(self, events: Log) -> Ratings:
        return Ratings.from_events(events)

    def _read_histories(self, histories: TableLike | UserItems) -> tuple[pl.Series, CSR]:
        table, ids = rated_table(histories, "histories"), self.interactions_.items
        if not len(table):
            raise DataError("histories is empty; give at least one (user_id, item_id, rating) row")
        users = table["user_id"].unique(maintain_order=True)
        table = table.join(pl.DataFrame({"user_id": users}).with_row_index("at"), on="user_id", maintain_order="left")
        table = table.with_columns(row=pl.Series(ids.rows(table["item_id"], "histories: item_id")))
        known = table.filter(pl.col("row") >= 0)
        if n := len(table) - len(known):
            warn(f"histories: {n} of {len(table)} rows have items that are not in the training data; left out")
        known = known.group_by("at", "row", maintain_order=True).agg(pl.col("rating").last())
        return users, CSR.from_pairs(known["at"], known["row"], known["rating"], (len(users), len(ids)))

    def _check_histories(self, histories: CSR) -> None:
        (low, high), values = self.interactions_.scale, histories.values
        if not (np.abs(values) <= LARGEST_WEIGHT).all():
            raise DataError(f"histories: ratings must be finite and at most {LARGEST_WEIGHT:g}; correct them")
        outside = (values < low) | (values > high)
        if outside.any():
            warn(
                f"histories: {outside.sum():,} of {len(values):,} ratings, the first {values[outside.argmax()]:g}, lie "
                f"outside the scale of the training data, {low:g} to {high:g}; they must be in its units"
            )


def _slices(n: int, width: int) -> Iterator[Rows]:
    """Users whose vectors, of so many numbers, are made at once; at least one slice."""
    size = max(1, _FLOATS // width)
    for begin in range(0, max(n, 1), size):
        yield np.arange(begin, min(n, begin + size), dtype=np.int32)


def as_ratings(given: Any, *, context: Context | None = None) -> Ratings:  # noqa: ANN401
    """What models of ratings are fitted on, of whatever they were given.

    Parameters
    ----------
    given : Ratings, Events, Interactions, table or matrix
        Of Events and of Interactions that were made of events, the ratings; of other Interactions the weights. A table
        has ``user_id``, ``item_id`` and ``rating``; a users x items matrix of SciPy or cofactor numbers users and items
        from 0.
    context : names of columns, optional
        To keep, of events and of tables; see ``Events.ratings``.

    Raises
    ------
    ParameterError
        It is none of these.
    DataError
        It cannot be used (see ``Ratings``), all ratings are the same, or they are too large, too small or too far from
        0 for float32.
    """
    ratings = _made(given, context)
    _check_resolution(ratings)
    if ratings.is_constant:
        raise DataError(
            f"ratings: all {ratings.nnz:,} are {ratings.scale[0]:g}, so there is nothing to predict. A log of what "
            "users chose, without what they disliked, is for models of implicit feedback: "
            "ImplicitALS().fit(events.interactions()), EASE, ItemKNN ..."
        )
    check_weights(ratings.user_items, ratings.items, ratings.users, "rating")
    return ratings


def _check_resolution(ratings: Ratings) -> None:
    """Raise DataError for ratings so far from 0 that float32 rounds away how they differ, or all of it."""
    values = ratings.user_items.values
    least, most = float(values.min()), float(values.max())
    step = float(np.spacing(np.float32(max(abs(least), abs(most)))))
    if most - least < _LEVELS * step and (most > least or step >= _COARSE):
        raise DataError(
            f"ratings: they lie from {least:.9g} to {most:.9g}, where numbers in float32, in which models compute, are "
            f"{step:.2g} apart; subtract what all have in common, about {least:.6g}"
        )


def _made(given: Any, context: Context | None) -> Ratings:  # noqa: ANN401
    if isinstance(given, Ratings):
        return given
    if context is not None and isinstance(given, Interactions) and getattr(given.events, "rating", None) is not None:
        given = given.events
    if isinstance(given, Interactions):
        return Ratings.of(given)
    if isinstance(given, Log):
        return Ratings.from_events(given, context=context)
    if isinstance(given, CSR | scipy.sparse.spmatrix | scipy.sparse.sparray):
        return Ratings.from_matrix(given)
    ways = "Ratings, Events with rating=, a table with user_id, item_id and rating, or a sparse users x items matrix"
    if isinstance(given, type) or given is None or isinstance(given, str | int | float):
        raise ParameterError(f"ratings: a model of ratings is fitted on {ways}; got {shown(given)}")
    try:
        table = read_table(given, (), "ratings")
    except DataError as error:
        raise ParameterError(f"ratings: a model is fitted on {ways}; got {type(given).__name__}") from error
    return Ratings.from_frame(table, context=context)

"""A part of the training data to choose by, cut off once for all that is tried on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cofactor.checks import check_fraction, is_number, shown
from cofactor.data.interactions import Interactions
from cofactor.data.ratings import Ratings, rated_table
from cofactor.data.split import Split, by_time
from cofactor.data.tables import pairs_of
from cofactor.errors import DataError, ParameterError
from cofactor.evaluation.fingerprint import fingerprint
from cofactor.evaluation.training import Training
from cofactor.models.base.held_out import entries
from cofactor.system.memory import available_memory

if TYPE_CHECKING:
    from datetime import date, datetime, timedelta
    from typing import TypeAlias

    from cofactor.data.aggregate import Weight
    from cofactor.data.events import Events
    from cofactor.data.tables import TableLike
    from cofactor.data.user_items import UserItems

__all__ = ["Holdout", "Valid", "hold_out"]

Valid: TypeAlias = "str | timedelta | date | datetime | float | Split | TableLike | None"

_SHARE = 0.1
_MOST_USERS = 20_000  # that are measured: the values of more differ in the third digit, and cost more than the fits
_BYTES_PER_EVENT = 64


@dataclass(frozen=True, eq=False)
class Holdout:
    """What models are fitted on and measured by while parameters are chosen.

    Parameters
    ----------
    training : Training
        Makes interactions and ratings once.
    valid : DataFrame
        ``user_id``, ``item_id``, and ``rating`` where the models are of ratings.
    told : str
        How it was made, for people.
    """

    training: Training
    valid: pl.DataFrame
    told: str

    def fingerprint(self, x: UserItems) -> str:
        """The SHA-256 of what models are fitted on, of which ``x`` is made, and measured by."""
        return fingerprint(x, [self.valid], self.training.events)


def hold_out(
    train: Events | Interactions | Ratings,
    valid: Valid = None,
    *,
    weight: Weight = None,
    rated: bool = False,
    seed: int = 0,
    name: str = "train",
) -> Holdout:
    """Cut off what parameters are chosen by.

    Parameters
    ----------
    train : Events, Interactions or Ratings
    valid : optional
        A point in time or a length of it, as in ``split.by_time``; a share of every user's items, such as 0.1; a Split
        of ``train``; or held-out events, or a table of them, which are not in ``train``. By default the last tenth of
        the events where there are times, else a tenth of every user's items, drawn at random.
    weight : polars expression, optional
        As in ``Events.interactions``.
    rated : bool
        Whether ratings are wanted.
    seed : int
        Of the draws.
    name : str
        What the caller calls ``train``.

    Raises
    ------
    DataError
        One side is empty.
    ParameterError
        ``valid`` is none of these.
    """
    if train is None:
        raise ParameterError(f"{name}: Events, Interactions or Ratings are expected, got None")
    training = Training(train, weight, name=name)
    held_out: TableLike = valid
    told = "valid as given"
    if isinstance(valid, Split):
        training, held_out = Training(valid.train, weight), valid.test
    elif valid is None or isinstance(valid, str) or is_number(valid) or _is_time(valid):
        split = _by_time(training.events, valid) if not is_number(valid) else None
        if split is None:
            share = _SHARE if valid is None else float(valid)  # type: ignore[arg-type]
            check_fraction("valid", share)
            held_out, training = _at_random(training, share, rated=rated, seed=seed)
            told = f"{share:g} of every user's items at random"
        else:
            training, held_out = Training(_in_memory(split.train), weight), split.test
            told = f"{'the last tenth of the events' if valid is None else valid} by time"
    elif hasattr(valid, "fit") or isinstance(valid, bool | type):
        raise ParameterError(
            f"valid={shown(valid)}: give a time such as '28d', a share such as 0.1, a Split or a table"
        )
    table = rated_table(held_out, "valid") if rated else pairs_of(held_out, "valid").unique(maintain_order=True)
    n_users = table["user_id"].n_unique()
    if n_users > _MOST_USERS:
        users = table["user_id"].unique().sort()
        some = np.random.default_rng(seed).choice(n_users, _MOST_USERS, replace=False)
        table = table.filter(pl.col("user_id").is_in(users.gather(np.sort(some)).implode()))
        told += f", {_MOST_USERS:,} of {n_users:,} users"
    return Holdout(training, table, f"{told}: {table.height:,} pairs of {min(n_users, _MOST_USERS):,} users")


def _is_time(valid: object) -> bool:
    return hasattr(valid, "isoformat") or hasattr(valid, "total_seconds")


def _by_time(events: Events | None, valid: Any) -> Split | None:  # noqa: ANN401
    """A split by time; None where nothing was asked for and there are no times to go by."""
    if valid is not None:
        if events is None:
            raise ParameterError(f"valid={shown(valid)} is a time, and train has none; pass Events, or a share as 0.1")
        try:
            return by_time(events, valid)
        except (ParameterError, DataError) as error:
            raise type(error)(f"valid: {str(error).replace('test=', 'valid=')}") from error
    if events is None or events.time is None:
        return None
    cut = events.frame.select(pl.col(events.time).quantile(1 - _SHARE, "nearest")).collect(engine="streaming").item()
    try:
        return by_time(events, cut)
    except DataError:  # nearly all events are of one time, or some have none: there is no way to cut by it
        return None


def _in_memory(events: Events) -> Events:
    """A log that is read once, where that leaves most of the memory free."""
    available = available_memory()
    if available is not None and events.n_events * _BYTES_PER_EVENT > available / 4:
        return events
    return replace(events, frame=events.collect().lazy(), source=None)


def _at_random(training: Training, share: float, *, rated: bool, seed: int) -> tuple[pl.DataFrame, Training]:
    """A share of every user's items; whoever has several loses one at least and keeps one at least."""
    x: UserItems = training.ratings() if rated else training.interactions
    lengths = np.diff(x.user_items.indptr)
    rows, rng = x.user_items.row_index(), np.random.default_rng(seed)
    order = np.lexsort((rng.random(x.nnz), rows))
    place = np.arange(x.nnz) - x.user_items.indptr[rows]
    wanted = np.clip(np.round(share * lengths), 1, np.maximum(lengths - 1, 0))
    out = np.zeros(x.nnz, np.bool_)
    out[order] = place < wanted[rows]
    if not out.any():
        raise DataError("valid: no user has two items, so that one could be held out; give held-out events as valid=")
    matrix = entries(x.user_items, ~out)
    kept: Interactions | Ratings = (
        Ratings(x.users, x.items, matrix, scale=x.scale)
        if isinstance(x, Ratings)
        else Interactions(x.users, x.items, matrix)
    )
    return x.to_frame().filter(pl.Series(out)), Training(kept)

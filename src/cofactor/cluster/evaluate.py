"""``evaluate`` with lists, or ranks, that the workers of a cluster make.

The metrics are computed here, by the very code of one machine and in its order, of lists that come batch by batch: so
that all metrics and options are there, with the same bits. What takes the time, ranking, is what workers do.
"""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cofactor.cluster.engine import translated
from cofactor.cluster.list_worker import Wanted, check_sizes, fitted_model, listing
from cofactor.evaluation.evaluate import evaluate as evaluate_here
from cofactor.evaluation.lists import tells_ranks
from cofactor.evaluation.readings import choice_of, note_choice
from cofactor.kernels.arrays import Ranks
from cofactor.metrics import parse_all

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cofactor.cluster.pool import Pool
    from cofactor.data.tables import TableLike
    from cofactor.kernels.arrays import Rows
    from cofactor.kernels.csr import CSR
    from cofactor.models.base.recommender import Recommender

__all__ = ["evaluate"]

_ROWS = 200_000  # of the lists that a worker makes at once
_USERS = 512  # whose ranks it counts at once


class _Elsewhere:
    """A fitted model whose lists are made by workers; all else is asked of the model itself."""

    def __init__(self, model: Recommender, pool: Pool) -> None:
        self._model, self._pool = model, pool

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._model, name)

    def _in_order(self, calls: list[tuple[str, tuple[Any, ...]]]) -> list[Any]:
        found = dict(self._pool.deal(calls))
        return [found[i] for i in range(len(calls))]

    def _lists(self, users: pl.Series, k: int, exclude_seen: bool) -> pl.DataFrame:
        wanted, step = Wanted("items", k, exclude_seen), max(1, _ROWS // k)
        pieces = [users.slice(at, step) for at in range(0, max(1, len(users)), step)]
        parts: list[pl.DataFrame] = self._in_order([("lists", (piece, wanted)) for piece in pieces])
        return pl.concat(parts)


class _Lists(_Elsewhere):
    def recommend(self, users: pl.Series, k: int, *, exclude_seen: bool) -> pl.DataFrame:
        """As ``Recommender.recommend``."""
        return self._lists(users, k, exclude_seen)


class _ListsAndRanks(_Elsewhere):
    def recommend(self, users: pl.Series, k: int, *, exclude_seen: bool) -> pl.DataFrame:
        """As ``Recommender.recommend``."""
        return self._lists(users, k, exclude_seen)

    def ranks(self, users: Rows, wanted: CSR, *, exclude_seen: bool) -> Ranks:
        """As ``FactorModel.ranks``."""
        pieces = [np.arange(at, min(at + _USERS, len(users))) for at in range(0, len(users), _USERS)]
        return Ranks.stacked(
            self._in_order([("ranks", (users[some], wanted.take(some), exclude_seen)) for some in pieces])
        )


def evaluate(
    model: Recommender | str | Path,
    test: TableLike,
    metrics: str | Sequence[str],
    *,
    workers: int | None,
    threads: int | None,
    options: dict[str, Any],
) -> pl.DataFrame:
    """See ``Cluster.evaluate``."""
    check_sizes(workers, threads)
    signature(evaluate_here).bind(model, test, metrics, **options)  # before anything is started
    parse_all(metrics)
    fitted = fitted_model(model)
    fitted._fitted()
    kind = _ListsAndRanks if tells_ranks(fitted) else _Lists
    named = type(type(fitted).__name__, (kind,), {})  # warnings and errors tell this name
    with translated("the model could not be evaluated"), listing(model, fitted, workers, threads) as pool:
        subject = named(fitted, pool)
        if (chosen_on := choice_of(fitted)) is not None:
            note_choice(subject, chosen_on)
        return evaluate_here(subject, test, metrics, **options)

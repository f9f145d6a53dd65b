"""The kinds of metrics that are computed from lists: from the hits in them, or from the lists themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, final

import numpy as np

from cofactor.errors import DataError
from cofactor.metrics.hits import Hits
from cofactor.metrics.kinds import MOST_PLACES, NO_NEEDS, AtK, Needs, Values, WithoutK, needs_of
from cofactor.metrics.matching import Matched, collect_hits, match_lists

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import polars as pl
    from numpy.typing import NDArray

    from cofactor.metrics.kinds import Metric, Trial
    from cofactor.metrics.listed import Listed

__all__ = ["BeyondAccuracy", "CompleteRanking", "HitsReader", "RankingAtK", "RankingToR", "kept_places"]


def kept_places(metrics: Sequence[Metric]) -> int:
    """How many places of the lists themselves metrics need, beside the hits."""
    return max((metric.k or 0 for metric in metrics if isinstance(metric.kind, BeyondAccuracy)), default=0)


@final
class HitsReader:
    """Looks the relevant items up in the lists, or takes the hits of the trial and what else is in the lists."""

    def __init__(self, trial: Trial, metrics: Sequence[Metric]) -> None:
        self._trial = trial
        self._ties = needs_of(metrics).ties
        self._keep = kept_places(metrics)
        self._of_complete = [metric.name for metric in metrics if metric.needs.complete]
        self._parts: list[Matched] = []

    def add(self, lists: pl.DataFrame) -> None:
        """Match one batch."""
        self._parts.append(match_lists(lists, self._trial.relevance, ties=self._ties, keep=self._keep))

    def finish(self) -> Hits:
        """The hits of all batches; DataError if lists are not complete and a metric needs them so."""
        trial = self._trial
        context = replace(trial.context, n_items=trial.n_items)
        hits = collect_hits(self._parts, trial.relevance, context) if self._parts else None
        if trial.hits is not None:
            hits = replace(trial.hits, listed=None if hits is None else hits.listed, context=context)
        assert hits is not None, "there is a batch of lists if any are needed"
        if self._of_complete and trial.n_complete is not None:
            self._check_complete(hits.n_listed, trial.n_complete)
        return hits

    def _check_complete(self, n_listed: NDArray[np.int64], n_complete: NDArray[np.int64]) -> None:
        if (wrong := np.flatnonzero(n_listed != n_complete)).size:
            at, users = int(wrong[0]), self._trial.relevance.users
            raise DataError(
                f"{', '.join(self._of_complete)} needs complete lists, and those of {wrong.size} of {len(users)} users "
                f"are not: user {users[at]!r} has {n_listed[at]} of {n_complete[at]} items; with candidates= they are"
            )


@final
class RankingAtK(AtK[Hits]):
    """Of the hits in the first k places, one number a user.

    ``also`` is what it needs besides lists, such as gains of the test pairs or training data.
    """

    per_user = True
    reader = HitsReader
    of_ranks = True

    def __init__(
        self, function: Callable[[Hits, int], Values], *, k_optional: bool = False, also: Needs = NO_NEEDS
    ) -> None:
        super().__init__(function, k_optional=k_optional)
        self._also = also

    def needs(self, k: int | None) -> Needs:
        """Lists of k places, and what else it was made with."""
        return Needs(places=MOST_PLACES if k is None else k) | self._also


@final
class RankingToR(WithoutK[Hits]):
    """Of the hits in as many places as the user has relevant items, one number a user."""

    per_user = True
    reader = HitsReader
    of_ranks = True
    told = "as many places as the user has relevant items;"

    def needs(self, k: int | None) -> Needs:
        """Lists as long as they are."""
        return Needs(places=MOST_PLACES)


@final
class CompleteRanking(WithoutK[Hits]):
    """Of the hits in lists of all items, one number a user."""

    per_user = True
    reader = HitsReader
    of_ranks = True
    told = "complete lists,"

    def needs(self, k: int | None) -> Needs:
        """Complete lists, whose length follows from the size of the catalogue, and their ties."""
        return Needs(complete=True, ties=True, n_items=True)


@final
class BeyondAccuracy(AtK[Hits]):
    """Of the first k places of the lists, whatever is relevant: one number a user, or one for all lists together."""

    reader = HitsReader

    def __init__(
        self,
        function: Callable[[Listed, int], Values],
        *,
        per_user: bool = True,
        higher_is_better: bool = True,
        also: Needs = NO_NEEDS,
    ) -> None:
        def of_the_lists(hits: Hits, k: int) -> Values:
            assert hits.listed is not None, "the reader keeps lists where this kind is asked for"
            return function(hits.listed.top(k), k)

        super().__init__(of_the_lists)
        self.per_user = per_user
        self.higher_is_better = higher_is_better
        self._also = also

    def needs(self, k: int | None) -> Needs:
        """Lists of k places, and what else it was made with."""
        return Needs(places=k or 0) | self._also

"""Whether a new model may take the place of an old one: it is not worse by more than a margin."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.checks import check_at_least, check_flag, check_fraction, is_number, shown
from cofactor.errors import DataError, ParameterError
from cofactor.evaluation.paired import measured_alike
from cofactor.evaluation.paired_statistics import paired_means
from cofactor.metrics import parse
from cofactor.system.views import View, Viewed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.data.tables import TableLike
    from cofactor.metrics import Metric

__all__ = ["Gate", "gate"]

_SHARE = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*%\s*")


@dataclass(frozen=True)
class Gate(Viewed):
    """What ``gate`` decided, and on what.

    Parameters
    ----------
    promoted : bool
        Whether the whole interval lies above ``-margin`` (below ``margin`` where less is better).
    metric : str
    baseline, candidate : float
        Its means over the same users.
    difference, low, high : float
        Mean of candidate - baseline, and its interval.
    margin : float
        How much worse the candidate may be, in units of the metric.
    confidence : float
        Of the interval.
    users : int
    reading : int
        How often this test had been read by this process when the candidate had been.
    """

    promoted: bool
    metric: str
    baseline: float
    candidate: float
    difference: float
    low: float
    high: float
    margin: float
    confidence: float
    users: int
    reading: int

    @property
    def facts(self) -> dict[str, str]:
        """What was found, for people."""
        return {
            "metric": f"{self.metric}, of {self.users:,} users",
            "baseline": f"{self.baseline:.5g}",
            "candidate": f"{self.candidate:.5g}",
            "difference": f"{self.difference:+.5g}",
            f"{100 * self.confidence:g} % interval": f"{self.low:+.5g} to {self.high:+.5g}",
            "margin": f"{self.margin:.5g}",
        }

    @property
    def decision(self) -> str:
        """In words."""
        return "promote" if self.promoted else "do not promote"

    def _view(self) -> View:
        return View("Gate", self.decision, self.facts)

    def __str__(self) -> str:
        """The decision and its grounds in one line."""
        return (
            f"{self.decision}: {self.metric} {self.candidate:.5g} against "
            f"{self.baseline:.5g}, difference {self.difference:+.5g} with {100 * self.confidence:g} % interval "
            f"{self.low:+.5g} to {self.high:+.5g}; margin {self.margin:.5g}; {self.users:,} users"
        )


def gate(
    baseline: Any,  # noqa: ANN401
    candidate: Any,  # noqa: ANN401
    test: TableLike,
    metric: str = "ndcg@10",
    *,
    margin: float | str = "1%",
    confidence: float = 0.95,
    n_resamples: int = 10_000,
    exclude_seen: bool = True,
    seed: int = 0,
    progress: bool | None = None,
) -> Gate:
    """Decide by the paired bootstrap of ``paired_tests`` whether a candidate is at most a margin worse.

    A candidate that is worse by just the margin passes in at most ``(1 - confidence) / 2`` of all cases; too few users
    to tell is a no.

    Parameters
    ----------
    baseline, candidate : fitted model, or table of recommendations
    test : Events, Interactions, Ratings, or table with ``user_id`` and ``item_id``
        That neither was trained on. Every user counts for both; one without a list has 0.
    metric : str
        With a value per user.
    margin : float, or text such as "1%"
        How much worse it may be: in units of the metric, or as a share of the baseline's mean.
    confidence : float
        Of the interval.
    n_resamples, seed : int
    exclude_seen, progress
        As in ``paired_tests``.

    Raises
    ------
    ParameterError
        An unknown metric, or one without a value per user; or another parameter is not understood.
    DataError
        As ``evaluate``; or there are fewer than two users, or all values are 0.

    Examples
    --------
    >>> import polars as pl
    >>> users = pl.DataFrame({"user_id": range(30)})
    >>> test = users.with_columns(item_id=1)
    >>> old = users.filter(pl.col("user_id") % 3 == 0).with_columns(item_id=1, rank=1)
    >>> new = users.filter(pl.col("user_id") % 3 < 2).with_columns(item_id=1, rank=1)
    >>> found = gate(old, new, test, "hit_rate@1")
    >>> found.promoted, round(found.difference, 4), round(found.margin, 4)
    (True, 0.3333, 0.0033)
    """
    wanted = _metric(metric)
    check_flag("exclude_seen", exclude_seen)
    check_fraction("confidence", confidence)
    check_at_least("n_resamples", n_resamples, 100, whole=True)
    check_at_least("seed", seed, 0, whole=True)
    allowed, is_share = _margin(margin)
    named = {"baseline": baseline, "candidate": candidate}
    found = measured_alike(named, test, [wanted.name], exclude_seen=exclude_seen, progress=progress)
    old, new = (one.values[wanted.name] for one in found.values())
    assert isinstance(old, np.ndarray)
    assert isinstance(new, np.ndarray)
    _check_told(old, new, wanted)
    means = paired_means((new - old)[:, None], confidence=confidence, n_resamples=n_resamples, seed=seed)
    difference, low, high = (float(part[0]) for part in (means.mean, means.low, means.high))
    if is_share:
        allowed *= abs(float(old.mean()))
    return Gate(
        promoted=low >= -allowed if wanted.kind.higher_is_better else high <= allowed,
        metric=wanted.name,
        baseline=float(old.mean()),
        candidate=float(new.mean()),
        difference=difference,
        low=low,
        high=high,
        margin=allowed,
        confidence=confidence,
        users=len(old),
        reading=found["candidate"].reading,
    )


def _metric(name: str) -> Metric:
    """The metric of a name, one with a value per user."""
    metric = parse(name)
    if not metric.per_user:
        raise ParameterError(f"metric: {metric.name} has no value of single users; take one that has, such as ndcg@10")
    return metric


def _check_told(old: NDArray[np.float64], new: NDArray[np.float64], metric: Metric) -> None:
    """Refuse a test that cannot tell anything."""
    if len(old) < 2:
        raise DataError(f"test: {len(old)} user(s) can be measured, and at least 2 are needed")
    if metric.kind.higher_is_better and not (old.any() or new.any()):
        raise DataError(
            f"test: both have a {metric.name} of 0 for all {len(old):,} users, which tells nothing; take more "
            "users, or a metric with a larger k"
        )


def _margin(margin: float | str) -> tuple[float, bool]:
    """The number, and whether it is a share of the baseline's mean."""
    if isinstance(margin, str) and (share := _SHARE.fullmatch(margin)):
        return float(share[1]) / 100, True
    if isinstance(margin, str) or not is_number(margin) or margin < 0:
        raise ParameterError(f"margin={shown(margin)}: give a number of at least 0, or a share as '1%'")
    return float(margin), False

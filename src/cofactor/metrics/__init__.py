"""Metrics by name: ``recall@10``, ``auc``, ``coverage@20``.

With ``@k`` the first k places of a list count; ``auc`` is of complete lists, ``mrr`` of all places there are, and
``r_precision`` of as many as the user has relevant items.

A new metric is one function in the file of its family and one line in the table below, which says of what kind it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cofactor.checks import closest, shown
from cofactor.errors import ParameterError
from cofactor.metrics import ranking
from cofactor.metrics.auc import auc
from cofactor.metrics.catalogue import coverage, gini, personalization
from cofactor.metrics.diversity import calibration, intra_list_diversity
from cofactor.metrics.errors import RatingError, calibration_error, mae, rmse
from cofactor.metrics.kinds import Kind, Metric, Needs
from cofactor.metrics.novelty import mean_popularity, novelty, popularity_lift, serendipity
from cofactor.metrics.of_lists import BeyondAccuracy, CompleteRanking, RankingAtK, RankingToR
from cofactor.metrics.probabilities import log_loss, roc_auc

if TYPE_CHECKING:
    from typing import Any

__all__ = ["Metric", "available", "parse", "parse_all"]

_CATALOGUE, _TRAIN = Needs(n_items=True), Needs(train=True)
_CATEGORIES = Needs(train=True, categories=True)

METRICS: dict[str, Kind[Any]] = {
    "recall": RankingAtK(ranking.recall),
    "truncated_recall": RankingAtK(ranking.truncated_recall),
    "precision": RankingAtK(ranking.precision),
    "hit_rate": RankingAtK(ranking.hit_rate),
    "ndcg": RankingAtK(ranking.ndcg),
    "ndcg_fixed": RankingAtK(ranking.ndcg_fixed),
    "ndcg_graded": RankingAtK(ranking.ndcg_graded, also=Needs(gains=True)),
    "map": RankingAtK(ranking.map),
    "map_full": RankingAtK(ranking.map_full),
    "mrr": RankingAtK(ranking.mrr, k_optional=True),
    "r_precision": RankingToR(ranking.r_precision),
    "auc": CompleteRanking(auc),
    "serendipity": RankingAtK(serendipity, also=_TRAIN),
    "coverage": BeyondAccuracy(coverage, per_user=False, also=_CATALOGUE),
    "gini": BeyondAccuracy(gini, per_user=False, higher_is_better=False, also=_CATALOGUE),
    "personalization": BeyondAccuracy(personalization, per_user=False),
    "novelty": BeyondAccuracy(novelty, also=_TRAIN),
    "mean_popularity": BeyondAccuracy(mean_popularity, higher_is_better=False, also=_TRAIN),
    "popularity_lift": BeyondAccuracy(popularity_lift, per_user=False, higher_is_better=False, also=_TRAIN),
    "intra_list_diversity": BeyondAccuracy(intra_list_diversity, also=Needs(vectors=True)),
    "calibration": BeyondAccuracy(calibration, higher_is_better=False, also=_CATEGORIES),
    "rmse": RatingError(rmse),
    "mae": RatingError(mae),
    "calibration_error": RatingError(calibration_error),
    "log_loss": RatingError(log_loss),
    "roc_auc": RatingError(roc_auc, higher_is_better=True),
}
"""The metrics by the name before the ``@``, in the order in which they are told."""


def available() -> list[str]:
    """All names, as they are written: those with ``@k`` need a number; ``mrr`` is there with it and without."""
    names = ([kind.written(family), *([family] if kind.k_optional else [])] for family, kind in METRICS.items())
    return [name for forms in names for name in forms]


def parse(name: str) -> Metric:
    """Read the name of a metric.

    Raises
    ------
    ParameterError
        The name is not known (the message lists them all and a close one), or its k is missing, not wanted,
        or not a number from 1.

    Examples
    --------
    >>> parse("recall@10")
    Metric(name='recall@10', family='recall', k=10)
    """
    family, _, k = name.partition("@") if isinstance(name, str) else (repr(name), "", "")
    if family not in METRICS:
        if not isinstance(name, str):
            raise ParameterError(f"metrics: the name of a metric is a text such as 'recall@10', got {shown(name)}")
        close = closest(family, METRICS)
        hint = "." if close is None else f"; did you mean {_written(close, k)}?"
        raise ParameterError(f"metrics: {name!r} is unknown{hint} There are: {', '.join(available())}")
    if "," in name:
        raise ParameterError(f"metrics: {name!r} is one text; several names are a list, {name.split(',')}")
    kind = METRICS[family]
    return Metric(name, family, kind.read_k(name), kind)


def _written(family: str, k: str) -> str:
    """A name of the family, with this k where it takes one."""
    name = METRICS[family].written(family)
    return name.replace("@k", f"@{k}") if k.isdigit() else name


def parse_all(names: str | Iterable[str]) -> list[Metric]:
    """Read several names; one string is one name.

    Raises
    ------
    ParameterError
        As ``parse``, or no name is given, or one is given twice, or it is neither a text nor several.
    """
    if not isinstance(names, Iterable):
        raise ParameterError(f"metrics must be a name such as 'recall@10', or several, got {names!r}")
    metrics = [parse(name) for name in ([names] if isinstance(names, str) else names)]
    if not metrics:
        raise ParameterError(f"metrics: none is given; there are: {', '.join(available())}")
    seen = [metric.name for metric in metrics]
    if twice := sorted({name for name in seen if seen.count(name) > 1}):
        raise ParameterError(f"metrics: given more than once: {', '.join(twice)}")
    return metrics

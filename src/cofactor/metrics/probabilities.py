"""How well the probabilities of one of two values tell which of them it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.metrics.errors import Rated

__all__ = ["log_loss", "roc_auc"]

_LEAST = float(np.finfo(np.float32).eps)  # predicted ratings are float32, so that 1 may be a little less


def log_loss(rated: Rated) -> float:
    """Mean of ``-log p``, where p is the predicted probability of the value that it was; for a coin .693.

    A rating of low to high, the two values, is predicted as ``low + (high - low) p``: of 0 and 1 as the probability of
    1. Probabilities are taken to be at least 1.2e-7, and at most as far from 1.
    """
    low, high = _two_values(rated, "log_loss")
    p = (rated.predicted - low) / (high - low)
    if (outside := (p < -_LEAST) | (p > 1 + _LEAST)).any():
        raise DataError(
            f"log_loss: {int(outside.sum()):,} of {len(p):,} predictions, the first "
            f"{rated.predicted[outside.argmax()]:g}, are not from {low:g} to {high:g}; it is of probabilities, such as "
            "FactorizationMachine(task='classification') gives"
        )
    of_high = np.clip(p, _LEAST, 1 - _LEAST)
    return float(-np.mean(np.log(np.where(rated.truth == high, of_high, 1 - of_high))))


def roc_auc(rated: Rated) -> float:
    """Share of all pairs of a high and a low rating in which the high one was predicted higher, ties as a half.

    It looks at all ratings together, whoever they are of; ``auc`` is of each user's list.
    """
    _, high = _two_values(rated, "roc_auc")
    positive = rated.truth == high
    n, n_positive = len(positive), int(positive.sum())
    if n_positive in (0, n):
        raise DataError(f"roc_auc: all {n:,} ratings of the test are {rated.truth[0]:g}; it needs both values")
    from scipy.stats import rankdata  # a third of the time to import the library, if it stood above

    ranks: NDArray[np.float64] = rankdata(rated.center)
    above = float(ranks[positive].sum()) - n_positive * (n_positive + 1) / 2
    return above / (n_positive * (n - n_positive))


def _two_values(rated: Rated, name: str) -> tuple[float, float]:
    values = np.unique(rated.truth)
    if len(values) == 2:
        return float(values[0]), float(values[1])
    if len(values) == 1 and values[0] in (0, 1):
        return 0.0, 1.0
    shown = ", ".join(f"{value:g}" for value in values[:5]) + (" ..." if len(values) > 5 else "")
    raise DataError(f"{name}: the test must have ratings of two values, such as 0 and 1; it has {shown}")

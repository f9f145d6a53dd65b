"""What models share that let old events count less."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from cofactor.data import weights
from cofactor.errors import DataError, ParameterError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cofactor.data.interactions import Interactions

__all__ = ["check_duration", "in_days", "recency", "require_times"]


def check_duration(name: str, value: str | None) -> None:
    """Raise ParameterError unless ``value`` is None or text such as "30d" (a timedelta could not be saved)."""
    if value is None:
        return
    if not isinstance(value, str):
        raise ParameterError(f"{name} must be text such as '30d' or None, got {value!r}")
    weights.duration(name, value)


def in_days(span: str) -> float:
    """A duration that :func:`check_duration` has passed, in days."""
    return weights.duration("half_life", span) / timedelta(days=1)


def require_times(interactions: Interactions, *what: str) -> None:
    """Raise DataError unless the interactions know the time of every event; ``what`` of the caller needs it."""
    told = f"{' and '.join(what)} {'needs' if len(what) == 1 else 'need'}"
    if interactions.events is None:
        raise DataError(
            f"{told} the events that the interactions were made of, and these know none; make them with "
            "read_events(..., time=...).interactions(...), not by from_csr, from_frame or loading"
        )
    if interactions.events.time is None:
        raise DataError(f"{told} the time of every event; name its column: read_events(..., time=...)")


def recency(
    interactions: Interactions, half_life: str | None, window: str | None = None, *, newest: bool = False
) -> NDArray[np.float32]:
    """How much of every pair's weight is left by the age of its events: one number in [0, 1] for each, (nnz,) float32.

    Parameters
    ----------
    interactions : Interactions
    half_life : str, optional
        An event of this age counts half as much as the newest event of the log.
    window : str, optional
        An event older than this counts nothing.
    newest : bool
        The newest event of the pair decides, instead of the mean over its events.

    Raises
    ------
    DataError
        The interactions have no events, or these have no times.
    """
    given = {"half_life": half_life, "window": window}
    require_times(interactions, *(f"{k}={v!r}" for k, v in given.items() if v is not None))
    left = pl.lit(1.0) if half_life is None else weights.half_life(half_life)
    if window is not None:
        left = left * weights.recent(window)
    return interactions.per_pair(left.max() if newest else left.mean())

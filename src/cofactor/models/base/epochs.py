"""Training in epochs: when to slow down, when to stop, and which state to keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from cofactor.checks import warn
from cofactor.errors import CofactorError
from cofactor.system.progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Plan", "run_epochs"]

_DIVERGED = 3.0  # times the loss of the first epoch


class Plan(NamedTuple):
    """How long to train.

    Parameters
    ----------
    epochs : int
        At most.
    patience : int
        Epochs without a better score after which training stops; the state with the best score is kept.
    plateau : bool
        Halve the learning rate after every second epoch without a better score (or, without scores, a lower loss).
    cosine : bool
        Let the learning rate fall to zero over the epochs, as half a cosine wave does.
    """

    epochs: int
    patience: int = 5
    plateau: bool = False
    cosine: bool = False


def run_epochs(
    name: str,
    plan: Plan,
    one_epoch: Callable[[int, float], float],
    snapshot: Callable[[], Callable[[], None]],
    score: Callable[[], float] | None = None,
    *,
    progress: bool | None = False,
) -> pl.DataFrame:
    """Train, and leave the best state behind.

    Parameters
    ----------
    name : str
        Of the progress bar, which shows the loss, and the score where there is one.
    plan : Plan
    one_epoch : callable
        Of the epoch's number, from 0, and what the learning rate is multiplied by; gives the loss.
    snapshot : callable
        Keeps the present state; what it gives brings that back.
    score : callable, optional
        How good the present state is, on pairs that it is not trained on.
    progress : bool, optional

    Returns
    -------
    DataFrame
        ``epoch`` (from 1), ``loss``, ``score`` (null without one) and ``learning_rate`` (relative), a row for every
        epoch that ended; ``kept`` is true for the one whose state is left.

    Raises
    ------
    CofactorError
        Already the first epoch diverged.

    Notes
    -----
    One Ctrl-C ends training with the state so far, once an epoch has ended; it is told by a CofactorWarning.
    """
    rows: list[tuple[int, float, float | None, float]] = []
    best, kept, bring_back, rate, waited = -np.inf, 0, None, 1.0, 0
    with progress_bar(name, progress, total=plan.epochs) as bar:
        for epoch in range(plan.epochs):
            now = rate * (0.5 * (1 + np.cos(np.pi * epoch / plan.epochs)) if plan.cosine else 1.0)
            try:
                loss = one_epoch(epoch, now)
                found = None if score is None else score()
            except KeyboardInterrupt:
                if bring_back is None:
                    raise
                warn(f"{name}: stopped by Ctrl-C in epoch {epoch + 1} of {plan.epochs}; what epoch {kept} left is kept")
                bring_back()
                break
            if not np.isfinite(loss) or (rows and loss > _DIVERGED * max(rows[0][1], 1e-6)):
                _diverged(name, epoch, loss, kept, bring_back)
                break
            rows.append((epoch + 1, loss, found, now))
            value = -loss if found is None else found
            if value > best:
                best, kept, bring_back, waited = value, epoch + 1, snapshot(), 0
            else:
                waited += 1
                rate *= 0.5 if plan.plateau and waited % 2 == 0 else 1.0
            bar.set_postfix(
                {"loss": f"{loss:.4g}"} | ({} if found is None else {"score": f"{found:.4g}"}), refresh=False
            )
            bar.update()
            if found is not None and waited >= plan.patience:
                break
    if score is not None and bring_back is not None and kept != rows[-1][0]:
        bring_back()
    elif score is None and rows:
        kept = rows[-1][0]
    schema = {"epoch": pl.Int32, "loss": pl.Float64, "score": pl.Float64, "learning_rate": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(kept=pl.col("epoch") == kept)


def _diverged(name: str, epoch: int, loss: float, kept: int, bring_back: Callable[[], None] | None) -> None:
    what = f"{name}: the loss is {loss:.4g} after epoch {epoch + 1}, training diverged"
    way_out = "lower learning_rate, or raise regularization"
    if bring_back is None:
        raise CofactorError(f"{what}; {way_out}")
    bring_back()
    warn(f"{what} and was stopped; what epoch {kept} left is kept. {way_out[0].upper()}{way_out[1:]}")

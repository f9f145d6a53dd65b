"""Training in epochs: when to slow down, when to stop, and which state to keep."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from cofactor.checks import warn
from cofactor.errors import CofactorError
from cofactor.system.progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["Course", "Plan", "Rate", "is_part_of_more", "part_of_more", "require_finite", "run_epochs", "watched"]

_DIVERGED = 3.0  # times the loss that training began with
_BEGUN = 0.02  # of the first epoch's loss: what it has to fall by before a pause means that no more is learned
_WATCH: ContextVar[Callable[[int, float], object] | None] = ContextVar("watched", default=None)


@contextmanager
def watched(watch: Callable[[int, float], object]) -> Iterator[None]:
    """Let a function see each epoch (from 1) and its score, where there are scores; what it raises ends the training.

    Ctrl-C inside the block ends more than one training: it is not kept there.
    """
    token = _WATCH.set(watch)
    try:
        yield
    finally:
        _WATCH.reset(token)


@contextmanager
def part_of_more() -> Iterator[None]:
    """Let trainings in the block be parts of what was asked for: Ctrl-C ends all of it, and nothing is kept there."""
    with watched(_WATCH.get() or (lambda *_: None)):
        yield


def is_part_of_more() -> bool:
    """Whether Ctrl-C has to be passed on, whatever was learned so far."""
    return _WATCH.get() is not None


class Rate(NamedTuple):
    """What the learning rate is multiplied by as an epoch begins, and as it ends."""

    first: float
    last: float


class Plan(NamedTuple):
    """How long to train.

    Parameters
    ----------
    epochs : int
        At most.
    patience : int
        Epochs without a better score after which training stops; the state with the best score is kept. The loss must
        have fallen before: vectors about zero take some epochs to find a direction.
    least : int
        Epochs before which it neither stops so nor slows down.
    plateau : bool
        Halve the learning rate after every second epoch without a better score (or, without scores, a lower loss). The
        loss must have fallen before.
    cosine : bool
        Let the learning rate fall to zero over the epochs, as half a cosine wave does.
    rates : sequence of Rate, optional
        Those of a course before, which is gone through again, to its end or not at all.
    start : float, optional
        The loss before anything is learned, where it is known.
    """

    epochs: int
    patience: int = 5
    least: int = 0
    plateau: bool = False
    cosine: bool = False
    rates: Sequence[Rate] | None = None
    start: float | None = None

    def rate(self, epoch: int, lowered: float) -> Rate:
        """The rate of an epoch, counted from 0, after plateaus have lowered it."""
        if self.rates is not None:
            return self.rates[epoch]
        if not self.cosine:
            return Rate(lowered, lowered)
        first, last = (0.5 * lowered * (1 + np.cos(np.pi * at / self.epochs)) for at in (epoch, epoch + 1))
        return Rate(first, last)


class Course(NamedTuple):
    """How training went.

    Parameters
    ----------
    epochs : DataFrame
        ``epoch`` (from 1), ``loss`` and ``score`` (null without one), a row for every epoch that ended; ``kept`` is
        true for the one whose state is left.
    rates : list of Rate
        Those of these epochs.
    interrupted : bool
        Whether Ctrl-C ended it.
    """

    epochs: pl.DataFrame
    rates: list[Rate]
    interrupted: bool

    @property
    def kept(self) -> int:
        """The epoch whose state is left, from 1."""
        return int(self.epochs.filter("kept")["epoch"][0])


def run_epochs(
    name: str,
    plan: Plan,
    one_epoch: Callable[[int, Rate], float],
    snapshot: Callable[[], Callable[[], None]],
    score: Callable[[], float] | None = None,
    *,
    progress: bool | None = False,
) -> Course:
    """Train, and leave the best state behind.

    Parameters
    ----------
    name : str
        Of the progress bar, which shows the loss, and the score where there is one.
    plan : Plan
    one_epoch : callable
        Of the epoch's number, from 0, and its rate; gives the loss.
    snapshot : callable
        Keeps the present state; what it gives brings that back.
    score : callable, optional
        How good the present state is, on pairs that it is not trained on.
    progress : bool, optional

    Raises
    ------
    CofactorError
        The first epoch diverged already, or any one of a course that is gone through again.

    Notes
    -----
    Where nothing is scored the last state is left. A Ctrl-C after the first epoch, and a loss that is not finite or
    three times that of the first epoch or of the start, end training with the best state so far: that of the best
    score, or of the least loss. A CofactorWarning tells it, unless ``snapshot`` says that this state is useless.
    """
    rows: list[tuple[int, float, float | None]] = []
    rates: list[Rate] = []
    best, kept, bring_back, rate, waited, interrupted = -np.inf, 0, None, 1.0, 0, False
    with progress_bar(name, progress, total=plan.epochs) as bar:
        for epoch in range(plan.epochs):
            now = plan.rate(epoch, rate)
            try:
                loss = one_epoch(epoch, now)
                found = None if score is None else score()
            except KeyboardInterrupt:
                if bring_back is None or plan.rates is not None or is_part_of_more():
                    raise
                bring_back()
                warn(f"{name}: stopped by Ctrl-C in epoch {epoch + 1} of {plan.epochs}; what epoch {kept} left is kept")
                interrupted = True
                break
            if not np.isfinite(loss) or any(
                _is_above(loss, one) for one in (plan.start, *(row[1] for row in rows[:1]))
            ):
                _diverged(name, epoch, loss, kept, bring_back if plan.rates is None else None)
                break
            rows.append((epoch + 1, loss, found))
            rates.append(now)
            value = -loss if found is None else found
            if value > best:
                best, kept, bring_back, waited = value, epoch + 1, snapshot(), 0
            else:
                waited += 1
                rate *= 0.5 if plan.plateau and waited % 2 == 0 and _has_begun(plan, rows) else 1.0
            bar.set_postfix(
                {"loss": f"{loss:.4g}"} | ({} if found is None else {"score": f"{found:.4g}"}), refresh=False
            )
            bar.update()
            _tell(epoch + 1, found)
            if found is not None and waited >= plan.patience and _has_begun(plan, rows):
                break
        else:
            kept = rows[-1][0] if score is None else kept
    if score is not None and bring_back is not None and kept != rows[-1][0]:
        bring_back()
    epochs = pl.DataFrame(rows, schema={"epoch": pl.Int32, "loss": pl.Float64, "score": pl.Float64}, orient="row")
    return Course(epochs.with_columns(kept=pl.col("epoch") == kept), rates, interrupted)


def require_finite(name: str, *learned: NDArray[np.floating], way_out: str) -> None:
    """Raise CofactorError where training left numbers that are not finite, or whose products are not.

    A loss that is measured before each step does not tell it.

    Parameters
    ----------
    name : str
        Of the model.
    *learned : array of float
    way_out : str
        What the user should do.
    """
    for part in learned:
        limit = 0.1 * float(np.finfo(part.dtype).max) ** 0.5
        if not (part.min(initial=0) > -limit and part.max(initial=0) < limit):  # false for NaN too
            raise CofactorError(f"{name}: training left numbers that are not finite; {way_out}")


def _tell(epoch: int, score: float | None) -> None:
    if score is not None and (watch := _WATCH.get()) is not None:
        watch(epoch, score)


def _has_begun(plan: Plan, rows: Sequence[tuple[int, float, float | None]]) -> bool:
    first = rows[0][1]
    return len(rows) >= plan.least and first - min(loss for _, loss, _ in rows) > _BEGUN * abs(first)


def _is_above(loss: float, start: float | None) -> bool:
    return start is not None and loss - start > (_DIVERGED - 1) * max(abs(start), 1e-6)  # a loss may be below zero


def _diverged(name: str, epoch: int, loss: float, kept: int, bring_back: Callable[[], None] | None) -> None:
    what = f"{name}: the loss is {loss:.4g} after epoch {epoch + 1}, training diverged"
    way_out = "lower learning_rate, or raise regularization"
    if bring_back is None:
        raise CofactorError(f"{what}; {way_out}")
    bring_back()
    warn(f"{what} and was stopped; what epoch {kept} left is kept. {way_out[0].upper()}{way_out[1:]}")

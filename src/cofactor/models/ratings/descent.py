"""Factors and biases by stochastic gradient descent: training, and users folded in by the same steps."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

import numpy as np

from cofactor.checks import check_at_least, check_choice
from cofactor.kernels.arguments import RatingSide, RatingStep
from cofactor.kernels.arrays import width_of
from cofactor.models.base.batches import pieces
from cofactor.models.base.epochs import Plan, require_finite
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from cofactor.kernels.arrays import Float
    from cofactor.kernels.cpu import Kernels
    from cofactor.kernels.csr import CSR
    from cofactor.models.base.epochs import Rate

__all__ = ["Descent", "Settings", "check_settings"]

_WAY_OUT = "lower regularization, bias_regularization, learning_rate or init_std"
_PIECE = 512  # rows that are drawn at a time
_SHIFT = 5  # blocks of items that an epoch begins further on: no order comes again and again


class Settings(Protocol):
    """What a model says of its descent; all of it in units in which ratings have a standard deviation of 1."""

    factors: int
    regularization: float
    bias_regularization: float
    regularization_exponent: float
    learning_rate: float
    bias_learning_rate: float
    lr_schedule: Literal["cosine", "constant"]
    init_std: float
    seed: int
    threads: int | None


def check_settings(model: Settings) -> None:
    """Raise ParameterError for settings out of their range."""
    check_choice("lr_schedule", model.lr_schedule, ("cosine", "constant"))
    check_at_least("factors", model.factors, 1, whole=True)
    check_at_least("seed", model.seed, 0, whole=True)
    for name in ("regularization", "bias_regularization", "regularization_exponent", "init_std"):
        check_at_least(name, getattr(model, name), 0)
    for name in ("learning_rate", "bias_learning_rate"):
        check_at_least(name, getattr(model, name), 0, above=True)


class Descent:
    """One descent on standardized ratings.

    Parameters
    ----------
    model : Settings
    epochs : int
    kernels : Kernels
    x : CSR (n_users, n_items)
    """

    _STATE: ClassVar[tuple[str, ...]] = ("_users", "_items")  # what training changes
    _users: RatingSide
    _items: RatingSide

    def __init__(self, model: Settings, epochs: int, kernels: Kernels, x: CSR) -> None:
        self._model, self._kernels, self._x, self._nnz = model, kernels, kernels.hold(x), x.nnz
        self._counts = np.diff(x.indptr), np.bincount(x.indices, minlength=x.n_columns)
        self._blocks = kernels.rating_blocks(*self._counts)
        self._step = RatingStep(
            model.learning_rate, model.bias_learning_rate, model.regularization, model.bias_regularization
        )
        self._kept: dict[str, RatingSide | Float] = {}
        self.plan = Plan(epochs, cosine=model.lr_schedule == "cosine", start=1.0)

    def epoch(self, number: int, rate: Rate) -> float:
        """Take a step for every rating; the mean squared error."""
        if number == 0:
            self._begin()
        return self._pass(self._step.slower(rate.first), number) / self._nnz

    def _begin(self) -> None:
        users, items = self._counts
        self._users, self._items = (
            self._side(users, self._random(0, len(users))),
            self._side(items, self._random(1, len(items))),
        )

    def _pass(self, step: RatingStep, number: int) -> float:
        return self._kernels.ratings_sgd_epoch(
            self._x, self._users, self._items, step, self._blocks, shift=_SHIFT * number, threads=self._model.threads
        )

    def snapshot(self) -> Callable[[], None]:
        """Keep the present values; the result brings them back, and raises CofactorError unless they are finite."""
        for name in self._STATE:
            value = self._kernels.fetch(getattr(self, name))
            if name in self._kept:  # room that is there already costs half of what new room does
                for to, part in zip(_parts(self._kept[name]), _parts(value), strict=True):
                    np.copyto(to, part)
            else:
                copies = [part.copy() for part in _parts(value)]
                self._kept[name] = RatingSide(*copies) if isinstance(value, RatingSide) else copies[0]

        def bring_back() -> None:
            for name, value in self._kept.items():
                setattr(self, name, self._kernels.hold(value))
            self._require_finite()

        return bring_back

    def _require_finite(self) -> None:
        for name in self._STATE:
            learned = _parts(self._kernels.fetch(getattr(self, name)))[:2]  # what shrinks is not
            require_finite(type(self._model).__name__, *learned, way_out=_WAY_OUT)

    def sides(self) -> tuple[tuple[Float, Float], tuple[Float, Float]]:
        """Factors and biases of users, and of items; CofactorError unless all that was learned is finite."""
        self._require_finite()
        users, items = (self._parts(side) for side in (self._users, self._items))
        return users, items

    def users_of(self, factors: Float, biases: Float) -> tuple[Float, Float]:
        """Factors and biases of users: as in training, but from zeros, and with items that stay as they are."""
        of_users, of_items = self._counts
        users = self._side(of_users, np.zeros((len(of_users), self._model.factors), np.float32))
        items = self._side(of_items, factors, biases)
        for epoch in range(self.plan.epochs):
            step = self._step.slower(self.plan.rate(epoch, 1.0).first)
            self._kernels.ratings_sgd_epoch(
                self._x, users, items, step, self._blocks, update_items=False, threads=self._model.threads
            )
        return self._parts(users)

    def _random(self, table: int, n: int) -> Float:
        """Where the vectors of a table begin; what pieces of it are drawn from does not depend on who draws them."""
        model, start = self._model, np.empty((n, self._model.factors), np.float32)

        def draw(piece: slice) -> None:
            np.random.default_rng([model.seed, table, piece.start]).standard_normal(out=start[piece], dtype=np.float32)
            start[piece] *= np.float32(model.init_std)

        with ThreadPoolExecutor(resolve_threads(model.threads)) as pool:
            for _ in pool.map(draw, pieces(n, _PIECE)):
                pass
        return start

    def _vectors(self, factors: Float) -> Float:
        """Padded with zeros, and held."""

        def fill(out: Float) -> None:
            out[:, : factors.shape[1]] = factors

        return self._kernels.vectors(len(factors), width_of(factors.shape[1]), fill)

    def _side(self, counts: NDArray[np.int64], factors: Float, biases: Float | None = None) -> RatingSide:
        """Rows with so many ratings each, held."""
        shrinkage = np.maximum(counts, 1).astype(np.float64) ** (self._model.regularization_exponent - 1)
        own = np.zeros(len(counts), np.float32) if biases is None else biases.copy()
        vectors = self._kernels.fetch(self._vectors(factors))
        return self._kernels.hold(RatingSide(vectors, own, shrinkage.astype(np.float32)))

    def _parts(self, side: RatingSide) -> tuple[Float, Float]:
        vectors, biases, _ = self._kernels.fetch(side)
        return vectors[:, : self._model.factors], biases


def _parts(value: RatingSide | Float) -> tuple[Float, ...]:
    return value if isinstance(value, RatingSide) else (value,)

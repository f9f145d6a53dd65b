"""Fitting in one step: a model is what it was before, or all new, and it keeps nothing of the log."""

from __future__ import annotations

import inspect
from copy import copy
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

import numpy as np
import scipy

from cofactor.checks import check_flag, shown
from cofactor.data.interactions import Interactions
from cofactor.data.log import Log
from cofactor.data.ratings import Ratings
from cofactor.data.sharded import Sharded
from cofactor.data.tables import read_table
from cofactor.data.user_items import UserItems
from cofactor.errors import DataError, ParameterError
from cofactor.kernels.csr import CSR
from cofactor.models.base.epochs import part_of_more
from cofactor.models.base.model import Model

if TYPE_CHECKING:
    from collections.abc import Callable

    from cofactor.data.ids import IdMap

__all__ = [
    "LARGEST_WEIGHT",
    "LEAST_LARGEST",
    "as_interactions",
    "check_weights",
    "fitted_copies",
    "in_one_step",
    "options_of_fit",
]

# Weights that all models compute with: sums of millions of their squares, and products of such sums with vectors, stay
# inside float32. Single weights may be smaller, as those of old events are; then they count for next to nothing.
LARGEST_WEIGHT = 1e12
LEAST_LARGEST = 1e-12

_FEATURES = ("item_features", "user_features")
M = TypeVar("M", bound=Model)
X = TypeVar("X", bound=UserItems)
P = ParamSpec("P")


def in_one_step(
    fit: Callable[Concatenate[M, X, P], M],
) -> Callable[Concatenate[M, Any, P], M]:
    """Let ``fit`` work on a copy without anything learned, and take over what that has learned at the very end.

    Whatever ends ``fit`` early, Ctrl-C included, leaves the model as it was. What comes as its first parameter may be
    all that the model's ``_training_data`` takes, and what the model keeps of it is the matrix and the ids,
    unless ``fit`` sets ``interactions_`` itself.
    """
    first = list(inspect.signature(fit).parameters)[1]

    @wraps(fit)
    def whole(self: M, *args: Any, **options: Any) -> M:  # noqa: ANN401
        if not args and first not in options:
            raise TypeError(f"{type(self).__name__}.fit() misses its argument {first!r}")
        given, *others = args or (options.pop(first),)
        progress = options.get("progress")
        if progress is not None:
            check_flag("progress", progress)
        x = given if isinstance(given, Sharded) else self._training_data(given)
        new = copy(self)
        vars(new).clear()
        vars(new).update({name: value for name, value in vars(self).items() if not _is_learned(name)})
        if isinstance(x, Sharded):
            own, data, *_ = inspect.signature(fit).parameters
            bound = inspect.signature(fit).bind(new, x, *others, **options).arguments
            x.fit(new, **{name: value for name, value in bound.items() if name not in (own, data)})
        else:
            fit(new, cast("X", x), *others, **options)
        new._fitted_params = {
            name: copy(value) if isinstance(value, list | dict) else value for name, value in new.params().items()
        }
        if not isinstance(x, Sharded):  # unless fit has set more users or items than it was given
            vars(new).setdefault("interactions_", x.without_log)
        parts = () if vars(self).get(_INSIDE) else vars(new).pop(_PARTS, ())  # inside, they wait for the whole
        self.__dict__ = new.__dict__
        for part, fitted in parts:  # the outer before the inner ones: at no moment is one made of old and new
            if not vars(part).get(_OWN):
                part.__dict__ = {name: value for name, value in vars(fitted).items() if name != _OWN}
        return self

    return cast("Callable[Concatenate[M, Any, P], M]", whole)  # by name too, which ParamSpec cannot say


_PARTS = "_parts_to_take_over"
_INSIDE = "_fitted_inside"
_OWN = "_own_copy"  # made here: whoever holds one, or a model that has it, keeps what it was


def fitted_copies(whole: Model, parts: tuple[M, ...], fit: Callable[[M], object]) -> tuple[M, ...]:
    """Fit copies of the models that a model is made of; they are taken over when all of it is done.

    Called inside a ``fit`` that is :func:`in_one_step`.
    """
    copies = tuple(copy(part) for part in parts)
    inner: list[tuple[M, M]] = []
    for one in copies:
        vars(one)[_INSIDE] = True
        with part_of_more():
            fit(one)
        vars(one).pop(_INSIDE, None)
        inner += vars(one).pop(_PARTS, ())
        vars(one)[_OWN] = True
    vars(whole)[_PARTS] = (*zip(parts, copies, strict=True), *inner)
    return copies


def options_of_fit(model: Any) -> list[str]:  # noqa: ANN401
    """The names of what ``fit`` of a model takes beside the training data.

    A model made of ``models`` takes tables of features where one of these does.
    """
    names = list(inspect.signature(model.fit).parameters)[1:]
    if not hasattr(model, "models"):
        return names
    inside = [name for part in model.models if hasattr(part, "fit") for name in options_of_fit(part)]
    return [name for name in names if name not in _FEATURES or name in inside]


def check_weights(weights: CSR, items: IdMap, users: IdMap | None = None, what: str = "weight") -> None:
    """Raise DataError for weights beyond what models compute with in float32.

    Rows are users, or lists without ids; ``what`` is what a weight is called. Of ratings it is the largest on either
    side of 0 that counts.
    """
    if not weights.nnz:
        return
    sizes = np.abs(weights.values)
    at = int(sizes.argmax())
    largest = float(sizes[at])
    if LEAST_LARGEST <= largest <= LARGEST_WEIGHT:
        return
    row = int(np.searchsorted(weights.indptr, at, side="right") - 1)
    user = f"row {row}" if users is None else f"user {users.take([row])[0]!r}"
    where = f"the largest {what} is {largest:.6g}, of {user} and item {items.take(weights.indices[at : at + 1])[0]!r}"
    raise DataError(
        f"{where}; models compute in float32, with {what}s up to {LARGEST_WEIGHT:g} of which the largest is at least "
        f"{LEAST_LARGEST:g}: divide all {what}s by about {largest:.0e}, or count in other units"
        f"{', or cap them (cofactor.weights.capped)' if largest > LARGEST_WEIGHT and what == 'weight' else ''}"
    )


def _is_learned(name: str) -> bool:
    return name.endswith("_") or name.startswith("_")


def as_interactions(given: Any, name: str = "interactions") -> Interactions:  # noqa: ANN401
    """What models are fitted on, of whatever they were given.

    Parameters
    ----------
    given : Interactions, Events, table or matrix
        The events of a pair are counted. A table has ``user_id``, ``item_id`` and perhaps ``weight``; a users x items
        matrix of SciPy or cofactor numbers users and items from 0.
    name : str
        Of the argument, for messages.

    Raises
    ------
    ParameterError
        It is none of these.
    DataError
        It cannot be used; see ``Interactions``.
    """
    if isinstance(given, Interactions):
        return given
    if isinstance(given, Ratings):
        raise ParameterError(
            f"{name}: these are Ratings, which may be zero or negative and are no weights; give "
            "events.interactions(...), for example of those rated 4 or more, or fit a model of ratings, as BiasOnly"
        )
    if isinstance(given, Log):
        return Interactions(*given.aggregated(), events=given)
    if isinstance(given, CSR | scipy.sparse.spmatrix | scipy.sparse.sparray):
        return Interactions.from_csr(given)
    ways = "Interactions, Events, a table with user_id and item_id, or a sparse users x items matrix"
    if isinstance(given, type) or given is None or isinstance(given, str | int | float):
        raise ParameterError(f"{name}: a model is fitted on {ways}; got {shown(given)}")
    try:
        table = read_table(given, (), name)
    except DataError as error:
        raise ParameterError(f"{name}: a model is fitted on {ways}; got {type(given).__name__}") from error
    return Interactions.from_frame(table, weight="weight" if "weight" in table.columns else None)

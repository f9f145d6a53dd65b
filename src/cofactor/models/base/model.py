"""What every model is, before it ranks anything: parameters, a place in the registry, and whether it was fitted."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from copy import copy
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import numpy as np

from cofactor.data.interactions import Interactions
from cofactor.errors import DataError, NotFittedError
from cofactor.kernels import on
from cofactor.kernels.csr import CSR
from cofactor.system.memory import require_memory
from cofactor.system.threads import resolve_threads
from cofactor.system.views import Row, View, Viewed, ViewTable, brief

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

    from cofactor.data.user_items import UserItems
    from cofactor.kernels.cpu import Kernels
    from cofactor.system.arrays import Arrays

__all__ = ["Model"]

T = TypeVar("T")


class Model(ABC, Viewed):
    """Parameters in, learned attributes out.

    A subclass stores its constructor's parameters unchanged under their own names, and ``fit`` sets ``interactions_``
    and learned attributes that end in ``_``: these are what a saved model holds.
    """

    registry: ClassVar[dict[str, type[Model]]] = {}
    _data_class: ClassVar[type[UserItems]] = Interactions  # what it is fitted on
    _fitted_on: ClassVar[str] = "interactions"  # how that is called
    interactions_: UserItems
    threads: int | None = None
    device: str = "cpu"
    _keeps: dict[str, Any] | None = None
    _fitted_params: Mapping[str, Any] = MappingProxyType({})  # whatever was set since

    def __init_subclass__(cls, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init_subclass__(**kwargs)
        if not inspect.isabstract(cls):
            Model.registry[cls.__name__] = cls

    def params(self) -> dict[str, Any]:
        """The constructor's parameters and their values."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def _params_to_save(self) -> dict[str, Any]:
        """The parameters that a saved model has."""
        return self.params()

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.params().items())
        return f"{type(self).__name__}({given})"

    def _view(self) -> View:
        """Parameters (those that are no defaults stand out), and of a fitted model what it learned from and what."""
        defaults = {name: given.default for name, given in inspect.signature(type(self)).parameters.items()}
        params, parts = [], []
        for name, value in self.params().items():
            models = [model for model in (value if isinstance(value, tuple) else [value]) if isinstance(model, Model)]
            parts += [model._view() for model in models]
            if not models:
                params.append(Row((name, brief(value)), strong=not _same(value, defaults.get(name))))
        tables = [ViewTable("parameters", ("name", "value"), params)] if params else []
        if not hasattr(self, "interactions_"):
            return View(type(self).__name__, "not fitted", tables=tables, parts=parts)
        x = self.interactions_
        facts = {"fitted on": f"{x.n_users:,} users, {x.n_items:,} items, {x.nnz:,} entries"}
        learned = [Row((name, _described(getattr(self, name, None)))) for name in self._learned()]
        if learned:
            tables.append(ViewTable("learned", ("name", "what"), learned, folded=True))
        return View(type(self).__name__, "fitted", facts, tables, parts=parts)

    def _fitted(self) -> UserItems:
        if not hasattr(self, "interactions_"):
            raise NotFittedError(f"this {type(self).__name__} has not been fitted; call fit({self._fitted_on}) first")
        return self.interactions_

    @abstractmethod
    def _training_data(self, given: Any) -> UserItems:  # noqa: ANN401
        """What ``fit`` learns from, of all that it may be given; an error of the library for anything else."""

    def _check(self) -> None:
        """Raise ParameterError for parameters out of their range: before a fit, and of a model read from a file."""
        resolve_threads(self.threads)

    def _learned(self) -> dict[str, str]:
        """What ``fit`` learns: names of attributes, and their type and shape.

        Such as ``{"item_factors_": "float32 items f"}``. The axes ``users``, ``items`` and ``entries`` are those of the
        interactions; others are whatever they are, but everywhere the same. ``csr items items`` is a sparse matrix,
        ``features g`` are :class:`~cofactor.data.features.Features` of which there are g, ``number`` a number,
        ``nothing`` no attribute, and `` or `` stands between two forms. A model read from a file has all of it, or is
        damaged.
        """
        return {}

    def _check_state(self) -> None:
        """Raise DataError where what was learned, of the right shapes, contradicts itself; O(its size)."""

    def _index(self) -> tuple[dict[str, Any], Arrays]:
        """What a saved model holds of the indexes that it ranks by: facts for JSON, and arrays; nothing without any."""
        return {}, {}

    def _take_index(self, facts: dict[str, Any], arrays: Arrays, *, every_entry: bool) -> None:
        """Rank by what :meth:`_index` gave; DataError where it is of another model, or damaged."""
        raise DataError(f"a {type(self).__name__} has no index")

    def _weighed(self, matrix: CSR) -> CSR:
        """The matrix that the model computes with: all weights are 1 where its parameter ``weights`` is "binary"."""
        return matrix.binary() if getattr(self, "weights", None) == "binary" else matrix

    def answering(self) -> Self:
        """The same fitted model, which keeps what all questions have in common instead of making it for each.

        For servers: it takes more memory, and answers alike. Arrays are the given model's, which stays as it is.
        """
        self._fitted()
        other: Any = copy(self)
        other._keeps = {}
        models = getattr(self, "models", ())
        if isinstance(models, tuple) and all(isinstance(model, Model) for model in models):
            other.models = tuple(model.answering() for model in models)
        return cast("Self", other)

    def _once(self, name: str, make: Callable[[], T]) -> T:
        """What does not depend on the question; made once by a model that is :meth:`answering`."""
        if self._keeps is None:
            return make()
        if name not in self._keeps:
            self._keeps[name] = make()
        return cast("T", self._keeps[name])

    def _kernels(self) -> Kernels:
        """The kernels of this model's device: asked for once by each fit and each question."""
        return on(self.device)

    def _require_on_card(self, needed: int, what: str, way_out: str) -> None:
        """Raise before a fit that holds more than its card has free, where it computes on one."""
        free = self._kernels().free_memory()
        if free is not None:
            require_memory(needed, f"{what}, on device={self.device!r},", f"{way_out}, or device='cpu'", free)


def _same(value: object, default: object) -> bool:
    """Whether a parameter has its default; arrays have none."""
    if value is default:
        return True
    return type(value) is type(default) and not isinstance(value, np.ndarray) and bool(value == default)


def _described(learned: object) -> str:
    """What was learned in a few words; of the losses of a course, the last one too."""
    if isinstance(learned, np.ndarray):
        last = f", the last {learned[-1]:.6g}" if learned.ndim == 1 and 0 < learned.size < 1000 else ""
        return f"{learned.dtype} {learned.shape}{last}"
    if isinstance(learned, CSR):
        return f"{learned.shape[0]:,} x {learned.shape[1]:,}, {learned.nnz:,} entries"
    return brief(learned)

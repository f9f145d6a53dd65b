"""What every model is, before it ranks anything: parameters, a place in the registry, and whether it was fitted."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from cofactor.data.interactions import Interactions
from cofactor.errors import NotFittedError
from cofactor.kernels import on
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cofactor.data.user_items import UserItems
    from cofactor.kernels.cpu import Kernels
    from cofactor.kernels.csr import CSR

__all__ = ["Model"]


class Model(ABC):
    """Parameters in, learned attributes out.

    A subclass stores its constructor's parameters unchanged under their own names, and ``fit`` sets ``interactions_``
    and learned attributes that end in ``_``: these are what a saved model holds.
    """

    registry: ClassVar[dict[str, type[Model]]] = {}
    _data_class: ClassVar[type[UserItems]] = Interactions  # what it is fitted on
    interactions_: UserItems
    threads: int | None = None
    device: str = "cpu"
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

    def _fitted(self) -> UserItems:
        if not hasattr(self, "interactions_"):
            raise NotFittedError(f"this {type(self).__name__} has not been fitted; call fit(interactions) first")
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

    def _check_state(self) -> None:  # noqa: B027 - shapes and types say all about most models
        """Raise DataError where what was learned, of the right shapes, contradicts itself; O(its size)."""

    def _weighed(self, matrix: CSR) -> CSR:
        """The matrix that the model computes with: all weights are 1 where its parameter ``weights`` is "binary"."""
        return matrix.binary() if getattr(self, "weights", None) == "binary" else matrix

    def _kernels(self) -> Kernels:
        """The kernels of this model's device: asked for once by each fit and each question."""
        return on(self.device)

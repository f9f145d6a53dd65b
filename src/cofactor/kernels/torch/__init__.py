"""Kernels in PyTorch: ``device="torch"`` on the CPU, ``device="cuda"`` on a GPU, the same code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.errors import ParameterError
from cofactor.kernels import cpu
from cofactor.kernels.csr import CSR
from cofactor.kernels.torch import (
    als,
    fm,
    fm_relations,
    fm_sweep,
    item_pairs,
    neighbours,
    pairwise,
    products,
    ranks,
    shared_negatives,
    slim,
    topk,
)
from cofactor.kernels.torch.place import HeldRows, Place

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Kernels"]

_MODULES = (
    als,
    fm,
    fm_relations,
    fm_sweep,
    item_pairs,
    neighbours,
    pairwise,
    products,
    ranks,
    shared_negatives,
    slim,
    topk,
)
_KERNELS: dict[str, Callable[..., Any]] = {
    name: getattr(module, name) for module in _MODULES for name in module.__all__
}
_ON_THE_HOST = {"alias_table", "sample_negatives"}  # what makes arrays for other kernels: the CPU's own


class Kernels:
    """The kernels that PyTorch has of :class:`cofactor.kernels.cpu.Kernels`, with the same arguments and results.

    Dense results stay where they are computed, as tensors, until they are fetched. ``threads`` is not looked at: on the
    CPU PyTorch has a number of its own (``torch.set_num_threads``), and other numbers give other roundoff.
    """

    device = "torch"

    def __init__(self) -> None:
        self._place = Place(self.device)

    def hold(self, x: Any) -> Any:  # noqa: ANN401
        """Bring sparse rows or vectors to where the kernels compute; of a tuple every array."""
        if isinstance(x, tuple) and not isinstance(x, HeldRows):
            return type(x)(*map(self.hold, x)) if hasattr(x, "_fields") else tuple(map(self.hold, x))
        with self._place.telling("bringing data there"):
            if isinstance(x, CSR):
                return self._place.rows(x)
            return self._place.tensor(x) if isinstance(x, np.ndarray) else x

    def fetch(self, x: Any) -> Any:  # noqa: ANN401
        """Bring back what is held, as arrays of NumPy; on the CPU they share its memory."""
        if isinstance(x, HeldRows):
            return x.csr
        if isinstance(x, tuple):
            return type(x)(*map(self.fetch, x)) if hasattr(x, "_fields") else tuple(map(self.fetch, x))
        with self._place.telling("bringing results back"):
            return x.cpu().numpy() if hasattr(x, "cpu") else x

    def free_memory(self) -> int | None:
        """Bytes that are free on the card; None where that is the machine's memory."""
        return self._place.free_memory()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in _ON_THE_HOST:
            return getattr(cpu.Kernels, name)  # type: ignore[no-any-return]
        kernel = _KERNELS.get(name)
        if kernel is None:
            raise ParameterError(f"device={self.device!r} has no kernel {name}; the device that has it: cpu")

        def call(*args: Any, **options: Any) -> Any:  # noqa: ANN401
            with self._place.computing(name):
                return kernel(self._place, *args, **options)

        return call

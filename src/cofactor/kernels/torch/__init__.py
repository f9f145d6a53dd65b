"""Kernels in PyTorch: ``device="torch"`` on the CPU, ``device="cuda"`` on a GPU, the same code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cofactor.errors import ParameterError
from cofactor.kernels.csr import CSR
from cofactor.kernels.torch import als, products, ranks, topk
from cofactor.kernels.torch.place import HeldRows, Place

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Kernels"]

_KERNELS: dict[str, Callable[..., Any]] = {
    name: getattr(module, name) for module in (als, products, ranks, topk) for name in module.__all__
}


class Kernels:
    """The kernels that PyTorch has of :class:`cofactor.kernels.cpu.Kernels`, with the same arguments and results.

    Dense results stay where they are computed, as tensors, until they are fetched. ``threads`` is not looked at: on the
    CPU PyTorch has a number of its own (``torch.set_num_threads``), and other numbers give other roundoff.
    """

    device = "torch"

    def __init__(self) -> None:
        self._place = Place(self.device)

    def hold(self, x: Any) -> Any:  # noqa: ANN401
        """Bring sparse rows or vectors to where the kernels compute."""
        return self._place.rows(x) if isinstance(x, CSR) else self._place.tensor(x)

    def fetch(self, x: Any) -> Any:  # noqa: ANN401
        """Bring back what is held, as arrays of NumPy; on the CPU they share its memory."""
        return x.csr if isinstance(x, HeldRows) else x.cpu().numpy()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        kernel = _KERNELS.get(name)
        if kernel is None:
            raise ParameterError(f"device={self.device!r} has no kernel {name}; the device that has it: cpu")

        def call(*args: Any, **options: Any) -> Any:  # noqa: ANN401
            with self._place.computing(name):
                return kernel(self._place, *args, **options)

        return call

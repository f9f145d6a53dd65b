"""The one table of parameters of a model of items, where a device computes with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cofactor.models.base.epochs import require_finite

if TYPE_CHECKING:
    from collections.abc import Callable

    from cofactor.kernels.arguments import Table
    from cofactor.kernels.arrays import Float
    from cofactor.kernels.cpu import Kernels

__all__ = ["HeldTable"]


class HeldTable:
    """A table that epochs change, and that may be brought back to what an epoch left.

    Parameters
    ----------
    kernels : Kernels
    table : Table
        To start from.
    name, way_out : str
        The model, and what its user should do, where numbers stop being finite.

    Attributes
    ----------
    held : Table
        What kernels take.
    """

    def __init__(self, kernels: Kernels, table: Table, name: str, way_out: str) -> None:
        self._kernels, self._name, self._way_out = kernels, name, way_out
        self.held = kernels.hold(table)

    def values(self) -> Float:
        """The values as they are now; CofactorError where one is not finite."""
        return self._fetched().values

    def snapshot(self) -> Callable[[], None]:
        """Keep the present values; the result brings them back. As :func:`run_epochs` asks for."""
        now = self._fetched()
        before = now._replace(values=now.values.copy())

        def bring_back() -> None:
            self.held = self._kernels.hold(before)

        return bring_back

    def _fetched(self) -> Table:
        table: Table = self._kernels.fetch(self.held)
        require_finite(self._name, table.values, way_out=self._way_out)
        return table

"""The numeric kernels of each device; models ask :func:`on` and never branch on a device themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cofactor.errors import ParameterError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["DEVICES", "on"]

DEVICES = ("cpu",)


def on(device: str) -> ModuleType:
    """The kernel functions of one device.

    Raises
    ------
    ParameterError
        No kernels exist for the device.
    """
    if device != "cpu":
        raise ParameterError(f"device={device!r} has no kernels; available: {', '.join(DEVICES)}")
    from cofactor.kernels import cpu

    return cpu

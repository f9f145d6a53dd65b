"""The numeric kernels of each device; models ask for them by name and never branch on a device themselves."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from cofactor.errors import ParameterError

if TYPE_CHECKING:
    from cofactor.kernels.cpu import Kernels

__all__ = ["DEVICES", "on"]

DEVICES = {
    "cpu": "cofactor.kernels.cpu",
    "torch": "cofactor.kernels.torch",
    "cuda": "cofactor.kernels.torch.cuda",
}
"""The module that holds the ``Kernels`` of each device."""


def on(device: str) -> Kernels:
    """The kernels of one device: one object for each fit, and for each question to a fitted model.

    Raises
    ------
    ParameterError
        No kernels exist for the device, or nothing here can run them.
    MissingExtraError
        The device needs a package that is not installed.
    """
    if not isinstance(device, str) or device not in DEVICES:
        raise ParameterError(f"device={device!r} has no kernels; available: {', '.join(DEVICES)}")
    kernels: Kernels = import_module(DEVICES[device]).Kernels()
    return kernels

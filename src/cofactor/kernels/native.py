"""The compiled kernels of the CPU level that suits this machine; it knows flat arrays only."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

import numpy as np

from cofactor.errors import ParameterError
from cofactor.kernels import _native_baseline

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.kernels import _native_baseline as lib  # noqa: TC004 (use_level sets it)
    from cofactor.kernels.arrays import Float

__all__ = ["LEVELS", "level", "lib", "supported_levels", "transpose", "use_level"]

LEVELS = ("baseline", "avx2", "avx512", "avx512vnni")


def supported_levels() -> tuple[str, ...]:
    """The CPU levels that this machine can run, slowest first."""
    return LEVELS[: LEVELS.index(_native_baseline.supported_level()) + 1]


def use_level(name: str) -> None:
    """Switch to the kernels of one CPU level: for tests and for comparing; ``COFACTOR_CPU`` does so at import.

    Raises
    ------
    ParameterError
        The level does not exist or this CPU cannot run it.
    """
    if name not in supported_levels():
        raise ParameterError(
            f"CPU level {name!r} cannot be used here; this machine runs {', '.join(supported_levels())}"
        )
    globals().update(lib=importlib.import_module(f"cofactor.kernels._native_{name}"), level=name)


class _Refused:
    """Stands for the kernels where ``COFACTOR_CPU`` names none: every use says so, and what needs none works."""

    def __init__(self, error: ParameterError) -> None:
        self._error = error

    def __getattr__(self, name: str) -> object:
        raise ParameterError(f"COFACTOR_CPU: {self._error}; unset it, or name one of these") from self._error


level: str
try:
    use_level(os.environ.get("COFACTOR_CPU") or supported_levels()[-1])
except ParameterError as error:
    globals().update(lib=_Refused(error), level="none")


def transpose(
    indptr: NDArray[np.int64], indices: NDArray[np.int32], values: Float, n_columns: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], Float]:
    """Offsets, indices and values of the transposed matrix; O(nnz)."""
    out = (
        np.empty(n_columns + 1, np.int64),
        np.empty(len(indices), np.int32),
        np.empty(len(indices), np.float32),
    )
    lib.transpose(indptr, indices, values, n_columns, *out)
    return out

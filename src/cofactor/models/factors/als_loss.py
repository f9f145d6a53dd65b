"""The terms of ImplicitALS's loss, wherever its sweeps run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.errors import CofactorError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["TO_THE_END", "check_loss", "penalties"]

# The last user sweep of an inexact solver, and fold-in: conjugate gradient until the residual is this small.
TO_THE_END: dict[str, Any] = {"solver": "cg", "cg_steps": 200, "cg_tolerance": 1e-6}


def penalties(n: NDArray[np.int64], n_fixed: int, terms: Mapping[str, float]) -> NDArray[np.float64]:
    """Regularization of rows with n observed pairs, beside n_fixed rows of the other side."""
    frequency = n + np.float64(terms["unobserved_weight"]) * n_fixed
    return np.asarray(terms["regularization"] * frequency ** terms["regularization_exponent"])


def check_loss(loss: float, failed: int, of: str, terms: Mapping[str, float]) -> None:
    """Raise CofactorError where a sweep failed at a row, or its loss is not finite; ``of`` says what a row is."""
    if failed < 0 and np.isfinite(loss):
        return
    why = f"the loss is {loss}" if failed < 0 else f"the equations of {of} row {failed} have no unique solution"
    raise CofactorError(
        f"{why} in float32: regularization={terms['regularization']:.6g} is too small for these weights "
        f"(alpha={terms['alpha']:.6g}); raise it, or lower alpha"
    )

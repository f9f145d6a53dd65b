"""Checks of parameters, worded alike everywhere."""

from __future__ import annotations

import math
import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.errors import CofactorWarning, ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["check_at_least", "check_choice", "check_flag", "warn"]


def check_at_least(name: str, value: Any, least: float, *, whole: bool = False, above: bool = False) -> None:  # noqa: ANN401
    """Raise ParameterError unless ``value`` is a finite (``whole``) number >= ``least``, or with ``above`` > it."""
    kind = "a whole number" if whole else "a finite number"
    numbers = (int, np.integer) if whole else (int, float, np.integer, np.floating)
    number = isinstance(value, numbers) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < least or (above and value == least):
        raise ParameterError(f"{name} must be {kind} {'above' if above else 'of at least'} {least}, got {value!r}")


def check_choice(name: str, value: object, allowed: Iterable[object]) -> None:
    """Raise ParameterError unless ``value`` is one of ``allowed``."""
    if value not in (allowed := tuple(allowed)):
        raise ParameterError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")


def check_flag(name: str, value: object) -> None:
    """Raise ParameterError unless ``value`` is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise ParameterError(f"{name} must be True or False, got {value!r}")


def warn(message: str) -> None:
    """Give a CofactorWarning at the line outside of the library that led to it."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == "cofactor":
        frame, level = frame.f_back, level + 1
    warnings.warn(message, CofactorWarning, stacklevel=level)

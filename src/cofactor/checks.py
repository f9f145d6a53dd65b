"""Checks of parameters, worded alike everywhere."""

from __future__ import annotations

import difflib
import math
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.errors import CofactorWarning, ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "check_at_least",
    "check_choice",
    "check_flag",
    "check_fraction",
    "check_path",
    "check_type",
    "closest",
    "is_number",
    "nearest",
    "shown",
    "warn",
]

_SHOWN = 80  # letters of a value in a message


def check_at_least(name: str, value: Any, least: float, *, whole: bool = False, above: bool = False) -> None:  # noqa: ANN401
    """Raise ParameterError unless ``value`` is a finite (``whole``) number >= ``least``, or with ``above`` > it."""
    kind = "a whole number" if whole else "a finite number"
    fits = is_number(value) and not (whole and isinstance(value, float | np.floating))
    if not fits or value < least or (above and value == least):
        raise ParameterError(f"{name} must be {kind} {'above' if above else 'of at least'} {least}, got {shown(value)}")


def is_number(value: object) -> bool:
    """Whether a value is a finite number that a float can hold; True and False are none."""
    if not isinstance(value, int | float | np.integer | np.floating) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def check_fraction(name: str, value: Any) -> None:  # noqa: ANN401
    """Raise ParameterError unless ``value`` is a number between 0 and 1, neither of them."""
    if not (is_number(value) and 0 < value < 1):
        raise ParameterError(f"{name}={shown(value)}: it must be a number above 0 and below 1")


def check_choice(name: str, value: object, allowed: Iterable[object]) -> None:
    """Raise ParameterError unless ``value`` is one of ``allowed``, and of its type."""
    allowed = tuple(allowed)
    if not any(isinstance(value, type(one)) and bool(value == one) for one in allowed):
        raise ParameterError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {shown(value)}")


def check_flag(name: str, value: object) -> None:
    """Raise ParameterError unless ``value`` is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise ParameterError(f"{name} must be True or False, got {shown(value)}")


def check_path(name: str, value: Any) -> Path:  # noqa: ANN401
    """A file or folder as the user named it, ``~`` understood; ParameterError unless it is a text or a path."""
    if not isinstance(value, str | os.PathLike):
        raise ParameterError(f"{name} must be a path, got {shown(value)}")
    try:
        return Path(value).expanduser()
    except (RuntimeError, TypeError) as error:  # no such home, or a path of bytes
        raise ParameterError(f"{name}: {shown(value)} is no path: {error}") from error


def check_type(name: str, value: object, types: Any, told: str) -> None:  # noqa: ANN401
    """Raise ParameterError unless ``value`` is of one of ``types``, which are ``told`` in words."""
    if not isinstance(value, types):
        raise ParameterError(f"{name} must be {told}, got {shown(value)}")


def shown(value: object) -> str:
    """A value as it is shown in a message: short, and in one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({type(value).__name__})"


def nearest(name: object, known: Iterable[str]) -> str:
    """``"; did you mean factors?"`` where one of the known names is close to what was written, else nothing."""
    found = closest(name, known)
    return "" if found is None else f"; did you mean {found}?"


def closest(name: object, known: Iterable[str]) -> str | None:
    """The known name that is closest to what was written, whatever its case; None where none is close."""
    written = {one.lower().replace("-", "_"): one for one in known}
    close = difflib.get_close_matches(str(name).lower().replace("-", "_"), written, n=1, cutoff=0.5)
    return written[close[0]] if close else None


def in_line(error: BaseException) -> str:
    """An error in one line, after its type."""
    return ": ".join(filter(None, (type(error).__name__, " ".join(str(error).split()))))


def warn(message: str) -> None:
    """Give a CofactorWarning at the line outside of the library that led to it."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == "cofactor":
        frame, level = frame.f_back, level + 1
    warnings.warn(message, CofactorWarning, stacklevel=level)

"""The errors and the warning that cofactor raises."""

from __future__ import annotations

__all__ = [
    "ArtifactError",
    "CofactorError",
    "CofactorWarning",
    "DataError",
    "MissingExtraError",
    "NotFittedError",
    "ParameterError",
    "UnknownIdError",
]


class CofactorError(Exception):
    """Base of every error that cofactor raises on purpose."""


class DataError(CofactorError, ValueError):
    """The data cannot be used; the message names the column and the first offending rows."""


class ParameterError(CofactorError, ValueError):
    """A parameter is out of its range; the message names it, the value received and what is allowed."""


class UnknownIdError(CofactorError, LookupError):
    """An id that the training data does not hold."""


class NotFittedError(CofactorError, RuntimeError):
    """A model was asked for results before ``fit``."""


class ArtifactError(CofactorError, RuntimeError):
    """A saved model, or saved interactions, are damaged, incomplete or of a newer format."""


class MissingExtraError(CofactorError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""


class CofactorWarning(UserWarning):
    """Something was dropped or adjusted; the message says what and how much."""

"""Interactions whose matrix lies in parts with other processes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

__all__ = ["Sharded"]


class Sharded(ABC):
    """What ``fit`` takes beside interactions: data that fit a model where they lie."""

    @abstractmethod
    def fit(self, model: Any, **options: Any) -> None:  # noqa: ANN401
        """Set ``interactions_`` and all that a new, unfitted model learns; ``options`` are those of its ``fit``.

        Raises
        ------
        ParameterError
            Such a model is not fitted on them.
        """

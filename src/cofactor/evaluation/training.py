"""What the models of a comparison are fitted on."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from cofactor.errors import ParameterError
from cofactor.models.base.rating import RatingModel

if TYPE_CHECKING:
    from cofactor.data.aggregate import Weight
    from cofactor.data.events import Events
    from cofactor.data.interactions import Interactions
    from cofactor.data.ratings import Ratings
    from cofactor.data.user_items import UserItems

__all__ = ["Training"]


class Training:
    """Training data for models of all kinds: made of events once, and only where a model wants it.

    Parameters
    ----------
    train : Events, Interactions, Ratings or None
        Interactions and Ratings are handed on as they are.
    weight : polars expression, optional
        Of the interactions that are made of events.
    name : str
        What the caller calls ``train``.

    Raises
    ------
    ParameterError
        ``train`` is none of these, or there is a weight and there are no events.
    """

    def __init__(
        self, train: Events | Interactions | Ratings | None, weight: Weight = None, *, name: str = "train"
    ) -> None:
        is_log = hasattr(train, "interactions")
        if train is not None and not is_log and not hasattr(train, "user_items"):
            raise ParameterError(f"{name}: Events, Interactions or Ratings are expected, got {type(train).__name__}")
        if weight is not None and not is_log:
            raise ParameterError(f"weight: only events are weighed, and {name} holds none; pass events, or no weight")
        self._train: Any = train
        self._weight = weight
        self._is_log = is_log
        self._made: dict[tuple[str, ...], Ratings] = {}  # by the columns of context that they keep

    @property
    def events(self) -> Events | None:
        """The log, where there is one."""
        return self._train if self._is_log else None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to fit on."""
        return self._train is None

    @property
    def any(self) -> UserItems:
        """Users and items that models are fitted on, whatever their kind."""
        return self.interactions if self._is_log else self._train

    def of(self, model: object) -> UserItems:
        """What a model is fitted on."""
        if not self._is_log:
            made: UserItems = self._train
            return made
        return self.ratings(model) if isinstance(model, RatingModel) else self.interactions

    def ratings(self, model: RatingModel | None = None) -> Ratings:
        """What a model of ratings is fitted on: with the columns of its context, where it has any."""
        context = () if model is None else model.context_columns
        if context not in self._made:
            self._made[context] = self._train.ratings(context=context or None) if self._is_log else self._train
        return self._made[context]

    @cached_property
    def interactions(self) -> Interactions:
        """What all other models are fitted on."""
        given = {} if self._weight is None else {"weight": self._weight}
        made: Interactions = self._train.interactions(**given) if self._is_log else self._train
        return made

"""What the models have in common that are made of several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cofactor.errors import ParameterError
from cofactor.models.base.fitting import fitted_copies, in_one_step
from cofactor.models.base.recommender import Recommender

if TYPE_CHECKING:
    from typing import Self

    from cofactor.data.interactions import Interactions

__all__ = ["Combination"]


class Combination(Recommender):
    """Base of a model made of at least two ``models``, all fitted on the same interactions."""

    models: tuple[Recommender, ...]

    @property
    def ordered(self) -> bool:
        """Whether the order of a history matters to one of the models."""
        return any(model.ordered for model in self.models)

    @in_one_step
    def fit(self, interactions: Interactions, *, progress: bool | None = None) -> Self:
        """Fit every model."""
        self._check()
        self.models = fitted_copies(self, self.models, lambda model: model.fit(interactions, progress=progress))
        return self

    def _check(self) -> None:
        if len(self.models) < 2 or not all(isinstance(m, Recommender) for m in self.models):
            raise ParameterError(f"{type(self).__name__} needs at least two models that recommend, got {self.models!r}")

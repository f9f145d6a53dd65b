"""What the models have in common that are made of several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.checks import check_at_least
from cofactor.data.widened import widened
from cofactor.errors import ParameterError
from cofactor.models.base.fitting import fitted_copies, in_one_step, options_of_fit
from cofactor.models.base.recommender import Recommender

if TYPE_CHECKING:
    from typing import Self

    from cofactor.data.features import Of
    from cofactor.data.interactions import Interactions
    from cofactor.data.tables import TableLike

__all__ = ["Combination", "check_weights_of"]


class Combination(Recommender):
    """Base of a model made of ``models``, at least two unless it says so, all fitted on the same interactions."""

    models: tuple[Recommender, ...]

    @property
    def ordered(self) -> bool:
        """Whether the order of a history matters to one of the models."""
        return any(model.ordered for model in self.models)

    @in_one_step
    def fit(
        self,
        interactions: Interactions,
        *,
        item_features: TableLike | None = None,
        user_features: TableLike | None = None,
        progress: bool | None = None,
    ) -> Self:
        """Fit every model, and hand the tables of features on to those that learn from them.

        Parameters
        ----------
        interactions : Interactions
        item_features, user_features : table, optional
            As the models' ``fit`` takes them. Ids that have features and no interactions become part of all models.
        progress : bool, optional

        Raises
        ------
        ParameterError
            There are too few models, a parameter is out of its range, or no model learns from features that are given.
        DataError
            A table of features cannot be used, or an event has no weight; or as the models' ``fit``.
        """
        self._check()
        x = _fit_models(self, interactions, {"item": item_features, "user": user_features}, progress)
        self._learn_of(x)
        self.interactions_ = x.without_log
        return self

    def _learn_of(self, x: Interactions) -> None:
        """Learn what a combination knows beside its models, which are fitted."""

    def _check(self) -> None:
        if len(self.models) < 2 or not all(isinstance(m, Recommender) for m in self.models):
            raise ParameterError(f"{type(self).__name__} needs at least two models that recommend, got {self.models!r}")


def check_weights_of(models: tuple[Recommender, ...], weights: Any) -> None:  # noqa: ANN401
    """Raise ParameterError unless there is one positive weight for each model, or None."""
    if weights is None:
        return
    if not isinstance(weights, list | tuple | np.ndarray):
        raise ParameterError(f"weights must be a list of numbers, one for each model, got {weights!r}")
    if len(weights) != len(models):
        raise ParameterError(f"weights must be one number for each of {len(models)} models, got {weights!r}")
    for weight in weights:
        check_at_least("weights", weight, 0, above=True)


def _fit_models(
    whole: Combination,
    interactions: Interactions,
    tables: dict[Of, TableLike | None],
    progress: bool | None,
) -> Interactions:
    """Fit copies of ``whole.models`` on the same users and items, those that tables of features tell of among them.

    Parameters
    ----------
    whole : Combination
    interactions : Interactions
    tables : dict of str to table or None
        Features by "item" and "user".
    progress : bool, optional

    Returns
    -------
    Interactions
        What the models were fitted on.
    """
    options = {f"{of}_features": table for of, table in tables.items() if table is not None}
    for name in options:
        if not any(name in options_of_fit(model) for model in whole.models):
            raise ParameterError(
                f"{name}: no model of {whole!r} learns from it; leave it out, or take one that does, such as SampledMF"
            )
    x = interactions
    for of, table in tables.items():
        if table is not None:
            x = widened(x, table, of)

    def fit(model: Recommender) -> None:
        known = options_of_fit(model)
        given: dict[str, Any] = {name: table for name, table in options.items() if name in known}
        model.fit(x, progress=progress, **given)

    whole.models = fitted_copies(whole, whole.models, fit)
    return x

"""Models of factors that rank by an index."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from cofactor.checks import check_type
from cofactor.errors import ParameterError
from cofactor.models.base.factor import FactorModel
from cofactor.models.base.model import Model
from cofactor.retrieval.exact import ExactIndex

if TYPE_CHECKING:
    from cofactor.models.base.indexes import Index

__all__ = ["has_factors", "indexed", "is_indexed"]

AnyModel = TypeVar("AnyModel", bound=Model)


def has_factors(model: Model) -> bool:
    """Whether a model is one of factors, or made of models of which one is."""
    return isinstance(model, FactorModel) or any(map(has_factors, _parts(model)))


def is_indexed(model: Model) -> bool:
    """Whether a model ranks by an index, or one that it is made of does."""
    own = isinstance(model, FactorModel) and model.ranks_by_index
    return own or any(map(is_indexed, _parts(model)))


def indexed(model: AnyModel, make: Callable[..., Index] = ExactIndex) -> AnyModel:
    """Give a fitted model that ranks and finds similar items by indexes, which are made when they are first asked.

    Everything else is the given model's, arrays and all: tables, filters, evaluation. ``save`` keeps the indexes with
    the model, those that were made by then, or else one for lists and one for similar items: ``cofactor.load`` maps
    them, and refuses those of other vectors.

    Parameters
    ----------
    model : FactorModel, or one made of such
        Fitted; it stays as it is. Of a model made of models (``HistoryRerank``, ``Blend``, ``Fallback``) those of
        factors rank by indexes.
    make : callable
        Makes an index of vectors and ``metric=``, ``threads=``: :class:`ExactIndex`, whose lists are those of the model
        itself; :class:`ApproximateIndex`, or a ``functools.partial`` of it; or anything with their ``search``.

    Returns
    -------
    model
        Of the same class. Fitted again, it ranks by its new vectors without an index: an index is of one model only.

    Raises
    ------
    ParameterError
        The model has no factors, or ``make`` cannot be called.
    NotFittedError
        It has not been fitted.

    Examples
    --------
    >>> import cofactor as cf
    >>> model = cf.FactorModel.from_vectors([[1.0, 0.0]], [[1.0, 0.1], [0.9, 0.0]], item_ids=["tea", "mug"])
    >>> cf.retrieval.indexed(model).recommend(k=1).rows()
    [(0, 'tea', 1.0, 1)]
    """
    check_type("make", make, Callable, "what makes an index of vectors: ExactIndex, ApproximateIndex, or a function")
    check_type("model", model, Model, "a model of factors, as ImplicitALS or PureSVD, or one made of such")
    if isinstance(model, FactorModel):
        return model.ranking_by(partial(make, threads=model.threads))
    if not has_factors(model):
        raise ParameterError(
            f"model must be a model of factors, as ImplicitALS or PureSVD, or one made of such; {model!r} has none"
        )
    model._fitted()
    whole: Any = copy(model)
    whole.models = tuple(indexed(part, make) if has_factors(part) else part for part in _parts(model))
    return cast("AnyModel", whole)


def _parts(model: Model) -> tuple[Model, ...]:
    models = getattr(model, "models", ())
    return models if isinstance(models, tuple) and all(isinstance(part, Model) for part in models) else ()

"""Models of factors that rank by an index."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from cofactor.checks import check_type
from cofactor.models.base.factor import FactorModel
from cofactor.retrieval.exact import ExactIndex

if TYPE_CHECKING:
    from cofactor.models.base.factor import Index

__all__ = ["indexed"]

AnyFactors = TypeVar("AnyFactors", bound=FactorModel)


def indexed(model: AnyFactors, make: Callable[..., Index] = ExactIndex) -> AnyFactors:
    """Give a fitted model that ranks and finds similar items by indexes, which are made when they are first asked.

    Everything else is the given model's, arrays and all: tables, filters, evaluation, saving (of the model; an index is
    made again in seconds, or see :meth:`ExactIndex.save`).

    Parameters
    ----------
    model : FactorModel
        Fitted; it stays as it is.
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
    check_type("model", model, FactorModel, "a model of factors, as ImplicitALS or PureSVD")
    check_type("make", make, Callable, "what makes an index of vectors: ExactIndex, ApproximateIndex, or a function")
    return model.ranking_by(partial(make, threads=model.threads))

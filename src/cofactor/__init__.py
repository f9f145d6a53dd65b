"""Recommender systems by matrix factorization, from a raw event log to ranked lists."""

from cofactor import datasets
from cofactor.data import sampling, split, weights
from cofactor.data.events import Events, read_events
from cofactor.data.ids import IdMap
from cofactor.data.interactions import Interactions
from cofactor.errors import (
    ArtifactError,
    CofactorError,
    CofactorWarning,
    DataError,
    MissingExtraError,
    NotFittedError,
    ParameterError,
    UnknownIdError,
)
from cofactor.evaluation.compare import compare
from cofactor.evaluation.evaluate import evaluate
from cofactor.models import (
    EASE,
    SLIM,
    Blend,
    CoVisitation,
    CoVisitationSum,
    Fallback,
    GraphFilter,
    ImplicitALS,
    ItemKNN,
    NextBasket,
    PersonalPopular,
    Popular,
    PureSVD,
    Random,
    Recommender,
    Repurchase,
    RP3beta,
    SessionKNN,
    UserKNN,
)
from cofactor.models.base.recommender import load
from cofactor.version import __version__ as __version__

__all__ = [
    "EASE",
    "SLIM",
    "ArtifactError",
    "Blend",
    "CoVisitation",
    "CoVisitationSum",
    "CofactorError",
    "CofactorWarning",
    "DataError",
    "Events",
    "Fallback",
    "GraphFilter",
    "IdMap",
    "ImplicitALS",
    "Interactions",
    "ItemKNN",
    "MissingExtraError",
    "NextBasket",
    "NotFittedError",
    "ParameterError",
    "PersonalPopular",
    "Popular",
    "PureSVD",
    "RP3beta",
    "Random",
    "Recommender",
    "Repurchase",
    "SessionKNN",
    "UnknownIdError",
    "UserKNN",
    "compare",
    "datasets",
    "evaluate",
    "load",
    "read_events",
    "sampling",
    "split",
    "weights",
]

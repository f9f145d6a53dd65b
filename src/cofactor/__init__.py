"""Recommender systems by matrix factorization, from a raw event log to ranked lists."""

from cofactor import datasets, split, weights
from cofactor.artifact import load
from cofactor.compare import compare
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
from cofactor.evaluate import evaluate
from cofactor.events import Events, read_events
from cofactor.ids import IdMap
from cofactor.interactions import Interactions
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

__version__ = "0.1.0"

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
    "split",
    "weights",
]

"""Recommender systems by matrix factorization, from a raw event log to ranked lists."""

from cofactor import datasets
from cofactor.data import split, weights
from cofactor.data.events import Events, read_events
from cofactor.data.ids import IdMap
from cofactor.data.interactions import Interactions
from cofactor.data.ratings import Ratings
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
from cofactor.evaluation.cross_validate import cross_validate
from cofactor.evaluation.evaluate import evaluate
from cofactor.evaluation.ratings import calibration, errors_by_rating
from cofactor.models import (
    EASE,
    SLIM,
    BiasOnly,
    Blend,
    CoClustering,
    CoVisitation,
    CoVisitationSum,
    Fallback,
    GlobalMean,
    GraphFilter,
    ImplicitALS,
    ItemKNN,
    NextBasket,
    PersonalPopular,
    Popular,
    PureSVD,
    Random,
    RatingModel,
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
    "BiasOnly",
    "Blend",
    "CoClustering",
    "CoVisitation",
    "CoVisitationSum",
    "CofactorError",
    "CofactorWarning",
    "DataError",
    "Events",
    "Fallback",
    "GlobalMean",
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
    "RatingModel",
    "Ratings",
    "Recommender",
    "Repurchase",
    "SessionKNN",
    "UnknownIdError",
    "UserKNN",
    "calibration",
    "compare",
    "cross_validate",
    "datasets",
    "errors_by_rating",
    "evaluate",
    "load",
    "read_events",
    "split",
    "weights",
]

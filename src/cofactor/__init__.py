"""Recommender systems by matrix factorization, from a raw event log to ranked lists."""

from cofactor import datasets
from cofactor.data import split, weights
from cofactor.data.events import Events, read_events
from cofactor.data.features import Features
from cofactor.data.ids import IdMap
from cofactor.data.interactions import Interactions
from cofactor.data.load import load_interactions
from cofactor.data.pairs import PairLoader
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
from cofactor.evaluation import submission
from cofactor.evaluation.by_type import evaluate_by_type
from cofactor.evaluation.compare import compare
from cofactor.evaluation.evaluate import evaluate
from cofactor.models import (
    EASE,
    SLIM,
    Blend,
    CoVisitation,
    CoVisitationSum,
    FactorModel,
    Fallback,
    FixedFactors,
    GraphFilter,
    HistoryRerank,
    ImplicitALS,
    ItemKNN,
    ItemPairsMF,
    NextBasket,
    PersonalPopular,
    Popular,
    PureSVD,
    Random,
    Recommender,
    Repurchase,
    RP3beta,
    SampledMF,
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
    "FactorModel",
    "Fallback",
    "Features",
    "FixedFactors",
    "GraphFilter",
    "HistoryRerank",
    "IdMap",
    "ImplicitALS",
    "Interactions",
    "ItemKNN",
    "ItemPairsMF",
    "MissingExtraError",
    "NextBasket",
    "NotFittedError",
    "PairLoader",
    "ParameterError",
    "PersonalPopular",
    "Popular",
    "PureSVD",
    "RP3beta",
    "Random",
    "Recommender",
    "Repurchase",
    "SampledMF",
    "SessionKNN",
    "UnknownIdError",
    "UserKNN",
    "compare",
    "datasets",
    "evaluate",
    "evaluate_by_type",
    "load",
    "load_interactions",
    "read_events",
    "split",
    "submission",
    "weights",
]

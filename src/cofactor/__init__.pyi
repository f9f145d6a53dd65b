"""The public names and where they are; ``__init__.py`` reads it."""

# ruff: noqa: PLR0402  # a module is "import x.y as y", so that it differs from a name inside one

import cofactor.cluster as cluster
import cofactor.data.sampling as sampling
import cofactor.data.split as split
import cofactor.data.weights as weights
import cofactor.datasets as datasets
import cofactor.evaluation.submission as submission
import cofactor.report.plots as plots
import cofactor.retrieval as retrieval
from cofactor.data.events import Events, read_events
from cofactor.data.features import Features
from cofactor.data.ids import IdMap
from cofactor.data.interactions import Interactions
from cofactor.data.load import load_interactions
from cofactor.data.pairs import PairLoader
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
from cofactor.evaluation.best_model import best_model
from cofactor.evaluation.by_type import evaluate_by_type
from cofactor.evaluation.compare import compare
from cofactor.evaluation.cross_validate import cross_validate
from cofactor.evaluation.evaluate import evaluate
from cofactor.evaluation.experiment_run import run_experiment
from cofactor.evaluation.gate import gate
from cofactor.evaluation.leaks import check_leaks
from cofactor.evaluation.paired import paired_tests
from cofactor.evaluation.ratings import calibration, errors_by_rating
from cofactor.evaluation.readings import readings
from cofactor.evaluation.rows import evaluate_rows
from cofactor.evaluation.sampled import sampled_candidates
from cofactor.evaluation.tune import tune
from cofactor.models import (
    EASE,
    SLIM,
    BayesianMF,
    BiasedMF,
    BiasOnly,
    Blend,
    CoClustering,
    CoVisitation,
    CoVisitationSum,
    FactorizationMachine,
    FactorModel,
    Fallback,
    FixedFactors,
    GlobalMean,
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
    RatingModel,
    Recommender,
    Repurchase,
    RP3beta,
    SampledMF,
    SessionKNN,
    SessionMF,
    SVDpp,
    UserKNN,
)
from cofactor.models.base.recommender import load
from cofactor.report.page import Report
from cofactor.report.results import make_report
from cofactor.version import __version__ as __version__

__all__ = [
    "EASE",
    "SLIM",
    "ArtifactError",
    "BayesianMF",
    "BiasOnly",
    "BiasedMF",
    "Blend",
    "CoClustering",
    "CoVisitation",
    "CoVisitationSum",
    "CofactorError",
    "CofactorWarning",
    "DataError",
    "Events",
    "FactorModel",
    "FactorizationMachine",
    "Fallback",
    "Features",
    "FixedFactors",
    "GlobalMean",
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
    "RatingModel",
    "Ratings",
    "Recommender",
    "Report",
    "Repurchase",
    "SVDpp",
    "SampledMF",
    "SessionKNN",
    "SessionMF",
    "UnknownIdError",
    "UserKNN",
    "best_model",
    "calibration",
    "check_leaks",
    "cluster",
    "compare",
    "cross_validate",
    "datasets",
    "errors_by_rating",
    "evaluate",
    "evaluate_by_type",
    "evaluate_rows",
    "gate",
    "load",
    "load_interactions",
    "make_report",
    "paired_tests",
    "plots",
    "read_events",
    "readings",
    "retrieval",
    "run_experiment",
    "sampled_candidates",
    "sampling",
    "split",
    "submission",
    "tune",
    "weights",
]

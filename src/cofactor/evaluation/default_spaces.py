"""What is worth trying of every model, where nobody says otherwise.

The ranges are those that published studies search and that the logs of ``benchmarks/`` asked for; parameters that are
left out hardly matter, or decide what a model is for rather than how good it is. ``docs/tuning.md`` shows the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cofactor.errors import ParameterError
from cofactor.evaluation.spaces import plain
from cofactor.models.base.parameters import parameter_names

if TYPE_CHECKING:
    from cofactor.models.base.model import Model

__all__ = ["DEFAULT_SPACES", "NOTHING_TO_TUNE", "default_space"]

_FACTORS = [16, 32, 64, 128, 256]
_SPANS = [None, "14d", "30d", "60d", "90d", "180d"]
_NEIGHBOURS = (20, 1000)

DEFAULT_SPACES: dict[str, dict[str, Any]] = {
    "BayesianMF": {"factors": [8, 16, 32, 64]},
    "BiasOnly": {"user_regularization": (0.5, 50.0), "item_regularization": (0.5, 50.0)},
    "BiasedMF": {"factors": [8, 16, 32, 64, 128], "regularization": (0.05, 20.0), "bias_regularization": (0.05, 20.0)},
    "CoClustering": {"user_clusters": (2, 12), "item_clusters": (2, 12)},
    "CoVisitation": {"neighbours": [20, 50, 100, 200], "recency": {"low": 0.0, "high": 1.0}, "pairs": ["once", "all"]},
    "EASE": {"regularization": (1.0, 10000.0), "popularity_exponent": {"low": 0.0, "high": 0.5}},
    "FactorizationMachine": {"factors": [4, 8, 16, 32, 64], "implicit": [False, True]},
    "GraphFilter": {
        "history_exponent": {"low": 0.0, "high": 1.0},
        "item_exponent": {"low": 0.0, "high": 1.0},
        "amplification": {"low": 0.5, "high": 2.0},
        "low_pass": {"low": 0.0, "high": 1.0},
    },
    "HistoryRerank": {"recent": [1, 3, 5, 10, 20], "neighbours": [20, 50, 100]},
    "ImplicitALS": {
        "factors": [32, 64, 128, 256],
        "regularization": (0.0001, 0.2),
        "unobserved_weight": (0.005, 2.0),
    },
    "ItemKNN": {
        "similarity": ["cosine", "tfidf", "jaccard"],
        "neighbours": _NEIGHBOURS,
        "shrinkage": {"low": 0.0, "high": 100.0},
    },
    "ItemPairsMF": {
        "factors": _FACTORS,
        "learning_rate": (0.001, 0.3),
        "window": [1, 2, 4],
        "recency": [0.5, 0.7, 0.9],
    },
    "NextBasket": {
        "half_life": ["30d", "60d", "90d", "180d"],
        "neighbours": [50, 100, 300, 600],
        "alpha": {"low": 0.3, "high": 1.0},
        "trend": [None, "7d", "14d"],
    },
    "PersonalPopular": {"half_life": _SPANS},
    "Popular": {"half_life": _SPANS, "by": ["users", "weight"]},
    "PureSVD": {"factors": _FACTORS, "popularity_exponent": {"low": 0.0, "high": 0.5}},
    "RP3beta": {"alpha": {"low": 0.3, "high": 1.3}, "beta": {"low": 0.0, "high": 0.8}, "neighbours": _NEIGHBOURS},
    "Repurchase": {"window": ["7d", "14d", "28d", "56d"], "regularization": (3.0, 3000.0)},
    "SLIM": {"l1_regularization": (0.05, 20.0), "l2_regularization": (5.0, 2000.0)},
    "SVDpp": {"factors": [8, 16, 32, 64], "regularization": (0.05, 20.0), "learning_rate": (0.005, 0.1)},
    "SampledMF": {
        "factors": _FACTORS,
        "learning_rate": (0.0005, 0.05),
        "temperature": {"low": 0.05, "high": 1.0, "log": True},
    },
    "SessionKNN": {
        "neighbours": [100, 300, 1000, 1500],
        "lambda1": {"low": 0.5, "high": 8.0, "log": True},
        "lambda3": {"low": 0.5, "high": 8.0, "log": True},
        "idf": {"low": 0.0, "high": 5.0},
    },
    "SessionMF": {
        "factors": _FACTORS,
        "recency": [0.35, 0.5, 0.7, 0.85],
        "temperature": {"low": 0.03, "high": 0.3, "log": True},
        "epochs": [2, 4, 8],
    },
    "UserKNN": {
        "similarity": ["cosine", "tfidf", "jaccard"],
        "neighbours": _NEIGHBOURS,
        "shrinkage": {"low": 0.0, "high": 100.0},
    },
}
"""By the name of the class, as ``tune`` takes spaces."""

NOTHING_TO_TUNE = {
    "Blend": "its models",
    "CoVisitationSum": "its matrices",
    "Fallback": "its models",
    "FixedFactors": "nothing: its vectors come from elsewhere",
    "GlobalMean": "nothing",
    "Random": "nothing",
}
"""Models that have no space of their own, and what could be searched in its place."""


def default_space(model: Model) -> dict[str, Any]:
    """The space of a model, a fresh one.

    Of models made of others it is theirs, by their class before a dot; where several are of one class, that has none.

    Raises
    ------
    ParameterError
        There is nothing to tune.
    """
    own = DEFAULT_SPACES.get(type(model).__name__, {})
    names = parameter_names(model)
    classes = dict.fromkeys(name.partition(".")[0] for name in names if "." in name)
    inside = {
        f"{cls}.{name}": of
        for cls in classes
        for name, of in DEFAULT_SPACES.get(cls, {}).items()
        if names.count(f"{cls}.{name}") == 1
    }
    if not own and not inside:
        raise ParameterError(
            f"space: {type(model).__name__} has none by default; name what to try, such as {{{names[0]!r}: [...]}}"
            if names
            else f"space: {type(model).__name__} has no parameters to search"
        )
    return {name: of if isinstance(of, dict | tuple) else plain(of) for name, of in {**own, **inside}.items()}

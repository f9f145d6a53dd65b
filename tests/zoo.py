"""Every model, small enough for a test. New public models come from the registry; give one an entry in ``MODELS``
if its defaults are too slow for a test or its constructor needs arguments.
"""

import polars as pl

import cofactor as cf
from cofactor.models.base.recommender import Recommender

UNTIMED = {"half_life": None, "neighbour_half_life": None, "trend": None}  # the fixture has no events
MODELS = {
    "EASE": lambda: cf.EASE(20.0, form="primal"),
    "EASE cut to ten weights": lambda: cf.EASE(20.0, top_n=10),
    "EASE of users": lambda: cf.EASE(20.0, dropout=0.2, user_exponent=0.3, popularity_exponent=0.4, form="dual"),
    "Blend": lambda: cf.Blend(cf.ImplicitALS(4, iterations=2, regularization=0.1), cf.Popular(), weights=[2, 1]),
    "Blend of scores": lambda: cf.Blend(cf.NextBasket(**UNTIMED), cf.Popular(), cf.PersonalPopular(), by="score"),
    "CoVisitationSum": lambda: cf.CoVisitationSum(
        cf.CoVisitation(), cf.CoVisitation(5, pairs="all"), weights=[1.0, 2.5]
    ),
    "Fallback": lambda: cf.Fallback(cf.PersonalPopular(), cf.Popular()),
    "Fallback of factors": lambda: cf.Fallback(cf.ImplicitALS(4, iterations=2), cf.Popular()),
    "BiasOnly, regularised": lambda: cf.BiasOnly(user_regularization=3.0, item_regularization=0.5),
    "BayesianMF": lambda: cf.BayesianMF(3, burn_in=3, samples=2, thinning=2),
    "BiasedMF": lambda: cf.BiasedMF(4, epochs=3),
    "BiasedMF by sgd": lambda: cf.BiasedMF(4, method="sgd", epochs=5),
    "CoClustering": lambda: cf.CoClustering(2, 3, iterations=4, seed=1),
    "FactorizationMachine": lambda: cf.FactorizationMachine(3, implicit=True, iterations=12, samples=4),
    "FactorizationMachine, a point": lambda: cf.FactorizationMachine(3, method="als", iterations=5),
    "FactorizationMachine, by batches": lambda: cf.FactorizationMachine(
        3, method="sgd", iterations=4, batch_size=64, learning_rate=0.05
    ),
    "FactorizationMachine, by batches with sets": lambda: cf.FactorizationMachine(
        3, method="sgd", implicit=True, iterations=4, batch_size=64, learning_rate=0.05
    ),
    "FactorizationMachine, a sigmoid": lambda: cf.FactorizationMachine(
        3, method="sgd", output="sigmoid", optimizer="adagrad", iterations=4, batch_size=64
    ),
    "FactorizationMachine, ordinal": lambda: cf.FactorizationMachine(2, task="ordinal", iterations=9, samples=3),
    "GraphFilter": lambda: cf.GraphFilter(factors=5),
    "GraphFilter, a walk": lambda: cf.GraphFilter(
        low_pass=0, amplification=1.5, history_exponent=0.6, item_exponent=0.3
    ),
    "HistoryRerank": lambda: cf.HistoryRerank(cf.ItemKNN(), cf.CoVisitation(), weights=[2, 1], neighbours=5),
    "HistoryRerank by factors": lambda: cf.HistoryRerank(cf.ImplicitALS(4, iterations=2), recent=1),
    "ImplicitALS": lambda: cf.ImplicitALS(8, iterations=3, regularization=0.1),
    "ImplicitALS by cg": lambda: cf.ImplicitALS(8, iterations=3, regularization=0.1, solver="cg"),
    "ItemPairsMF": lambda: cf.ItemPairsMF(8, epochs=3, negatives=16, batch_size=32),
    "ItemPairsMF of two vectors": lambda: cf.ItemPairsMF(
        8, loss="logistic", shared=False, sampler="popularity", optimizer="adagrad", epochs=2
    ),
    "NextBasket": lambda: cf.NextBasket(**UNTIMED),
    "Popular by weight": lambda: cf.Popular(by="weight"),
    "PureSVD": lambda: cf.PureSVD(8, popularity_exponent=0.2),
    "Random": lambda: cf.Random(seed=3),
    "Random by popularity": lambda: cf.Random(seed=3, weighted=True),
    "Repurchase": lambda: cf.Repurchase(window=None),  # with times: tests/models/test_repurchase.py
    "SLIM": lambda: cf.SLIM(0.5, 5.0),
    "SLIM of both signs": lambda: cf.SLIM(0.2, 2.0, non_negative=False, top_n=20),
    "SVDpp": lambda: cf.SVDpp(4, epochs=5),
    "SampledMF": lambda: cf.SampledMF(8, epochs=6, temperature=0.3, negatives=32, batch_size=256),
    "SampledMF by pairs": lambda: cf.SampledMF(8, loss="warp", epochs=4, learning_rate=0.05, batch_size=64),
    "SampledMF, stopped early": lambda: cf.SampledMF(8, loss="bpr", score="dot", patience=1, learning_rate=0.05),
    "SessionMF": lambda: cf.SessionMF(8, epochs=3, negatives=16, batch_size=32),
    "SessionKNN by cosine": lambda: cf.SessionKNN(similarity="cosine", idf=0, candidate_idf=0, lambda3=None),
}
TRAINED_ELSEWHERE = {"FixedFactors"}  # tests/models/factors/test_fixed.py puts it through the contract
PUBLIC = {
    name: cls
    for name, cls in Recommender.registry.items()
    if cls.__module__.startswith("cofactor.") and name not in TRAINED_ELSEWHERE
}
NAMES = sorted({*PUBLIC, *MODELS})


def make(name):
    return MODELS[name]() if name in MODELS else PUBLIC[name]()


RATED = {name for name in NAMES if isinstance(make(name), cf.RatingModel)}
"""Models of ratings: their lists are as all lists, but they learn nothing from ratings that are all the same."""


def histories_of(x):
    """A table of what interactions hold, for models of any kind."""
    return x.to_frame().with_columns(rating=pl.col("weight"))


def value(name):
    """The column that ``predict`` gives."""
    return "rating" if name in RATED else "score"

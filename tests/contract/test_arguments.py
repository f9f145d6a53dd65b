"""Every public parameter, given something that it does not take: an error of the library that names it.

Each callable is called once for each parameter and each wrong value, with everything else as it should be. What a
parameter's annotation allows may succeed. All else is a ``CofactorError`` in whose message
the parameter stands.
"""

import inspect
import re
from copy import copy
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.data.sessions import Sessions
from zoo import PUBLIC

WRONG = {
    "object": object(),
    "text": "x",
    "negative": -1,
    "fraction": 1.5,
    "none": None,
    "list": [],
    "dict": {},
    "nan": float("nan"),
    "flag": True,
    "digits": "3",
    "array": np.array([0.5, 2.5]),
    "series": pl.Series([0.5, 2.5]),
}
# Which wrong values an annotation may allow, by the words in it. A number below 0 has to be allowed by name.
ALLOWED = [
    (r"\bNone\b", {"none"}),
    (r"\bbool\b", {"flag"}),
    (r"\bfloat\b", {"fraction"}),
    (r"\b(str|Any|NullValues)\b", {"text", "digits"}),  # columns and files that are not there are told by name
    (r"\bNullValues\b", {"none", "list", "dict"}),
    (r"\b(Sequence|Iterable|IdValues|Ids|ArrayLike)\b", {"list"}),
    (r"\b(IdValues|Ids)\b", {"dict"}),  # its keys
    (r"\bSequence\[float\]", {"array"}),
    (r"\b(Mapping|Valid)\b", {"dict"}),
    (r"\bValid\b", {"none", "text", "fraction", "digits"}),
    (r"\bWeight\b", {"none", "fraction", "negative"}),  # a pair may weigh less than nothing where no model is fitted
]
# Parameters that the modules of evaluation and of reading answer for, and their own tests.
ELSEWHERE = {
    "cluster.connect": {"address"},  # None starts a cluster
    "Events.with_frame": {"frame"},
    "Features.encode": {"frame"},  # it is told as item_features, which models take
    "Features.from_frame": {"frame"},
    "Features.new_ids": {"frame"},
}

TABLE = pl.DataFrame(
    {
        "user_id": [1, 1, 1, 2, 2, 3, 3, 4, 4, 4],
        "item_id": [1, 2, 3, 1, 2, 2, 3, 1, 3, 4],
        "time": [datetime(2024, 1, 1) + timedelta(days=9 * n) for n in range(10)],
        "type": ["view", "cart"] * 5,
        "visit": [1, 1, 2, 3, 3, 4, 5, 6, 6, 7],
        "rating": [1.0, 2.0, 4.0, 3.0, 3.5, 5.0, 2.0, 1.0, 4.5, 0.0],
    }
)
EVENTS = cf.read_events(
    TABLE, user="user_id", item="item_id", time="time", session="visit", event_type="type", rating="rating"
)
X, RATINGS = EVENTS.interactions(), EVENTS.ratings()
PAIRS = TABLE.select("user_id", "item_id")
ROWS = TABLE.select("user_id", "item_id", rank=pl.int_range(1, pl.len() + 1).over("user_id"))
IDS = X.users
ITEMS = TABLE.select("item_id", colour=pl.col("type")).unique("item_id", maintain_order=True)
PEOPLE = TABLE.select("user_id", town=pl.col("type")).unique("user_id", maintain_order=True)
FEATURES = cf.Features.from_frame(ITEMS)
LABELS = TABLE.select("user_id", "item_id", event_type="type")
RATED = cf.BiasOnly().fit(RATINGS)


BOARD = pl.DataFrame({"model": ["a", "b"], "recall@10": [0.2, 0.1], "fit_seconds": [1.0, 2.0]})
TRIALS = pl.DataFrame({"factors": [8, 16, 8], "alpha": [1.0, 2.0, 3.0], "value": [0.1, 0.2, 0.3]})
SLICES = pl.DataFrame({"model": ["a"], "slice": ["x"], "n": [3], "value": [0.5]})


def _same(of, call):
    """A function with the signature of another."""
    call.__signature__ = inspect.signature(of)
    return call


FUNCTIONS = {
    "cluster.connect": (cf.cluster.connect, {"address": "no address"}),
    "compare": (cf.compare, {"models": {"popular": cf.Popular()}, "train": EVENTS, "test": PAIRS, "metrics": "auc"}),
    "calibration": (cf.calibration, {"model_or_table": RATED, "test": TABLE}),
    "check_leaks": (cf.check_leaks, {"train": EVENTS, "test": PAIRS}),
    "cross_validate": (cf.cross_validate, {"models": cf.GlobalMean(), "events": EVENTS, "folds": 2}),
    "errors_by_rating": (cf.errors_by_rating, {"model_or_table": RATED, "test": TABLE}),
    "evaluate": (cf.evaluate, {"model_or_table": ROWS, "test": PAIRS}),
    "gate": (cf.gate, {"baseline": ROWS, "candidate": ROWS, "test": PAIRS}),
    "load": (cf.load, {"folder": "no such folder"}),
    "load_interactions": (cf.load_interactions, {"folder": "no such folder"}),
    "paired_tests": (cf.paired_tests, {"results": {"a": ROWS, "b": ROWS}, "test": PAIRS}),
    "readings": (cf.readings, {"test": PAIRS}),
    "read_events": (
        cf.read_events,
        {"source": TABLE, "user": "user_id", "item": "item_id", "time": "time", "session": "visit"},
    ),
    "evaluate_by_type": (cf.evaluate_by_type, {"lists": ROWS, "labels": LABELS, "weights": {"view": 1, "cart": 2}}),
    "submission.lists_for": (
        _same(cf.submission.lists_for, lambda **given: list(cf.submission.lists_for(**given))),
        {"model": cf.Popular().fit(X), "sessions": PAIRS},
    ),
    "submission.read": (
        _same(cf.submission.read, lambda **given: list(cf.submission.read(**given))),
        {"path": "no such file"},
    ),
    "submission.write": (cf.submission.write, {"lists": ROWS, "path": "out.csv", "fill": [1, 2, 3, 4], "k": 4}),
    "retrieval.export": (cf.retrieval.export, {"model": cf.PureSVD(2).fit(X), "folder": "exported"}),
    "retrieval.indexed": (cf.retrieval.indexed, {"model": cf.PureSVD(2).fit(X)}),
    "sampled_candidates": (cf.sampled_candidates, {"train": X, "test": PAIRS, "n": 1}),
    "sampling.negatives": (cf.sampling.negatives, {"interactions": X, "users": [0, 1], "n": 2}),
    "split.by_time": (cf.split.by_time, {"events": EVENTS, "test": "20d"}),
    "split.cold_items": (cf.split.cold_items, {"events": EVENTS, "fraction": 0.5}),
    "split.cold_users": (cf.split.cold_users, {"events": EVENTS, "fraction": 0.5}),
    "split.cut_sessions": (cf.split.cut_sessions, {"events": EVENTS, "test": "29d", "next_only": ["view"]}),
    "split.k_fold": (cf.split.k_fold, {"events": EVENTS}),
    "split.leave_last": (cf.split.leave_last, {"events": EVENTS}),
    "split.random": (cf.split.random, {"events": EVENTS, "fraction": 0.5}),
    "weights.by_type": (cf.weights.by_type, {"weights": {"view": 1, "cart": 2}}),
    "weights.capped": (cf.weights.capped, {"weight": pl.len(), "maximum": 2}),
    "weights.duration": (cf.weights.duration, {"name": "value", "value": "3d"}),
    "weights.half_life": (cf.weights.half_life, {"life": "3d"}),
    "weights.recent": (cf.weights.recent, {"window": "3d"}),
    "best_model": (cf.best_model, {"events": X, "budget": 0.1}),
    "evaluate_rows": (cf.evaluate_rows, {"lists": [[0, 1]], "test": X.user_items, "users": [0]}),
    "make_report": (cf.make_report, {"board": BOARD}),
    "plots.concentration": (cf.plots.concentration, {"interactions": X}),
    "plots.leaderboard": (cf.plots.leaderboard, {"board": BOARD}),
    "plots.long_tail": (cf.plots.long_tail, {"interactions": X}),
    "plots.losses": (cf.plots.losses, {"histories": {"a": [2.0, 1.0]}}),
    "plots.parameter": (cf.plots.parameter, {"trials": TRIALS, "name": "factors"}),
    "plots.pareto": (cf.plots.pareto, {"board": BOARD}),
    "plots.search": (cf.plots.search, {"trials": TRIALS}),
    "plots.slices": (cf.plots.slices, {"table": SLICES, "metric": "recall@10", "by": "users"}),
    "plots.surface": (cf.plots.surface, {"trials": TRIALS}),
    "run_experiment": (cf.run_experiment, {"path": "no such file"}),
    "tune": (cf.tune, {"model": cf.ItemKNN(), "train": X, "space": {"neighbours": [3]}, "method": "grid"}),
    "datasets.completejourney": (cf.datasets.completejourney, {}),
    "datasets.grocery_products": (cf.datasets.grocery_products, {}),
    "datasets.leave_one_out_with_negatives": (
        cf.datasets.leave_one_out_with_negatives,
        {"train": __file__, "test_rating": __file__, "test_negative": __file__},
    ),
    "datasets.movielens": (cf.datasets.movielens, {"path": "no such folder"}),
    "datasets.movielens_fold": (cf.datasets.movielens_fold, {"path": "no such folder", "fold": 1}),
    "datasets.next_item": (cf.datasets.next_item, {"train": __file__, "test": __file__}),
    "datasets.next_item_tests": (cf.datasets.next_item_tests, {"events": EVENTS}),
    "datasets.otto": (cf.datasets.otto, {"path": "no such file"}),
    "datasets.planted_factors": (cf.datasets.planted_factors, {"n_users": 20, "n_items": 20}),
    "datasets.synthetic": (cf.datasets.synthetic, {"n_users": 20, "n_items": 20, "n_interactions": 50}),
    "datasets.planted_clusters": (cf.datasets.planted_clusters, {"n_items": 20}),
    "datasets.synthetic_sessions": (cf.datasets.synthetic_sessions, {"n_sessions": 20, "n_items": 20}),
    "datasets.synthetic_events": (cf.datasets.synthetic_events, {"n_users": 20, "n_items": 20, "n_events": 50}),
    "datasets.user_item_lists": (cf.datasets.user_item_lists, {"path": "no such file"}),
}
METHODS = {
    "Events.aggregated": (EVENTS.aggregated, {}),
    "Events.collect": (EVENTS.collect, {}),
    "Events.interactions": (EVENTS.interactions, {}),
    "Events.pairs": (EVENTS.pairs, {}),
    "Events.ratings": (EVENTS.ratings, {}),
    "Events.sessions": (EVENTS.sessions, {}),
    "Events.with_frame": (EVENTS.with_frame, {"frame": TABLE}),
    "Features.encode": (FEATURES.encode, {"frame": ITEMS, "ids": X.items}),
    "Features.from_frame": (cf.Features.from_frame, {"frame": ITEMS}),
    "Features.new_ids": (FEATURES.new_ids, {"frame": ITEMS, "ids": X.items}),
    "Interactions": (cf.Interactions, {"users": IDS, "items": X.items, "user_items": X.user_items}),
    "Interactions.filter": (X.filter, {}),
    "Interactions.from_csr": (cf.Interactions.from_csr, {"csr": X.user_items}),
    "Interactions.from_frame": (cf.Interactions.from_frame, {"df": TABLE}),
    "Interactions.per_pair": (X.per_pair, {"weight": None}),
    "Interactions.save": (X.save, {"folder": ".", "test": PAIRS}),
    "Interactions.to_frame": (X.to_frame, {}),
    "Interactions.widened": (X.widened, {}),
    "Interactions.without_rare": (X.without_rare, {"min_user_count": 0, "min_item_count": 0, "k_core": False}),
    "Interactions.facts": (X.facts, {}),
    "Ratings": (cf.Ratings, {"users": IDS, "items": X.items, "user_items": X.user_items}),
    "Ratings.facts": (RATINGS.facts, {}),
    "Ratings.from_events": (cf.Ratings.from_events, {"events": EVENTS}),
    "Ratings.from_frame": (cf.Ratings.from_frame, {"df": TABLE}),
    "Ratings.from_matrix": (cf.Ratings.from_matrix, {"matrix": X.user_items}),
    "Ratings.of": (cf.Ratings.of, {"interactions": X}),
    "Ratings.to_frame": (RATINGS.to_frame, {}),
    "Ratings.widened": (RATINGS.widened, {}),
    "IdMap": (cf.IdMap, {"ids": [1, 2]}),
    "IdMap.from_values": (cf.IdMap.from_values, {"values": [1, 2]}),
    "IdMap.in_order": (cf.IdMap.in_order, {"values": [1, 2], "what": "values"}),
    "IdMap.require": (IDS.require, {"values": [1, 2]}),
    "IdMap.rows": (IDS.rows, {"values": [1, 2]}),
    "IdMap.take": (IDS.take, {"rows": [0, 1]}),
    "Sessions.from_events": (Sessions.from_events, {"events": EVENTS}),
    "Sessions.of": (Sessions.of, {"interactions": X}),
    "Sessions.pairs": (EVENTS.sessions().pairs, {}),
    "Sessions.with_last_positions": (Sessions.with_last_positions, {"interactions": X}),
}
ASKED = {
    "recommend": {"users": [1], "exclude_seen": False},
    "recommend_for": {"histories": PAIRS, "exclude_seen": False},
    "similar_items": {},
    "predict": {"pairs": PAIRS},
    "top_k": {"users": [0], "exclude_seen": False},
    "top_k_for": {"histories": X.user_items, "exclude_seen": False},
    "ranks": {"users": [0], "wanted": X.user_items.take([0]), "exclude_seen": False},
    "save": {"folder": "."},  # is refused: it holds other things
    "fit": {"interactions": X},
}
MODELS = {  # what a model needs to look at all of its parameters
    "Blend": {"weights": [1, 2]},
    "CoVisitation": {"type_weights": {"view": 1.0, "cart": 2.0}},
    "CoVisitationSum": {"weights": [1.0, 2.0]},
    "FactorizationMachine": {"factors": 2, "iterations": 3},
    "GraphFilter": {"factors": 2},
    "HistoryRerank": {"weights": [1.0, 2.0], "type_weights": {"view": 1.0, "cart": 2.0}},
    "ImplicitALS": {"factors": 2, "iterations": 1, "solver": "cg"},
    "PureSVD": {"factors": 2},
    "SampledMF": {"factors": 2, "epochs": 1},
}
INSIDE = {
    "Blend": lambda: [cf.Popular(), cf.Random()],
    "Fallback": lambda: [cf.Popular(), cf.Random()],
    "HistoryRerank": lambda: [cf.ItemKNN(), cf.ImplicitALS(2, iterations=1)],
    "CoVisitationSum": lambda: [cf.CoVisitation(), cf.CoVisitation(5)],
}


def more():
    """(name, callable, valid arguments) of what some models do besides."""
    for name, cls in PUBLIC.items():
        if issubclass(cls, cf.RatingModel):
            yield f"{name}.rate", cls().fit(RATINGS).rate, {"users": [0, -1], "items": [1, 1]}
    yield "BiasOnly.predict", RATED.predict, {"pairs": PAIRS}
    yield "BiasOnly.recommend_for", RATED.recommend_for, {"histories": TABLE, "exclude_seen": False}
    given = {"ratings": RATINGS, "pairs": PAIRS}
    yield "BayesianMF.stream_predictions", cf.BayesianMF(2, burn_in=1, samples=2).stream_predictions, given
    machine = cf.FactorizationMachine(2, iterations=3).fit(RATINGS, item_features=ITEMS, user_features=PEOPLE)
    yield "FactorizationMachine.widened", machine.widened, {}
    yield "FactorizationMachine.predict", machine.predict, {"pairs": PAIRS}
    yield "FactorizationMachine.recommend", machine.recommend, {"users": [1], "exclude_seen": False}
    rows = {"histories": TABLE, "exclude_seen": False, "user_features": PEOPLE}
    yield "FactorizationMachine.recommend_for", machine.recommend_for, rows
    als = cf.ImplicitALS(2, iterations=1).fit(X)
    svd = cf.PureSVD(2).fit(X)
    sampled = cf.SampledMF(2, epochs=1, temperature=0.2).fit(X)
    pairs = cf.ItemPairsMF(2, epochs=1).fit(X)
    sessions = cf.SessionMF(2, epochs=1).fit(X)
    fitted = [cf.Popular().fit(X), cf.Random().fit(X)]
    yield "ImplicitALS.explain", als.explain, {"user": 1, "item": 1}
    yield (
        "SampledMF.partial_fit",
        _same(sampled.partial_fit, lambda **given: copy(sampled).partial_fit(**given)),
        {"interactions": PAIRS},
    )
    for model in (als, svd, sampled, pairs, sessions):
        yield f"{type(model).__name__}.similar_users", model.similar_users, {}
        vectors = {"users": np.ones((4, 2)), "items": np.ones((4, 2)), "interactions": X}
        yield f"{type(model).__name__}.from_vectors", model.from_vectors, vectors
    near = cf.ItemKNN().fit(X)
    rerank = _same(cf.HistoryRerank.fitted, lambda **given: cf.HistoryRerank.fitted(near, **given))
    yield "HistoryRerank.fitted", rerank, {"weights": [1]}
    yield "Blend.fitted", _same(cf.Blend.fitted, lambda **given: cf.Blend.fitted(*fitted, **given)), {"weights": [1, 2]}
    yield "CoVisitation.count", cf.CoVisitation().count, {"sessions": EVENTS.sessions()}
    for preset in ("buy_to_buy", "time_weighted", "type_weighted"):
        make = getattr(cf.CoVisitation, preset)
        valid = {"types": ["view"]} if preset == "buy_to_buy" else {"type_weights": {"view": 1.0, "cart": 2.0}}
        valid = {} if preset == "time_weighted" else valid
        yield f"CoVisitation.{preset}", _same(make, lambda make=make, **given: make(**given).fit(X)), valid


def walk():
    """(name, callable, valid arguments) of everything that is called below."""
    for name, (call, valid) in (FUNCTIONS | METHODS).items():
        yield name, call, valid
    fitted = {cls: cls().fit(X) for cls in (cf.ItemKNN, cf.Popular, cf.ImplicitALS)}
    for cls, model in fitted.items():
        for method, valid in ASKED.items():
            if method != "similar_items" or cls is not cf.Popular:
                yield f"{cls.__name__}.{method}", getattr(model, method), valid
    yield from more()
    for name, cls in PUBLIC.items():
        yield name, _maker(name, cls), MODELS.get(name, {})
        if name not in ("ItemKNN", "Popular", "ImplicitALS"):
            yield f"{name}.fit", cls(*INSIDE.get(name, list)()).fit, {_data(cls): EVENTS}


def _data(cls):
    return "ratings" if issubclass(cls, cf.RatingModel) else "interactions"


def _maker(name, cls):
    def make(**parameters):
        return cls(*INSIDE.get(name, list)(), **parameters).fit(EVENTS, progress=False)

    return _same(cls, make)


def cases():
    for name, call, valid in walk():
        for parameter in inspect.signature(call).parameters.values():
            elsewhere = parameter.name in ELSEWHERE.get(name, ())
            if not elsewhere and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                yield pytest.param(call, valid, parameter, id=f"{name}-{parameter.name}")


@pytest.mark.parametrize(("call", "valid", "parameter"), list(cases()))
@pytest.mark.filterwarnings("ignore::cofactor.CofactorWarning")
def test_what_a_parameter_does_not_take_is_an_error_that_names_it(call, valid, parameter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # models may be saved there
    allowed = set().union(*(kinds for words, kinds in ALLOWED if re.search(words, str(parameter.annotation))))
    for kind, wrong in WRONG.items():
        error = None
        try:
            call(**valid | {parameter.name: wrong})
        except cf.CofactorError as caught:
            error = str(caught).replace(" ", "_")
        if kind not in allowed:
            assert error is not None, f"{parameter.name}={wrong!r} was taken"
            assert parameter.name.strip("s") in error


def public():
    """Every callable of the public names, and every public method of what they hand out."""
    for name in cf.__all__:
        thing = getattr(cf, name)
        if inspect.ismodule(thing):
            yield from (f"{name}.{n}" for n in thing.__all__ if inspect.isfunction(getattr(thing, n)))
        elif inspect.isfunction(thing):
            yield name
    for cls in (cf.Events, cf.Features, cf.Interactions, cf.Ratings, cf.IdMap, Sessions):
        yield from (f"{cls.__name__}.{n}" for n, m in inspect.getmembers(cls, callable) if not n.startswith("_"))
    for name, cls in PUBLIC.items():
        own = {n for n, m in inspect.getmembers(cls, callable) if not n.startswith("_")} - set(dir(cf.Recommender))
        yield from (name, f"{name}.fit", *(f"{name}.{n}" for n in own))
    yield from (f"ItemKNN.{n}" for n, m in inspect.getmembers(cf.ItemKNN, callable) if not n.startswith("_"))


NO_PARAMETERS = {"ItemKNN.answering", "ItemKNN.params", "Events.roles", "Features.arrays", "Features.description"}
NO_PARAMETERS |= {name for name in public() if name.endswith((".item_vectors", ".user_vectors"))}
# They take an exception, what a file holds, and what retrieval.indexed has looked at.
NOT_FOR_PEOPLE = {"Events.explained", "Features.restored"}
NOT_FOR_PEOPLE |= {name for name in public() if name.endswith(".ranking_by")}
EXPRESSIONS = {"Events.filter"}  # any number of them, which polars checks


def test_every_public_callable_is_called():
    assert {*public()} - {name for name, *_ in walk()} == NO_PARAMETERS | NOT_FOR_PEOPLE | EXPRESSIONS

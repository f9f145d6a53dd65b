"""Parameters that were set after a fit change neither what a model of ratings answers nor what is saved of it."""

import polars as pl
import pytest

import cofactor as cf
from cofactor.models.base.rating import RatingModel
from zoo import MODELS

KINDS = {name: make for name, make in MODELS.items() if isinstance(make(), RatingModel)} | {
    "BiasOnly": cf.BiasOnly,
    "GlobalMean": cf.GlobalMean,
    "FactorizationMachine, in context": lambda: cf.FactorizationMachine(2, context=["hour"], iterations=9, samples=3),
    "FactorizationMachine, two values": lambda: cf.FactorizationMachine(2, task="classification", iterations=9),
    "FactorizationMachine, by batches in context": lambda: cf.FactorizationMachine(
        2, method="sgd", context=["hour"], implicit=True, iterations=3
    ),
    "FactorizationMachine, logistic": lambda: cf.FactorizationMachine(2, task="classification", method="sgd"),
}
OTHER = {
    "factors": [7], "method": ["als", "sgd", "mcmc"], "task": ["regression", "ordinal", "classification"],
    "implicit": [True, False], "context": [None, ["hour"], {"hour": 2}], "user_noise": [True, False],
    "iterations": [31], "samples": [1], "regularization": [77.0], "bias_regularization": [77.0],
    "user_regularization": [77.0], "item_regularization": [77.0], "regularization_exponent": [0.9],
    "learning_rate": [0.3], "bias_learning_rate": [0.3], "lr_schedule": ["constant", "cosine"], "batch_size": [17],
    "init_std": [0.7], "epochs": [2], "burn_in": [1], "thinning": [5], "user_clusters": [5], "item_clusters": [6],
    "seed": [99], "optimizer": ["adam", "adagrad", "row_adam"], "output": ["sigmoid", "identity"],
}  # fmt: skip
WHERE = {"threads", "device"}  # it computes: these may change, and answers are the same


def ratings():
    table = cf.datasets.synthetic(40, 25, 500, seed=3).to_frame().select("user_id", "item_id")
    rating = (pl.int_range(pl.len()) * 7 % 5 + pl.col("item_id") % 3).cast(pl.Float64)
    return table.with_columns(rating=rating, hour=pl.int_range(pl.len()) % 3)


def data_of(name):
    table = ratings()
    if "two values" in name or "logistic" in name:
        return table.with_columns(pl.col("rating") > 3)
    return table


def answers(model, table):
    new = table.head(60).with_columns(user_id=pl.col("user_id") + 1000)
    found = [
        model.predict(table.head(80)),
        model.recommend([1, 2, 3], k=4),
        model.recommend_for(new, k=4),
        *([] if model._compared() is None else [model.similar_items([1, 2], k=3)]),
    ]
    return [*found, model.context_columns]


def same(found, wanted):
    return all(a.equals(b) if isinstance(a, pl.DataFrame) else a == b for a, b in zip(found, wanted, strict=True))


@pytest.mark.filterwarnings("ignore::cofactor.CofactorWarning")
@pytest.mark.parametrize("name", KINDS)
def test_parameters_set_after_a_fit_change_nothing_before_the_next_one(name, tmp_path):
    table, model = data_of(name), KINDS[name]()
    model.fit(table)
    wanted, params = answers(model, table), model.params()
    for parameter in set(params) - WHERE:
        for value in OTHER[parameter]:
            setattr(model, parameter, value)
        assert same(answers(model, table), wanted), parameter
    model.save(tmp_path / "model")
    loaded = cf.load(tmp_path / "model")
    assert loaded.params() == params
    assert same(answers(loaded, table), wanted)
    for parameter in set(params) - WHERE:
        setattr(loaded, parameter, OTHER[parameter][0])
    assert same(answers(loaded, table), wanted)


def test_the_next_fit_takes_them(tmp_path):
    model = cf.BiasedMF(3, epochs=2).fit(ratings())
    model.factors, model.threads = 5, 2
    assert model.fit(ratings()).item_factors_.shape[1] == 5
    model.save(tmp_path / "model")
    assert cf.load(tmp_path / "model").params() == model.params()


def test_a_list_that_is_changed_in_place_is_not_what_was_fitted():
    names = ["hour"]
    model = cf.FactorizationMachine(2, context=names, iterations=6, samples=2).fit(ratings())
    names.append("day")
    assert model.context_columns == ("hour",)

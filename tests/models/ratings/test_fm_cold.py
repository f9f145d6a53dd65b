"""Items and users held out with all their ratings: what features say of them, beside models without features."""

from contextlib import nullcontext

import numpy as np
import polars as pl
import pytest

import cofactor as cf

SEEDS = range(3)
HELD = {"item": cf.split.cold_items, "user": cf.split.cold_users}
NOISE = 0.4  # of the ratings: no model errs by less


def planted(seed):
    """A log of ratings, half of whose spread genres of items and towns of users decide; and the tables that tell them.

    Every genre has a mean, every town a liking for some genres; ids add little of their own.
    """
    rng = np.random.default_rng(seed)
    n_users, n_items, n_towns, n_genres = 200, 120, 4, 6
    towns, genres = rng.integers(n_towns, size=n_users), rng.integers(n_genres, size=n_items)
    liked = rng.normal(0, 0.9, (n_towns, n_genres)) + rng.normal(0, 0.6, n_genres)
    dense = 3 + liked[np.ix_(towns, genres)] + rng.normal(0, 0.2, (n_users, 1)) + rng.normal(0, 0.2, n_items)
    users, items = np.nonzero(rng.random(dense.shape) < 0.2)
    ratings = dense[users, items] + rng.normal(0, NOISE, len(users))
    columns = {"user_id": users, "item_id": items, "rating": ratings}
    log = cf.read_events(pl.DataFrame(columns), user="user_id", item="item_id", rating="rating")
    tables = {
        "user_features": pl.DataFrame({"user_id": range(n_users), "town": [f"town {t}" for t in towns]}),
        "item_features": pl.DataFrame({"item_id": range(n_items), "genre": [f"genre {g}" for g in genres]}),
    }
    return log, tables


def mixed_up(table, seed):
    """Every id with what another one is described by: as many features, which say nothing."""
    return table.with_columns(table.to_series(1).sample(fraction=1.0, shuffle=True, seed=seed))


METHODS = {
    "mcmc": {"iterations": 120, "samples": 40},
    "sgd": {"method": "sgd", "iterations": 80, "batch_size": 128, "learning_rate": 0.1, "regularization": 5e-3},
}


def errors(side, seed, method):
    """RMSE on held-out ids, of models that know more or less."""
    log, tables = planted(seed)
    split = HELD[side](log, 0.2, seed=seed)
    train, test = split.train.ratings(), split.test.ratings().to_frame()
    truth = test["rating"].to_numpy()

    def error(model, **features):
        model.fit(train, progress=False, **features)
        told = nullcontext() if features else pytest.warns(cf.errors.CofactorWarning, match="not in the training data")
        with told:  # who has features is known
            found = model.predict(test.select("user_id", "item_id"))["rating"].to_numpy()
        return float(np.sqrt(np.mean((found - truth) ** 2)))

    def machine():
        return cf.FactorizationMachine(4, seed=seed, threads=1, **METHODS[method])

    return {
        "bias only": error(cf.BiasOnly()),
        "without": error(machine()),
        "with": error(machine(), **tables),
        "mixed up": error(machine(), **{name: mixed_up(table, seed) for name, table in tables.items()}),
    }


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("side", HELD)
@pytest.mark.parametrize("method", METHODS)
def test_features_tell_of_what_is_new(side, seed, method):
    found = errors(side, seed, method)
    assert found["with"] < 1.3 * NOISE
    assert found["with"] < 0.7 * min(found["bias only"], found["without"], found["mixed up"])

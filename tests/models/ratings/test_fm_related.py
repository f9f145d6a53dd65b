"""Machines by batches that know features of users and items, sets and context."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.kernels.arguments import FmRelations
from cofactor.kernels.csr import CSR
from cofactor.models.ratings import fm_settings
from cofactor.models.ratings.fm_descent import BatchDescent
from cofactor.models.ratings.fm_sides import SideFeatures, rated, related
from cofactor.system import memory
from reference import fm, fm_relations

N_USERS, N_ITEMS, FACTORS = 24, 18, 3
ALL = {"features", "context", "implicit"}
WHAT = [{"features"}, {"context"}, {"implicit"}, ALL]
OPTIMIZERS = ["row_adam", "adam", "adagrad"]


def log(seed=0):
    """Ratings with the hour of each, and tables of flags, of lists and of numbers; the last ids have no ratings."""
    rng = np.random.default_rng(seed)
    users, items = np.nonzero(rng.random((N_USERS - 2, N_ITEMS - 2)) < 0.5)
    hours = rng.choice(["day", "night"], len(users))
    ratings = (
        3 + rng.normal(0, 0.6, N_USERS)[users] + rng.normal(0, 0.6, N_ITEMS)[items] + rng.normal(0, 0.3, len(users))
    )
    table = pl.DataFrame({"user_id": users, "item_id": items, "rating": ratings + (hours == "day"), "hour": hours})
    genres = [[("war", "love", "film")[n] for n in range(3) if rng.random() < 0.5] for _ in range(N_ITEMS)]
    return table, {
        "user_features": pl.DataFrame({"user_id": range(N_USERS), "town": [f"town {n % 3}" for n in range(N_USERS)]}),
        "item_features": pl.DataFrame(
            {"item_id": range(N_ITEMS), "genres": genres, "year": np.arange(N_ITEMS) + 1990.0}
        ),
    }


def made(what, **parameters):
    context, implicit = ["hour"] if "context" in what else None, "implicit" in what
    parameters = {"method": "sgd", "iterations": 6, "learning_rate": 0.05, "regularization": 0.01} | parameters
    return cf.FactorizationMachine(FACTORS, context=context, implicit=implicit, **parameters)


def given(what, tables):
    return tables if "features" in what else {}


def scale(table, kind):
    """Ratings for a task or an output: the parameters, and the table."""
    if kind == "classification":
        return {"task": kind}, table.with_columns(rating=(pl.col("rating") > 3).cast(pl.Float64))
    return ({"output": kind} if kind == "sigmoid" else {}), table


# What is learned


@pytest.mark.parametrize("kind", ["regression", "sigmoid", "classification"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("what", WHAT, ids=lambda what: ", ".join(sorted(what)))
def test_a_fit_is_descent_on_the_machine_over_all_features(what, optimizer, kind):
    """One batch a pass, against float64 steps on the definition: all pairs of features, with those within a side."""
    table, tables = log()
    parameters, table = scale(table, kind)
    passes, rate, penalty = 8, 0.05, 0.01
    model = made(what, iterations=passes, optimizer=optimizer, batch_size=10_000, seed=4, **parameters)
    model.fit(table, **given(what, tables))
    x = model.interactions_
    parts = {"user": [], "item": []}
    if "features" in what:
        for side, ids in (("user", x.users), ("item", x.items)):
            matrix = getattr(model, f"{side}_features_").encode(tables[f"{side}_features"], ids)
            parts[side].append((matrix, np.zeros(matrix.n_columns, np.int32)))
    if "implicit" in what:
        parts["user"].append((rated(x.user_items), np.zeros(x.n_items, np.int32)))
        parts["item"].append((rated(x.item_users), np.zeros(x.n_users, np.int32)))
    sides = [SideFeatures.of(x.n_users, parts["user"]), SideFeatures.of(x.n_items, parts["item"])]
    pairs = pl.DataFrame(
        {"user_id": x.users.ids[x.user_items.row_index()], "item_id": x.items.ids[x.user_items.indices]}
    )
    ordered = pairs.join(table, on=["user_id", "item_id"], how="left", maintain_order="left")
    codes = [(ordered["hour"] == "night").to_numpy().astype(np.int32)] if "context" in what else []
    relations = related(sides, codes, [2] * len(codes), x.user_items.nnz)
    design, has = fm_relations.design(x.user_items, relations)
    rows = np.zeros((relations.n_rows, FACTORS + 1))
    rows[:, 1:] = np.random.default_rng(4).normal(0, 0.1 / np.sqrt(FACTORS), (len(rows), FACTORS)).astype(np.float32)
    y, offset, span = ordered["rating"].to_numpy(), 0.0, 0.0
    if kind == "regression":
        targets = (y - y.mean()) / y.std()
    else:
        low, high = model.levels_
        shares = (y - low) / (high - low)
        offset = np.log(shares.mean() / (1 - shares.mean()))
        span = 1 / shares.std() if kind == "sigmoid" else 0.0
        targets = shares * span if kind == "sigmoid" else shares
    options = {"logistic": kind == "classification", "span": span, "has": has}
    state, losses = fm.DenseSteps(rows, optimizer, rate, n_coordinates=FACTORS + 1), []
    for step in range(passes):
        state._rate = rate * 0.5 * (1 + np.cos(np.pi * step / passes))
        gradient, of_ratings = fm_relations.gradient(rows, design, targets, offset, penalty, **options)
        losses.append(of_ratings.mean())
        state.step(gradient, np.flatnonzero(has.any(axis=0)))
    z = fm.predicted(design, rows[:, 0], rows[:, 1:], offset)
    if kind == "regression":
        wanted, errors = y.mean() + y.std() * z, y.std() * np.sqrt(losses)
    else:
        wanted = low + (high - low) / (1 + np.exp(-z))
        errors = np.sqrt(losses) * (high - low) / span if kind == "sigmoid" else losses
    np.testing.assert_allclose(model.error_history_, errors, rtol=1e-4)
    np.testing.assert_allclose(model.predict(ordered.drop("rating"))["rating"], wanted, rtol=2e-3, atol=2e-3)


def test_vectors_that_many_ratings_share_go_slower():
    """By the root of the number of steps, sets four times as fast; others no less far than twenty steps of ids."""
    kept = SimpleNamespace(user_features=np.zeros((2, 1)), item_features=np.zeros((0, 1)))
    relations = FmRelations(*(CSR.from_pairs([], [], [], shape) for shape in ((3, 6), (4, 3))), None, 1, None)
    for epochs, n_batches, between, wanted in (
        (10, 1000, 1, [0.01, 0.01, 0.01, 0.04, 0.04, 0.04, 0.04, 0.04, 0.04, 0.04]),
        (10, 1000, 100, [0.01, 0.2, 0.2, *7 * [0.4]]),
        (10, 9, 1, [2 / 9, 2 / 9, 2 / 9, *7 * [4 / 90**0.5]]),
        (3, 4, 1, 10 * [1.0]),
    ):
        descent = BatchDescent(epochs, 0.01, 8, 0.0, 0.1, 0, 1)
        np.testing.assert_allclose(descent._rates(relations, kept, n_batches, between), wanted, rtol=1e-6)


@pytest.mark.parametrize("what", WHAT, ids=lambda what: ", ".join(sorted(what)))
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_threads_change_no_digit(what, optimizer):
    table, tables = log()
    found = [
        made(what, batch_size=200, optimizer=optimizer, threads=threads).fit(table, **given(what, tables))
        for threads in (1, 2, 5)
    ]
    for model in found[1:]:
        for name in (
            "user_samples_",
            "item_samples_",
            "rated_item_samples_",
            "error_history_",
            "item_feature_samples_",
        ):
            assert np.array_equal(getattr(model, name), getattr(found[0], name)), name


@pytest.mark.parametrize("what", [{"features"}, {"features", "implicit"}], ids=lambda what: ", ".join(sorted(what)))
def test_an_unrated_id_is_told_by_its_features_at_the_fit_as_later(what):
    table, tables = log()
    model = made(what).fit(table, **tables)
    asked = pl.DataFrame({"user_id": [N_USERS - 1, 3, N_USERS - 1], "item_id": [7, N_ITEMS - 1, N_ITEMS - 1]})
    twins = {
        "user_features": tables["user_features"].tail(1).with_columns(user_id=pl.lit(-5, pl.Int64)),
        "item_features": tables["item_features"].tail(1).with_columns(item_id=pl.lit(10**6, pl.Int64)),
    }
    later = pl.DataFrame({"user_id": [-5, 3, -5], "item_id": [7, 10**6, 10**6]})
    at_fit = model.predict(asked)["rating"].to_numpy()
    np.testing.assert_allclose(model.predict(later, **twins)["rating"], at_fit, atol=1e-5)
    assert len(np.unique(at_fit)) == 3


LOADED = """
import sys
import polars as pl
import cofactor as cf
model = cf.load(sys.argv[1])
asked = pl.read_parquet(sys.argv[2])
print(model.predict(asked)["rating"].to_list() + model.recommend_for(asked.drop("hour"), k=5)["score"].to_list())
"""


@pytest.mark.parametrize("what", WHAT, ids=lambda what: ", ".join(sorted(what)))
def test_another_process_answers_as_this_one(what, tmp_path):
    table, tables = log()
    model = made(what).fit(table, **given(what, tables))
    model.save(tmp_path / "model")
    asked = table.head(30)
    asked.write_parquet(tmp_path / "asked.parquet")
    wanted = model.predict(asked)["rating"].to_list() + model.recommend_for(asked.drop("hour"), k=5)["score"].to_list()
    call = [sys.executable, "-c", LOADED, str(tmp_path / "model"), str(tmp_path / "asked.parquet")]
    assert subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip() == str(wanted)


# What is refused


def test_features_that_cannot_be_used_are_refused_as_by_other_methods():
    table, tables = log()
    items = tables["item_features"]
    for wrong in (
        items.with_columns(item_id=pl.lit(1)),
        items.with_columns(year=pl.lit(None, pl.Float64)),
        items.drop("item_id"),
        items.with_columns(pl.col("item_id") + 1000),
    ):
        told = []
        for method in ("als", "sgd"):
            with pytest.raises(cf.DataError) as error:
                cf.FactorizationMachine(2, method=method, iterations=3).fit(table, item_features=wrong)
            told.append(str(error.value))
        assert told[0] == told[1]
    for method in ("als", "sgd"):
        with pytest.raises(cf.ParameterError, match="these Ratings do not hold that column"):
            cf.FactorizationMachine(2, method=method, context=["hour"]).fit(cf.Ratings.from_frame(table.drop("hour")))


@pytest.mark.filterwarnings("ignore:.*overflow")
@pytest.mark.parametrize("what", WHAT, ids=lambda what: ", ".join(sorted(what)))
def test_a_descent_that_goes_astray_says_what_to_do(what):
    table, tables = log()
    with pytest.raises(cf.CofactorError, match="training diverged; lower learning_rate"):
        made(what, learning_rate=1e30, batch_size=16).fit(table, **given(what, tables))


def test_memory_is_asked_before_it_is_taken(monkeypatch):
    table, tables = log()
    monkeypatch.setattr(memory, "available_memory", lambda: 10_000)
    with pytest.raises(cf.ParameterError, match=r"FactorizationMachine\(factors=3\) on 24 users .* fewer samples or"):
        made(ALL).fit(table, **tables)


def test_memory_is_asked_for_batches_and_what_features_add_up_to(monkeypatch):
    asked = []
    monkeypatch.setattr(fm_settings, "require_memory", lambda needed, *_: asked.append(needed))
    table, tables = log()
    for what, batch_size in ((set(), 16), (set(), 100), ({"features"}, 100), (ALL, 100)):
        made(what, batch_size=batch_size, threads=1).fit(table, **given(what, tables))
    width = 4 * (3 + 17)
    assert asked[1] - asked[0] >= 84 * width * 4  # rows of a batch
    assert asked[2] - asked[1] >= 2 * width * (N_USERS + N_ITEMS)
    assert asked[3] > asked[2]

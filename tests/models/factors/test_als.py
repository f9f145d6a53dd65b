"""The solver is right: against a dense float64 twin, by gradients, by perturbation.

Vectors are compared to 1e-4 of their norm, losses to 1e-4 of their value.
"""

import time
from itertools import product

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.kernels.csr import CSR
from cofactor.system import memory
from reference import als as reference

# Every way to solve, run to convergence ("auto" is cholesky up to 64 factors and cg beyond), and the short cuts.
CONVERGED = {
    "cholesky": {"solver": "cholesky"},
    "cg": {"solver": "cg", "cg_steps": 200},
    "subspace": {"solver": "subspace", "block_size": 64},
    "auto": {"solver": "auto"},
}
SHORT = {"cg 3": {"solver": "cg"}, "subspace 16": {"solver": "subspace", "block_size": 16}}
SOLVERS = {**CONVERGED, **SHORT}
converged = pytest.mark.parametrize("solver", CONVERGED.values(), ids=CONVERGED)
every_solver = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)

GATHERS = ("float32", "bfloat16", "auto")
FACTORS = 20
LOSS = {"regularization": 0.05, "alpha": 4.0, "unobserved_weight": 0.7, "regularization_exponent": 0.5}


def make(**changed):
    return cf.ImplicitALS(**{"factors": FACTORS, "iterations": 4, "seed": 3, **LOSS, **changed})


def loss_of(model, users=None, items=None):
    return reference.loss(
        model.interactions_.user_items,
        model.user_factors_ if users is None else users,
        model.item_factors_ if items is None else items,
        **{name: getattr(model, name) for name in LOSS},
    )


def assert_close(got, wanted, tolerance=1e-4):
    assert np.linalg.norm(got - wanted) <= tolerance * np.linalg.norm(wanted)


# The solution


@converged
def test_one_iteration_equals_the_dense_solution(interactions, solver):
    model = make(iterations=1, **solver).fit(interactions)
    items = np.random.default_rng(3).standard_normal((interactions.n_items, FACTORS), np.float32)
    items = items * model.init_std / np.sqrt(FACTORS)
    users = reference.solve(interactions.user_items, items, **LOSS)
    items = reference.solve(interactions.item_users, users, **LOSS)
    users = reference.solve(interactions.user_items, items, **LOSS)
    assert_close(model.user_factors_ @ model.item_factors_.T, users @ items.T)  # in whatever axes the vectors stand
    assert_close(model.user_factors_ @ model.user_factors_.T, users @ users.T)
    assert_close(model.item_factors_ @ model.item_factors_.T, items @ items.T)
    assert model.loss_history_[0] == pytest.approx(loss_of(model, users, items), rel=1e-4)


@every_solver
def test_the_gradient_of_every_user_is_zero(interactions, solver):
    model = make(**solver).fit(interactions)
    for user in range(interactions.n_users):
        a, b = reference.system(*interactions.user_items.row(user), model.item_factors_, **LOSS)
        assert np.linalg.norm(a @ model.user_factors_[user] - b) < 1e-4 * np.linalg.norm(b)


@every_solver
def test_no_perturbation_of_the_users_lowers_the_loss(interactions, solver):
    model = make(**solver).fit(interactions)
    least = loss_of(model)
    rng = np.random.default_rng(0)
    for n in range(256):
        users = model.user_factors_.astype(np.float64)
        users[rng.integers(len(users))] += rng.standard_normal(FACTORS) * 10.0 ** -(1 + n % 3)
        assert loss_of(model, users=users) > least


@every_solver
@pytest.mark.parametrize("factors", [5, 40, 70])
def test_the_loss_never_rises(interactions, solver, factors):
    losses = make(factors=factors, iterations=10, **solver).fit(interactions).loss_history_
    assert losses.shape == (10,)
    assert (np.diff(losses) <= 1e-5 * losses[:-1]).all()
    assert losses[-1] < losses[0]


@every_solver
@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_the_loss_is_the_one_from_scratch(interactions, solver, exponent):
    model = make(regularization_exponent=exponent, iterations=3, **solver).fit(interactions)
    assert model.loss_history_[-1] == pytest.approx(loss_of(model), rel=1e-4)


@pytest.mark.parametrize("solver", SHORT.values(), ids=SHORT)
def test_short_cuts_come_to_the_same_loss(interactions, solver):
    exact = make(iterations=40, solver="cholesky").fit(interactions).loss_history_[-1]
    assert make(iterations=40, **solver).fit(interactions).loss_history_[-1] == pytest.approx(exact, rel=0.01)


def test_16_bits_are_of_the_sweeps_and_not_of_the_end(interactions):
    """The items differ a little; users are those that float32 finds for them. Small data has none unless asked for."""
    exact, narrow, auto = (make(factors=80, solver="cg", gather=g).fit(interactions) for g in GATHERS)
    assert loss_of(narrow) == pytest.approx(loss_of(exact), rel=1e-3)
    assert not np.array_equal(exact.item_factors_, narrow.item_factors_)
    wanted = reference.solve(interactions.user_items, narrow.item_factors_, **LOSS)
    assert_close(narrow.user_factors_, wanted)
    assert loss_of(narrow) == pytest.approx(narrow.loss_history_[-1], rel=1e-5)
    assert np.array_equal(exact.item_factors_, auto.item_factors_)


def test_frequent_users_are_held_back_by_the_exponent(interactions):
    plain, scaled = (
        make(regularization=1.0, regularization_exponent=e).fit(interactions).user_factors_ for e in (0.0, 1.0)
    )
    assert np.linalg.norm(scaled) < np.linalg.norm(plain)


@pytest.mark.parametrize("solver", ["cholesky", "cg", "subspace"])
def test_results_do_not_depend_on_threads(interactions, solver):
    one, two = (make(solver=solver, threads=threads).fit(interactions) for threads in (1, 2))
    assert np.array_equal(one.user_factors_, two.user_factors_)
    assert np.array_equal(one.item_factors_, two.item_factors_)
    assert np.array_equal(one.loss_history_, two.loss_history_)


# Fold-in and explanation


@every_solver
@pytest.mark.parametrize("factors", [FACTORS, 70])
def test_fold_in_gives_the_vector_of_training(interactions, solver, factors):
    model = make(factors=factors, **solver).fit(interactions)
    folded = model._fold_in(interactions.user_items)
    norms = np.linalg.norm(model.user_factors_, axis=1)
    assert (np.linalg.norm(folded - model.user_factors_, axis=1) <= 1e-4 * norms).all()


@every_solver
def test_fold_in_and_warm_start_leave_a_model_as_it_is(interactions, solver):
    model = make(**solver).fit(interactions)
    before = model.item_factors_.copy()
    model.item_factors_.flags.writeable = False  # as in a model that was loaded
    model.recommend_for(interactions)
    make(iterations=1, **solver).fit(interactions, warm_start=model)
    assert np.array_equal(model.item_factors_, before)


@pytest.mark.parametrize("solver", [{"solver": "cg"}, {"solver": "subspace", "block_size": 16}], ids=["cg", "subspace"])
def test_what_is_fitted_without_regularization_folds_in(interactions, solver):
    model = make(factors=40, regularization=0.0, unobserved_weight=0.1, **solver).fit(interactions)
    folded = model._fold_in(interactions.user_items)
    assert_close(folded @ model.item_factors_.T, model.user_factors_ @ model.item_factors_.T, 1e-2)


@every_solver
def test_recommend_for_gives_the_lists_of_recommend(interactions, solver):
    model = make(**solver).fit(interactions)
    known, unseen = model.recommend(k=5), model.recommend_for(interactions, k=5)
    assert known.select("user_id", "rank").equals(unseen.select("user_id", "rank"))
    np.testing.assert_allclose(known["score"], unseen["score"], atol=1e-4)
    assert (known["item_id"] == unseen["item_id"]).mean() > 0.99


def test_a_history_without_any_known_item_gets_no_list(interactions):
    model = make().fit(interactions)
    histories = pl.DataFrame({"user_id": ["new", "old"], "item_id": [999, 3]})
    with pytest.warns(cf.CofactorWarning, match="1 of 2 rows have items that are not in the training data"):
        lists = model.recommend_for(histories, k=3)
    assert lists["user_id"].to_list() == ["old"] * 3


def test_a_training_user_without_interactions_gets_no_list():
    x = cf.Interactions.from_csr(CSR.from_pairs([0, 2], [1, 2], [1, 1], (3, 4)))
    model = make().fit(x)
    assert not model.user_factors_[1].any()
    assert model.recommend(k=2)["user_id"].to_list() == [0, 0, 2, 2]
    filled = cf.Fallback(make(), cf.Popular()).fit(x)
    assert filled.recommend(k=2)["user_id"].to_list() == [0, 0, 1, 1, 2, 2]


@every_solver
def test_contributions_add_up_to_the_score(interactions, solver):
    model = make(**solver).fit(interactions)
    for user, item in [(0, 0), (7, 31), (59, 12)]:
        parts = model.explain(user, item)
        history, weights = interactions.user_items.row(user)
        assert parts.schema == {"item_id": pl.Int64, "weight": pl.Float32, "contribution": pl.Float64}
        assert dict(parts.select("item_id", "weight").rows()) == dict(zip(history, weights, strict=True))
        assert parts["contribution"].is_sorted(descending=True)
        score = model.predict(pl.DataFrame({"user_id": [user], "item_id": [item]}))["score"][0]
        assert parts["contribution"].sum() == pytest.approx(score, abs=1e-4)


def test_explain_names_unknown_ids(interactions):
    model = make().fit(interactions)
    with pytest.raises(cf.UnknownIdError, match=r"user ids.*999"):
        model.explain(999, 0)
    with pytest.raises(cf.UnknownIdError, match=r"item ids.*-5"):
        model.explain(0, -5)


# Neighbours


def test_similar_items_are_the_nearest_by_cosine(interactions):
    model = make().fit(interactions)
    unit = model.item_factors_ / np.linalg.norm(model.item_factors_, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    table = model.similar_items(k=5)
    assert table["item_id"].to_list() == np.repeat(np.arange(40), 5).tolist()
    assert table["similar_item_id"].to_list() == np.argsort(-cosines, axis=1)[:, :5].ravel().tolist()
    np.testing.assert_allclose(table["score"], -np.sort(-cosines, axis=1)[:, :5].ravel(), atol=1e-5)


def test_similar_users(interactions):
    model = make().fit(interactions)
    table = model.similar_users([3, 1], k=1000)
    assert table.columns == ["user_id", "similar_user_id", "score", "rank"]
    assert table["user_id"].to_list() == [3] * 59 + [1] * 59
    assert table.filter(pl.col("user_id") == pl.col("similar_user_id")).is_empty()
    assert table["score"].is_between(-1.00001, 1.00001).all()


def test_items_that_nobody_has_are_similar_to_nothing():
    x = cf.Interactions.from_csr(CSR.from_pairs([0, 1, 1], [0, 0, 1], [1, 1, 1], (2, 3)))
    table = make(factors=2).fit(x).similar_items(k=5)
    assert table.select("item_id", "similar_item_id").rows() == [(0, 1), (1, 0)]
    alone = cf.Interactions.from_csr(CSR.from_pairs([], [], [], (2, 3)))
    assert make(factors=2).fit(alone).similar_items(k=5).is_empty()


# Training


def test_training_goes_on_where_it_stopped(interactions):
    straight = make(iterations=10, solver="cholesky").fit(interactions)
    half = make(iterations=5, solver="cholesky").fit(interactions)
    resumed = make(iterations=5, solver="cholesky", seed=99).fit(interactions, warm_start=half)
    scores = [m.user_factors_ @ m.item_factors_.T for m in (resumed, straight)]  # axes may point the other way
    assert_close(*scores, 1e-5)
    np.testing.assert_allclose(resumed.loss_history_, straight.loss_history_[5:], rtol=1e-6)


@every_solver
def test_the_loss_never_rises_where_training_goes_on(interactions, solver):
    half = make(iterations=3, **solver).fit(interactions)
    resumed = make(iterations=3, **solver).fit(interactions, warm_start=half)
    assert resumed.loss_history_[0] <= half.loss_history_[-1] * (1 + 1e-6)


def test_warm_start_goes_by_item_id(interactions):
    """Other users, fewer items, in another order of rows: close to the solution from the first iteration."""
    some = interactions.to_frame().filter(pl.col("item_id") > 5).with_columns(-pl.col("item_id"))
    every = interactions.to_frame().with_columns(-pl.col("item_id"))
    trained = make(iterations=30).fit(cf.Interactions.from_frame(every, "weight"))
    x = cf.Interactions.from_frame(some, "weight")
    cold, warm = (make(iterations=1).fit(x, warm_start=start).loss_history_[0] for start in (None, trained))
    best = make(iterations=60).fit(x).loss_history_[-1]
    assert warm - best < 0.1 * (cold - best)


def test_warm_start_needs_as_many_factors(interactions):
    other = make(factors=8, iterations=1).fit(interactions)
    with pytest.raises(cf.ParameterError, match="warm_start has 8 factors, this model 20"):
        make().fit(interactions, warm_start=other)
    with pytest.raises(cf.NotFittedError):
        make().fit(interactions, warm_start=make())


@every_solver
@pytest.mark.parametrize("stop", [True, np.True_])
def test_on_iteration_sees_every_loss_and_ends_the_training(interactions, solver, stop):
    seen = []

    def on_iteration(iteration, loss):
        seen.append((iteration, loss))
        return stop if iteration == 2 else None

    model = make(iterations=9, **solver).fit(interactions, on_iteration=on_iteration)
    assert seen == [(1, model.loss_history_[0]), (2, model.loss_history_[1])]
    assert len(model.loss_history_) == 2
    assert_close(model._fold_in(interactions.user_items), model.user_factors_)


def test_an_error_in_on_iteration_leaves_the_model_as_it_was(interactions):
    model = make(iterations=1).fit(interactions)
    before = model.item_factors_

    def fail(iteration, loss):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(interactions, on_iteration=fail)
    assert model.item_factors_ is before


def test_progress_shows_the_loss(interactions, capsys):
    model = make(iterations=2).fit(interactions, progress=True, on_iteration=lambda *_: time.sleep(0.15))
    assert "2/2 [" in (shown := capsys.readouterr().err)
    assert f"loss={model.loss_history_[-1]:.6g}" in shown
    make(iterations=2).fit(interactions)
    assert capsys.readouterr().err == ""


# Bad input


@pytest.mark.parametrize("solver", ["cholesky", "subspace"])
def test_equations_without_a_unique_solution_are_an_error_with_a_way_out(solver):
    """Two items bought by the same users, four factors and nothing that holds them."""
    x = cf.Interactions.from_csr(CSR.from_pairs([0, 0, 1, 1], [0, 1, 0, 1], [1, 1, 1, 1], (2, 2)))
    model = make(factors=4, regularization=0, unobserved_weight=0, solver=solver)
    with pytest.raises(cf.CofactorError, match=r"user row 0 have no unique solution.*regularization=0 is.* raise it"):
        model.fit(x)
    with pytest.raises(cf.NotFittedError):
        model.recommend()


@pytest.mark.parametrize("solver", ["cholesky", "cg", "subspace"])
def test_weights_beyond_float32_are_an_error(interactions, solver):
    with pytest.raises(cf.CofactorError, match=r"alpha=1e\+38.*lower alpha"):
        make(alpha=1e38, solver=solver).fit(interactions)


def test_factors_beyond_the_memory_are_an_error_before_the_work(interactions, monkeypatch):
    with pytest.raises(cf.ParameterError, match=r"factors=10000000\) .*needs [\d,.]+ GiB .*use fewer factors"):
        make(factors=10_000_000).fit(interactions)
    monkeypatch.setattr(memory, "available_memory", lambda: 1000)
    with pytest.raises(cf.ParameterError, match=r"0\.0 GiB are available"):
        make().fit(interactions)


COUNTS = ("factors", "iterations", "cg_steps", "block_size")
NOT_NEGATIVE = ("regularization", "unobserved_weight", "regularization_exponent")
OPEN = {"factors", "regularization", "unobserved_weight", "alpha"}  # None for what the log says
BAD = [
    *product(COUNTS, (0, -3, 2.5, 8.0, "8", True)),
    *product(NOT_NEGATIVE, (-0.1, np.nan, np.inf, "1")),
    *product(("alpha", "init_std"), (0, -1, np.nan, np.inf)),
    *product(sorted({*COUNTS, *NOT_NEGATIVE, "init_std"} - OPEN), (None,)),
    *product(("seed",), (-1, 0.5, None)),
    *product(("threads",), (0, 2.0, "8", True)),
    *product(("solver", "device"), ("magic", None)),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_parameter_is_named_with_its_value(interactions, name, value):
    model = make(**{name: value})
    with pytest.raises(cf.ParameterError) as error:
        model.fit(interactions)
    assert str(error.value).startswith(name)
    assert repr(value) in str(error.value)


def test_numpy_numbers_are_numbers(interactions, tmp_path):
    model = make(factors=np.int32(4), alpha=np.float32(2), seed=np.int64(1)).fit(interactions)
    model.save(tmp_path / "model")
    assert cf.load(tmp_path / "model").params() == make(factors=4, alpha=2.0, seed=1).params()

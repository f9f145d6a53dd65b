"""Gibbs sampling: its conditionals, the joint distribution it leaves alone, what was planted, spreads, new users."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import cofactor as cf
from cofactor.kernels import on
from cofactor.kernels.csr import CSR
from cofactor.models.base.epochs import part_of_more
from cofactor.models.ratings import bayesian_mf, biased_mf
from cofactor.models.ratings.bayesian_sampler import Prior, Sampler, draw_noise, draw_prior
from reference import gaussian_rows as reference


def planted(n_users=300, n_items=200, share=0.25, noise=0.4, factors=3, seed=0):
    """Ratings of a mean, biases and factors, and all of them without the noise."""
    rng = np.random.default_rng(seed)
    b_u, b_i = rng.normal(0, 0.4, (n_users, 1)), rng.normal(0, 0.6, n_items)
    dense = 3 + b_u + b_i + rng.normal(0, 0.6, (n_users, factors)) @ rng.normal(0, 0.6, (factors, n_items))
    rows, columns = np.nonzero(rng.random(dense.shape) < share)
    values = dense[rows, columns] + rng.normal(0, noise, len(rows))
    return cf.Ratings.from_matrix(CSR.from_pairs(rows, columns, values, dense.shape)), dense


@pytest.fixture(scope="module")
def fitted():
    ratings, dense = planted()
    return cf.BayesianMF(5).fit(ratings), ratings, dense


# Pairs that are known beforehand


def asked(n=400, seed=1):
    rng = np.random.default_rng(seed)
    users, items = rng.integers(-3, 300, n), rng.integers(-3, 200, n)  # some are of nobody
    return pl.DataFrame({"user_id": users, "item_id": items})


@pytest.mark.filterwarnings("ignore:predict:cofactor.CofactorWarning")
def test_streamed_predictions_are_those_of_a_fit(fitted, monkeypatch):
    model, ratings, _ = fitted
    before = model.predict(asked())
    monkeypatch.setattr(bayesian_mf, "_PIECE", 150)
    for clip in (False, True):
        assert_frame_equal(
            cf.BayesianMF(5).stream_predictions(ratings, asked(), clip=clip), model.predict(asked(), clip=clip)
        )
    assert_frame_equal(model.predict(asked()), before)
    other = cf.BayesianMF(5)
    other.stream_predictions(ratings, asked(10))
    with pytest.raises(cf.NotFittedError):
        other.predict(asked(10))


@pytest.mark.filterwarnings("ignore:predict:cofactor.CofactorWarning")
def test_streams_take_no_more_memory_for_more_samples():
    ratings, _ = planted(n_users=2000, n_items=50, share=0.1)
    peaks = []
    for samples in (2, 20):
        tracemalloc.start()
        cf.BayesianMF(8, burn_in=2, samples=samples, thinning=1).stream_predictions(ratings, asked(50))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_pairs_and_unknown_are_looked_at_before_samples_are_drawn(monkeypatch):
    ratings, _ = planted(n_users=20, n_items=10)
    monkeypatch.setattr(bayesian_mf, "Sampler", None)
    model = cf.BayesianMF(2)
    with pytest.raises(cf.DataError, match="item_id"):
        model.stream_predictions(ratings, asked(5).drop("item_id"))
    with pytest.raises(cf.UnknownIdError):
        model.stream_predictions(ratings, pl.DataFrame({"user_id": [99], "item_id": [1]}), unknown="error")
    with pytest.raises(cf.ParameterError, match="samples"):
        cf.BayesianMF(2, samples=0).stream_predictions(ratings, asked(5))


# The conditionals


def test_priors_are_drawn_from_their_conditional():
    """Means of the Normal-Wishart posterior, computed here, and the spread of its mean."""
    rng = np.random.default_rng(0)
    x = rng.normal([0.5, -1.0, 0.2], [0.5, 1.0, 0.3], (30, 3))
    n, beta, degrees = 30, 2.0, 3 + 2 + 30
    scatter = np.diag([0.5, 0.5, 0.25]) + (x - x.mean(0)).T @ (x - x.mean(0))
    scatter += beta * n / (beta + n) * np.outer(x.mean(0), x.mean(0))
    drawn = [draw_prior(x, rng) for _ in range(4000)]
    precision = np.mean([prior.precision for prior in drawn], axis=0)
    np.testing.assert_allclose(precision, degrees * np.linalg.inv(scatter), rtol=0.02, atol=0.05)
    means = np.array([prior.mean for prior in drawn])
    np.testing.assert_allclose(means.mean(0), n * x.mean(0) / (beta + n), atol=0.02)
    wanted = scatter / (degrees - 4) / (beta + n)  # the mean of the inverse Wishart, divided
    np.testing.assert_allclose(np.cov(means.T), wanted, rtol=0.1, atol=2e-4)


def test_the_noise_is_drawn_from_its_conditional():
    rng = np.random.default_rng(0)
    drawn = np.array([draw_noise(50.0, 200, rng) for _ in range(20_000)])
    shape, rate = 1 + 100, 0.5 + 25
    assert drawn.mean() == pytest.approx(shape / rate, rel=0.005)
    assert drawn.std() == pytest.approx(np.sqrt(shape) / rate, rel=0.03)


def told(sampler, x):
    """Functions of a state, bounded so that their means can be compared."""
    p, q = (side.values().astype(np.float64) for side in (sampler.users, sampler.items))
    rated = x.values.astype(np.float64)
    parts = [
        np.log(sampler.noise),
        np.tanh(rated.mean()),
        np.tanh(np.log(rated.std())),
        np.tanh(p[:, -1].mean()),
        np.tanh(q[:, 0].mean()),
        np.tanh(np.mean(p[0, :-1] ** 2)),
        np.tanh(p[0, 0] * q[0, 0] + p[1, -1] * q[1, -1]),
    ]
    for prior in (sampler.users_prior, sampler.items_prior):
        parts += [
            np.linalg.slogdet(prior.precision)[1],
            np.tanh(prior.mean[0]),
            np.tanh(prior.mean[0] * prior.mean[-1]),
        ]
    return np.array(parts)


def rated_by(sampler, x, rng):
    p, q = (side.values().astype(np.float64) for side in (sampler.users, sampler.items))
    rows, columns = x.row_index(), x.indices
    mean = np.einsum("ij,ij->i", p[rows, :-1], q[columns, :-1]) + p[rows, -1] + q[columns, -1]
    return x.with_values(mean + rng.normal(size=x.nnz) / np.sqrt(sampler.noise))


def test_sweeps_leave_the_joint_distribution_alone():
    """Geweke 2004, "Getting it right": states drawn from the prior, and a chain of sweeps with ratings drawn anew."""
    rng, n_users, n_items, factors = np.random.default_rng(1), 5, 4, 2
    rows, columns = np.nonzero(rng.random((n_users, n_items)) < 0.6)
    x = CSR.from_pairs(rows, columns, np.zeros(len(rows)), (n_users, n_items))
    sampler = Sampler(on("cpu"), x, np.zeros((n_items, factors + 1), np.float32), seed=2, threads=1)

    def from_the_prior():
        sampler.noise = draw_noise(0.0, 0, rng)
        sampler.users_prior, sampler.items_prior = (draw_prior(np.zeros((0, factors + 1)), rng) for _ in range(2))
        for side, prior, n in (
            (sampler.users, sampler.users_prior, n_users),
            (sampler.items, sampler.items_prior, n_items),
        ):
            root = np.linalg.cholesky(np.linalg.inv(prior.precision))
            side.start((prior.mean + rng.normal(size=(n, factors + 1)) @ root.T).astype(np.float32))

    independent = []
    for _ in range(3000):
        from_the_prior()
        independent.append(told(sampler, rated_by(sampler, x, rng)))
    chain = []
    for _ in range(300):  # many short chains: each begins at the right distribution, and must stay there
        from_the_prior()
        for _ in range(10):
            sampler.observe(rated_by(sampler, x, rng))
            sampler.sweep()
        chain.append(told(sampler, rated_by(sampler, x, rng)))
    independent, chain = np.array(independent), np.array(chain)
    errors = np.sqrt(independent.var(0) / len(independent) + chain.var(0) / len(chain))
    z = (independent.mean(0) - chain.mean(0)) / errors
    assert np.abs(z).max() < 4, z


def test_expectations_of_users_are_those_of_dense_systems(fitted):
    model, ratings, _ = fitted
    x = ratings.user_items
    standard = x.with_values((x.values.astype(np.float64) - model.mean_) / model.std_)
    for s in (0, 17):
        items = model.item_samples_[s].astype(np.float64)
        fixed, precision = (
            np.column_stack([items[:, :-1], np.ones(len(items))]),
            model.user_precisions_[s] / model.noise_precisions_[s],
        )
        wanted = reference.gaussian_rows(
            standard.take(range(5)), fixed, items[:, -1], precision, precision @ model.user_prior_means_[s]
        )
        np.testing.assert_allclose(model.user_means_[s, :5], wanted, rtol=2e-3, atol=1e-3)


# What it finds


def test_what_was_planted_is_found(fitted):
    model, ratings, dense = fitted
    users, items = np.divmod(np.arange(dense.size), dense.shape[1])
    rated, stds = model.rate(users, items)
    error = np.sqrt(np.mean((rated - dense.ravel()) ** 2))
    assert error < 0.25
    assert error < np.sqrt(np.mean((cf.BiasedMF(5).fit(ratings).rate(users, items)[0] - dense.ravel()) ** 2))
    assert 1 / np.sqrt(model.noise_precisions_.mean()) * model.std_ == pytest.approx(0.4, rel=0.05)
    new = dense.ravel() + np.random.default_rng(9).normal(0, 0.4, dense.size)
    away = np.abs(new - rated) / stds
    for share, within in ((0.5, 0.6745), (0.9, 1.6449), (0.95, 1.96)):
        assert np.mean(away < within) == pytest.approx(share, abs=0.02)


def test_the_factors_that_are_not_there_do_no_harm():
    ratings, dense = planted(200, 150, factors=1)
    users, items = np.divmod(np.arange(dense.size), dense.shape[1])
    few, many = (
        np.sqrt(np.mean((cf.BayesianMF(f, samples=20).fit(ratings).rate(users, items)[0] - dense.ravel()) ** 2))
        for f in (1, 20)
    )
    assert many < 1.15 * few


def test_who_nobody_knows_is_rated_less_surely(fitted):
    model, _, dense = fitted
    spread = [
        float(np.mean(model.rate(u, i)[1])) for u, i in (([5] * 9, range(9)), ([-1] * 9, range(9)), ([5] * 9, [-1] * 9))
    ]
    assert spread[0] < min(spread[1:])
    both = float(model.rate([-1], [-1])[1][0])
    assert both == pytest.approx(np.sqrt(dense.var() + 0.4**2), rel=0.15)
    around = dense - dense.mean(0)
    assert spread[1] == pytest.approx(np.sqrt(around[:, :9].var() + 0.4**2), rel=0.2)


def test_new_users_are_those_of_training(fitted):
    model, ratings, _ = fitted
    histories = ratings.user_items.take(range(20))
    known, listed = model.top_k(range(20), 200, exclude_seen=False), model.top_k_for(histories, 200, exclude_seen=False)
    np.testing.assert_allclose(listed.scores, known.scores, rtol=1e-4)
    alone = model.top_k_for(histories.take([7]), 200, exclude_seen=False)
    np.testing.assert_allclose(alone.scores[0], listed.scores[7], rtol=1e-6)
    rated, _ = model.rate(np.full(200, 7), listed.rows[7])
    np.testing.assert_allclose(rated, listed.scores[7], rtol=1e-4)


def test_units_change_nothing():
    ratings, _ = planted(60, 50)
    other = cf.Ratings.from_matrix(ratings.user_items.with_values(100 + 16 * ratings.user_items.values))
    models = [cf.BayesianMF(3, burn_in=2, samples=3).fit(r) for r in (ratings, other)]
    (one, std), (many, stds) = (model.rate(np.arange(50), np.arange(50)) for model in models)
    np.testing.assert_allclose(many, 100 + 16 * one, rtol=1e-3)
    np.testing.assert_allclose(stds, 16 * std, rtol=1e-2)


# Training and saving


def test_the_number_of_threads_changes_no_bit():
    ratings, _ = planted(120, 90)
    one, *others = (cf.BayesianMF(4, burn_in=2, samples=2, threads=threads).fit(ratings) for threads in (1, 2, 5))
    for other in others:
        for name in ("item_samples_", "user_means_", "user_samples_", "user_precisions_", "loss_history_"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_ctrl_c_keeps_the_samples_that_there_are(monkeypatch, tmp_path):
    ratings, _ = planted(60, 50)
    sweep, left = Sampler.sweep, iter(range(9))

    def interrupted(self):
        if next(left, None) is None:
            raise KeyboardInterrupt
        sweep(self)

    monkeypatch.setattr(Sampler, "sweep", interrupted)
    with part_of_more(), pytest.raises(KeyboardInterrupt):  # as in a search
        cf.BayesianMF(3, burn_in=3, samples=10, thinning=2).fit(ratings)
    left = iter(range(9))
    with pytest.warns(cf.CofactorWarning, match="stopped by Ctrl-C after 3 of 10 samples"):
        model = cf.BayesianMF(3, burn_in=3, samples=10, thinning=2).fit(ratings)
    assert (len(model.item_samples_), len(model.loss_history_)) == (3, 9)
    model.save(tmp_path / "model")
    loaded = cf.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.rate([0, 1], [2, 3])[0], model.rate([0, 1], [2, 3])[0])
    with pytest.raises(KeyboardInterrupt):
        cf.BayesianMF(3).fit(ratings)


def test_ctrl_c_in_what_it_starts_from_ends_the_fit(monkeypatch):
    epoch = biased_mf._Alternation.epoch

    def interrupted(self, number, rate):
        if number == 2:
            raise KeyboardInterrupt
        return epoch(self, number, rate)

    monkeypatch.setattr(biased_mf._Alternation, "epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cf.BayesianMF(3).fit(planted(60, 50)[0])


def test_what_cannot_be_solved_is_told():
    ratings, _ = planted(20, 15)
    sampler = Sampler(on("cpu"), ratings.user_items, np.zeros((15, 3), np.float32), seed=0)
    with pytest.raises(cf.CofactorError, match="cannot be solved in float32"):
        sampler.users.set(ratings.user_items, sampler.items.values(), Prior(np.zeros(3), -1e6 * np.eye(3)), 1.0)


def test_errors_that_are_not_finite_are_told_without_a_row(monkeypatch):
    ratings, _ = planted(20, 15)
    sampler = Sampler(on("cpu"), ratings.user_items, np.zeros((15, 3), np.float32), seed=0)
    kernels = SimpleNamespace(vectors=on("cpu").vectors, gaussian_rows=lambda *_, **__: (np.inf, -1))
    monkeypatch.setattr(sampler.users, "_kernels", kernels)
    with pytest.raises(cf.CofactorError, match="BayesianMF: squared errors are not finite in float32; divide"):
        sampler.users.set(ratings.user_items, sampler.items.values(), Prior(np.zeros(3), np.eye(3)), 1.0)


@pytest.mark.parametrize(("n_users", "n_items"), [(3000, 200), (200, 3000)])
def test_no_more_memory_is_taken_than_was_asked_for(monkeypatch, n_users, n_items):
    ratings, _ = planted(n_users, n_items, share=0.05)
    asked = []
    monkeypatch.setattr(bayesian_mf, "require_memory", lambda needed, *_: asked.append(needed))
    model = cf.BayesianMF(15, burn_in=1, samples=30, thinning=1)
    tracemalloc.start()
    try:
        model.fit(ratings)
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    kept = model.item_samples_.nbytes + model.user_samples_.nbytes + model.user_means_.nbytes
    assert kept < taken <= asked[0] < 2 * kept


def test_damaged_samples_are_refused(tmp_path):
    model = cf.BayesianMF(2, burn_in=0, samples=2).fit(planted(20, 15)[0])
    model.noise_precisions_ = -model.noise_precisions_
    model.save(tmp_path / "model")
    with pytest.raises(cf.ArtifactError, match="noise_precisions_ must be above 0"):
        cf.load(tmp_path / "model")


@pytest.mark.parametrize(
    ("name", "least"), [("factors", 1), ("samples", 1), ("thinning", 1), ("burn_in", 0), ("seed", 0)]
)
def test_counts_have_a_least(name, least):
    with pytest.raises(cf.ParameterError, match=f"{name} must be a whole number of at least {least}, got -1"):
        cf.BayesianMF(**{name: -1}).fit(planted(10, 10)[0])

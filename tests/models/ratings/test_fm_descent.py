"""Machines by batches: optimizers, as PyTorch has them, sigmoids of a scale, and what is refused."""

import numpy as np
import polars as pl
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logit

import cofactor as cf
from cofactor.kernels.csr import CSR
from cofactor.models.ratings.fm_samples import SIGMOID_BOUND, on_scale

OPTIMIZERS = ["row_adam", "adam", "adagrad"]
SGD = {"method": "sgd", "iterations": 60, "batch_size": 128, "regularization": 5e-5}
RATES = {"row_adam": 0.02, "adam": 0.02, "adagrad": 0.2}


def planted(n_users=150, n_items=100, factors=2, noise=0.3, share=0.5, seed=0):
    """Stars of a machine of ids, from 1 to 5, without those of half of the pairs; and what all would be rated."""
    rng = np.random.default_rng(seed)
    (bias, vectors), (item_bias, item_vectors) = (
        (rng.normal(0, 0.4, n), rng.normal(0, 0.7, (n, factors))) for n in (n_users, n_items)
    )
    dense = 3.5 + bias[:, None] + item_bias + vectors @ item_vectors.T
    rows, columns = np.nonzero(rng.random(dense.shape) < share)
    values = np.clip(np.round(dense[rows, columns] + rng.normal(0, noise, len(rows))), 1, 5)
    return CSR.from_pairs(rows, columns, values, dense.shape), np.clip(dense, 1, 5)


def unseen(matrix):
    return np.nonzero(matrix.to_scipy().toarray() == 0)


def rmse(found, wanted):
    return float(np.sqrt(np.mean((found - wanted) ** 2)))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_finds_a_planted_machine(optimizer):
    matrix, dense = planted()
    model = cf.FactorizationMachine(2, optimizer=optimizer, learning_rate=RATES[optimizer], **SGD).fit(matrix)
    users, items = unseen(matrix)
    found, stds = model.rate(users, items)
    assert rmse(found, dense[users, items]) < 0.5 * rmse(
        cf.BiasOnly().fit(matrix).rate(users, items)[0], dense[users, items]
    )
    assert stds is None
    assert model.error_history_[-1] < 0.6 * model.error_history_[0]


@pytest.mark.parametrize("optimizer", ["adam", "adagrad"])
@pytest.mark.parametrize("task", ["regression", "sigmoid", "classification"])
def test_a_fit_takes_the_steps_of_pytorch(optimizer, task):
    """One batch a pass, in float64 there: gradients by autograd, a rate that falls as cosine."""
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
    matrix, _ = planted(20, 15)
    if task == "classification":
        matrix = matrix.with_values((matrix.values > 3).astype(np.float32))
    passes, rate, penalty, factors = 12, 0.05, 0.01, 3
    options = {"method": "sgd", "iterations": passes, "learning_rate": rate, "regularization": penalty, "seed": 4}
    options |= {"output": task, "task": "regression"} if task == "sigmoid" else {"task": task}
    ratings = cf.Ratings.from_matrix(matrix, scale=(0, 6) if task == "sigmoid" else None)
    model = cf.FactorizationMachine(factors, optimizer=optimizer, batch_size=10_000, **options).fit(ratings)
    start = np.zeros((35, factors + 1), np.float32)
    start[:, 1:] = np.random.default_rng(4).normal(0, 0.1 / np.sqrt(factors), (35, factors))
    rows = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    users, items = (torch.from_numpy(of.astype(np.int64)) for of in (matrix.row_index(), matrix.indices))
    given = torch.from_numpy(matrix.values.astype(np.float64))
    mean, std = given.mean(), given.std(correction=0)
    made = {"adam": torch.optim.Adam, "adagrad": torch.optim.Adagrad}[optimizer]([rows], lr=rate, eps=1e-8)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(made, passes)
    losses = []
    for _ in range(passes):
        u, i = rows[users], rows[20 + items]
        z = u[:, 0] + i[:, 0] + (u[:, 1:] * i[:, 1:]).sum(1)
        if task == "regression":
            loss = ((z - (given - mean) / std) ** 2).mean()
        elif task == "sigmoid":
            loss = (((6 * torch.sigmoid(z + torch.logit(mean / 6)) - given) / std) ** 2).mean()
        else:
            loss = torch.nn.functional.binary_cross_entropy_with_logits(z + torch.logit(mean), given)
        losses.append(loss.item())
        made.zero_grad()
        (loss + 0.5 * penalty * (rows**2).sum()).backward()
        made.step()
        slower.step()
    found = np.vstack([model.user_samples_, model.item_samples_])
    np.testing.assert_allclose(found, rows.detach().numpy(), rtol=1e-3, atol=2e-5)
    wanted = losses if task == "classification" else np.sqrt(losses) * float(std)
    np.testing.assert_allclose(model.error_history_, wanted, rtol=1e-5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_files_keep_the_optimizer_and_what_it_found(tmp_path, optimizer):
    model = cf.FactorizationMachine(3, method="sgd", optimizer=optimizer, iterations=4).fit(planted(40, 30)[0])
    model.save(tmp_path / "model")
    loaded = cf.load(tmp_path / "model")
    assert loaded.optimizer == optimizer
    asked = [0, 5, -1], [3, -1, 2]
    assert loaded.rate(*asked)[0].tolist() == model.rate(*asked)[0].tolist()


def test_optimizers_are_different_ones():
    matrix, _ = planted(40, 30)
    found = [
        cf.FactorizationMachine(2, method="sgd", optimizer=optimizer, iterations=3, learning_rate=0.01).fit(matrix)
        for optimizer in OPTIMIZERS
    ]
    for one, other in zip(found, found[1:] + found[:1], strict=True):
        assert not np.allclose(one.item_samples_, other.item_samples_, rtol=1e-3)


# Sigmoids of a scale


def bent(matrix, scale=(0.5, 5.5), **parameters):
    ratings = cf.Ratings.from_matrix(matrix, scale=scale)
    parameters = {"learning_rate": 0.02, **SGD, **parameters}
    return cf.FactorizationMachine(2, output="sigmoid", **parameters).fit(ratings)


@pytest.mark.parametrize("scale", [None, (0.5, 5.5)])
def test_a_sigmoid_finds_a_planted_machine(scale):
    matrix, dense = planted()
    model = bent(matrix, scale)
    users, items = unseen(matrix)
    wanted = dense[users, items]
    assert rmse(model.rate(users, items)[0], wanted) < 0.5 * rmse(
        cf.BiasOnly().fit(matrix).rate(users, items)[0], wanted
    )
    assert model.levels_.tolist() == list(scale or (1, 5))
    own = model.rate(matrix.row_index(), matrix.indices)[0]
    assert rmse(own, matrix.values) == pytest.approx(model.error_history_[-1], rel=0.02)


def test_the_rating_is_the_scaled_sigmoid_of_the_score():
    model = bent(planted(40, 30)[0], (-2.0, 7.0), iterations=5)
    users, items = model.user_samples_.astype(float), model.item_samples_.astype(float)
    scores = users[:, :1] + items[:, 0] + users[:, 1:] @ items[:, 1:].T - model.cutpoints_[0, 0]
    wanted = -2 + 9 * expit(scores)
    found = model.rate(np.repeat(np.arange(40), 30), np.tile(np.arange(30), 40))[0]
    np.testing.assert_allclose(found.reshape(40, 30), wanted, rtol=1e-5)
    of_nobody = model.rate([-1], [3])[0][0]
    assert of_nobody == pytest.approx(
        -2 + 9 * expit(users.mean(0) @ np.append(1, items[3, 1:]) + items[3, 0] - model.cutpoints_[0, 0]), rel=1e-3
    )


def test_it_starts_at_the_mean_rating():
    matrix, _ = planted(40, 30)
    model = bent(matrix, learning_rate=1e-12, iterations=2, init_std=1e-6)
    np.testing.assert_allclose(model.rate([0, 7, -1], [3, 4, -1])[0], matrix.values.mean(), rtol=1e-5)
    assert model.error_history_[0] == pytest.approx(matrix.values.std(), rel=1e-5)


@pytest.mark.parametrize("scale", [(1.0, 5.0), (0.7, 5.3), (-0.1, 4999.9), (1 / 3, 16 / 3)])
def test_no_prediction_leaves_the_scale(scale):
    """Nor does rounding: .7 in float32 is less than in float64."""
    matrix, _ = planted(40, 30)
    model = bent(matrix.with_values(np.clip(matrix.values, 1, 5)), scale, iterations=4)
    model.user_samples_[:20] *= 1e4
    users, items = np.repeat(np.arange(-1, 40), 31), np.tile(np.arange(-1, 30), 41)
    found = model.rate(users, items)[0].astype(float)
    lists = model.recommend(list(range(40)), k=30, exclude_seen=False)["score"].to_numpy().astype(float)
    low, high = scale
    for ratings in (found, lists):
        assert ratings.min() >= low
        assert ratings.max() <= high
        assert ratings.min() == pytest.approx(low, abs=1e-4)
        assert ratings.max() == pytest.approx(high, abs=1e-3)


def test_rounding_keeps_to_both_ends():
    for low, high in ((0.7, 5.3), (0.1, 4.9), (-4.9, -0.1), (1, 5)):
        found = on_scale(np.array([low, high]), np.array([-1e9, -3.0, 0.0, 3.0, 1e9], np.float32), 0.0)
        assert (np.diff(found) > 0).all()
        assert low <= float(found[0]) < low + 1e-6
        assert high - 1e-6 < float(found[-1]) <= high
        assert found[2] == pytest.approx((low + high) / 2, rel=1e-6)


def test_lists_go_by_the_same_ratings():
    matrix, _ = planted(seed=1)
    model = bent(matrix)
    top = model.recommend([5], k=10)
    rates = model.rate(np.full(10, 5), model.interactions_.items.rows(top["item_id"]))[0]
    np.testing.assert_allclose(top["score"], rates, rtol=2e-5)
    assert (np.diff(top["score"]) <= 0).all()


def test_users_known_by_their_ratings_alone_come_near_those_who_were_there():
    matrix, _ = planted(150, 60, noise=0.5)
    model = bent(matrix, regularization=5e-4)
    order = ["user_id", "item_id"]
    known = model.recommend(k=60, exclude_seen=False).sort(order)
    folded = model.recommend_for(cf.Ratings.from_matrix(matrix).to_frame(), k=60, exclude_seen=False).sort(order)
    assert rmse(folded["score"].to_numpy(), known["score"].to_numpy()) < 0.15
    assert np.corrcoef(folded["score"], known["score"])[0, 1] > 0.985


def test_a_user_folded_in_is_at_the_minimum_of_its_loss():
    matrix, _ = planted(seed=2)
    model = bent(matrix, regularization=5e-4)
    rng = np.random.default_rng(0)
    items, said = np.arange(40), rng.integers(1, 6, 40).astype(float)
    found = model._fold_in(CSR.from_pairs(np.zeros(40, int), items, said, (1, 100)))[0].astype(float)
    rows = model.item_samples_[items].astype(float)
    mean, precision = model.prior_means_[0].astype(float), model.prior_precisions_[0].astype(float)
    noise = 1 / model.error_history_[-1] ** 2

    def loss(own):
        z = own[0] + rows[:, 0] + rows[:, 1:] @ own[1:] - model.cutpoints_[0, 0]
        return 0.5 * noise * ((0.5 + 5 * expit(z) - said) ** 2).sum() + 0.5 * (precision * (own - mean) ** 2).sum()

    best = minimize(loss, mean, method="BFGS")
    assert loss(found) < loss(mean) - 1
    assert loss(found) == pytest.approx(best.fun, rel=1e-4)
    np.testing.assert_allclose(found, best.x, atol=2e-2)


def test_the_bound_of_fold_in_is_one():
    """Of the second derivative of half the squared error, whatever the share and the target are."""
    z, y = np.linspace(-12, 12, 20_001)[:, None], np.linspace(0, 1, 11)
    p = expit(z)
    second = (p * (1 - p)) ** 2 + (p - y) * p * (1 - p) * (1 - 2 * p)
    assert 0.999 * SIGMOID_BOUND < second.max() <= SIGMOID_BOUND


def test_new_ratings_beyond_the_scale_are_told_and_those_of_its_end():
    model = bent(planted(40, 30)[0], iterations=10)
    inside = pl.DataFrame({"user_id": [1, 1], "item_id": [3, 4], "rating": [5.5, 0.5]})
    outside = inside.with_columns(rating=pl.Series([9.0, -3.0]))
    with pytest.warns(cf.CofactorWarning, match=r"outside the scale of the training data, 0\.5 to 5\.5"):
        assert model.recommend_for(outside).equals(model.recommend_for(inside))


@pytest.mark.parametrize("scale", [None, (0.7, 5.3)])
def test_files_keep_a_sigmoid_and_its_scale(tmp_path, scale):
    model = bent(planted(40, 30)[0], scale, iterations=6)
    history = pl.DataFrame({"user_id": [9, 9], "item_id": [3, 4], "rating": [5.0, 1.0]})
    wanted, lists = model.rate([0, 1, -1, -1], [2, -1, 4, -1])[0].tolist(), model.recommend_for(history)
    model.output = "identity"  # answers, and files, go by the fit
    assert model.rate([0, 1, -1, -1], [2, -1, 4, -1])[0].tolist() == wanted
    model.save(tmp_path / "model")
    loaded = cf.load(tmp_path / "model")
    assert loaded.output == "sigmoid"
    assert loaded.rate([0, 1, -1, -1], [2, -1, 4, -1])[0].tolist() == wanted
    assert loaded.recommend_for(history).equals(lists)


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_files_of_another_number_of_levels_are_refused(tmp_path, task):
    matrix, _ = planted(40, 30)
    model = bent(matrix, iterations=3)
    if task == "classification":
        two = matrix.with_values((matrix.values > 3).astype(np.float32))
        model = cf.FactorizationMachine(2, method="sgd", task=task, iterations=3).fit(two)
    model.levels_, model.cutpoints_ = np.array([1.0, 2, 3]), np.array([[0.0, 1]])
    model.save(tmp_path / "model")
    with pytest.raises(cf.ArtifactError, match="levels_ of this FactorizationMachine must be two, got 3"):
        cf.load(tmp_path / "model")


def test_any_scale_gives_the_same():
    matrix, _ = planted(40, 30)
    one = bent(matrix, (0, 6), iterations=8)
    other = bent(matrix.with_values(100 * matrix.values - 50), (-50, 550), iterations=8)
    asked = np.arange(30), np.arange(30)
    np.testing.assert_allclose(other.rate(*asked)[0], 100 * one.rate(*asked)[0] - 50, rtol=1e-3, atol=0.1)
    np.testing.assert_allclose(other.error_history_, 100 * one.error_history_, rtol=1e-4)


def test_a_penalty_weighs_by_the_slope_of_the_curve():
    """By default: what a narrow scale bends more is held back less, and a parameter that is given is taken as it is."""
    matrix, _ = planted(40, 30)
    y = (matrix.values.astype(float) - 1) / 4
    slope = y.mean() * (1 - y.mean()) / y.std()
    plain = cf.FactorizationMachine(2, method="sgd")._chosen(matrix.nnz).regularization
    default, given = bent(matrix, (1, 5), regularization=None), bent(matrix, (1, 5), regularization=plain * slope**2)
    np.testing.assert_allclose(default.item_samples_, given.item_samples_, rtol=1e-3, atol=1e-5)
    assert not np.allclose(bent(matrix, (1, 5), regularization=plain).item_samples_, given.item_samples_, rtol=1e-2)
    assert logit(y.mean()) == pytest.approx(-given.cutpoints_[0, 0], rel=1e-5)


def test_threads_change_no_digit():
    matrix, _ = planted()
    found = [bent(matrix, iterations=4, threads=threads).item_samples_ for threads in (1, 2, 5)]
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


# What is refused


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"method": "sgd", "optimizer": "sgd"}, "optimizer must be one of 'row_adam', 'adam', 'adagrad', got 'sgd'"),
        ({"optimizer": "adam"}, "optimizer='adam' needs method='sgd', got method='mcmc'"),
        ({"method": "als", "optimizer": "adagrad"}, "optimizer='adagrad' needs method='sgd', got method='als'"),
        ({"method": "sgd", "output": "tanh"}, "output must be one of 'identity', 'sigmoid', got 'tanh'"),
        ({"output": "sigmoid"}, "output='sigmoid' needs method='sgd', got method='mcmc'"),
        ({"method": "als", "output": "sigmoid"}, "output='sigmoid' needs method='sgd', got method='als'"),
        (
            {"method": "sgd", "task": "classification", "output": "sigmoid"},
            "output='sigmoid' needs task='regression', got task='classification', which has a curve of its own",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(parameters, message):
    with pytest.raises(cf.ParameterError, match=message):
        cf.FactorizationMachine(2, **parameters).fit(planted(20, 15)[0])


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_a_first_pass_that_diverges_is_told(task):
    matrix, _ = planted()
    if task == "classification":
        matrix = matrix.with_values(matrix.values > 3)
    model = cf.FactorizationMachine(4, task=task, learning_rate=1e6, **SGD)
    with pytest.raises(cf.CofactorError, match="after epoch 1, training diverged; lower learning_rate"):
        model.fit(matrix, progress=False)


def test_a_batch_is_at_most_all_ratings():
    matrix, _ = planted()
    found = [
        cf.FactorizationMachine(4, **SGD | {"batch_size": size, "iterations": 3}).fit(matrix).rate([1], [2])[0]
        for size in (10**12, matrix.nnz)
    ]
    assert found[0] == found[1]

"""Machines by batches: optimizers, as PyTorch has them, and what is refused."""

import numpy as np
import pytest

import cofactor as cf
from cofactor.kernels.csr import CSR

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
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_a_fit_takes_the_steps_of_pytorch(optimizer, task):
    """One batch a pass, in float64 there: gradients by autograd, a rate that falls as cosine."""
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
    matrix, _ = planted(20, 15)
    if task == "classification":
        matrix = matrix.with_values((matrix.values > 3).astype(np.float32))
    passes, rate, penalty, factors = 12, 0.05, 0.01, 3
    options = {"method": "sgd", "iterations": passes, "learning_rate": rate, "regularization": penalty, "seed": 4}
    model = cf.FactorizationMachine(factors, task=task, optimizer=optimizer, batch_size=10_000, **options).fit(matrix)
    start = np.zeros((35, factors + 1), np.float32)
    start[:, 1:] = np.random.default_rng(4).normal(0, 0.1 / np.sqrt(factors), (35, factors))
    rows = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    users, items = (torch.from_numpy(of.astype(np.int64)) for of in (matrix.row_index(), matrix.indices))
    given = torch.from_numpy(matrix.values.astype(np.float64))
    mean, std = (given.mean(), given.std(correction=0)) if task == "regression" else (0.0, 1.0)
    made = {"adam": torch.optim.Adam, "adagrad": torch.optim.Adagrad}[optimizer]([rows], lr=rate, eps=1e-8)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(made, passes)
    losses = []
    for _ in range(passes):
        u, i = rows[users], rows[20 + items]
        z = u[:, 0] + i[:, 0] + (u[:, 1:] * i[:, 1:]).sum(1)
        if task == "regression":
            loss = ((z - (given - mean) / std) ** 2).mean()
        else:
            loss = torch.nn.functional.binary_cross_entropy_with_logits(z + torch.logit(given.mean()), given)
        losses.append(loss.item())
        made.zero_grad()
        (loss + 0.5 * penalty * (rows**2).sum()).backward()
        made.step()
        slower.step()
    found = np.vstack([model.user_samples_, model.item_samples_])
    np.testing.assert_allclose(found, rows.detach().numpy(), rtol=1e-3, atol=2e-5)
    wanted = np.sqrt(losses) * float(std) if task == "regression" else losses
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


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"method": "sgd", "optimizer": "sgd"}, "optimizer must be one of 'row_adam', 'adam', 'adagrad', got 'sgd'"),
        ({"optimizer": "adam"}, "optimizer='adam' needs method='sgd', got method='mcmc'"),
        ({"method": "als", "optimizer": "adagrad"}, "optimizer='adagrad' needs method='sgd', got method='als'"),
    ],
)
def test_what_does_not_go_together_is_refused(parameters, message):
    with pytest.raises(cf.ParameterError, match=message):
        cf.FactorizationMachine(2, **parameters).fit(planted(20, 15)[0])

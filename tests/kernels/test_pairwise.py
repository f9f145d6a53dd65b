"""Epochs of positives against negatives of their own, against the float64 twin and PyTorch.

A deterministic epoch is compared number by number; the way without locks by its sum of small steps, and exactly where
no two positives share a row. Float32 leaves some 1e-6 of a number a step.
"""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp

from cofactor.kernels.arguments import Table
from cofactor.kernels.csr import CSR
from device import kernels
from reference import pairwise as reference

LOSSES = ("bpr", "hinge", "adaptive_hinge", "warp", "logistic")
RATES = {"sgd": 0.05, "adagrad": 0.1, "adam": 0.02}
every_loss = pytest.mark.parametrize("loss", LOSSES)
every_optimizer = pytest.mark.parametrize("optimizer", RATES)
both_ways = pytest.mark.parametrize("deterministic", [True, False], ids=["deterministic", "lock-free"])


def matrix(dense):
    return CSR.from_scipy(sp.csr_matrix(np.asarray(dense, np.float32)))


def make(n_users=9, n_items=12, density=0.3, seed=0):
    """Weights of users x items; one user has nothing, one has everything."""
    rng = np.random.default_rng(seed)
    x = (rng.random((n_users, n_items)) < density) * rng.choice([0.5, 1.0, 2.0], (n_users, n_items))
    if n_users > 2:
        x[0], x[1] = 0, 1
    return x.astype(np.float32)


def start(n_rows, width=16, seed=0, used=None):
    values = np.zeros((n_rows, width), np.float32)
    used = used or width
    values[:, :used] = np.random.default_rng(seed).standard_normal((n_rows, used)) / np.sqrt(used) * 1.5
    return values


def tables(n_rows, optimizer="sgd", width=16, rate=None, bias_optimizer=None):
    rng = np.random.default_rng(9)
    biases = (rng.standard_normal((n_rows, 1)) * 0.3).astype(np.float32)
    other = bias_optimizer or optimizer
    return (
        Table.new(start(n_rows, width), optimizer, rate or RATES[optimizer]),
        Table.new(biases, other, (rate or RATES[other]) / 2),
    )


def twins(*given):
    return [Steps(t.values, t.optimizer, t.learning_rate) for t in given]


Steps = reference.Steps


def features(n, n_rows, offset, first, seed):
    """Every vector is its own row and some of the rows from ``first`` on."""
    rng = np.random.default_rng(seed)
    parts = np.eye(n, n_rows, offset)
    parts[:, first:] = (rng.random((n, n_rows - first)) < 0.5) * rng.choice([0.5, 1.0, -1.0], (n, n_rows - first))
    return parts


def everything(x, seed=3):
    """Options that use all there is: features, dislikes, groups, both regularizations."""
    rng = np.random.default_rng(seed)
    n_users, n_items = x.shape
    n_rows = n_users + n_items + 5
    dense = {
        "dislikes": (rng.random(x.shape) < 0.2) & (x == 0),
        "user_parts": features(n_users, n_rows, 0, n_users + n_items, 1),
        "item_parts": features(n_items, n_rows, n_users, n_users + n_items, 2),
    }
    options = {
        "dislike_share": 0.3,
        "groups": rng.integers(0, 3, (n_items, 2)).astype(np.int32),
        "group_discounts": np.array([0.3, 0.5], np.float32),
        "regularization": 0.02,
        "bias_regularization": 0.05,
    }
    return n_rows, dense, options


def both(x, given, dense=None, **options):
    """One epoch of the twin and of the kernel, the same start."""
    dense = dense or {}
    copies = twins(*given)
    deterministic, threads = options.pop("deterministic", True), options.pop("threads", 2)
    expected = reference.epoch(x, *copies, **dense, **options)
    sparse = {name: matrix(m) for name, m in dense.items()}
    ours = kernels.pairwise_epoch(matrix(x), *given, **sparse, **options, deterministic=deterministic, threads=threads)
    return ours, expected, copies


def agree(x, given, dense=None, **options):
    ours, expected, copies = both(x, given, dense, **options)
    np.testing.assert_allclose(ours[0], expected[0], rtol=1e-5, atol=1e-6)
    assert ours[1:] == expected[1:]
    for table, twin in zip(given, copies, strict=True):
        np.testing.assert_allclose(table.values, twin.values, atol=3e-5)


@every_loss
@every_optimizer
def test_a_deterministic_epoch_is_the_twins(cpu_level, loss, optimizer):
    x = make()
    options = {"loss": loss, "negatives": 4, "max_trials": 5, "seed": 3, "epoch": 2, "margin": 0.7}
    options |= {"regularization": 0.02, "bias_regularization": 0.1}
    for sampler, batch_size in itertools.product(("exact", "uniform", "popularity"), (1, 7, 1000)):
        alias = kernels.alias_table(np.arange(1.0, 13)) if sampler == "popularity" else None
        agree(x, tables(21, optimizer), **options, sampler=sampler, alias=alias, batch_size=batch_size)


@every_loss
@every_optimizer
@pytest.mark.parametrize("rates", [(0.5, 0.1), (0.5, 0.0), (0.0, 0.0)])
def test_the_rate_falls_inside_of_an_epoch(cpu_level, loss, optimizer, rates):
    options = {"loss": loss, "sampler": "exact", "negatives": 3, "seed": 5, "margin": 0.7}
    for batch_size in (7, 1000):
        agree(make(), tables(21, optimizer), **options, batch_size=batch_size, rate=rates[0], last_rate=rates[1])


@every_loss
@pytest.mark.parametrize("width", [16, 32, 48, 64, 128])
def test_widths(cpu_level, loss, width):
    agree(make(), tables(21, width=width), loss=loss, sampler="exact", negatives=12, max_trials=12, batch_size=5)


@every_loss
def test_features_dislikes_and_groups(cpu_level, loss):
    x = make()
    n_rows, dense, options = everything(x)
    for sampler in ("exact", "uniform"):
        agree(
            x, tables(n_rows, "adagrad", bias_optimizer="adam"), dense, loss=loss, negatives=3, max_trials=6,
            sampler=sampler, batch_size=6, **options,
        )  # fmt: skip


@every_loss
@pytest.mark.parametrize("way", ["alone", "biases", "everything"])
@pytest.mark.parametrize("width", [16, 32, 64, 128])
@pytest.mark.parametrize("negatives", [1, 10])
def test_without_locks_small_steps_add_up(cpu_level, loss, way, width, negatives):
    """At a small rate an epoch is the sum of its gradients, as a deterministic one in a single batch."""
    x, n_rows, dense, more = make(seed=4), 21, {}, {}
    if way == "everything":
        n_rows, dense, more = everything(x)
    rate = 1e-4
    given = tables(n_rows, width=width, rate=rate)
    if way == "alone":
        given = (given[0], None)
    before = [t.values.copy() for t in given if t is not None]
    copies = twins(*(t for t in given if t is not None))
    options = {"loss": loss, "sampler": "exact", "negatives": negatives, "max_trials": negatives, **more}
    expected = reference.epoch(x, *copies, **dense, **options, batch_size=10_000)
    sparse = {name: matrix(m) for name, m in dense.items()}
    ours = kernels.pairwise_epoch(matrix(x), *given, **sparse, **options, threads=1)
    np.testing.assert_allclose(ours[0], expected[0], rtol=5e-3)
    assert ours[1] == expected[1]
    for table, twin, old in zip(given, copies, before, strict=False):
        change, wanted = (table.values - old) / rate, (twin.values - old) / rate
        np.testing.assert_allclose(change, wanted, atol=0.02 * np.abs(wanted).max() + 0.01)


@every_loss
@every_optimizer
@pytest.mark.parametrize("threads", [1, 3])
def test_without_locks_rows_of_their_own(cpu_level, loss, optimizer, threads):
    """User k has item k and dislikes item n + k: any order is the same, and threads do not meet."""
    n = 5000
    x, dislikes = sp.eye(n, 2 * n, 0, format="csr"), sp.eye(n, 2 * n, n, format="csr")
    x, dislikes = CSR.from_scipy(x.astype(np.float32)), CSR.from_scipy(dislikes.astype(np.float32))
    options = {"loss": loss, "sampler": "exact", "negatives": 1, "max_trials": 1, "margin": 2.0}
    options |= {"dislikes": dislikes, "dislike_share": 1.0, "regularization": 0.01, "seed": 4}
    free, batches = tables(3 * n, optimizer), tables(3 * n, optimizer)
    for epoch in range(3):
        one = kernels.pairwise_epoch(x, *free, **options, epoch=epoch, threads=threads)
        two = kernels.pairwise_epoch(x, *batches, **options, epoch=epoch, deterministic=True, threads=1)
        np.testing.assert_allclose(one[0], two[0], rtol=1e-4)
        for a, b in zip(free, batches, strict=True):
            np.testing.assert_allclose(a.values, b.values, atol=2e-5)


@every_loss
@pytest.mark.parametrize("shape", [(3, 8), (60, 40), (200, 500)])
def test_several_side_by_side_are_one_after_the_other(cpu_level, loss, shape):
    """One thread trains positives with one negative in groups, but one by one where vectors are made of parts."""
    rng = np.random.default_rng(1)
    x = CSR.from_scipy(sp.random(*shape, 0.2, "csr", np.float32, rng))
    n = sum(shape)
    parts = {
        "user_parts": CSR.from_scipy(sp.eye(shape[0], n, format="csr", dtype=np.float32)),
        "item_parts": CSR.from_scipy(sp.eye(shape[1], n, shape[0], format="csr", dtype=np.float32)),
    }
    options = {"loss": loss, "negatives": 1, "max_trials": 1, "regularization": 0.02, "bias_regularization": 0.05}
    options |= {"groups": rng.integers(0, 3, (shape[1], 1)).astype(np.int32), "threads": 1}
    options["group_discounts"] = np.array([0.4], np.float32)
    for sampler in ("exact", "uniform"):
        groups, alone = tables(n, rate=0.01), tables(n, rate=0.01)
        for epoch in range(2):
            one = kernels.pairwise_epoch(x, *groups, sampler=sampler, **options, epoch=epoch)
            two = kernels.pairwise_epoch(x, *alone, **parts, sampler=sampler, **options, epoch=epoch)
            np.testing.assert_allclose(one[0], two[0], rtol=1e-5)
            assert one[1:] == two[1:]
        for a, b in zip(groups, alone, strict=True):
            np.testing.assert_allclose(a.values, b.values, atol=1e-4)


@pytest.mark.parametrize("threads", [1, 3])
def test_without_locks_the_rate_falls_from_block_to_block(cpu_level, threads):
    n = 10_000
    x = CSR.from_scipy(sp.eye(n, 2 * n, 0, format="csr", dtype=np.float32))
    options = {"loss": "hinge", "sampler": "exact", "negatives": 1, "margin": 1e6, "threads": threads}
    options["dislikes"], options["dislike_share"] = CSR.from_scipy(sp.eye(n, 2 * n, n, "float32", "csr")), 1.0
    moved = []
    for rates in ({}, {"rate": 0.8, "last_rate": 0.2}):
        given, _ = tables(3 * n)
        before = given.values[:n].copy()
        kernels.pairwise_epoch(x, given, None, **options, **rates)
        moved.append(np.linalg.norm(given.values[:n] - before, axis=1))
    shares, counts = np.unique((moved[1] / moved[0]).round(4), return_counts=True)
    assert len(shares) >= 3
    np.testing.assert_allclose(shares @ counts / n, 0.5, atol=1e-4)
    assert 0.2 <= shares[0] < shares[-1] <= 0.8


@every_loss
@pytest.mark.parametrize("negatives", [1, 9])
def test_every_positive_comes_once(cpu_level, loss, negatives):
    """Losses of a whole epoch at a rate of 0 do not depend on the order."""
    x = (np.random.default_rng(0).random((300, 150)) < 0.3).astype(np.float32)
    options = {"loss": loss, "sampler": "exact", "negatives": negatives, "max_trials": negatives}
    given = tables(450, rate=1e-30)
    ordered = kernels.pairwise_epoch(matrix(x), *given, **options, deterministic=True)
    for threads in (1, 2, 5):
        free = kernels.pairwise_epoch(matrix(x), *given, **options, threads=threads)
        np.testing.assert_allclose(free[0], ordered[0], rtol=1e-5)
        assert free[1:] == ordered[1:]


@every_loss
@every_optimizer
def test_threads_change_nothing(cpu_level, loss, optimizer):
    x = make(60, 40, 0.2, seed=6)
    n_rows, dense, options = everything(x)
    sparse = {name: matrix(m) for name, m in dense.items()}
    results = []
    for threads in (1, 2, 5):
        given = tables(n_rows, optimizer)
        losses = [
            kernels.pairwise_epoch(
                matrix(x), *given, **sparse, **options, loss=loss, sampler="exact", negatives=3, max_trials=5,
                epoch=epoch, deterministic=True, batch_size=200, threads=threads,
            )
            for epoch in range(3)
        ]  # fmt: skip
        results.append((losses, *(array.tobytes() for table in given for array in table[:4])))
    assert results[0] == results[1] == results[2]


@every_loss
def test_gradients_are_those_of_the_loss(loss):
    """The twin's derivatives against central differences of its loss."""
    rng = np.random.default_rng(1)
    for _ in range(50):
        scores, counts = rng.standard_normal(6), rng.random(6)
        options = (counts, 0.8, 30)
        by = reference.derivatives(loss, scores, *options)
        for k in range(6):
            step = np.eye(6)[k] * 1e-5
            up, down = (reference.loss_of(loss, scores + s, *options) for s in (step, -step))
            np.testing.assert_allclose((up - down) / 2e-5, by[k], atol=1e-7)


@every_loss
def test_steps_go_against_the_gradient_of_the_whole_loss(cpu_level, loss):
    """One deterministic step of the kernel against differences of the loss that it reports itself."""
    x = make(5, 8, 0.4, seed=8)
    n_rows, dense, options = everything(x)
    options |= {"regularization": 0.0, "bias_regularization": 0.0}  # the reported loss is without them
    sparse = {name: matrix(m) for name, m in dense.items()}
    options |= {"loss": loss, "sampler": "exact", "negatives": 3, "max_trials": 5, "deterministic": True, "threads": 1}

    def reported(vectors, biases):
        given = (Table.new(vectors, "sgd", 1e-30), Table.new(biases, "sgd", 1e-30))
        mean, skipped, _ = kernels.pairwise_epoch(matrix(x), *given, **sparse, **options, batch_size=10_000)
        return mean * (np.count_nonzero(x) - skipped)

    vectors, biases = (t.values for t in tables(n_rows))
    moved = (Table.new(vectors.copy(), "sgd", 1.0), Table.new(biases.copy(), "sgd", 1.0))
    kernels.pairwise_epoch(matrix(x), *moved, **sparse, **options, batch_size=10_000)
    rng = np.random.default_rng(2)
    for _ in range(40):
        row, column = rng.integers(n_rows), rng.integers(17)
        sides = []
        for sign in (1, -1):
            changed = [vectors.copy(), biases.copy()]
            (changed[1] if column == 16 else changed[0])[row, column % 16] += sign * 4e-3
            sides.append(reported(*changed))
        old, new = (biases, moved[1].values) if column == 16 else (vectors, moved[0].values)
        gradient = old[row, column % 16] - new[row, column % 16]
        np.testing.assert_allclose((sides[0] - sides[1]) / 8e-3, gradient, atol=0.03)


@every_optimizer
@pytest.mark.parametrize("loss", ["bpr", "logistic"])
def test_steps_are_pytorchs(cpu_level, loss, optimizer):
    """Whole epochs as one batch against autograd and the optimizers of PyTorch, every row touched in each."""
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
    x = (np.random.default_rng(5).random((6, 7)) < 0.6).astype(np.float32)
    x[np.arange(6), np.arange(6)], x[:, 6] = 1, 0
    given = tables(13, optimizer)
    parameters = [torch.tensor(t.values.astype(np.float64), requires_grad=True) for t in given]
    kind = {"sgd": torch.optim.SGD, "adagrad": torch.optim.Adagrad, "adam": torch.optim.Adam}[optimizer]
    groups = [{"params": [p], "lr": t.learning_rate} for p, t in zip(parameters, given, strict=True)]
    peer = kind(groups, **({} if optimizer == "sgd" else {"eps": 1e-8}))
    users, positives = map(torch.tensor, np.nonzero(x))
    softplus = torch.nn.functional.softplus
    for epoch in range(6):
        drawn = reference.sample_negatives(users.numpy(), 8, x.shape, seed=reference.epoch_seed(1, epoch))
        assert set(drawn.ravel()) | set(positives.numpy()) == set(range(7))
        vectors, biases = parameters[0], parameters[1][:, 0]
        scores = [(vectors[users] * vectors[6 + positives]).sum(1) + biases[6 + positives]]
        others = 6 + torch.tensor(drawn.astype(np.int64))
        scores.append((vectors[users][:, None] * vectors[others]).sum(2) + biases[others])
        if loss == "logistic":
            scores = [scores[0] + biases[users], scores[1] + biases[users][:, None]]
            total = softplus(-scores[0]).sum() + softplus(scores[1]).sum()
        else:
            total = softplus(scores[1] - scores[0][:, None]).sum()
        peer.zero_grad()
        total.backward()
        peer.step()
        ours, _, _ = kernels.pairwise_epoch(
            matrix(x), *given, loss=loss, sampler="uniform", negatives=8, seed=1, epoch=epoch, deterministic=True,
            batch_size=1000, threads=2,
        )  # fmt: skip
        np.testing.assert_allclose(ours * len(users), total.item(), rtol=1e-5)
        for table, parameter in zip(given, parameters, strict=True):
            rows = slice(6, None) if table is given[1] and loss == "bpr" else slice(None)
            np.testing.assert_allclose(table.values[rows], parameter.detach().numpy()[rows], atol=2e-5)


@both_ways
@every_loss
def test_one_side_stays(cpu_level, loss, deterministic):
    x = make(seed=2)
    n_rows, dense, options = everything(x)
    sparse = {name: matrix(m) for name, m in dense.items()}
    for side in ("users", "items"):
        given = tables(n_rows, "adam")
        before = [t.values.copy() for t in given]
        kernels.pairwise_epoch(
            matrix(x), *given, **sparse, **options, loss=loss, sampler="exact", negatives=2,
            deterministic=deterministic, **{f"update_{side}": False},
        )  # fmt: skip
        still, free = (slice(0, 9), slice(9, None)) if side == "users" else (slice(9, None), slice(0, 9))
        for table, old in zip(given, before, strict=True):
            np.testing.assert_array_equal(table.values[still], old[still])
        assert (given[0].values[free] != before[0][free]).any()
        assert (given[1].values[free] != before[1][free]).any() == (side == "users" or loss == "logistic")


@both_ways
@every_loss
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (0, 3), (3, 0), (2, 3)])
def test_few_users_and_items(cpu_level, loss, deterministic, shape):
    """No negatives at all, no entries, more negatives than the catalogue has items, more threads than entries."""
    for x in (np.ones(shape, np.float32), np.eye(*shape, dtype=np.float32), np.zeros(shape, np.float32)):
        given = tables(sum(shape))
        before = given[0].values.copy()
        mean, skipped, _ = kernels.pairwise_epoch(
            matrix(x), *given, loss=loss, sampler="exact", negatives=20, deterministic=deterministic, threads=7
        )
        full = (x != 0).all(axis=1) if shape[1] else np.zeros(shape[0], bool)
        assert skipped == np.count_nonzero(x[full])
        assert np.isfinite(mean)
        if skipped == np.count_nonzero(x):
            assert mean == 0
            np.testing.assert_array_equal(given[0].values, before)


@both_ways
@every_loss
def test_a_loss_that_diverges_is_not_finite(cpu_level, loss, deterministic):
    x = make(40, 30, seed=7)
    given = tables(70, rate=1e6)
    options = {"loss": loss, "sampler": "exact", "negatives": 2, "deterministic": deterministic, "threads": 1}
    losses = [kernels.pairwise_epoch(matrix(x), *given, **options, epoch=e)[0] for e in range(30)]
    given[0].values[0:40] = np.nan
    assert np.isnan(kernels.pairwise_epoch(matrix(x), *given, **options)[0])
    assert not np.isfinite(losses[-1]) or losses[-1] > 1e6


@both_ways
@every_loss
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "adam"])
def test_loss_falls_and_held_out_pairs_rise(cpu_level, loss, deterministic, optimizer):
    """Users and items of four kinds; users like what is of their kind."""
    rng = np.random.default_rng(0)
    likes = rng.integers(4, size=80)[:, None] == rng.integers(4, size=60)[None, :]
    held_out = likes & (rng.random(likes.shape) < 0.2)
    x = (likes & ~held_out & (rng.random(likes.shape) < 0.6)).astype(np.float32)
    values = (rng.standard_normal((140, 16)) * 0.1).astype(np.float32)
    rate = {"sgd": 0.02 if loss == "warp" else 0.05, "adagrad": 0.05, "adam": 0.005}[optimizer]
    given = (Table.new(values, optimizer, rate), None)

    def ndcg():
        scores = np.where(x > 0, -np.inf, values[:80] @ values[80:].T)
        best = np.argsort(-scores, axis=1)[:, :10]
        gains = np.take_along_axis(held_out, best, axis=1) @ (1 / np.log2(np.arange(2, 12)))
        most = np.array([(1 / np.log2(np.arange(2, 2 + min(10, n)))).sum() for n in held_out.sum(axis=1)])
        return (gains[most > 0] / most[most > 0]).mean()

    before = ndcg()
    options = {"loss": loss, "sampler": "exact", "negatives": 3, "deterministic": deterministic, "batch_size": 64}
    losses = [kernels.pairwise_epoch(matrix(x), *given, **options, epoch=e, threads=2)[0] for e in range(25)]
    assert losses[-1] < 0.6 * losses[0]
    assert ndcg() > before + 0.3


def test_bad_arguments(cpu_level):
    x, options = matrix(make()), {"loss": "bpr", "sampler": "exact", "negatives": 1}

    def refused(message, vectors=None, biases=None, x=x, **changed):
        with pytest.raises(ValueError, match=message):
            kernels.pairwise_epoch(x, vectors or tables(21)[0], biases, **options | changed)

    refused("loss must be", loss="softmax")
    refused("alias table", sampler="popularity")
    refused("negatives must be", negatives=0)
    refused("batch_size must be", batch_size=0)
    refused("a row for every user and every item", tables(20)[0])
    refused("one number for every row", biases=tables(20)[1])
    refused("vectors must be padded", tables(21)[1])
    refused("one row for each user", user_parts=matrix(np.ones((3, 21))))
    refused("ascending", item_parts=matrix(np.ones((12, 22))))
    refused("come together", groups=np.zeros((12, 1), np.int32))
    refused("one discount for every column", groups=np.zeros((12, 1), np.int32), group_discounts=np.ones(2, np.float32))
    refused("one row for every user", dislikes=matrix(np.ones((3, 12))))

"""Batches with shared negatives against the float64 twin, whose derivatives are those of finite differences."""

import signal
import time

import numpy as np
import pytest
import scipy.sparse as sp

from cofactor.kernels.arguments import Table
from cofactor.kernels.csr import CSR
from device import kernels
from reference import shared_negatives as reference

N_USERS, N_ITEMS, N_FEATURES, WIDTH = 9, 14, 5, 16
LOSSES = ["softmax", "bsl", "ccl", "softmax@k"]
BASIC = {"sampler": "uniform", "negatives": 21, "batch_size": 10, "seed": 3}


def interactions(n_users=N_USERS, n_items=N_ITEMS, density=0.3, seed=0):
    """Weights that are not 1, and a user without items."""
    rng = np.random.default_rng(seed)
    x = (rng.random((n_users, n_items)) < density) * rng.uniform(0.5, 2.0, (n_users, n_items))
    x[n_users // 2] = 0
    return CSR.from_scipy(sp.csr_matrix(x))


def table(n_rows=N_USERS + N_ITEMS + N_FEATURES, optimizer="sgd", rate=0.3, *, width=WIDTH, filled=10, seed=1):
    values = np.zeros((n_rows, width), np.float32)
    values[:, :filled] = np.random.default_rng(seed).standard_normal((n_rows, min(filled, width))) * 0.5
    return Table.new(values, optimizer, rate)


def bias_table(optimizer="sgd", rate=0.1):
    return table(optimizer=optimizer, rate=rate, width=1, seed=2)


def all_parts(seed=4):
    """Users of their own row and some items' rows, items of their own row and features; one item has no parts."""
    rng = np.random.default_rng(seed)
    n_rows = N_USERS + N_ITEMS + N_FEATURES
    users, items = np.zeros((N_USERS, n_rows)), np.zeros((N_ITEMS, n_rows))
    users[:, :N_USERS] = np.eye(N_USERS)
    users[:, N_USERS : N_USERS + N_ITEMS] = (rng.random((N_USERS, N_ITEMS)) < 0.3) * 0.25
    items[:, N_USERS : N_USERS + N_ITEMS] = np.eye(N_ITEMS)
    items[:, N_USERS + N_ITEMS :] = rng.random((N_ITEMS, N_FEATURES)) < 0.4
    items[3] = 0
    return CSR.from_scipy(sp.csr_matrix(users)), CSR.from_scipy(sp.csr_matrix(items))


def options_of(loss, score="cosine", **others):
    options = {"loss": loss, "score": score, **BASIC, "temperature": 0.4}
    if loss == "bsl":
        options["positive_temperature"] = 0.7
    if loss == "ccl":
        options |= {"margin": 0.1, "negative_weight": 3.0}
        del options["temperature"]
    if loss == "softmax@k":
        options |= {"quantiles": np.linspace(-0.5, 0.5, N_USERS, dtype=np.float32), "quantile_temperature": 0.3}
    return options | others


def extras():
    rng = np.random.default_rng(5)
    return {
        "groups": rng.integers(0, 3, (N_ITEMS, 2)).astype(np.int32),
        "group_discounts": np.array([0.3, 0.9], np.float32),
        "log_q": rng.standard_normal(N_ITEMS).astype(np.float32),
    }


def assert_like_the_twin(x, vectors, biases=None, *parts, atol=2e-5, **options):
    loss, values, bias_values = reference.epoch(x, vectors, biases, *parts, **options)
    assert kernels.shared_negatives_epoch(x, vectors, biases, *parts, **options) == pytest.approx(loss, rel=2e-6)
    np.testing.assert_allclose(vectors.values, values, atol=atol)
    if biases is not None:
        np.testing.assert_allclose(biases.values[:, 0], bias_values, atol=atol)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("score", ["cosine", "dot"])
def test_an_epoch_is_the_twins(cpu_level, loss, score):
    assert_like_the_twin(interactions(), table(), **options_of(loss, score))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "adam"])
def test_with_everything_at_once(cpu_level, loss, optimizer):
    rate = {"sgd": 0.3, "adagrad": 0.05, "adam": 0.01}[optimizer]
    options = options_of(loss, sampler="exact", regularization=0.2, bias_regularization=0.5, **extras())
    if loss == "ccl":
        del options["log_q"]
    assert_like_the_twin(interactions(), table(optimizer=optimizer, rate=rate), bias_table(), *all_parts(), **options)


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "adam"])
@pytest.mark.parametrize("score", ["cosine", "dot"])
def test_steps_are_pytorchs(cpu_level, score, optimizer):
    """Epochs of softmax as one batch against autograd and the optimizers of PyTorch, every row touched in each."""
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
    dense = np.random.default_rng(5).random((6, 7)) < 0.5
    dense[np.arange(6), np.arange(6)] = True
    x = CSR.from_scipy(sp.csr_matrix(dense, dtype=np.float32))
    rate = {"sgd": 0.3, "adagrad": 0.05, "adam": 0.01}[optimizer]
    given = table(13, optimizer, rate), table(13, optimizer, rate / 2, width=1, seed=2)
    parameters = [torch.tensor(t.values.astype(np.float64), requires_grad=True) for t in given]
    kind = {"sgd": torch.optim.SGD, "adagrad": torch.optim.Adagrad, "adam": torch.optim.Adam}[optimizer]
    groups = [{"params": [p], "lr": t.learning_rate} for p, t in zip(parameters, given, strict=True)]
    peer = kind(groups, **({} if optimizer == "sgd" else {"eps": 1e-8}))
    options = {"sampler": "uniform", "negatives": 40, "batch_size": 1000, "seed": 3}
    for epoch in range(6):
        users, items, _, drawn = (torch.tensor(part) for part in next(reference.batches(x, epoch=epoch, **options)))
        assert set(drawn.tolist()) | set(items.tolist()) == set(range(7))
        vectors = torch.nn.functional.normalize(parameters[0]) if score == "cosine" else parameters[0]
        scores = (vectors[users] @ vectors[6:].T + parameters[1][6:, 0]) / 0.4
        positive, others = scores.gather(1, items[:, None].long()), scores[:, drawn]
        others = others.masked_fill(items[:, None] == drawn, -torch.inf)
        total = (torch.logsumexp(torch.cat([positive, others], 1), 1) - positive[:, 0]).mean()
        peer.zero_grad()
        total.backward()
        peer.step()
        ours = kernels.shared_negatives_epoch(
            x, *given, loss="softmax", score=score, temperature=0.4, epoch=epoch, **options
        )
        assert ours == pytest.approx(total.item(), rel=1e-5)
        for mine, theirs, first in zip(given, parameters, (0, 6), strict=True):
            np.testing.assert_allclose(mine.values[first:, :10], theirs.detach().numpy()[first:, :10], atol=2e-5)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("score", ["cosine", "dot"])
def test_derivatives_of_the_twin_are_finite_differences(loss, score):
    x, parts = interactions(), dict(zip(("user_parts", "item_parts"), all_parts(), strict=True))
    options = options_of(loss, score, sampler="exact", regularization=0.2, bias_regularization=0.5, **extras(), **parts)
    drawing = {name: options.pop(name) for name in ("negatives", "batch_size", "seed")}
    batch = next(reference.batches(x, sampler="exact", **drawing))
    values, biases = table(filled=WIDTH).values.astype(np.float64), bias_table().values[:, 0].astype(np.float64)

    def objective(values, biases):
        return reference.batch_gradient(x, values, biases, *batch, **options)[3]

    _, gradient, by_bias, _ = reference.batch_gradient(x, values, biases, *batch, **options)
    rng, h = np.random.default_rng(0), 1e-6
    for _ in range(25):
        d, e = rng.standard_normal(values.shape), rng.standard_normal(biases.shape)
        slope = (objective(values + h * d, biases + h * e) - objective(values - h * d, biases - h * e)) / (2 * h)
        assert (gradient * d).sum() + by_bias @ e == pytest.approx(slope, rel=1e-6, abs=1e-8)


def alias_table(weights):
    """Walker's: (n,) probabilities of keeping an item, and which one is taken else."""
    n = len(weights)
    share = weights / weights.sum() * n
    keep, alias = np.ones(n, np.float32), np.arange(n, dtype=np.int32)
    small, large = [i for i in range(n) if share[i] < 1], [i for i in range(n) if share[i] >= 1]
    while small and large:
        i, j = small.pop(), large.pop()
        keep[i], alias[i] = share[i], j
        share[j] -= 1 - share[i]
        (small if share[j] < 1 else large).append(j)
    return keep, alias


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("sampler", ["popularity", "in_batch"])
def test_other_negatives(cpu_level, loss, sampler):
    popularity = np.arange(1.0, N_ITEMS + 1) ** 2
    others = {"alias": alias_table(popularity)} if sampler == "popularity" else {}
    if loss != "ccl":
        others["log_q"] = np.log(popularity / popularity.sum()).astype(np.float32)
    assert_like_the_twin(interactions(), table(), bias_table(), **options_of(loss, sampler=sampler, **others))
    assert_like_the_twin(interactions(), table(), **options_of(loss, sampler=sampler, **others, negatives=4))


def test_popular_items_are_drawn_as_often_as_the_table_says():
    weights = np.arange(1.0, N_ITEMS + 1)
    drawing = {"sampler": "popularity", "negatives": 5000, "batch_size": 50, "alias": alias_table(weights)}
    drawn = np.concatenate([batch[3] for batch in reference.batches(interactions(), **drawing)])
    counts, expected = np.bincount(drawn, minlength=N_ITEMS), len(drawn) * weights / weights.sum()
    assert ((counts - expected) ** 2 / expected).sum() < 34.5  # chi-square, 13 degrees of freedom, one in a thousand


@pytest.mark.parametrize("sampler", ["exact", "uniform", "in_batch"])
@pytest.mark.parametrize("loss", LOSSES)
def test_results_do_not_depend_on_threads(cpu_level, sampler, loss):
    x = interactions(60, 45, 0.4)
    options = options_of(loss, sampler=sampler, negatives=70, batch_size=700, regularization=0.1)
    if loss == "softmax@k":
        options["quantiles"] = np.full(60, 0.1, np.float32)
    results = []
    for threads in (1, 2, 5, 50):
        vectors, biases = table(120, "adam", 0.01), table(120, "adam", 0.01, width=1)
        lost = [kernels.shared_negatives_epoch(x, vectors, biases, epoch=e, threads=threads, **options) for e in (0, 1)]
        results.append((lost, vectors.values, vectors.second, biases.values))
    for others in results[1:]:
        assert others[0] == results[0][0]
        assert all(np.array_equal(a, b) for a, b in zip(others[1:], results[0][1:], strict=True))


@pytest.mark.parametrize("width", [16, 64, 112])
@pytest.mark.parametrize("negatives", [1, 40, 300])
def test_other_shapes(cpu_level, width, negatives):
    """More than one block of positives and all widths of tiles; negatives beyond the catalogue."""
    x = interactions(70, 50, 0.2)
    options = options_of("softmax", sampler="exact", negatives=negatives, batch_size=450)
    assert_like_the_twin(x, table(120, width=width, filled=width), table(120, width=1), **options)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_larger_than_the_data_is_all_of_it(loss):
    x = interactions()
    a, b = table(), table()
    lost = [
        kernels.shared_negatives_epoch(x, into, **options_of(loss, batch_size=size))
        for into, size in ((a, x.nnz), (b, 1000 * x.nnz))
    ]
    assert lost[0] == lost[1]
    assert np.array_equal(a.values, b.values)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("sampler", ["exact", "uniform", "in_batch"])
def test_one_user_and_one_item_have_no_negatives(cpu_level, loss, sampler):
    options = options_of(loss, sampler=sampler, temperature=0.4, quantile_temperature=0.3)
    if loss == "softmax@k":
        options["quantiles"] = np.zeros(1, np.float32)
    x, vectors = CSR.from_pairs([0], [0], [2.0], (1, 1)), table(2)
    before = vectors.values.copy()
    loss_before = kernels.shared_negatives_epoch(x, vectors, **options)
    if loss == "ccl":  # which draws a user to its items whatever the others
        cosine = before[0] @ before[1] / np.linalg.norm(before[0]) / np.linalg.norm(before[1])
        assert loss_before == pytest.approx(2 * (1 - cosine), rel=1e-5)
    else:
        assert loss_before == 0
        np.testing.assert_allclose(vectors.values, before, atol=1e-7)


def test_a_user_with_all_items_has_no_exact_negatives():
    x = CSR.from_scipy(sp.csr_matrix(np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])))
    vectors = table(5)
    before = vectors.values.copy()
    options = options_of("softmax", sampler="exact", batch_size=1)
    assert kernels.shared_negatives_epoch(x, vectors, **options) > 0
    np.testing.assert_array_equal(vectors.values[0], before[0])
    assert not np.array_equal(vectors.values[1], before[1])


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (4, 6)])
def test_nothing_to_learn_from(cpu_level, shape):
    vectors = table(sum(shape))
    before = vectors.values.copy()
    x = CSR.from_pairs([], [], [], shape)
    assert kernels.shared_negatives_epoch(x, vectors, **options_of("softmax")) == 0.0
    assert np.array_equal(vectors.values, before)


def test_vectors_of_zeros_stay_and_harm_nobody(cpu_level):
    vectors = table()
    vectors.values[2] = vectors.values[N_USERS + 5] = 0
    assert_like_the_twin(interactions(density=0.6), vectors, **options_of("softmax"))
    assert not vectors.values[2].any()
    assert not vectors.values[N_USERS + 5].any()


@pytest.mark.parametrize("parts", [False, True])
@pytest.mark.parametrize("frozen", ["update_users", "update_items"])
def test_one_side_can_be_held(cpu_level, frozen, parts):
    vectors, biases = table(optimizer="adam", rate=0.01), bias_table("adam", 0.01)
    before, bias_before = vectors.values.copy(), biases.values.copy()
    sides = all_parts() if parts else (None, None)
    options = options_of("softmax", regularization=0.1, **{frozen: False})
    assert_like_the_twin(interactions(), vectors, biases, *sides, **options)
    held = slice(0, N_USERS) if frozen == "update_users" else slice(N_USERS, None)
    assert np.array_equal(vectors.values[held], before[held])
    assert not np.array_equal(vectors.values, before)
    assert np.array_equal(biases.values, bias_before) == (frozen == "update_items")


def test_a_discount_of_all_is_no_negative(cpu_level):
    x, groups = interactions(), np.zeros((N_ITEMS, 1), np.int32)
    vectors = table()
    before = vectors.values.copy()
    options = options_of("softmax", groups=groups, group_discounts=np.ones(1, np.float32))
    assert kernels.shared_negatives_epoch(x, vectors, **options) == 0
    np.testing.assert_array_equal(vectors.values, before)


@pytest.mark.parametrize("loss", ["softmax", "bsl", "softmax@k"])
def test_scores_beyond_the_range_of_exponentials(cpu_level, loss):
    vectors = table()
    vectors.values[:] *= 20
    atol = 2e-5 * np.abs(vectors.values).max()
    options = options_of(loss, "dot") | {"temperature": 0.05, "quantile_temperature": 30.0}
    options |= {"quantiles": np.full(N_USERS, 50, np.float32)} if loss == "softmax@k" else {}
    assert_like_the_twin(interactions(), vectors._replace(learning_rate=0.01), atol=atol, **options)


def test_exponentials_are_as_exact_as_floats(cpu_level):
    """One pair and one negative with scores 0 and s: the loss is log(1 + exp(s)), exp(s) where s is low."""
    x = CSR.from_pairs([0], [0], [1.0], (1, 2))
    scores = np.concatenate([np.linspace(-80, -9, 400), np.linspace(-9, 80, 300)]).astype(np.float32)
    for score in scores:
        vectors = table(3)
        vectors.values[:] = 0
        vectors.values[0, 0], vectors.values[2, 0] = 1, score
        options = options_of("softmax", "dot") | {"temperature": 1.0, "negatives": 8, "sampler": "exact"}
        drawn = next(reference.batches(x, sampler="exact", negatives=8, batch_size=10, seed=3))[3]
        lost = kernels.shared_negatives_epoch(x, vectors, **options)
        s = float(score) + np.log((drawn == 1).sum())
        assert lost == pytest.approx(np.logaddexp(0, s), rel=1e-6), score


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_seen_in_the_loss(cpu_level, loss, bad):
    vectors = table()
    vectors.values[N_USERS + 2, 1] = bad
    assert not np.isfinite(kernels.shared_negatives_epoch(interactions(), vectors, **options_of(loss)))


def test_epochs_and_seeds_differ():
    results = []
    for seed, epoch in ((3, 0), (3, 1), (4, 0), (3, 0)):
        vectors = table()
        kernels.shared_negatives_epoch(interactions(), vectors, **options_of("softmax", seed=seed, epoch=epoch))
        results.append(vectors.values)
    assert np.array_equal(results[0], results[3])
    assert not np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": "bpr"}, "loss must be"),
        ({"score": "euclid"}, "score must be"),
        ({"sampler": "popularity"}, "needs an alias table"),
        ({"sampler": "no"}, "sampler must be"),
        ({"negatives": 0}, "at least 1"),
        ({"quantiles": np.zeros(N_USERS, np.float32)}, "has quantiles"),
        ({"log_q": np.zeros(2, np.float32)}, "log_q must have"),
        ({"groups": np.zeros((N_ITEMS, 2), np.int32)}, "come together"),
        (
            {"groups": np.zeros((N_ITEMS, 2), np.int32), "group_discounts": np.zeros(1, np.float32)},
            "one discount for every column",
        ),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        kernels.shared_negatives_epoch(interactions(), table(), **options_of("softmax") | change)


def test_shapes_of_tables_and_parts_are_checked():
    x, options = interactions(), options_of("softmax")
    with pytest.raises(ValueError, match="a row for every user and every item"):
        kernels.shared_negatives_epoch(x, table(5), **options)
    with pytest.raises(ValueError, match="one number for every row"):
        kernels.shared_negatives_epoch(x, table(), table(5, width=1), **options)
    users, items = all_parts()
    with pytest.raises(ValueError, match="one row for each"):
        kernels.shared_negatives_epoch(x, table(), None, items, None, **options)
    with pytest.raises(ValueError, match="ascending"):
        kernels.shared_negatives_epoch(x, table(N_USERS + N_ITEMS), None, users, items, **options)
    with pytest.raises(ValueError, match="no log_q"):
        kernels.shared_negatives_epoch(x, table(), **options_of("ccl", log_q=np.zeros(N_ITEMS, np.float32)))
    bad = (np.ones(N_ITEMS, np.float32), np.full(N_ITEMS, N_ITEMS, np.int32))
    with pytest.raises(ValueError, match="alias must hold items"):
        kernels.shared_negatives_epoch(x, table(), **options_of("softmax", sampler="popularity", alias=bad))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no timer that sends signals")
@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_ends_an_epoch_early(threads):
    """The handler runs between two pieces of work; done to the end, they take a minute."""
    x = CSR.from_scipy(sp.csr_matrix(np.ones((20_000, 200), np.float32)))
    vectors = table(20_200, width=128, filled=128)
    options = options_of("softmax", batch_size=2048, negatives=2000)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    begin = time.perf_counter()
    try:
        with pytest.raises(KeyboardInterrupt):
            kernels.shared_negatives_epoch(x, vectors, threads=threads, **options)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.perf_counter() - begin < 10
    assert np.isfinite(vectors.values).all()

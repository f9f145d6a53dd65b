"""Pairs of items against negatives: against float64, and what they learn."""

import numpy as np
import pytest

from cofactor.kernels.arguments import Table
from device import kernels
from reference import item_pairs as reference

N = 30


def pairs(n, seed=0, n_items=N):
    rng = np.random.default_rng(seed)
    items, next_items = rng.integers(0, n_items, (2, n), dtype=np.int32)
    return items, next_items, rng.random(n).astype(np.float32) + 0.5


def table(n_rows, width=16, optimizer="adam", seed=0):
    values = np.random.default_rng(seed).standard_normal((n_rows, width), np.float32)
    return Table.new(values, optimizer, 0.05)


def in_doubles(t):
    held = {name: getattr(t, name).astype(np.float64) for name in ("values", "first", "second")}
    if not held["first"].size:
        held["first"] = np.zeros_like(held["values"])
    return held | {"steps": np.zeros(len(t.values), int), "optimizer": t.optimizer, "learning_rate": t.learning_rate}


OPTIONS = {"n_items": N, "loss": "logistic", "sampler": "in_batch", "negatives": 1, "alias": None, "log_q": None}
OPTIONS |= {"shared": True, "regularization": 0.0, "batch_size": 8, "seed": 5, "epoch": 2}


@pytest.mark.parametrize("loss", ["logistic", "softmax"])
@pytest.mark.parametrize("sampler", ["in_batch", "uniform", "popularity"])
@pytest.mark.parametrize("more", [{}, {"shared": False, "negatives": 5}, {"regularization": 0.3, "batch_size": 64,
                                                                          "negatives": 63}])  # fmt: skip
def test_as_the_equations_say(cpu_level, loss, sampler, more):
    items, next_items, weights = pairs(101)
    options = OPTIONS | {"loss": loss, "sampler": sampler} | more
    if sampler == "popularity":
        options["alias"] = kernels.alias_table(np.arange(1.0, N + 1))
    if loss == "softmax":
        options["log_q"] = np.linspace(-1, 1, N, dtype=np.float32)
    for optimizer in ("adam", "adagrad"):
        t = table(N if options["shared"] else 2 * N, optimizer=optimizer)
        twin = in_doubles(t)
        for w in (weights, None):
            found = kernels.item_pairs_epoch(items, next_items, w, t, threads=1, **options)
            np.testing.assert_allclose(found, reference.epoch(items, next_items, w, twin, **options), rtol=1e-4)
        np.testing.assert_allclose(t.values, twin["values"], atol=5e-4, rtol=1e-3)


@pytest.mark.parametrize("width", [16, 32, 48, 64, 128])
def test_every_width(cpu_level, width):
    items, next_items, _ = pairs(50)
    t = table(N, width)
    twin = in_doubles(t)
    found = kernels.item_pairs_epoch(items, next_items, None, t, threads=1, **OPTIONS)
    np.testing.assert_allclose(found, reference.epoch(items, next_items, None, twin, **OPTIONS), rtol=1e-4)
    np.testing.assert_allclose(t.values, twin["values"], atol=5e-4, rtol=1e-3)


@pytest.mark.parametrize("n", [0, 1, 2, 7, 8, 9])
def test_few_pairs(n):
    """The last block has fewer negatives, or none."""
    items, next_items, weights = pairs(n)
    options = OPTIONS | {"negatives": 7}
    t = table(N)
    twin = in_doubles(t)
    found = kernels.item_pairs_epoch(items, next_items, weights, t, **options)
    wanted = reference.epoch(items, next_items, weights, twin, **options) if n else (0, 0)
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
    np.testing.assert_allclose(t.values, twin["values"], atol=5e-4, rtol=1e-3)


def test_many_pieces_and_threads_learn_what_follows_what():
    rng = np.random.default_rng(0)
    items = rng.integers(0, N, 60_000, dtype=np.int32)
    next_items = ((items + 1) % N).astype(np.int32)
    losses = []
    for threads in (1, 50):
        t = table(2 * N)
        options = OPTIONS | {"shared": False, "batch_size": 256, "negatives": 8, "loss": "softmax"}
        for epoch in range(3):
            out = kernels.item_pairs_epoch(items, next_items, None, t, threads=threads, **options | {"epoch": epoch})
        losses.append(out[0])
        scores = t.values[:N] @ t.values[N:].T
        assert (scores.argmax(axis=1) == (np.arange(N) + 1) % N).all()
        assert out[1] > 0.99
    assert losses[0] == pytest.approx(losses[1], rel=0.2, abs=0.05)


def test_measuring_changes_nothing():
    items, next_items, weights = pairs(300)
    t = table(N)
    before = t.values.copy()
    one, two = (kernels.item_pairs_epoch(items, next_items, weights, t, learn=False, **OPTIONS) for _ in range(2))
    assert one == two
    assert np.array_equal(before, t.values)
    assert not t.steps.any()


def test_what_does_not_fit_is_refused():
    items, next_items, _ = pairs(20)
    for wrong, told in (
        ({"negatives": 8}, "hold the negatives"),
        ({"shared": False}, "a row for every item"),
        ({"loss": "bpr"}, "loss must be"),
        ({"log_q": np.ones(3, np.float32)}, "log_q must have"),
        ({"n_items": 5}, "a row for every item"),
        ({"sampler": "popularity"}, "alias table"),
    ):
        with pytest.raises(ValueError, match=told):
            kernels.item_pairs_epoch(items, next_items, None, table(N), **OPTIONS | wrong)
    with pytest.raises(ValueError, match="must be below n_items"):
        kernels.item_pairs_epoch(items + np.int32(N), next_items, None, table(N), **OPTIONS)
    with pytest.raises(ValueError, match="of one length"):
        kernels.item_pairs_epoch(items[1:], next_items, None, table(N), **OPTIONS)

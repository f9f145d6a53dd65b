"""Machines by batches with features and context, against their float64 twin."""

from itertools import pairwise

import numpy as np
import pytest

from cofactor.kernels.arguments import FmRelations, Table
from cofactor.kernels.csr import CSR
from device import kernels
from reference import fm, fm_relations

WIDTH = 32
FACTORS = 6
OPTIMIZERS = ["sgd", "adagrad", "adam", "row_adam"]


def sparse(rng, n_rows, n_columns, share):
    rows, columns = np.nonzero(rng.random((n_rows, n_columns)) < share)
    return CSR.from_pairs(rows, columns, rng.normal(size=len(rows)), (n_rows, n_columns))


def nothing(n):
    return CSR(np.zeros(n + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), 0)


def problem(n_users=7, n_items=5, *, features=(4, 6), categories=(3, 2), share=0.6, told=0.5, seed=0):
    """Ratings, what they have besides ids, and the rows of a table."""
    rng = np.random.default_rng(seed)
    x = sparse(rng, n_users, n_items, share)
    users, items = (
        sparse(rng, n, k, told) if k else nothing(n) for n, k in zip((n_users, n_items), features, strict=True)
    )
    ends = np.cumsum([0, *categories])
    codes = [rng.integers(first, end, x.nnz) for first, end in pairwise(ends)]
    codes = np.array(codes, np.int32).reshape(len(categories), x.nnz)
    rates = rng.choice([0.25, 0.5, 1], int(ends[-1]) + sum(features)).astype(np.float32)
    relations = FmRelations(users, items, codes, int(ends[-1]), rates)
    rows = np.zeros((relations.n_rows, WIDTH), np.float32)
    rows[:, : FACTORS + 1] = rng.normal(0, 0.4, (len(rows), FACTORS + 1))
    return x, relations, rows


def two_valued(x):
    return x.with_values((x.values > 0).astype(np.float32))


def spanned(x, span=3.5):
    least, most = x.values.min(), x.values.max()
    return x.with_values(np.float32(span) * ((x.values - least) / (most - least)))


LOSSES = {"squared": {}, "logistic": {"logistic": True}, "sigmoid": {"span": 3.5}}
TARGETS = {"squared": lambda x: x, "logistic": two_valued, "sigmoid": spanned}
WHAT = {
    "features of both and context": {},
    "features of users": {"features": (4, 0), "categories": ()},
    "features of items": {"features": (0, 6), "categories": ()},
    "context": {"features": (0, 0)},
    "features and one column": {"categories": (4,)},
}


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_of_everything_is_one_step_down_the_gradient(cpu_level, loss, what):
    x, relations, rows = problem(**WHAT[what])
    x, options = TARGETS[loss](x), LOSSES[loss]
    x_all, has = fm_relations.design(x, relations)
    before, table = rows.astype(float), Table.new(rows, "sgd", 0.1)
    gradient, losses = fm_relations.gradient(before, x_all, x.values, 0.4, 0.3, has=has, **options)
    found = kernels.fm_relations_epoch(
        x, table, relations, offset=0.4, weight_decay=0.3, batch_size=x.nnz + 3, rate=0.5, **options
    )
    assert found == pytest.approx(losses.mean(), rel=1e-5)
    wanted = fm_relations.slowed(before, before - 0.05 * gradient, relations)
    np.testing.assert_allclose(table.values, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_finite_differences(cpu_level, loss):
    """The twin's are those of its loss in float64, and one step of the kernel is its rate times them."""
    x, relations, rows = problem(4, 3, features=(2, 3), categories=(2, 2))
    x, options = TARGETS[loss](x), LOSSES[loss]
    x_all, has = fm_relations.design(x, relations)
    before, touched = rows.astype(float), has.any(axis=0)

    def objective(at):
        losses = fm_relations.gradient(at, x_all, x.values, 0.4, 0.3, has=has, **options)[1]
        return losses.mean() + 0.15 * (at[touched] ** 2).sum()

    wanted, by = np.zeros_like(before), 1e-5
    for at in np.ndindex(len(rows), FACTORS + 1):
        up, down = before.copy(), before.copy()
        up[at] += by
        down[at] -= by
        wanted[at] = (objective(up) - objective(down)) / (2 * by)
    twin = fm_relations.gradient(before, x_all, x.values, 0.4, 0.3, has=has, **options)[0]
    np.testing.assert_allclose(twin, wanted, rtol=1e-6, atol=1e-8)
    table, relations = Table.new(rows.copy(), "sgd", 0.1), relations._replace(rates=np.ones_like(relations.rates))
    kernels.fm_relations_epoch(x, table, relations, offset=0.4, weight_decay=0.3, batch_size=x.nnz, **options)
    np.testing.assert_allclose((before - table.values) / 0.1, wanted, rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("threads", [1, 3])
def test_only_what_a_batch_has_takes_a_step(cpu_level, optimizer, threads):
    """Batches one after the other, against float64 steps of the whole table down the objective's gradient."""
    whole, relations, rows = problem(40, 25, features=(30, 20), told=0.1, seed=5)
    table, values = Table.new(rows, optimizer, 0.02), rows.astype(float)
    state, rng = fm.DenseSteps(values, optimizer, 0.02, n_coordinates=FACTORS + 1), np.random.default_rng(6)
    for _ in range(20):
        chosen = np.sort(rng.choice(whole.nnz, 5, replace=False))
        x = CSR.from_pairs(whole.row_index()[chosen], whole.indices[chosen], whole.values[chosen], whole.shape)
        some = relations._replace(categories=relations.categories[:, chosen].copy())
        x_all, has = fm_relations.design(x, some)
        gradient, losses = fm_relations.gradient(values, x_all, x.values, 0.1, 0.2, has=has)
        start = values.copy()
        state.step(gradient, np.flatnonzero(has.any(axis=0)))
        values[:] = fm_relations.slowed(start, values, relations)
        found = kernels.fm_relations_epoch(
            x, table, some, offset=0.1, weight_decay=0.2, batch_size=x.nnz, n_coordinates=FACTORS + 1, threads=threads
        )
        assert found == pytest.approx(losses.mean(), rel=1e-3)
        assert not has.any(axis=0).all()
    np.testing.assert_allclose(table.values, values, rtol=5e-3, atol=5e-4)


@pytest.mark.parametrize("batches", [3, 1000])
def test_features_of_a_block_take_the_mean_step_of_its_batches(cpu_level, batches):
    """With steps so short that nothing moves in between; a block of all batches steps each feature once."""
    x, relations, rows = problem(30, 20, seed=2)
    n_batches, n_steps = 6, {3: 2, 1000: 1}[batches]
    kept = np.arange(x.nnz // n_batches * n_batches)  # of equal size
    x = CSR.from_pairs(x.row_index()[kept], x.indices[kept], x.values[kept], x.shape)
    relations, size = relations._replace(categories=relations.categories[:, kept].copy()), x.nnz // n_batches
    relations = relations._replace(rates=np.ones_like(relations.rates))
    before, rate = rows.astype(float), 1e-4
    x_all, has = fm_relations.design(x, relations)
    wanted = fm_relations.gradient(before, x_all, x.values, 0.0, 0.0, has=has)[0]
    first = x.n_rows + x.n_columns + relations.n_categories
    table = Table.new(rows.copy(), "sgd", rate)
    kernels.fm_relations_epoch(x, table, relations, offset=0.0, weight_decay=0.0, batch_size=size, batches=batches)
    moved = (before - table.values) / rate
    np.testing.assert_allclose(moved[first:], n_steps * wanted[first:], rtol=0.03, atol=0.005 * n_steps)
    np.testing.assert_allclose(moved[:first], n_batches * wanted[:first], rtol=0.03, atol=0.005 * n_batches)
    penalised = Table.new(rows.copy(), "sgd", rate)
    kernels.fm_relations_epoch(x, penalised, relations, offset=0.0, weight_decay=5.0, batch_size=size, batches=batches)
    more = (table.values - penalised.values)[first:] / rate
    np.testing.assert_allclose(more, n_steps * 5.0 * before[first:], rtol=0.05, atol=0.02)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_ids_alone_are_trained_as_without_relations(cpu_level, optimizer):
    x, relations, rows = problem(60, 40, features=(0, 0), categories=(), seed=3)
    assert relations.of_ids_alone
    tables = [Table.new(rows.copy(), optimizer, 0.02) for _ in range(2)]
    options = {"offset": 0.2, "weight_decay": 0.01, "batch_size": 64, "n_coordinates": FACTORS + 1}
    for seed in range(3):
        plain = kernels.fm_epoch(x, tables[0], seed=seed, **options)
        related = kernels.fm_relations_epoch(x, tables[1], relations, seed=seed, **options)
        assert related == pytest.approx(plain, rel=1e-5)
    np.testing.assert_allclose(tables[1].values, tables[0].values, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("batches", [1, 4])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_epochs_do_not_depend_on_the_number_of_threads(cpu_level, optimizer, batches):
    found = []
    for threads in (1, 2, 5):
        x, relations, rows = problem(300, 100, features=(70, 40), seed=1)
        table = Table.new(rows, optimizer, 0.01)
        losses = [
            kernels.fm_relations_epoch(
                x, table, relations, offset=0.0, weight_decay=1e-3, batch_size=512, batches=batches, seed=e,
                threads=threads,
            )
            for e in range(3)
        ]  # fmt: skip
        found.append((losses, table.values))
    for losses, values in found[1:]:
        assert losses == found[0][0]
        assert np.array_equal(values, found[0][1])
    assert found[0][0][2] < found[0][0][0]


@pytest.mark.parametrize("loss", LOSSES)
def test_an_epoch_goes_through_every_entry_once(cpu_level, loss):
    """With a vanishing step, the mean loss is that of all entries, whatever batches and blocks are."""
    x, relations, rows = problem(30, 20)
    x, options = TARGETS[loss](x), LOSSES[loss]
    x_all, has = fm_relations.design(x, relations)
    _, losses = fm_relations.gradient(rows.astype(float), x_all, x.values, 0.0, 0.0, has=has, **options)
    for size, batches in ((1, 1), (1, 50), (7, 3), (10_000, 2)):
        table = Table.new(rows.copy(), "sgd", 1e-20)
        found = kernels.fm_relations_epoch(
            x, table, relations, offset=0.0, weight_decay=0.0, batch_size=size, batches=batches, seed=size, **options
        )
        assert found == pytest.approx(losses.mean(), rel=1e-5)


def test_users_of_all_groups_have_their_turn(cpu_level):
    """Rows of 70,000 users are more than a group; blocks end with it."""
    n_users = 70_000
    rng = np.random.default_rng(3)
    x = CSR.from_pairs(np.arange(n_users), rng.integers(0, 5, n_users), rng.normal(size=n_users), (n_users, 5))
    kinds = CSR.from_pairs(np.arange(n_users), rng.integers(0, 3, n_users), np.ones(n_users), (n_users, 3))
    relations = FmRelations(kinds, nothing(5), np.zeros((0, n_users), np.int32), 0, np.ones(3, np.float32))
    found = []
    for threads in (1, 3):
        table = Table.new(np.zeros((relations.n_rows, WIDTH), np.float32), "sgd", 1.0)
        loss = kernels.fm_relations_epoch(
            x, table, relations, offset=0.0, weight_decay=0.0, batch_size=10_000, batches=4, threads=threads
        )
        found.append((loss, table.values))
    assert found[0][0] == found[1][0]
    assert np.array_equal(found[0][1], found[1][1])
    assert (found[0][1][:n_users, 0] != 0).all()
    assert (found[0][1][n_users + 5 :, 0] != 0).all()


def test_without_entries_nothing_moves(cpu_level):
    _, relations, rows = problem()
    x = CSR(np.zeros(8, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), 5)
    relations, before = relations._replace(categories=np.zeros((2, 0), np.int32)), rows.copy()
    table = Table.new(rows, "adam", 0.1)
    assert kernels.fm_relations_epoch(x, table, relations, offset=0.0, weight_decay=0.5, batch_size=2) == 0
    assert np.array_equal(table.values, before)


@pytest.mark.parametrize("batches", [140, 35])
def test_features_step_as_often_as_asked_however_many_users_there_are(where, batches):
    """Users go in groups, of 65,536 with rows as narrow as these; a block of batches is not cut by them."""
    n_users, n_items = 140_000, 4
    items = (np.arange(n_users) % n_items).astype(np.int32)
    x = CSR(np.arange(n_users + 1), items, np.ones(n_users, np.float32), n_items)
    features = CSR.from_pairs(np.arange(n_items), np.zeros(n_items, int), np.ones(n_items), (n_items, 1))
    relations = FmRelations(nothing(n_users), features, np.zeros((0, n_users), np.int32), 0, np.ones(1, np.float32))
    table = Table.new(np.zeros((relations.n_rows, 16), np.float32), "row_adam", 0.1)
    kernels.fm_relations_epoch(x, table, relations, offset=0.0, weight_decay=0.0, batch_size=1000, batches=batches)
    assert table.steps[-1] == 140 // batches


def test_what_does_not_fit_together_is_refused():
    x, relations, rows = problem()
    table = Table.new(rows, "sgd", 0.1)
    out = relations.users.with_values(relations.users.values)
    wide = CSR(out.indptr, out.indices, out.values, 3)
    for wrong, message in (
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"batches": 0}, "batches must be at least 1"),
        ({"logistic": True}, "targets must be 0 or 1"),
        ({"span": 2.0}, r"targets must be in \[0, span\]"),
        ({"n_coordinates": 0}, "n_coordinates must be in"),
        ({"table": Table.new(rows[:-1].copy(), "sgd", 0.1)}, "a row for every user, item, category and feature"),
        ({"table": Table.new(rows[:, :1].copy(), "sgd", 0.1)}, "rows must be padded"),
        ({"relations": relations._replace(users=relations.items)}, "features must have a row for every user"),
        ({"relations": relations._replace(users=wide)}, "columns must be ascending inside a row and in range"),
        ({"relations": relations._replace(categories=relations.categories[:, 1:])}, "a column for every target"),
        ({"relations": relations._replace(categories=relations.categories + 1)}, "a category is out of range"),
        ({"relations": relations._replace(categories=relations.categories - 1)}, "a category is out of range"),
        ({"relations": relations._replace(rates=relations.rates[1:])}, "rates must hold a number for every category"),
    ):
        given = {"table": table, "relations": relations, "offset": 0.0, "weight_decay": 0.0, "batch_size": 4} | wrong
        of, what = given.pop("table"), given.pop("relations")
        with pytest.raises(ValueError, match=message):
            kernels.fm_relations_epoch(x, of, what, **given)

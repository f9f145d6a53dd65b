"""Sweeps over the coordinates of a factorization machine against the definition of the machine over all features."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cofactor.kernels.arguments import FmSamples, FmSide, Table
from cofactor.kernels.csr import CSR
from device import kernels
from reference import fm

WIDTH = 16


def sparse(rng, n, m, share):
    dense = np.where(rng.random((n, m)) < share, rng.normal(0, 1, (n, m)), 0)
    rows, columns = np.nonzero(dense)
    return CSR.from_pairs(rows, columns, dense[rows, columns], (n, m))


def problem(seed=0, n_users=6, n_items=5, n_features=(3, 2), factors=3, share=0.6, scale=0.5):
    """Ratings, features of both sides, parameters and priors; the twin's parameters are rows of a design."""
    rng = np.random.default_rng(seed)
    sizes, width = (n_users, n_items), -(-(factors + 1) // 16) * 16
    targets = sparse(rng, n_users, n_items, share)
    sides, means, precisions, weights, vectors = [], [], [], [], []
    for n, n_own in zip(sizes, n_features, strict=True):
        features = sparse(rng, n, n_own, 0.7)
        ids, parts = np.zeros((n, width), np.float32), np.zeros((n_own, width), np.float32)
        ids[:, : factors + 1], parts[:, : factors + 1] = (
            rng.normal(0, scale, (len(p), factors + 1)) for p in (ids, parts)
        )
        groups = 1 + np.arange(n_own, dtype=np.int32) % 2
        side = FmSide(np.zeros((n, width), np.float32), ids, parts, features, features.transposed(), groups)
        sides.append(side)
        means.append(rng.normal(0, 0.3, (3, factors + 1)).astype(np.float32))
        precisions.append(rng.uniform(0.5, 3, (3, factors + 1)).astype(np.float32))
        weights += [ids[:, 0], parts[:, 0]]
        vectors += [ids[:, 1 : factors + 1], parts[:, 1 : factors + 1]]
    x = SimpleNamespace(targets=targets, sides=sides, means=means, precisions=precisions, offset=0.3)
    x.weights, x.vectors = np.concatenate(weights).astype(float), np.concatenate(vectors).astype(float)
    x.noise_precision, x.factors = 1.7, factors
    return x


def totals(side, factors):
    """Of a side, by the definition."""
    features = np.hstack([np.eye(len(side.ids)), side.features.to_scipy().toarray()])
    parameters = np.vstack([side.ids, side.parts]).astype(float)[:, : factors + 1]
    out = np.zeros(side.totals.shape)
    out[:, : factors + 1] = features @ parameters
    out[:, 0] = fm.predicted(features, parameters[:, 0], parameters[:, 1:], 0.0)
    return out.astype(np.float32)


def sweep(x, side, **options):
    targets = x.targets if side == 0 else x.targets.transposed()
    other = totals(x.sides[1 - side], x.factors)
    options = {"offset": x.offset, "noise_precision": x.noise_precision, "sampled": False} | options
    return kernels.fm_sweep(targets, x.sides[side], other, x.means[side], x.precisions[side], **options)


@pytest.mark.parametrize("side", [0, 1])
def test_ratings_of_weighed_rows_count_more(cpu_level, side):
    """Of rows of either side; in the residuals of rows longer than a vector, too."""
    x = problem(9, 23, 40, factors=4, share=0.8, scale=0.2)
    rng = np.random.default_rng(1)
    user_weights, item_weights = (rng.uniform(0.2, 4, n).astype(np.float32) for n in (23, 40))
    own, other = (user_weights, item_weights)[:: 1 - 2 * side]
    _, sums = sweep(x, side, weights=own, other_weights=other)
    x.noise_precision = 1.7 * user_weights[x.targets.row_index()] * item_weights[x.targets.indices]
    residuals = fm.sweep(x, side)
    np.testing.assert_allclose(parameters(x.sides[side], 4), of_twin(x, side), rtol=5e-3, atol=5e-4)
    rows, columns = (x.targets.row_index(), x.targets.indices)[:: 1 - 2 * side]
    wanted = np.bincount(rows, other[columns] * residuals**2, len(own))
    np.testing.assert_allclose(sums[:, 1], wanted, rtol=1e-2, atol=1e-3)


def parameters(side, factors):
    return np.vstack([side.ids, side.parts])[:, : factors + 1]


def of_twin(x, side):
    n = [sum(s.features.shape) for s in x.sides]
    at = slice(0, n[0]) if side == 0 else slice(n[0], None)
    return np.column_stack([x.weights, x.vectors])[at]


def compared(x, side):
    residuals, sums = sweep(x, side)
    wanted = fm.sweep(x, side)
    if side == 1:
        wanted = x.targets.with_values(wanted).transposed().values
    np.testing.assert_allclose(parameters(x.sides[side], x.factors), of_twin(x, side), rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(residuals, wanted, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(x.sides[side].totals, totals(x.sides[side], x.factors), rtol=2e-3, atol=2e-4)
    counts = np.diff((x.targets if side == 0 else x.targets.transposed()).indptr)
    of_row = np.repeat(np.arange(len(counts)), counts)
    for column, values in enumerate((residuals, residuals**2)):
        np.testing.assert_allclose(sums[:, column], np.bincount(of_row, values, len(counts)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("n_features", [(0, 0), (3, 2), (4, 0), (0, 3)])
def test_every_coordinate_goes_to_the_mean_of_its_conditional(cpu_level, side, n_features):
    compared(problem(1, n_features=n_features), side)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 20), st.integers(0, 17), st.integers(0, 1))
def test_any_size_is_as_the_twin(seed, n_users, n_items, factors, side):
    compared(problem(seed, n_users, n_items, factors=factors, share=0.5, scale=0.2), side)


@pytest.mark.parametrize("side", [0, 1])
def test_without_noise_a_sweep_never_raises_the_loss(cpu_level, side):
    x = problem(2, 40, 30, factors=4)

    def loss():
        residuals = x.targets.values - fm.predicted(fm.design(x), *machine(x), x.offset)
        out = x.noise_precision * residuals @ residuals
        for s, means, precisions in zip(x.sides, x.means, x.precisions, strict=True):
            groups = np.concatenate([np.zeros(len(s.ids), int), s.groups])
            out += (precisions[groups] * (parameters(s, x.factors) - means[groups]) ** 2).sum()
        return out

    losses = [loss()]
    for at in range(6):
        sweep(x, (side + at) % 2)
        losses.append(loss())
    assert (np.diff(losses) < 1e-3).all()
    assert losses[-1] < 0.8 * losses[0]


def machine(x):
    rows = np.vstack([parameters(side, x.factors) for side in x.sides]).astype(float)
    return rows[:, 0], rows[:, 1:]


@pytest.mark.parametrize("threads", [2, 5])
def test_draws_do_not_depend_on_the_number_of_threads(cpu_level, threads):
    one, many = problem(3, 300, 70, factors=5), problem(3, 300, 70, factors=5)
    found = [sweep(x, 0, sampled=True, seed=7, threads=n) for x, n in ((one, 1), (many, threads))]
    assert np.array_equal(found[0][0], found[1][0])
    assert np.array_equal(found[0][1], found[1][1])
    for a, b in zip(one.sides[0][:3], many.sides[0][:3], strict=True):
        assert np.array_equal(a, b)
    other = problem(3, 300, 70, factors=5)
    sweep(other, 0, sampled=True, seed=8)
    assert not np.isclose(other.sides[0].ids[:, :6], one.sides[0].ids[:, :6]).any()


@pytest.mark.parametrize("part", ["ids", "parts"])
def test_draws_have_the_moments_of_the_conditional(part):
    """Of the weight of an id, and of the first feature's weight, given all else: many seeds."""
    at = 0 if part == "ids" else 6
    x = problem(4, n_features=(1, 2))
    if part == "parts":  # ids that hardly move
        x.precisions[0][0], x.means[0][0] = 1e12, 0.0
        x.sides[0].ids[:] = 0
        x.weights[:6], x.vectors[:6] = 0, 0
    group = 0 if part == "ids" else x.sides[0].groups[0]
    mean, precision = fm.conditional(
        fm.design(x), x.targets.values.astype(float), x.weights, x.vectors, x.offset, at, 0, x.noise_precision,
        x.means[0][group, 0], x.precisions[0][group, 0],
    )  # fmt: skip
    drawn = []
    for seed in range(1500):
        side = x.sides[0]._replace(ids=x.sides[0].ids.copy(), parts=x.sides[0].parts.copy())
        again = SimpleNamespace(**vars(x) | {"sides": [side, x.sides[1]]})
        sweep(again, 0, sampled=True, seed=seed)
        drawn.append(parameters(side, x.factors)[at, 0])
    z = (np.array(drawn) - mean) * np.sqrt(precision)
    assert abs(z.mean()) < 4 / np.sqrt(1500)
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / 1500)
    assert abs((z**3).mean()) < 4 * np.sqrt(15 / 1500)


def test_sampling_parameters_and_ratings_in_turn_gives_the_prior_back():
    """Geweke 2004: with ratings drawn anew after each sweep, parameters are those of the prior in the long run."""
    x = problem(5, 4, 3, (2, 1), factors=1, share=0.8)
    for of in x.means:
        of[:] = 0.2
    for of in x.precisions:
        of[:] = 4.0
    rng, squares, values = np.random.default_rng(0), [], []
    for at in range(3000):
        predicted = fm.predicted(fm.design(x), *machine(x), x.offset)
        noise = rng.normal(0, x.noise_precision**-0.5, x.targets.nnz)
        x.targets = x.targets.with_values(predicted + noise)
        for side in (0, 1):
            sweep(x, side, sampled=True, seed=2 * at + side)
        drawn = np.concatenate([parameters(side, 1) for side in x.sides])
        values.append(drawn.mean(axis=0))
        squares.append(((drawn - 0.2) ** 2).mean(axis=0))
    n = len(drawn)
    for column in range(2):
        for found, wanted, variance in ((values, 0.2, 0.25 / n), (squares, 0.25, 2 * 0.25**2 / n)):
            chain = np.array(found)[:, column]
            means = chain.reshape(30, -1).mean(axis=1)  # of stretches that hardly know of each other
            assert abs(means.mean() - wanted) < 4 * means.std(ddof=1) / np.sqrt(30)
            assert means.std() < 12 * np.sqrt(variance / 200)


def test_parts_stay_without_columns(cpu_level):
    x = problem(6)
    x.sides[0] = x.sides[0]._replace(columns=None)
    before = x.sides[0].parts.copy()
    sweep(x, 0, passes=3)
    assert np.array_equal(x.sides[0].parts, before)
    np.testing.assert_allclose(x.sides[0].totals, totals(x.sides[0], x.factors), rtol=1e-4, atol=1e-5)


def test_many_passes_over_ids_find_the_joint_mean(cpu_level):
    """With features held, the coordinates of an id have a joint normal conditional; here solved directly."""
    x = problem(7, 5, 40, (2, 2), factors=3, share=0.9)
    x.sides[0] = x.sides[0]._replace(columns=None)
    sweep(x, 0, passes=200)
    other = totals(x.sides[1], 3).astype(float)
    own = totals(x.sides[0]._replace(ids=np.zeros_like(x.sides[0].ids)), 3).astype(float)
    for u in range(5):
        items, values = x.targets.row(u)
        h = np.column_stack([np.ones(len(items)), other[items, 1:4] + own[u, 1:4]])
        left = values - x.offset - own[u, 0] - other[items, 0] - other[items, 1:4] @ own[u, 1:4]
        a = x.noise_precision * h.T @ h + np.diag(x.precisions[0][0])
        wanted = np.linalg.solve(a, x.noise_precision * h.T @ left + x.precisions[0][0] * x.means[0][0])
        np.testing.assert_allclose(x.sides[0].ids[u, :4], wanted, rtol=2e-3, atol=1e-3)


def test_rows_without_ratings_go_to_the_prior(cpu_level):
    x = problem(8)
    x.targets = CSR(np.zeros(7, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), 5)
    residuals, sums = sweep(x, 0)
    assert len(residuals) == 0
    assert (sums == 0).all()
    np.testing.assert_allclose(x.sides[0].ids[:, :4], np.broadcast_to(x.means[0][0], (6, 4)), rtol=1e-5)


@pytest.mark.parametrize("ordinal", [False, True])
def test_ratings_are_means_over_samples(cpu_level, ordinal):
    rng = np.random.default_rng(0)
    k, c = 4, 7
    parts = [rng.normal(0, 0.6, shape).astype(np.float32) for shape in ((9, k * c), (8, k * c), k * c, k * c)]
    more = (np.array([1.0, 2, 4]), np.sort(rng.normal(0, 1, (k, 2)), axis=1)) if ordinal else ()
    samples = FmSamples(*parts, rng.normal(0, 1, k), *more)
    users, items = (np.append(rng.integers(-1, n, 600), -1).astype(np.int32) for n in (9, 8))
    for threads in (1, 5):
        found = kernels.fm_ratings(users, items, samples, threads=threads)
        for a, b in zip(found, fm.ratings(users, items, samples), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s._replace(totals=s.totals[:-1]), "totals must have a row for every row of targets"),
        (lambda s: s._replace(ids=s.ids[:-1]), "ids and features must have n rows"),
        (lambda s: s._replace(groups=s.groups + 3), "a group has no prior"),
        (lambda s: s._replace(parts=s.parts[:-1], groups=s.groups[:-1]), "columns need a row for every feature"),
        (lambda s: s._replace(parts=s.parts[:-1], groups=s.groups[:-1], columns=None), "a feature is out of range"),
    ],
)
def test_what_does_not_fit_together_is_refused(change, message):
    x = problem()
    x.sides[0] = change(x.sides[0])
    with pytest.raises(ValueError, match=message):
        kernels.fm_sweep(x.targets, x.sides[0], x.sides[1].totals, x.means[0], x.precisions[0])


# Batches


def batches(n_users=7, n_items=5, factors=6, seed=0, optimizer="sgd", learning_rate=0.1):
    rng = np.random.default_rng(seed)
    rows = np.zeros((n_users + n_items, WIDTH), np.float32)
    rows[:, : factors + 1] = rng.normal(0, 0.5, (len(rows), factors + 1))
    return sparse(rng, n_users, n_items, 0.6), Table.new(rows, optimizer, learning_rate)


def pairs_of(x):
    return np.column_stack([x.row_index(), x.n_rows + x.indices])


def two_valued(x):
    return x.with_values((x.values > 0).astype(np.float32))


def spanned(x, span=3.5):
    """Targets from 0 to the span, both among them."""
    least, most = x.values.min(), x.values.max()
    return x.with_values(np.float32(span) * ((x.values - least) / (most - least)))


LOSSES = {"squared": {}, "logistic": {"logistic": True}, "sigmoid": {"span": 3.5}}
TARGETS = {"squared": lambda x: x, "logistic": two_valued, "sigmoid": spanned}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_of_everything_is_one_step_down_the_gradient(cpu_level, loss):
    x, table = batches()
    x, options = TARGETS[loss](x), LOSSES[loss]
    before = table.values.astype(float)
    gradient, losses = fm.epoch_gradient(before, pairs_of(x), x.values, 0.4, 0.3, **options)
    found = kernels.fm_epoch(x, table, offset=0.4, weight_decay=0.3, batch_size=x.nnz + 3, rate=0.5, **options)
    assert found == pytest.approx(losses.mean(), rel=1e-5)
    np.testing.assert_allclose(table.values, before - 0.05 * gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_finite_differences(cpu_level, loss):
    """The twin's are those of its loss in float64, and one step of the kernel is its rate times them."""
    x, table = batches(4, 3, factors=2)
    x, options = TARGETS[loss](x), LOSSES[loss]
    before, pairs = table.values.astype(float), pairs_of(x)
    touched = np.unique(pairs)

    def objective(rows):
        losses = fm.epoch_gradient(rows, pairs, x.values, 0.4, 0.3, **options)[1]
        return losses.mean() + 0.15 * (rows[touched] ** 2).sum()

    wanted, by = np.zeros_like(before), 1e-5
    for at in np.ndindex(7, 3):
        up, down = before.copy(), before.copy()
        up[at] += by
        down[at] -= by
        wanted[at] = (objective(up) - objective(down)) / (2 * by)
    twin = fm.epoch_gradient(before, pairs, x.values, 0.4, 0.3, **options)[0]
    np.testing.assert_allclose(twin, wanted, rtol=1e-6, atol=1e-8)
    kernels.fm_epoch(x, table, offset=0.4, weight_decay=0.3, batch_size=x.nnz, **options)
    np.testing.assert_allclose((before - table.values) / 0.1, wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_an_epoch_goes_through_every_entry_once(cpu_level, loss):
    """With a vanishing step, the mean loss is that of all entries, whatever the batches are."""
    x, table = batches(30, 20, learning_rate=1e-20)
    x, options = TARGETS[loss](x), LOSSES[loss]
    _, losses = fm.epoch_gradient(table.values.astype(float), pairs_of(x), x.values, 0.0, 0.0, **options)
    for size in (1, 7, 10_000):
        found = kernels.fm_epoch(x, table, offset=0.0, weight_decay=0.0, batch_size=size, seed=size, **options)
        assert found == pytest.approx(losses.mean(), rel=1e-5)


@pytest.mark.parametrize("loss", ["logistic", "sigmoid"])
def test_losses_of_wild_scores_are_finite(cpu_level, loss):
    x, table = batches(learning_rate=1e-3)
    table.values[:, 0] = np.where(np.arange(12) % 2, 900, -900)
    found = kernels.fm_epoch(TARGETS[loss](x), table, offset=0.0, weight_decay=0.0, batch_size=4, **LOSSES[loss])
    assert np.isfinite(found)
    assert np.isfinite(table.values).all()


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adagrad", "row_adam"])
def test_epochs_do_not_depend_on_the_number_of_threads(cpu_level, optimizer):
    found = []
    for threads in (1, 2, 5):
        x, table = batches(300, 100, seed=1, optimizer=optimizer, learning_rate=0.01)
        losses = [
            kernels.fm_epoch(x, table, offset=0.0, weight_decay=1e-3, batch_size=512, seed=e, threads=threads)
            for e in range(3)
        ]
        found.append((losses, table.values))
    for losses, values in found[1:]:
        assert losses == found[0][0]
        assert np.array_equal(values, found[0][1])
    assert found[0][0][2] < found[0][0][0]


def test_row_adam_scales_a_weight_and_a_vector_by_what_each_moved(cpu_level):
    x, table = batches(optimizer="row_adam", learning_rate=0.05)
    values = table.values.astype(float)
    first, second = np.zeros_like(values), np.zeros((len(values), 2))
    for step in (1, 2, 3):
        gradient, _ = fm.epoch_gradient(values, pairs_of(x), x.values, 0.4, 0.3)
        fm.row_adam_step(values, first, second, gradient, step=step, learning_rate=0.05, n_coordinates=7)
        kernels.fm_epoch(x, table, offset=0.4, weight_decay=0.3, batch_size=x.nnz, n_coordinates=7)
        np.testing.assert_allclose(table.values, values, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(table.first, first, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(table.second, second, rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "adam", "row_adam"])
@pytest.mark.parametrize("threads", [1, 3])
def test_decay_is_owed_by_the_rows_of_a_batch_only(cpu_level, optimizer, threads):
    """Batches one after the other, against float64 steps of the whole table down the objective's gradient.

    The penalty is part of each batch's loss for the rows that the batch has, so that others owe nothing: a dense step
    is zero there but for Adam's memory, which waits.
    """
    n_users, n_items, rate, decay = 40, 25, 0.05, 0.2
    whole, table = batches(n_users, n_items, seed=5, optimizer=optimizer, learning_rate=rate)
    values, rng = table.values.astype(float), np.random.default_rng(6)
    state = fm.DenseSteps(values, optimizer, rate, n_coordinates=7)
    for _ in range(30):
        chosen = rng.choice(whole.nnz, 12, replace=False)
        x = CSR.from_pairs(whole.row_index()[chosen], whole.indices[chosen], whole.values[chosen], whole.shape)
        pairs = pairs_of(x)
        gradient, losses = fm.epoch_gradient(values, pairs, x.values, 0.1, decay)
        state.step(gradient, np.unique(pairs))
        found = kernels.fm_epoch(
            x, table, offset=0.1, weight_decay=decay, batch_size=x.nnz, n_coordinates=7, threads=threads
        )
        assert found == pytest.approx(losses.mean(), rel=1e-3)
    np.testing.assert_allclose(table.values, values, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("n_items", [1, 3, 400])
def test_repeated_and_single_items_of_a_batch_are_stepped_alike(cpu_level, n_items):
    """From items that all ratings of a batch share to items of one rating each, by one batch of row_adam."""
    rng = np.random.default_rng(7)
    rows = np.zeros((200 + n_items, WIDTH), np.float32)
    rows[:, :7] = rng.normal(0, 0.5, (len(rows), 7))
    users = np.arange(200)
    x = CSR.from_pairs(users, rng.permutation(400)[users] % n_items, rng.normal(size=200), (200, n_items))
    for threads in (1, 4):
        table = Table.new(rows.copy(), "row_adam", 0.05)
        values = rows.astype(float)
        first, second = np.zeros_like(values), np.zeros((len(values), 2))
        gradient, _ = fm.epoch_gradient(values, pairs_of(x), x.values, 0.4, 0.3)
        touched = np.unique(pairs_of(x))
        fm.row_adam_step(values, first, second, gradient, step=1, learning_rate=0.05, n_coordinates=7)
        kernels.fm_epoch(x, table, offset=0.4, weight_decay=0.3, batch_size=500, n_coordinates=7, threads=threads)
        np.testing.assert_allclose(table.values[touched], values[touched], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(table.second, second, rtol=1e-3, atol=1e-9)


def test_users_of_all_groups_have_their_turn(cpu_level):
    """Rows of 70,000 users are more than a group."""
    n_users = 70_000
    rng = np.random.default_rng(3)
    x = CSR.from_pairs(np.arange(n_users), rng.integers(0, 5, n_users), rng.normal(size=n_users), (n_users, 5))
    found = []
    for threads in (1, 3):
        table = Table.new(np.zeros((n_users + 5, WIDTH), np.float32), "sgd", 1.0)
        loss = kernels.fm_epoch(x, table, offset=0.0, weight_decay=0.0, batch_size=10_000, threads=threads)
        found.append((loss, table.values))
    assert found[0][0] == found[1][0]
    assert np.array_equal(found[0][1], found[1][1])
    assert (found[0][1][:n_users, 0] != 0).all()


def test_rows_without_entries_stay(cpu_level):
    x, table = batches(optimizer="adam")
    x = CSR.from_pairs([0, 0], [1, 2], [1.0, 2.0], (7, 5))
    before = table.values.copy()
    kernels.fm_epoch(x, table, offset=0.0, weight_decay=0.5, batch_size=2)
    moved = np.flatnonzero((table.values != before).any(axis=1))
    assert moved.tolist() == [0, 8, 9]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"weights": np.ones(5, np.float32)}, "weights must hold a number for every row"),
        ({"other_weights": np.ones(6, np.float32)}, "other_weights must be as other"),
        ({"other_weights": np.zeros(5, np.float32)}, "weights must be above 0"),
    ],
)
def test_weights_are_checked(given, message):
    with pytest.raises(ValueError, match=message):
        sweep(problem(), 0, **given)


def test_tables_of_batches_are_checked():
    x, table = batches()
    for wrong, message in (
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"logistic": True}, "targets must be 0 or 1"),
        ({"span": 2.0}, r"targets must be in \[0, span\]"),
        ({"span": -1.0}, "span must be at least 0"),
        ({"span": np.nan}, "span must be at least 0"),
        ({"span": 1.0, "logistic": True}, "span must be at least 0, and 0 with logistic"),
        ({"table": Table.new(table.values[:-1].copy(), "sgd", 0.1)}, "a row for every user and every item"),
        ({"table": Table.new(table.values[:, :1].copy(), "sgd", 0.1)}, "rows must be padded"),
        ({"n_coordinates": 0}, "n_coordinates must be in"),
        ({"n_coordinates": WIDTH + 1}, "n_coordinates must be in"),
    ):
        of = wrong.pop("table", table)
        with pytest.raises(ValueError, match=message):
            kernels.fm_epoch(x, of, **{"offset": 0.0, "weight_decay": 0.0, "batch_size": 4} | wrong)

"""ImplicitALS on a cluster is ImplicitALS on one machine, whatever happens to its workers."""

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.cluster.shards import cuts
from cofactor.cluster.wire import received, sent

WEIGHT = 1 + pl.len() + cf.weights.half_life("30d").sum()


@pytest.fixture(scope="module")
def two(events):
    with events.interactions(WEIGHT, workers=2, threads=1) as x:
        yield x


@pytest.fixture(scope="module")
def x(local):
    return local.interactions(WEIGHT)


def same(model, other):
    np.testing.assert_allclose(model.loss_history_, other.loss_history_, rtol=1e-5)
    scores = [one.user_factors_ @ one.item_factors_.T for one in (model, other)]  # axes have a sign each
    np.testing.assert_allclose(*scores, atol=2e-4)


@pytest.mark.parametrize(
    "given",
    [
        {"factors": 8, "regularization": 0.1},
        {"factors": 8, "regularization": 0.1, "solver": "cg"},
        {"factors": 20, "regularization": 0.1, "solver": "subspace", "block_size": 16},
        {"factors": 8},
    ],
    ids=["cholesky", "cg", "subspace", "regularization tried out"],
)
def test_fit_is_that_of_one_machine(two, x, given):
    model, other = (cf.ImplicitALS(iterations=3, seed=2, **given).fit(data) for data in (two, x))
    same(model, other)
    assert model.regularization_ == pytest.approx(other.regularization_)
    assert model.interactions_.users == x.users
    assert model.interactions_.items == x.items
    for part in ("indptr", "indices"):
        assert np.array_equal(getattr(model.interactions_.user_items, part), getattr(x.user_items, part))
    np.testing.assert_allclose(model.interactions_.user_items.values, x.user_items.values, rtol=1e-6)


def test_the_number_of_workers_changes_no_bit(two, events):
    def fitted(data):
        return cf.ImplicitALS(8, regularization=0.1, solver="cg", iterations=2).fit(data)

    with events.interactions(WEIGHT, workers=1, threads=1) as one:
        first, second = fitted(one), fitted(two)
    assert np.array_equal(first.user_factors_, second.user_factors_)
    assert np.array_equal(first.item_factors_, second.item_factors_)


def test_the_model_is_an_ordinary_one(two, x, tmp_path):
    model = cf.ImplicitALS(8, regularization=0.1, iterations=2).fit(two)
    model.save(tmp_path / "model")
    lists = cf.load(tmp_path / "model").recommend(k=3)
    assert lists.equals(model.recommend(k=3))
    assert lists["user_id"].dtype == pl.String


def test_rows_in_half_the_bytes(two, events):
    def fitted(data):
        return cf.ImplicitALS(8, regularization=0.1, iterations=3).fit(data)

    whole = fitted(two)
    two.wire = "float16"
    try:
        half = fitted(two)
    finally:
        two.wire = "float32"
    assert not np.array_equal(half.loss_history_, whole.loss_history_)
    np.testing.assert_allclose(half.loss_history_, whole.loss_history_, rtol=1e-4)
    with pytest.raises(cf.ParameterError, match=r"wire must be one of .*float16.*, got 'bytes'"):
        events.interactions(wire="bytes")


@pytest.mark.parametrize("size", [1e-20, 1.0, 1e20])
def test_what_travels_in_half_the_bytes(size):
    rows = (np.random.default_rng(0).standard_normal((500, 7)) * size).astype(np.float32)
    rows[3] *= 1e-9  # small beside the others
    back = np.concatenate([received(sent(rows[:200])), received(sent(rows[200:]))])
    np.testing.assert_allclose(back, rows, rtol=2.0**-11, atol=2.0**-39 * np.abs(rows).max())
    assert sent(rows).rows.nbytes == rows.nbytes // 2
    for few in (rows[:0], rows[:1] * 0):
        assert np.array_equal(received(sent(few)), few)


def test_warm_start_and_an_early_end(two, x):
    start = cf.ImplicitALS(8, regularization=0.1, iterations=2).fit(x)

    def fitted(data):
        seen = []
        model = cf.ImplicitALS(8, regularization=0.1, iterations=5, solver="cg")
        model.fit(data, warm_start=start, on_iteration=lambda n, loss: seen.append(loss) or n == 2)
        return model, seen

    (model, seen), (other, _) = fitted(two), fitted(x)
    same(model, other)
    assert seen == list(model.loss_history_)
    assert len(seen) == 2


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_a_worker_that_is_killed_is_replaced(two, solver, kill):
    def fitted(**options):
        return cf.ImplicitALS(8, regularization=0.1, solver=solver, iterations=4).fit(two, **options)

    undisturbed, kills = fitted(), []

    def disturb(n, loss):
        if n in (1, 3):
            kill(two.pool(), n % 2)
            kills.append(n)

    model = fitted(on_iteration=disturb)
    assert kills == [1, 3]
    assert np.array_equal(model.loss_history_, undisturbed.loss_history_)
    assert np.array_equal(model.user_factors_, undisturbed.user_factors_)


def test_a_cluster_whose_threads_are_taken(two, events, monkeypatch):
    two.pool()
    monkeypatch.setattr("cofactor.cluster.pool._ROOM", 0.6)
    with (
        events.interactions(workers=1, threads=4) as late,
        pytest.raises(cf.CofactorError, match="1 of 1 workers of 4 threads found no room within 1 s"),
    ):
        late.pool()


def test_equations_without_a_solution_are_told_as_on_one_machine(two):
    model = cf.ImplicitALS(64, regularization=0, alpha=1e9, unobserved_weight=0)
    with pytest.raises(cf.CofactorError, match="regularization=0 is too small"):
        model.fit(two)
    assert not hasattr(model, "item_factors_")


def test_vectors_beyond_the_object_store(two):
    with pytest.raises(cf.ParameterError, match=r"factors=.*object store of every node; .*--object-store-memory"):
        cf.ImplicitALS(100_000, regularization=0.1, alpha=1, unobserved_weight=0.1).fit(two)


def test_other_models_and_devices(two):
    with pytest.raises(
        cf.ParameterError, match="interactions: of a cluster, ImplicitALS, CoVisitation and CoVisitationSum"
    ):
        cf.EASE().fit(two)


def test_an_interrupted_fit_ends_its_workers_and_is_resumed(events, tmp_path):
    def fitted(**options):
        return cf.ImplicitALS(8, regularization=0.1, solver="cg", iterations=5, **options.pop("given", {}))

    with events.interactions(workers=1, threads=1, checkpoint=tmp_path / "kept") as data:
        undisturbed = fitted().fit(data)
        assert list((tmp_path / "kept").iterdir()) == []  # done: nothing to go on from

        def interrupt(n, loss):
            if n == 4:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fitted().fit(data, on_iteration=interrupt)
        assert data._pool.handles == []
        with pytest.raises(cf.ParameterError, match=r"checkpoint.* is of a fit with seed=0, not 3"):
            fitted(given={"seed": 3}).fit(data)
        with (
            events.interactions(2 * pl.len(), workers=1, threads=1, checkpoint=tmp_path / "kept") as other,
            pytest.raises(cf.ParameterError, match=r"checkpoint.*of other data"),
        ):
            fitted().fit(other)
        seen = []
        model = fitted().fit(data, on_iteration=lambda n, loss: seen.append(n))
    assert seen == [4, 5]
    assert np.array_equal(model.loss_history_, undisturbed.loss_history_)
    assert np.array_equal(model.user_factors_, undisturbed.user_factors_)


def test_blocks_are_even_and_whole():
    counts = np.random.default_rng(0).pareto(1, 10_000).astype(np.int64)
    at = cuts(counts)
    assert at[0] == 0
    assert at[-1] == len(counts)
    assert (np.diff(at) > 0).all()
    work = np.add.reduceat(counts + 32, at[:-1])
    assert work.max() <= 2 * work.mean() + counts.max()
    even = cuts(np.full(100_000, 100))  # where nothing is long, they begin at multiples of a power of two
    assert not (even[:-1] % 64).any()
    assert np.diff(even).max() <= 1.15 * 100_000 / 64

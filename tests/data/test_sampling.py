import numpy as np
import pytest

from cofactor import datasets
from cofactor.data.sampling import negatives
from cofactor.errors import CofactorError, ParameterError


@pytest.fixture(scope="module")
def x():
    return datasets.synthetic(60, 40, 900, seed=0)


def pairs(users, items):
    return np.repeat(users, items.shape[1]), items.ravel()


def test_exact_gives_what_the_user_does_not_have(x):
    users = np.repeat(np.arange(60), 50)
    found = negatives(x, users, 7)
    assert found.shape == (3000, 7)
    assert found.dtype == np.int32
    assert not x.user_items.lookup(*pairs(users, found)).any()
    unseen = x.user_items.to_scipy().toarray() == 0
    given = np.zeros_like(unseen)
    given[pairs(users, found)] = True
    assert (given == unseen).mean() > 0.99


@pytest.mark.parametrize("power", [0, 0.75, 2.0])
def test_popularity_has_its_power(x, power):
    counts = np.bincount(x.user_items.indices, minlength=40).astype(float)
    found = negatives(x, np.zeros(200_000, int), 1, sampler="popularity", power=power)
    share = np.bincount(found.ravel(), minlength=40) / found.size
    np.testing.assert_allclose(share, counts**power / (counts**power).sum(), atol=0.004)


def test_uniform_is_unchecked(x):
    found = negatives(x, np.zeros(100_000, int), 1, sampler="uniform")
    np.testing.assert_allclose(np.bincount(found.ravel(), minlength=40) / found.size, 1 / 40, atol=0.003)


@pytest.mark.parametrize("sampler", ["exact", "uniform", "popularity"])
def test_batches_seeds_and_threads(x, sampler):
    users = x.user_items.row_index()
    every = negatives(x, users, 3, sampler=sampler, seed=5)
    parts = [negatives(x, users[a : a + 77], 3, sampler=sampler, seed=5, first=a) for a in range(0, len(users), 77)]
    np.testing.assert_array_equal(np.concatenate(parts), every)
    np.testing.assert_array_equal(negatives(x, users.tolist(), 3, sampler=sampler, seed=5, threads=3), every)
    assert (negatives(x, users, 3, sampler=sampler, seed=6) != every).mean() > 0.5


def test_nobody_and_nothing(x):
    assert negatives(x, [], 3).shape == (0, 3)
    assert negatives(x, [1, 2], 0).shape == (2, 0)


def test_a_user_of_everything_gets_none():
    x = datasets.synthetic(3, 2, 6, seed=0)
    assert x.user_items.nnz == 6
    assert (negatives(x, [0, 1, 2], 4) == -1).all()
    assert (negatives(x, [0, 1, 2], 4, sampler="uniform") >= 0).all()


@pytest.mark.parametrize(
    "changed",
    [
        {"users": [60]}, {"users": [-1]}, {"users": [0.5]}, {"users": [[0]]}, {"n": -1}, {"n": 1.5}, {"seed": -1},
        {"first": -1}, {"seed": 2**64}, {"sampler": "exactly"}, {"power": -1}, {"power": np.nan}, {"threads": 0},
    ],
)  # fmt: skip
def test_bad_arguments(x, changed):
    with pytest.raises(CofactorError, match=next(iter(changed))):
        negatives(**{"interactions": x, "users": [0], "n": 1} | changed)


def test_only_interactions(x):
    with pytest.raises(ParameterError, match="interactions must be Interactions"):
        negatives(x.user_items, [0], 1)

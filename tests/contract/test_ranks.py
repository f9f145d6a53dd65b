"""Ranks of single items are those in the complete lists of every model, and metrics from both are the same."""

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.evaluation.measure import measure
from cofactor.kernels.csr import CSR
from cofactor.kernels.filters import Filters
from vectors import pattern
from zoo import NAMES, make


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def fitted(interactions):
    models = {name: make(name).fit(interactions) for name in NAMES}
    return models.__getitem__


@pytest.fixture
def model(fitted, name):
    return fitted(name)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


class ListsOnly:
    """A fitted model as one of another library: all that it says it says by lists."""

    def __init__(self, model):
        self.interactions_ = model.interactions_
        self.recommend = model.recommend
        self.predict = model.predict


def by_lists(top, wanted):
    """Rank and mean rank of neighbours of one score, pair by pair, and the lengths."""
    rank, middle = np.zeros(wanted.nnz, np.int32), np.zeros(wanted.nnz)
    for pair, (row, item) in enumerate(zip(wanted.row_index(), wanted.indices, strict=True)):
        if (at := np.flatnonzero(top.rows[row] == item)).size:
            scores = top.scores[row][top.rows[row] >= 0]
            first = last = at[0]
            while first > 0 and scores[first - 1] == scores[at[0]]:
                first -= 1
            while last + 1 < len(scores) and scores[last + 1] == scores[at[0]]:
                last += 1
            rank[pair], middle[pair] = at[0] + 1, (first + last) / 2 + 1
    return rank, middle, (top.rows >= 0).sum(axis=1)


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_ranks_are_places_in_complete_lists(model, rng, exclude_seen):
    for users in (np.arange(60), np.array([31, 2, 59, 2])):
        wanted, exclude = pattern(rng, len(users), 40, 0.3), pattern(rng, len(users), 40, 0.2)
        allowed = np.sort(rng.choice(40, 25, replace=False)).astype(np.int32)
        for filters in (Filters(), Filters(exclude), Filters(allowed=allowed), Filters(exclude, allowed)):
            found = model.ranks(users, wanted, exclude_seen=exclude_seen, filters=filters)
            top = model.top_k(users, 40, exclude_seen=exclude_seen, filters=filters)
            for one, other in zip(found, by_lists(top, wanted), strict=True):
                np.testing.assert_array_equal(one, other)


def test_ranks_of_many_batches(model, rng, monkeypatch):
    wanted = pattern(rng, 60, 40, 0.3)
    whole = model.ranks(np.arange(60), wanted)
    monkeypatch.setattr("cofactor.models.base.ranks._PLACES", 7 * 40)
    for one, other in zip(model.ranks(np.arange(60), wanted), whole, strict=True):
        np.testing.assert_array_equal(one, other)


def test_nobody_and_nothing_has_no_ranks(model):
    rank, middle, n_listed = model.ranks([], CSR.from_pairs([], [], [], (0, 40)))
    assert len(rank) == len(middle) == len(n_listed) == 0
    rank, middle, n_listed = model.ranks([3], CSR.from_pairs([], [], [], (1, 40)))
    assert len(rank) == len(middle) == 0
    assert n_listed.tolist() == [(model.top_k([3], 40).rows >= 0).sum()]


def test_what_does_not_fit_is_refused(model, name):
    wanted = CSR.from_pairs([0], [3], [1], (1, 40))
    with pytest.raises(cf.ParameterError, match=r"wanted has shape \(1, 40\); it must be \(2, 40\)"):
        model.ranks([0, 1], wanted)
    with pytest.raises(cf.ParameterError, match=r"wanted must be a CSR"):
        model.ranks([0], [[3]])
    with pytest.raises(cf.ParameterError, match=r"users .*60"):
        model.ranks([60], wanted)
    with pytest.raises(cf.ParameterError, match="exclude_seen must be True or False"):
        model.ranks([0], wanted, exclude_seen=1)
    with pytest.raises(cf.NotFittedError):
        make(name).ranks([0], wanted)


TEST = pl.DataFrame(
    {
        "user_id": [0, 0, 0, 5, 7, 7, 7, 7, 31, 31, 58, 59, 99],
        "item_id": [39, 2, 17, 8, 30, 1, 777, 12, 22, 5, 888, 3, 4],
    }
)


def values(model, metrics, test=TEST, **options):
    """All values, or the error; seen pairs are told by a warning at other places."""
    try:
        return measure(model, test, metrics, **options).values
    except cf.DataError as error:
        return str(error).replace("ListsOnly", type(model).__name__)


@pytest.mark.parametrize("unknown_users", ["exclude", "zero"])
@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("metrics", [["map@3", "mrr"], ["auc"], ["recall@5", "auc", "ndcg@40", "mrr@10"]])
def test_metrics_of_ranks_are_those_of_complete_lists(model, metrics, exclude_seen, unknown_users, monkeypatch):
    options = {"exclude_seen": exclude_seen, "unknown_users": unknown_users}
    monkeypatch.setattr("cofactor.evaluation.lists.USERS_PER_BATCH", 3)
    got, wanted = values(model, metrics, **options), values(ListsOnly(model), metrics, **options)
    if isinstance(wanted, str):
        assert got == wanted
        return
    assert list(got) == metrics
    for metric in metrics:
        np.testing.assert_array_equal(got[metric], wanted[metric])

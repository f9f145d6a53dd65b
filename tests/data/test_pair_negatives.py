"""Negatives beside the pairs of a loader."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

import cofactor as cf
from cofactor.errors import DataError, ParameterError


def whole(loader):
    """The columns of a pass."""
    return [np.concatenate(column) for column in zip(*loader, strict=True)]


def by_pair(columns, n_items):
    """The same in the order of the pairs."""
    order = np.argsort(columns[0].astype(np.int64) * n_items + columns[1])
    return [column[order] for column in columns]


@pytest.mark.parametrize("sampler", ["exact", "popularity"])
def test_negatives_were_not_seen(interactions, sampler):
    seen = interactions.user_items.to_scipy().toarray() > 0
    for _ in range(3):
        for users, items, negatives in cf.PairLoader(interactions, 64, negatives=7, sampler=sampler):
            assert negatives.shape == (len(users), 7)
            assert negatives.dtype == np.int32
            assert seen[users, items].all()
            assert not seen[users[:, None], negatives].any()


def test_unchecked_ones_are_any_item(interactions):
    *_, negatives = whole(cf.PairLoader(interactions, negatives=200, sampler="uniform"))
    assert stats.chisquare(np.bincount(negatives.ravel(), minlength=interactions.n_items)).pvalue > 0.001


def test_how_likely_unseen_items_are(interactions):
    """Chi-square over the unseen items of one user: equal, or as the number of their users says."""
    x = interactions.user_items
    counts = np.bincount(x.indices, minlength=x.n_columns)
    unseen = np.setdiff1d(np.arange(x.n_columns), x.indices[: x.indptr[1]])
    for sampler, weights in (("exact", np.ones(len(counts))), ("popularity", counts)):
        users, _, negatives = whole(cf.PairLoader(interactions, negatives=1000, sampler=sampler))
        drawn = np.bincount(negatives[users == 0].ravel(), minlength=x.n_columns)[unseen]
        wanted = weights[unseen] / weights[unseen].sum() * drawn.sum()
        assert stats.chisquare(drawn, wanted).pvalue > 0.001


@pytest.mark.parametrize("sampler", ["exact", "uniform", "popularity"])
def test_they_follow_from_the_seed(interactions, sampler):
    def make(**options):
        return cf.PairLoader(interactions, **{"batch_size": 64, "negatives": 5, "sampler": sampler, **options})

    loader = make(seed=3, threads=1)
    first, second = whole(loader), whole(loader)
    for options in ({"threads": 5}, {"batch_size": 1000}):  # nor do batches matter
        assert all(map(np.array_equal, whole(make(seed=3, **options)), first))
    n_items = interactions.n_items
    assert not np.array_equal(by_pair(first, n_items)[2], by_pair(second, n_items)[2])
    assert not np.array_equal(whole(make(seed=4))[2], first[2])


def test_a_pass_goes_on_with_the_same_negatives(interactions):
    loader, other = (cf.PairLoader(interactions, 50, negatives=3) for _ in range(2))
    running = iter(loader)
    next(running)
    other.restore(loader.state())
    for ours, theirs in zip(running, other, strict=True):
        assert all(map(np.array_equal, ours, theirs))
    with pytest.raises(ParameterError, match="state: negatives was 3 there and is 2 here"):
        cf.PairLoader(interactions, 50, negatives=2).restore(loader.state())


def test_a_user_who_has_seen_everything():
    x = cf.Interactions.from_csr(np.array([[1, 1, 1], [0, 1, 0]]))
    users, _, negatives = whole(cf.PairLoader(x, negatives=4))
    assert (negatives[users == 0] == -1).all()
    assert set(negatives[users == 1].ravel()) <= {0, 2}


def test_pairs_from_files(interactions, tmp_path, monkeypatch):
    monkeypatch.setattr("cofactor.data.pair_sources.BLOCK", 100)
    monkeypatch.setattr("cofactor.data.pairs.BLOCK", 100)
    x = interactions.user_items
    table = pl.DataFrame({"u": x.row_index(), "i": x.indices.astype(np.int64)})
    table.write_parquet(tmp_path / "a.parquet")
    loader = cf.PairLoader(tmp_path / "a.parquet", 64, negatives=5, interactions=interactions, buffer_size=200)
    users, items, negatives = whole(loader)
    seen = x.to_scipy().toarray() > 0
    assert sorted(zip(users, items, strict=True)) == sorted(table.iter_rows())
    assert not seen[users[:, None], negatives].any()


def test_tensors(interactions):
    torch = pytest.importorskip("torch", reason="tensors are those of PyTorch")
    arrays = whole(cf.PairLoader(interactions, negatives=2))
    for array, tensor in zip(arrays, next(iter(cf.PairLoader(interactions, negatives=2, tensors=True))), strict=True):
        assert torch.equal(tensor, torch.from_numpy(array))


def test_what_cannot_be_drawn_for(interactions):
    pairs = np.array([0, 59], np.int32), np.array([0, 39], np.int32)
    with pytest.raises(ParameterError, match="negatives=2 needs interactions="):
        cf.PairLoader(pairs, negatives=2)
    with pytest.raises(ParameterError, match=r"pairs of user and item, but there are 3 columns \(0, 1, 2\)"):
        cf.PairLoader((*pairs, pairs[0]), negatives=2, interactions=interactions)
    with pytest.raises(ParameterError, match="ask for some by negatives="):
        cf.PairLoader(pairs, interactions=interactions)
    with pytest.raises(ParameterError, match="interactions must be Interactions"):
        cf.PairLoader(pairs, negatives=2, interactions="log.csv")
    for options, told in (
        ({"negatives": -1}, "negatives must be"),
        ({"sampler": "in_batch"}, "sampler must be one of"),
    ):
        with pytest.raises(ParameterError, match=told):
            cf.PairLoader(interactions, **options)
    for at, size in ((0, 60), (1, 40)):
        beyond = [column.copy() for column in pairs]
        beyond[at][1] = size
        with pytest.raises(DataError, match=f"column {at} has row {size}, but interactions= has {size} of them"):
            whole(cf.PairLoader(beyond, negatives=2, interactions=interactions))

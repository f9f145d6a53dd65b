"""Loaders whose batches are tensors, under torch's own DataLoader."""

import multiprocessing
import pickle
import sys

import numpy as np
import polars as pl
import pytest

import cofactor as cf


def pairs(n):
    return np.arange(n, dtype=np.int32), np.arange(n, dtype=np.int64) * 3 + 1


def test_without_torch_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.data", None)
    with pytest.raises(cf.MissingExtraError, match=r"tensors=True needs PyTorch: pip install 'cofactor\[torch\]'"):
        cf.PairLoader(pairs(10), tensors=True)


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="tensors are those of PyTorch")


def under(torch, loader, **options):
    """A pass of torch's DataLoader, which has a process of its own for each worker."""
    return list(torch.utils.data.DataLoader(loader, batch_size=None, **options))


def test_tensors_share_the_memory_of_the_arrays(torch):
    plain = list(cf.PairLoader(pairs(1000), 64, seed=1))
    loader = cf.PairLoader(pairs(1000), 64, seed=1, tensors=True)
    assert isinstance(loader, torch.utils.data.IterableDataset)
    for arrays, tensors in zip(plain, loader, strict=True):
        assert [t.dtype for t in tensors] == [torch.int32, torch.int64]
        assert all(np.array_equal(array, tensor.numpy()) for array, tensor in zip(arrays, tensors, strict=True))
    first, _ = next(iter(loader))
    first.numpy()[0] = -7
    assert first[0] == -7


def test_the_data_loader_takes_it_as_it_is(torch):
    loader, own = (cf.PairLoader(pairs(1000), 64, tensors=True) for _ in range(2))
    wrapped = torch.utils.data.DataLoader(loader, batch_size=None)
    assert len(wrapped) == len(loader) == 16
    for _ in range(2):  # passes differ, and are those of the loader itself
        for one, other in zip(list(wrapped), list(own), strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert loader.epoch == 2


def test_a_loader_is_pickled(torch):
    loader = cf.PairLoader(pairs(100), 30, tensors=True)
    list(loader)
    copy = pickle.loads(pickle.dumps(loader))  # noqa: S301
    assert isinstance(copy, torch.utils.data.IterableDataset)
    assert type(copy).__name__ == "PairLoader"
    assert copy.state() == loader.state()
    for one, other in zip(copy, loader, strict=True):
        assert torch.equal(one[0], other[0])


def check_shares(torch, make_loader, **options):
    """Workers give every batch once, in an order that torch's seed decides, whatever their number."""
    loader = make_loader()
    torch.manual_seed(3)
    passes = [under(torch, loader, num_workers=2, **options) for _ in range(2)]
    orders = [torch.cat([first for first, _ in batches]) for batches in passes]
    assert not torch.equal(*orders)  # though workers start anew, each pass has an order of its own
    for batches, order in zip(passes, orders, strict=True):
        assert [len(first) for first, _ in batches] == [64] * 15 + [40]
        assert torch.equal(order.sort()[0], torch.arange(1000, dtype=torch.int32))
    torch.manual_seed(3)
    alone = under(torch, loader, num_workers=1, **options)
    assert torch.equal(torch.cat([first for first, _ in alone]), orders[0])


FORKS = "fork" in multiprocessing.get_all_start_methods()


@pytest.mark.skipif(not FORKS, reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_workers_share_a_pass(torch):
    check_shares(torch, lambda: cf.PairLoader(pairs(1000), 64, tensors=True), multiprocessing_context="fork")


@pytest.fixture
def streamed(tmp_path, monkeypatch):
    """A loader that reads its file block by block."""
    first, second = pairs(1000)
    file = tmp_path / "a.parquet"
    pl.DataFrame({"item": first, "next": second}).write_parquet(file)
    monkeypatch.setattr("cofactor.data.pair_sources.BLOCK", 100)
    monkeypatch.setattr("cofactor.data.pairs.BLOCK", 100)
    return lambda: cf.PairLoader(file, 64, buffer_size=300, tensors=True)


@pytest.mark.slow  # each worker imports torch
def test_spawned_workers_share_a_file(torch, streamed):
    check_shares(torch, streamed, multiprocessing_context="spawn")


@pytest.mark.skipif(not FORKS, reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_workers_say_that_they_cannot_read_files(torch, streamed):
    with pytest.raises(cf.CofactorError, match="spawn"):
        under(torch, streamed(), num_workers=1, multiprocessing_context="fork")

"""Batches of pairs: every pair once a pass, in an order that is by chance, from memory and from files."""

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

import cofactor as cf
from cofactor.data import pair_sources
from cofactor.errors import DataError, ParameterError


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Files of a few thousand rows are streamed as large ones are."""
    monkeypatch.setattr(pair_sources, "BLOCK", 100)
    monkeypatch.setattr("cofactor.data.pairs.BLOCK", 100)
    monkeypatch.setattr("cofactor.data.pairs._AHEAD", 150)


def pairs(n, dtype=np.int32):
    return np.arange(n, dtype=dtype), np.arange(n, dtype=dtype) * 3 + 1


def whole(loader):
    """The columns of a pass."""
    return [np.concatenate(column) for column in zip(*loader, strict=True)]


def write(path, n, begin=0, **options):
    first = np.arange(begin, begin + n)
    table = pl.DataFrame({"item": first, "next": first * 3 + 1, "text": first.astype(str)})
    table.with_columns(pl.col("item").cast(pl.Int32)).write_parquet(path, **options)
    return path


@pytest.fixture
def files(tmp_path):
    """3,210 pairs in three files."""
    return [
        write(tmp_path / f"{at}.parquet", n, at, row_group_size=70) for at, n in ((0, 2000), (2000, 10), (2010, 1200))
    ]


def streamed(files, **options):
    return cf.PairLoader(files, **{"columns": ["item", "next"], "batch_size": 64, "buffer_size": 500, **options})


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 3000), st.integers(1, 4000), st.booleans(), st.integers(0, 2**40))
def test_every_pair_once_a_pass(n, batch_size, shuffle, seed):
    loader = cf.PairLoader(pairs(n), batch_size, shuffle=shuffle, seed=seed)
    for _ in range(2):
        batches = list(loader)
        assert [len(first) for first, _ in batches] == [batch_size] * (n // batch_size) + [n % batch_size] * (
            n % batch_size > 0
        )
        assert len(batches) == len(loader)
        first, second = (np.concatenate(column) for column in zip(*batches, strict=True))
        assert np.array_equal(np.sort(first), np.arange(n))
        assert np.array_equal(second, first * 3 + 1)
        assert shuffle or np.array_equal(first, np.arange(n))


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_kinds_of_sources(dtype):
    a, b = pairs(500, dtype)
    table = np.stack([a, b], axis=1)
    wanted = whole(cf.PairLoader((a, b), 60, seed=3))
    sources = [
        table,
        np.asfortranarray(table),
        [a, b],
        {"x": a, "y": b},
        pl.DataFrame({"x": a, "y": b}),
        table[::-1][::-1],
    ]
    for source in sources:
        got = whole(cf.PairLoader(source, 60, seed=3))
        assert np.array_equal(got, wanted)
        assert got[0].dtype == dtype
    assert np.array_equal(whole(cf.PairLoader({"x": a, "z": a, "y": b}, 60, columns=["y", "x"], seed=3)), wanted[::-1])
    assert len(whole(cf.PairLoader((a, b, a)))) == 3


def test_interactions_give_their_entries(interactions):
    users, items = whole(cf.PairLoader(interactions, 100))
    there = interactions.user_items.to_scipy()
    assert len(users) == interactions.nnz
    assert there[users, items].all()


def test_files_give_every_pair_once(files):
    for options in ({}, {"batch_size": 1000}, {"shuffle": False}, {"buffer_size": 10_000}):
        first, second = whole(streamed(files, **options))
        assert (first.dtype, second.dtype) == (np.int32, np.int64)
        assert np.array_equal(np.sort(first), np.arange(3210))
        assert np.array_equal(second, first * 3 + 1)
        assert np.array_equal(first, np.arange(3210)) == (options == {"shuffle": False})


def test_many_small_files_share_a_buffer(tmp_path):
    files = [write(tmp_path / f"{at:03}.parquet", 3, at * 3) for at in range(150)]
    loader = cf.PairLoader(tmp_path, columns=["item"], buffer_size=450)
    for file in files:
        file.unlink()  # all were read
    assert np.array_equal(np.sort(whole(loader)[0]), np.arange(450))


def test_large_files_are_never_in_memory_as_a_whole(files, monkeypatch):
    sizes, read = [], pair_sources.FilePairs._read
    monkeypatch.setattr(
        pair_sources.FilePairs, "_read", lambda self, blocks: sizes.append(len(got := read(self, blocks))) or got
    )
    groups = streamed(files)._pairs.groups(np.arange)
    assert all(group.size <= 500 for group in groups)
    assert sum(group.size for group in groups) == 3210
    whole(streamed(files))
    assert len(sizes) == len(groups)  # and each is read once


@pytest.mark.parametrize("source", ["memory", "files"])
def test_the_order_follows_from_seed_and_epoch(source, files):
    def make(**options):
        return cf.PairLoader(pairs(3210), 64, **options) if source == "memory" else streamed(files, **options)

    loader = make(seed=5, threads=1)
    first, second = whole(loader)[0], whole(loader)[0]
    assert loader.epoch == 2
    assert not np.array_equal(first, second)
    again = make(seed=5, threads=7)
    assert np.array_equal(whole(again)[0], first)
    again.epoch = 1
    assert np.array_equal(whole(again)[0], second)
    assert not np.array_equal(whole(make(seed=6))[0], first)


@pytest.mark.parametrize("source", ["memory", "files"])
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stop=st.integers(0, 50), size=st.sampled_from([64, 100, 999]))
def test_a_pass_goes_on_where_it_was(source, stop, size, tmp_path_factory):
    files = write(tmp_path_factory.mktemp("pass") / "a.parquet", 3210)

    def make():
        return (
            cf.PairLoader(pairs(3210), size, seed=2) if source == "memory" else streamed(files, batch_size=size, seed=2)
        )

    loader = make()
    stop = min(stop, len(loader))
    wanted = whole(loader)[0]
    loader.epoch = 0
    running = iter(loader)
    seen = [next(running)[0] for _ in range(stop)]
    state = loader.state()
    other = make()
    other.restore(state)
    assert other.state() == state
    rest = [first for first, _ in other] if stop < len(loader) else []
    assert np.array_equal(np.concatenate(seen + rest), wanted)
    if rest:
        assert other.state() == {**state, "epoch": 1, "batch": 0}


@pytest.mark.parametrize("source", ["memory", "files"])
def test_ctrl_c_loses_nothing(source, files, monkeypatch):
    loader = cf.PairLoader(pairs(3210), 64) if source == "memory" else streamed(files)
    wanted, seen = whole(loader)[0], []
    loader.epoch = 0
    gather, calls = cf.kernels.cpu.shuffle.gather, []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == 7:
            raise KeyboardInterrupt
        gather(*arguments, **options)

    monkeypatch.setattr(cf.kernels.cpu.Kernels, "gather", staticmethod(interrupted))
    with pytest.raises(KeyboardInterrupt):
        seen.extend(first for first, _ in loader)
    assert 0 < len(seen) < len(loader)
    loader.restore(loader.state())
    assert np.array_equal(np.concatenate([*seen, *(first for first, _ in loader)]), wanted)


def test_batches_are_the_readers_own():
    a, b = pairs(100)
    for shuffle in (True, False):
        for first, _ in cf.PairLoader((a, b), 7, shuffle=shuffle):
            first[:] = -1
    assert np.array_equal(a, np.arange(100))


def test_drop_last():
    loader = cf.PairLoader(pairs(100), 30, drop_last=True)
    assert [len(first) for first, _ in loader] == [30] * 3
    assert len(loader) == 3
    with pytest.raises(ParameterError, match="drop_last=True leaves no batch of 100 pairs"):
        cf.PairLoader(pairs(100), 101, drop_last=True)


def orders(loader, n_passes):
    """(n_passes, n): which pair stood at each place."""
    return np.array([whole(loader)[0] for _ in range(n_passes)])


@pytest.mark.parametrize(("source", "n_passes"), [("memory", 1000), ("files", 200)])
def test_every_place_is_as_likely(source, n_passes, tmp_path):
    """Of 20 parts of the source every one is in every twentieth of the pass as often: chi-square, fixed seed."""
    rows, file = 1000, write(tmp_path / "a.parquet", 1000)
    loader = cf.PairLoader(pairs(rows), 500) if source == "memory" else streamed(file, buffer_size=300)
    places = np.argsort(orders(loader, n_passes), axis=1)  # place of each pair
    for pair in (0, 1, 777, 999):  # single pairs: passes are independent
        assert stats.chisquare(np.bincount(places[:, pair] * 20 // rows, minlength=20)).pvalue > 0.001
    means = places.mean(axis=1)
    assert np.allclose(means, (rows - 1) / 2)


def test_a_permutation_in_memory_has_no_serial_correlation():
    got = orders(cf.PairLoader(pairs(20_000), 64, seed=1), 15)
    serial = [np.corrcoef(order[:-1], order[1:])[0, 1] for order in got]
    assert abs(np.mean(serial)) < 4 / np.sqrt(got.size)
    assert stats.kstest(got[:, :2000].ravel() / 20_000, "uniform").pvalue > 0.001
    between = np.corrcoef(got)[np.triu_indices(len(got), 1)]  # one pass tells nothing of another
    assert abs(between).max() < 5 / np.sqrt(20_000)


def test_the_serial_correlation_of_files_is_that_of_the_blocks(tmp_path):
    """Pairs of one buffer come from a few blocks: the more of them, the nearer it is to a permutation."""
    file = write(tmp_path / "a.parquet", 10_000)
    serial = {}
    for n_blocks in (2, 10, 50):
        got = orders(streamed(file, buffer_size=100 * n_blocks), 8)
        serial[n_blocks] = np.mean([np.corrcoef(order[:-1], order[1:])[0, 1] for order in got])
        # of two in a buffer of b blocks, 1 in b share one; beyond this they know nothing of each other
        assert abs(serial[n_blocks] - 1 / n_blocks) < 0.02 + 0.3 / n_blocks
        for order in got[:3]:  # inside a buffer: by chance
            inside = order[: 100 * n_blocks]
            assert abs(stats.spearmanr(np.arange(len(inside)), inside)[0]) < 5 / np.sqrt(len(inside))
    assert serial[50] < serial[10] < serial[2]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ((np.zeros(0, np.int32), np.zeros(0, np.int32)), "there are no pairs"),
        ((np.zeros(3, np.int32), np.zeros(4, np.int32)), "of one length, but 0 has 3, 1 has 4"),
        ({"a": np.zeros(3, np.int32), "b": np.zeros(3)}, "column b is float64; .*astype"),
        ((np.zeros(3, np.uint8), np.zeros(3, np.int32)), "column 0 is uint8"),
        ((np.array([1, 2, -5], np.int32), np.zeros(3, np.int32)), "column 0 is -5 in row 2; .*0 or more"),
        (pl.DataFrame({"a": [1, None]}), "column a is float64; .*nulls"),
        ({"a": [1, 2]}, "column a must be an array"),
        ((np.zeros((3, 2), np.int32), np.zeros(3, np.int32)), "one dimension"),
    ],
)
def test_arrays_that_are_no_pairs(source, told):
    with pytest.raises(DataError, match=told):
        cf.PairLoader(source)


@pytest.mark.parametrize("source", [None, 3, [], (), {}, np.zeros(3, np.int32), [[1, 2], [3, 4]], pl.Series([1])])
def test_things_that_are_no_source(source):
    with pytest.raises(ParameterError, match="source must be arrays"):
        cf.PairLoader(source)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"batch_size": 0}, "batch_size must be"),
        ({"batch_size": 2.5}, "batch_size must be"),
        ({"seed": -1}, "seed must be"),
        ({"buffer_size": 10}, "buffer_size must be"),
        ({"shuffle": "yes"}, "shuffle must be"),
        ({"drop_last": 1}, "drop_last must be"),
        ({"tensors": None}, "tensors must be"),
        ({"threads": 0}, "threads must be"),
        ({"columns": "ab"}, "columns must be"),
        ({"columns": ["a"]}, "columns=.*2 arrays"),
        ({"columns": ["a", "a"]}, "name each column once"),
    ],
)
def test_parameters_are_checked(options, told):
    with pytest.raises(ParameterError, match=told):
        cf.PairLoader(pairs(5), **options)


def test_pairs_of_items_have_no_users_to_draw_negatives_for(interactions):
    log = pl.DataFrame({"session": [1, 1, 2, 2], "item": [1, 2, 1, 3]})
    found = cf.read_events(log, user=None, session="session", item="item").sessions().pairs()
    with pytest.raises(ParameterError, match="negatives are drawn for users, and source has pairs of items"):
        cf.PairLoader(found, negatives=2, interactions=interactions)


def test_states_of_other_loaders_are_refused():
    loader = cf.PairLoader(pairs(100), 10)
    state = loader.state()
    with pytest.raises(ParameterError, match="state: seed was 0 there and is 1 here"):
        cf.PairLoader(pairs(100), 10, seed=1).restore(state)
    with pytest.raises(ParameterError, match="state: pairs was 100 there and is 99"):
        cf.PairLoader(pairs(99), 10).restore(state)
    with pytest.raises(ParameterError, match="no batch 10 in epoch 0"):
        loader.restore({**state, "batch": 10})
    for wrong in ({}, {**state, "batch": "3"}, [1]):
        with pytest.raises(ParameterError, match="state must be"):
            loader.restore(wrong)


def test_columns_of_files_are_checked(files, tmp_path):
    with pytest.raises(DataError, match=r"0\.parquet: no column user; the columns are item, next, text"):
        streamed(files, columns=["user", "item"])
    with pytest.raises(DataError, match=r"0\.parquet: column text is String; .*columns="):
        streamed(files, columns=None)
    pl.DataFrame({"item": [1], "other": [2]}).write_parquet(tmp_path / "9.parquet")
    with pytest.raises(DataError, match=r"9\.parquet: no column next"):
        streamed([*files, tmp_path / "9.parquet"])
    with pytest.raises(DataError, match="no such file"):
        streamed(tmp_path / "none.parquet")
    pl.DataFrame({"item": pl.Series([], dtype=pl.Int32), "next": pl.Series([], dtype=pl.Int32)}).write_parquet(
        tmp_path / "8.parquet"
    )
    with pytest.raises(DataError, match="there are no pairs"):
        streamed(tmp_path / "8.parquet")


@pytest.mark.parametrize(
    ("value", "told"), [(None, "column item is null in row 450"), (-3, "column item is -3 in row 450")]
)
def test_bad_rows_of_files_are_named(value, told, tmp_path):
    items = [*range(450), value, *range(500)]
    pl.DataFrame({"item": items, "next": range(951)}).write_parquet(tmp_path / "a.parquet")
    loader = streamed(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=rf"a\.parquet: .*{told}"):
        whole(loader)
    with pytest.raises(DataError, match=rf"a\.parquet: .*{told}"):  # or at once, where files are read at once
        streamed(tmp_path / "a.parquet", buffer_size=10_000)


def test_files_that_are_cut_change_or_go(files):
    data = files[2].read_bytes()
    files[2].write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"2010\.parquet: not readable as parquet"):
        streamed(files)
    files[2].write_bytes(data)
    loader = streamed(files)
    whole(loader)
    write(files[2], 1300, 2010)
    with pytest.raises(DataError, match=r"2010\.parquet: the file has changed since it was read"):
        whole(loader)
    running = iter(streamed(files))
    next(running)
    files[2].unlink()
    with pytest.raises(DataError, match=r"2010\.parquet: .*is gone"):
        list(running)


def test_a_page_that_cannot_be_read_is_an_error_of_its_file(files, monkeypatch):
    """As where a disk fails: the length and time of the file say nothing."""
    import os

    loader, data, state = streamed(files), bytearray(files[0].read_bytes()), files[0].stat()
    data[4:3000] = bytes(2996)
    files[0].write_bytes(data)
    os.utime(files[0], ns=(state.st_atime_ns, state.st_mtime_ns))
    with pytest.raises(DataError, match=r"0\.parquet: not readable as parquet"):
        whole(loader)


def test_repr():
    assert repr(cf.PairLoader(pairs(100), 30)) == "PairLoader(100 pairs of 0, 1 in 4 batches of 30)"

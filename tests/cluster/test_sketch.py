"""What a checkpoint knows of the rows it was made of: other pairs and other weights are refused, last bits are not."""

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.cluster.sketch import alike, digest, sketched

BLOCKS = np.array([0, 90, 91, 200, 300])


def matrix(seed=0):
    return cf.datasets.synthetic(300, 80, 6000, seed=seed).user_items


def told(blocks):
    return [list(block.weights) for block in blocks]


def test_parts_of_the_rows_tell_what_all_tell():
    x = matrix()
    parts = [sketched(x.take(np.arange(a, b)), at) for a, b, at in ((0, 91, BLOCKS[:3]), (91, 300, BLOCKS[2:] - 91))]
    assert parts[0] + parts[1] == sketched(x, BLOCKS)
    assert sketched(x, BLOCKS[:1]) == []  # a worker without rows


def test_pairs_are_told_from_others():
    x, y = matrix(), matrix()
    length = np.diff(x.indptr)
    row = next(i for i in range(299) if length[i] == length[i + 1] and (x.row(i)[0] != x.row(i + 1)[0]).any())
    a, b, c = x.indptr[row : row + 3]
    y.indices[a:b], y.indices[b:c] = x.indices[b:c].copy(), x.indices[a:b].copy()  # as many of each user and item
    assert digest(sketched(x, BLOCKS)) != digest(sketched(y, BLOCKS))
    assert digest(sketched(x, BLOCKS)) == digest(sketched(matrix(), BLOCKS))


def test_weights_are_told_from_others_but_for_last_bits():
    x, rng = matrix(), np.random.default_rng(1)
    x.values[:] = rng.uniform(0.1, 9, len(x.values))
    kept, before = told(sketched(x, BLOCKS)), x.values.copy()
    x.values.view(np.int32)[:] += rng.integers(-40, 41, len(before), np.int32)
    assert alike(sketched(x, BLOCKS), kept)
    for change in (0, 1, len(before) - 1):
        x.values[:] = before
        x.values[change] *= 1.01
        assert not alike(sketched(x, BLOCKS), kept)
    x.values[:] = before
    x.values[[3, 4]] = x.values[[4, 3]]  # the same sum
    assert not alike(sketched(x, BLOCKS), kept)
    for damaged in (None, kept[:-1], [[1.0]] * 4, [None] * 4):
        assert not alike(sketched(matrix(), BLOCKS), damaged)


@pytest.fixture
def resumed(cluster, tmp_path):
    """Interrupts a fit on a table, and goes on with another one; the first iteration that is its own."""

    def resumed(table, other, weight):
        def fitted(table, hook, workers):
            table.write_parquet(tmp_path / "log.parquet")
            events = cluster.read_events(tmp_path / "log.parquet", user="user_id", item="item_id")
            with events.interactions(weight, workers=workers, threads=1, checkpoint=tmp_path / "kept") as x:
                cf.ImplicitALS(4, regularization=0.1, iterations=3).fit(x, on_iteration=hook)

        def interrupt(n, loss):
            if n == 2:
                raise KeyboardInterrupt

        seen = []
        with pytest.raises(KeyboardInterrupt):
            fitted(table, interrupt, 1)
        fitted(other, lambda n, loss: seen.append(n), 2)
        return seen[0]

    return resumed


@pytest.fixture
def weighted(table):
    """Several events of a pair, with float32 weights, whose sums differ in their last bits."""
    values = np.random.default_rng(0).uniform(0.1, 5, table.height)
    return table.select("user_id", "item_id", pl.Series("w", values, pl.Float32))


def test_a_checkpoint_of_other_pairs_is_refused(resumed):
    pairs = cf.datasets.synthetic(300, 80, 6000, seed=3).to_frame()
    held = set(pairs.select("user_id", "item_id").iter_rows())
    (a, i), (b, j) = next(
        (p, q) for p in sorted(held) for q in sorted(held) if (p[0], q[1]) not in held and (q[0], p[1]) not in held
    )
    user, item = pl.col("user_id"), pl.col("item_id")
    swapped = pl.when((user == a) & (item == i)).then(j).when((user == b) & (item == j)).then(i).otherwise(item)
    other = pairs.with_columns(swapped.cast(pairs["item_id"].dtype).alias("item_id"))
    with pytest.raises(cf.ParameterError, match=r"checkpoint=.* is of other data \(other pairs of users and items\)"):
        resumed(pairs, other, None)


def test_a_checkpoint_of_other_weights_is_refused(resumed, weighted):
    other = weighted.with_columns(
        pl.when(pl.int_range(pl.len()) == 9).then(6).otherwise("w").cast(pl.Float32).alias("w")
    )
    with pytest.raises(cf.ParameterError, match=r"is of other data \(the same pairs with other weights\)"):
        resumed(weighted, other, "w")


def test_a_checkpoint_is_taken_up_where_sums_differ_in_their_last_bits(resumed, weighted):
    assert resumed(weighted, weighted.reverse(), pl.col("w").sum()) == 2

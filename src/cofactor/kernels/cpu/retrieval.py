"""Exact top-k by an index of the items, made once; ``native/retrieval/index.hpp`` has the bounds and their proof."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.kernels import native
from cofactor.kernels.arguments import PackedIndex
from cofactor.kernels.cpu.topk import top_k
from cofactor.kernels.filters import NO_FILTERS, Filters
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.kernels.arrays import Float, Rows, TopK

__all__ = ["block_order", "index_top_k", "lowered_bounds", "pack_index", "unpacked_index"]

_BLOCK_BOUNDS, _PANEL_BOUNDS = 6, 10  # as in native/retrieval/index.hpp
_ACROSS = 2  # which of both is the part across
_BLOCK_ITEMS, _USUAL_ITEMS = 768, 512  # of a block, at most and on average
_SAMPLE, _ROUNDS = 64, 4  # of k-means: items for each block, and passes over them


def block_order(items: Float, *, threads: int | None = None) -> tuple[Rows, NDArray[np.int64]]:
    """Put vectors that lie together next to each other, by k-means and, where too many do, 2-means.

    n / 512 centres are learned from 64 times as many vectors; then every vector looks for its own among them, O(n^2)
    with a small constant. The order is the same for any number of threads.

    Parameters
    ----------
    items : (n, factors) float32
        Finite.

    Returns
    -------
    order : (n,) int32
        Rows of items.
    offsets : (n_blocks + 1,) int64
        Where the blocks of ``order`` begin, and its end.
    """
    n, threads = len(items), resolve_threads(threads)
    if n <= _BLOCK_ITEMS:
        return np.arange(n, dtype=np.int32), np.array([0, n] if n else [0])
    centres = _centres(items, -(-n // _USUAL_ITEMS), threads)
    nearest = _nearest(items, centres, threads)
    return _cut(items, *_grouped(nearest), threads)


def _centres(items: Float, n_centres: int, threads: int) -> Float:
    """Means of a sample by k-means, which starts from those of its parts by bisection."""
    n = len(items)
    n_sample = min(n, n_centres * _SAMPLE)
    sample = items[np.arange(n_sample) * n // n_sample]
    order, offsets = _cut(sample, np.arange(n_sample, dtype=np.int32), np.array([0, n_sample]), threads, _SAMPLE)
    centres = _means(sample[order], offsets)
    for _ in range(_ROUNDS):
        order, offsets = _grouped(_nearest(sample, centres, threads))
        centres = _means(sample[order], offsets)
    return centres


def _nearest(items: Float, centres: Float, threads: int) -> Rows:
    """The centre that every item is nearest to."""
    bias = -0.5 * np.einsum("ij,ij->i", centres, centres)
    rows = top_k(items, centres, 1, bias=bias, threads=threads).rows[:, 0]
    return np.maximum(rows, 0)  # -1 where products overflow


def _grouped(groups: Rows) -> tuple[Rows, NDArray[np.int64]]:
    """What is in each group, one after the other, and where the groups that hold something begin and end."""
    sizes = np.bincount(groups)
    return np.argsort(groups, kind="stable").astype(np.int32), np.concatenate([[0], np.cumsum(sizes[sizes > 0])])


def _means(items: Float, offsets: NDArray[np.int64]) -> Float:
    """The mean of every run of items."""
    sums: Float = np.add.reduceat(items, offsets[:-1], axis=0)
    sums /= np.diff(offsets)[:, None]
    return sums


def _cut(
    items: Float, order: Rows, offsets: NDArray[np.int64], threads: int, most: int = _BLOCK_ITEMS
) -> tuple[Rows, NDArray[np.int64]]:
    """Blocks of at most ``most`` items, each of a given block."""
    new = np.empty(len(offsets) + len(order) * 16 // most + 1, np.int64)
    n_blocks = native.lib.cut_blocks(items, order, offsets, new, most, threads)
    return order, new[: n_blocks + 1].copy()


def pack_index(
    items: Float,
    order: Rows,
    offsets: NDArray[np.int64],
    *,
    bias: Float | None = None,
    threads: int | None = None,
) -> PackedIndex:
    """Make the index of blocks as :func:`block_order` gives them, of all items or some; one pass over the vectors.

    Parameters
    ----------
    items : (n_items, factors) float32
        Finite, and unchanged as long as the index is used.
    order, offsets
        Any blocks are right; those of vectors that lie together are quick.
    bias : (n_items,) float32, optional
    """
    index = unpacked_index(items, offsets, bias=bias)
    native.lib.pack_index(items, bias, order, offsets, *index[2:], resolve_threads(threads))
    return index


def unpacked_index(items: Float, offsets: NDArray[np.int64], *, bias: Float | None = None) -> PackedIndex:
    """Room for the index of such blocks at this CPU level, of the shapes and types that it has."""
    panel, n_bytes = native.lib.index_layout(items.shape[1])
    first_panel = np.concatenate([[0], np.cumsum(-(-np.diff(offsets) // panel))]).astype(np.int64)
    n_blocks, n_panels = len(offsets) - 1, int(first_panel[-1])
    return PackedIndex(
        items,
        bias,
        np.empty(n_panels * panel, np.int32),
        first_panel,
        np.empty(-(-n_blocks // panel) * panel * items.shape[1], np.float32),
        np.empty(n_blocks * _BLOCK_BOUNDS),
        np.empty(n_panels * _PANEL_BOUNDS),
        np.empty(n_panels * n_bytes, np.uint8),
    )


def lowered_bounds(index: PackedIndex, share: float) -> PackedIndex:
    """The same index with bounds that need not hold: of what vectors have across the direction of their block a share.

    A query and a vector hardly ever point the same way across that direction, as the bounds take for granted, and the
    less so the more factors there are. With smaller bounds more blocks are passed by, and now and then a best item.
    """
    blocks, panels = index.blocks.reshape(_BLOCK_BOUNDS, -1).copy(), index.panels.reshape(-1, _PANEL_BOUNDS).copy()
    blocks[_ACROSS] *= share
    panels[:, _ACROSS] *= share
    return index._replace(blocks=blocks.ravel(), panels=panels.ravel())


def index_top_k(
    queries: Float,
    index: PackedIndex,
    k: int,
    *,
    filters: Filters = NO_FILTERS,
    threads: int | None = None,
) -> TopK:
    """The k best items of every query: to the last bit what ``top_k`` gives of the items that the index is of.

    Parameters
    ----------
    queries : (n, factors) float32
    index : PackedIndex
    k, filters
        As in ``top_k``. Items that are not allowed are passed over one by one: of few that are, ``top_k`` is quicker.
    """
    n, n_items = len(queries), len(index.items)
    top = filters.lists(n, k, n_items)
    native.lib.index_top_k(queries, *index, *filters.arrays(n, n_items), *top, resolve_threads(threads))
    return top

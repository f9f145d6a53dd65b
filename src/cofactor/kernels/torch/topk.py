"""Exact top-k in PyTorch: by inner products of vectors, by histories times weights, and of given scores.

Queries come in tiles whose scores of all items fit into a chunk. What is filtered out has minus infinity, and so has
what is no number. PyTorch's ``topk`` leaves open which of equal scores it takes: rows where that mattered at the last
place are selected once more by score and item together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.errors import DataError, ParameterError
from cofactor.kernels.filters import NO_FILTERS, Filters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cofactor.kernels.arrays import TopK
    from cofactor.kernels.csr import CSR
    from cofactor.kernels.torch.place import HeldRows, Place, Tensor

__all__ = ["linear_top_k", "select_top_k", "top_k"]


def top_k(
    place: Place,
    queries: Tensor,
    items: Tensor,
    k: int,
    *,
    bias: Tensor | None = None,
    filters: Filters = NO_FILTERS,
    threads: int | None = None,
) -> TopK:
    """The k best items of every query by ``queries @ items.T + bias``; ties by item row."""
    queries, items = place.tensor(queries), place.tensor(items)
    return best_of(place, scores_of(place, queries, items, bias), (len(queries), len(items)), k, filters)


def scores_of(place: Place, queries: Tensor, items: Tensor, bias: Tensor | None) -> Callable[[slice], Tensor]:
    """A function that gives the scores of some queries, (n, n_items); arrays that do not fit are refused."""
    if queries.shape[1] != items.shape[1]:
        raise ValueError("queries and items must have the same number of factors")
    if bias is not None and len(bias) != len(items):
        raise ValueError("bias must have one value per item")
    columns, added = items.T, None if bias is None else place.tensor(bias)

    def scores(some: slice) -> Tensor:
        product = queries[some] @ columns
        return product if added is None else product.add_(added)

    return scores


def linear_top_k(
    place: Place,
    histories: CSR,
    weights: CSR | HeldRows | Tensor,
    k: int,
    *,
    filters: Filters = NO_FILTERS,
    threads: int | None = None,
) -> TopK:
    """The k best columns of every row of ``histories @ weights``; ties by item row."""
    import torch

    held, held_weights = _held(place, histories, weights)
    m, n_items = held_weights.shape
    if held.shape[1] != m:
        raise ParameterError(f"histories have {held.shape[1]} columns, but there are {m} rows of weights")

    def scores_of_all(some: slice) -> Tensor:
        part = held.part(some)
        return (part @ held_weights).masked_fill_((part.crow_indices().diff() == 0)[:, None], -torch.inf)

    sparse = hasattr(weights, "indptr")
    scores = reached_scores(place, held, held_weights) if sparse else scores_of_all
    return best_of(place, scores, (held.shape[0], n_items), k, filters)


def _held(place: Place, histories: CSR, weights: CSR | HeldRows | Tensor) -> tuple[HeldRows, HeldRows | Tensor]:
    try:
        held = place.rows(histories)
        held_weights = place.rows(weights) if hasattr(weights, "indptr") else place.tensor(weights)
    except DataError as error:
        told = "columns of histories must be ascending and in range, those of weights in range"
        raise ValueError(f"{told}: {error}") from error
    if not held.csr.is_ascending():
        raise ValueError("columns of histories must be ascending and in range")
    return held, held_weights


def reached_scores(place: Place, rows: HeldRows, columns: HeldRows) -> Callable[[slice], Tensor]:
    """A function that gives some rows of a sparse product, dense: minus infinity where no entries met."""
    import torch

    n, right = columns.shape[1], columns.tensor()

    def scores(some: slice) -> Tensor:
        product = rows.part(some) @ right
        row = torch.repeat_interleave(product.crow_indices().diff())
        dense = torch.full((some.stop - some.start, n), -torch.inf, device=place.device)
        dense[row, product.col_indices().long()] = product.values()
        return dense

    return scores


def select_top_k(
    place: Place, scores: Tensor, k: int, *, filters: Filters = NO_FILTERS, threads: int | None = None
) -> TopK:
    """The k best columns of every row of ``scores``."""
    scores = place.tensor(scores)
    return best_of(place, lambda some: scores[some].clone(), tuple(scores.shape), k, filters)


def tiles(place: Place, n: int, n_items: int) -> Iterator[slice]:
    """Queries whose scores of all items fit into a chunk, at least sixteen at a time."""
    step = max(place.chunk_floats // max(n_items, 1), 16)
    for first in range(0, n, step):
        yield slice(first, min(n, first + step))


def filtered(place: Place, scores: Tensor, filters: Filters, some: slice, left: Tensor | None) -> Tensor:
    """Scores with minus infinity where nothing may come back, in place; ``left``: items that are not allowed."""
    import torch

    scores.masked_fill_(scores.isnan(), -torch.inf)
    if left is not None:
        scores.masked_fill_(left, -torch.inf)
    if filters.exclude is not None:
        indptr = filters.exclude.indptr
        begin, end = indptr[some.start], indptr[some.stop]
        lengths = np.diff(indptr[some.start : some.stop + 1])
        row = place.tensor(np.repeat(np.arange(len(lengths)), lengths))
        scores[row, place.tensor(filters.exclude.indices[begin:end]).long()] = -torch.inf
    return scores


def not_allowed(place: Place, filters: Filters, n: int, n_items: int) -> Tensor | None:
    """Which items lists may not hold at all; filters that do not fit are refused."""
    filters.arrays(n, n_items)
    if filters.exclude is not None:
        filters.exclude.check_bounds()
    if filters.allowed is None:
        return None
    allowed = filters.allowed
    if len(allowed) and (allowed[0] < 0 or allowed[-1] >= n_items or (np.diff(allowed) <= 0).any()):
        raise ValueError("allowed must hold ascending item rows")
    left = np.ones(n_items, np.bool_)
    left[allowed] = False
    return place.tensor(left)


def best_of(place: Place, scores: Callable[[slice], Tensor], shape: tuple[int, int], k: int, filters: Filters) -> TopK:
    """The k best columns of every row of ``shape``, given a function that makes some rows of scores."""
    n, n_items = shape
    left, top = not_allowed(place, filters, n, n_items), filters.lists(n, k, n_items)
    for some in tiles(place, n, n_items):
        rows, best = best_columns(filtered(place, scores(some), filters, some, left), top.rows.shape[1])
        top.rows[some], top.scores[some] = rows.cpu().numpy(), best.cpu().numpy()
    return top


def best_columns(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Columns of the k best and their scores, the best first, ties by column, -1 where there are no more."""
    import torch

    n, n_items = scores.shape
    if not n_items:
        return torch.full((n, k), -1), torch.full((n, k), -torch.inf)
    best, rows = scores.topk(k, dim=1)
    last = best[:, -1:]
    tied = (scores == last).sum(1) > (best == last).sum(1)
    if k < n_items and bool(tied.any()):
        rows[tied] = _by_score_and_column(scores[tied], k)
        best = scores.gather(1, rows)
    rows, order = rows.sort(dim=1)
    best, order = best.gather(1, order).sort(dim=1, descending=True, stable=True)
    return rows.gather(1, order).masked_fill_(best == -torch.inf, -1), best


def _by_score_and_column(scores: Tensor, k: int) -> Tensor:
    """Columns of the k best, the first ones where scores are equal: one integer orders both."""
    import torch

    bits = (scores + 0.0).view(torch.int32).long()  # -0 becomes 0
    ordered = torch.where(bits < 0, -(bits & 0x7FFFFFFF), bits)  # as the floats are
    columns = torch.arange(scores.shape[1], device=scores.device)
    return (ordered * 2**31 - columns).topk(k, dim=1).indices

"""Where single items stand in complete lists, in PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.errors import ParameterError
from cofactor.kernels.arrays import Ranks
from cofactor.kernels.filters import NO_FILTERS, Filters
from cofactor.kernels.torch.topk import filtered, not_allowed, scores_of, tiles

if TYPE_CHECKING:
    from cofactor.kernels.csr import CSR
    from cofactor.kernels.torch.place import Place, Tensor

__all__ = ["ranks"]


def ranks(
    place: Place,
    queries: Tensor,
    items: Tensor,
    wanted: CSR,
    *,
    filters: Filters = NO_FILTERS,
    threads: int | None = None,
) -> Ranks:
    """Where some items stand among all, in order of ``queries @ items.T``: what ``top_k`` with k = n_items would tell.

    Wanted items are compared with all others in chunks: O(nnz n_items) of ``wanted``.
    """
    import torch

    queries, items = place.tensor(queries), place.tensor(items)
    n, n_items = len(queries), len(items)
    if wanted.shape != (n, n_items):
        raise ParameterError(f"wanted has shape {wanted.shape}; it must be {(n, n_items)}")
    wanted.check_bounds()
    if not wanted.is_ascending():
        raise ValueError("wanted must be ascending and in range")
    left, scores = not_allowed(place, filters, n, n_items), scores_of(place, queries, items, None)
    if queries.shape[1] < 1:
        raise ValueError("vectors must have a factor")
    found = Ranks(np.zeros(wanted.nnz, np.int32), np.zeros(wanted.nnz, np.float64), np.zeros(n, np.int64))
    columns = torch.arange(n_items, device=place.device)
    for some in tiles(place, n, n_items):
        tile = filtered(place, scores(some), filters, some, left)
        found.n_listed[some] = (tile > -torch.inf).sum(1).cpu().numpy()
        begin, end = (int(wanted.indptr[at]) for at in (some.start, some.stop))
        query = np.repeat(np.arange(some.stop - some.start), np.diff(wanted.indptr[some.start : some.stop + 1]))
        for pairs in tiles(place, end - begin, n_items):
            row, item = place.tensor(query[pairs]), place.tensor(wanted.indices[begin:end][pairs]).long()
            own = tile[row, item][:, None]
            others = tile[row]
            above, equal = (others > own).sum(1), others == own
            before = (equal & (columns < item[:, None])).sum(1)
            listed = own[:, 0] > -torch.inf
            at = slice(begin + pairs.start, begin + pairs.stop)
            found.rank[at] = torch.where(listed, above + before + 1, 0).cpu().numpy()
            middle = above + (equal.sum(1) + 1) / 2.0
            found.middle_rank[at] = torch.where(listed, middle.double(), 0.0).cpu().numpy()
    return found

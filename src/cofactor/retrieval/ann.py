"""Approximate nearest items: by the blocks of exact search with lowered bounds, or by a library.

Libraries are inverted lists of faiss, or whatever else keeps to :class:`Library`. How hard a search tries is found when
the index is made: as little as reaches the recall that was asked for, measured against exact search on vectors of the
index itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cofactor.checks import check_at_least, check_fraction, check_type, shown, warn
from cofactor.errors import DataError, MissingExtraError, ParameterError
from cofactor.kernels.arrays import TopK
from cofactor.kernels.filters import NO_FILTERS, Filters
from cofactor.models.base.indexes import known_kind
from cofactor.retrieval.exact import ExactIndex
from cofactor.retrieval.vectors import as_vectors
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import ArrayLike

    from cofactor.kernels.arrays import Float, Rows
    from cofactor.system.arrays import Arrays

__all__ = ["ApproximateIndex", "InvertedLists", "Library"]

_EFFORTS = tuple(range(10, 101, 5))  # percent of what bounds must be to hold

_TESTED = 1000  # queries that recall is measured with
_DEEPEST = 1000  # items that a library is asked for, so that enough are left after filters


class Library(Protocol):
    """What an approximate index asks of a library."""

    efforts: tuple[int, ...]
    """How hard a search may try, rising."""

    def __init__(self, vectors: Float, threads: int) -> None: ...

    def search(self, queries: Float, k: int, effort: int) -> TopK:
        """The k items of largest inner product for each query, best first; -1 where fewer were found."""


class InvertedLists:
    """Inverted lists of faiss (``IVF, Flat``): 4 sqrt(n) of them."""

    def __init__(self, vectors: Float, threads: int) -> None:
        try:
            import faiss
        except ImportError as error:
            raise MissingExtraError(
                "an approximate index needs faiss, which is not installed; run: pip install 'cofactor[ann]'"
            ) from error
        self._faiss: Any = faiss  # its classes take keywords that its types do not tell
        self._threads = threads
        n, factors = vectors.shape
        n_lists = max(1, min(int(4 * np.sqrt(n)), 4096, n // 39))
        faiss.omp_set_num_threads(threads)
        self._index = faiss.index_factory(factors, f"IVF{n_lists},Flat", faiss.METRIC_INNER_PRODUCT)
        sample = np.random.default_rng(0).permutation(n)[: 40 * n_lists]
        self._index.train(vectors[np.sort(sample)])
        self._index.add(vectors)
        self.efforts = tuple(sorted({min(n_lists, round(2 ** (i / 2))) for i in range(25)}))

    def search(self, queries: Float, k: int, effort: int) -> TopK:
        """Look into ``effort`` lists for each query."""
        self._faiss.omp_set_num_threads(self._threads)
        options = self._faiss.SearchParametersIVF(nprobe=effort)
        scores, rows = self._index.search(queries, k, params=options)
        return TopK(rows.astype(np.int32), np.where(rows < 0, np.float32(-np.inf), scores))


@known_kind
class ApproximateIndex:
    """The best items of any query, nearly all of them.

    On vectors that cluster :class:`ExactIndex` is nearly as quick; try it first.

    Parameters
    ----------
    vectors : (n_items, factors)
        Of items.
    metric : {"inner_product", "cosine", "euclidean"}
        As of :class:`ExactIndex`.
    recall : float
        Which share of the true items lists of ``recall_k`` must hold, on average over 1,000 items as queries.
    recall_k : int
    exact_below : float
        Where a smaller share of the items is allowed search is exact: approximate search finds too few of them.
    library : callable, optional
        Makes a :class:`Library` of vectors and a number of threads, such as :class:`InvertedLists` (of faiss, the extra
        ``ann``). Without it the index is that of exact search, whose bounds are lowered so that more blocks are passed
        by than may be.
    threads : int, optional

    Attributes
    ----------
    recall : float
        Reached when the index was made, on what it was chosen with.
    effort : int
        How hard the library tries for that; without one, percent of the bounds that would be exact.

    Raises
    ------
    MissingExtraError
        The library is not installed.

    Notes
    -----
    Lists of more than ``recall_k`` items and queries unlike the items may have another recall.
    """

    def __init__(
        self,
        vectors: ArrayLike,
        *,
        metric: str = "inner_product",
        recall: float = 0.98,
        recall_k: int = 20,
        exact_below: float = 0.2,
        library: Callable[[Float, int], Library] | None = None,
        threads: int | None = None,
    ) -> None:
        check_fraction("recall", recall)
        check_fraction("exact_below", exact_below)
        check_at_least("recall_k", recall_k, 1, whole=True)
        check_type("library", library, Callable | None, "what makes a Library, such as InvertedLists, or None")
        self._wanted = {"recall": float(recall), "recall_k": int(recall_k), "exact_below": float(exact_below)}
        self._threads = resolve_threads(threads)
        self._exact = ExactIndex(vectors, metric=metric, threads=self._threads)
        if not self._exact.shape[0]:
            raise ParameterError("vectors holds no item; an approximate index needs some")
        self._exact_below = exact_below
        space = self._exact.space
        if library is None:
            self._library = None
        else:
            self._library = library(self._comparable(space.items, space.bias), self._threads)
            if not all(hasattr(self._library, name) for name in ("search", "efforts")):
                raise ParameterError(
                    f"library made {shown(self._library)}, which is no Library: it needs search() and efforts"
                )
        self.effort, self.recall = self._tuned(recall, int(recall_k))

    @property
    def metric(self) -> str:
        """What the scores are."""
        return self._exact.metric

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of items and of factors."""
        return self._exact.shape

    def search(self, queries: ArrayLike, k: int = 10, *, filters: Filters = NO_FILTERS) -> TopK:
        """The k best items that were found for every query, best first; as :meth:`ExactIndex.search`.

        Lists that filters leave too short are made again by exact search, so that all have k items wherever so many
        are left.
        """
        check_at_least("k", k, 1, whole=True)
        check_type("filters", filters, Filters, "Filters")
        vectors = as_vectors("queries", queries)
        n_items, factors = self.shape
        if vectors.shape[1] != factors:
            raise ParameterError(f"queries have {vectors.shape[1]} numbers each; the index is of {factors}")
        filters.arrays(len(vectors), n_items)  # checks their shape
        share = filters.n_choices(n_items) / n_items
        most_excluded = 0 if filters.exclude is None else int(np.diff(filters.exclude.indptr).max(initial=0))
        if self._library is None and share >= self._exact_below:
            asked, bounds = self._exact.space.queries(vectors), self.effort / 100
            return self._exact.space.finished(
                vectors, self._exact.search_lowered(asked, int(k), bounds, filters=filters)
            )
        k = max(1, min(int(k), filters.n_choices(n_items)))
        all_may = filters.exclude is None and filters.allowed is None and self._exact.space.left_out is None
        depth = k if all_may else int((k + most_excluded) * 1.25 / max(share, 1e-9)) + 8
        if share < self._exact_below or depth > min(n_items, _DEEPEST):
            return self._exact.search(vectors, k, filters=filters)
        top = self._found(self._exact.space.queries(vectors), depth, self.effort)
        top = self._filtered(top, k, filters)
        short = np.flatnonzero(top.rows[:, -1] < 0)
        top = self._exact.space.finished(vectors, top)
        if len(short):
            again = self._exact.search(vectors[short], k, filters=filters.take(short))
            top.rows[short], top.scores[short] = again.rows, again.scores
        return top

    def params(self) -> dict[str, Any] | None:
        """What it was made with besides vectors, metric and threads; None with a library, which is not saved."""
        return self._wanted if self._library is None else None

    def saved(self) -> tuple[dict[str, Any], Arrays]:
        """What a saved model keeps of it: that of the exact index, and what was found out about it."""
        facts, arrays = self._exact.saved()
        return facts | {"effort": self.effort, "recall": self.recall}, arrays

    @classmethod
    def restored(
        cls,
        vectors: Float,
        facts: dict[str, Any],
        arrays: Arrays,
        *,
        metric: str = "inner_product",
        threads: int | None = None,
        every_entry: bool = True,
        **wanted: Any,  # noqa: ANN401
    ) -> Self:
        """As :meth:`ExactIndex.restored`."""
        index = cls.__new__(cls)
        index._wanted, index._threads, index._library = wanted, resolve_threads(threads), None
        index._exact_below, index.effort, index.recall = wanted["exact_below"], facts["effort"], facts["recall"]
        if index.effort not in _EFFORTS or not 0 <= index.recall <= 1 or not 0 <= index._exact_below <= 1:
            raise DataError("its index is damaged")
        index._exact = ExactIndex.restored(
            vectors, facts, arrays, metric=metric, threads=index._threads, every_entry=every_entry
        )
        return index

    def _comparable(self, vectors: Float, bias: Float | None) -> Float:
        """Vectors whose inner products alone rank: with the bias as one number more."""
        return vectors if bias is None else np.column_stack([vectors, bias])

    def _found(self, asked: Float, depth: int, effort: int) -> TopK:
        if self._library is None:
            return self._exact.search_lowered(asked, depth, effort / 100)
        ones = None if self._exact.space.bias is None else np.ones(len(asked), np.float32)
        return self._library.search(self._comparable(asked, ones), depth, effort)

    def _filtered(self, top: TopK, k: int, filters: Filters) -> TopK:
        """The first k of each list that may come back."""
        keep = top.rows >= 0
        if filters.allowed is not None:
            allowed = np.zeros(self.shape[0], bool)
            allowed[filters.allowed] = True
            keep &= allowed[top.rows]
        if self._exact.space.left_out is not None:
            keep &= ~np.isin(top.rows, self._exact.space.left_out)
        if filters.exclude is not None:
            n_items = self.shape[0]
            pairs = filters.exclude.row_index().astype(np.int64) * n_items + filters.exclude.indices
            keep &= ~np.isin(np.arange(len(top.rows))[:, None] * n_items + top.rows, pairs)
        if keep.all():
            return TopK(top.rows[:, :k].copy(), top.scores[:, :k].copy())
        order = np.argsort(~keep, axis=1, kind="stable")[:, :k]
        kept = np.take_along_axis(keep, order, axis=1)
        rows, scores = (np.take_along_axis(part, order, axis=1) for part in top)
        return TopK(np.where(kept, rows, np.int32(-1)), np.where(kept, scores, np.float32(-np.inf)))

    def _tuned(self, wanted: float, k: int) -> tuple[int, float]:
        """The least effort whose lists hold the wanted share of the true ones, else the most; and the share reached."""
        items, efforts = self._exact.space.items, _EFFORTS if self._library is None else self._library.efforts
        choices = np.flatnonzero(items.any(axis=1))  # of a vector of zeros all are as near, or none
        if not len(choices):
            return efforts[0], 1.0
        n, k = len(choices), min(k, self.shape[0] if self._exact.space.left_out is None else len(choices))
        sample = items[choices[np.arange(_TESTED) * n // _TESTED] if n > _TESTED else choices]
        true = self._exact.search_lowered(sample, k, 1.0).rows
        recall = 0.0
        for effort in efforts:
            recall = _recall(self._found(sample, k, effort).rows, true)
            if recall >= wanted:
                return effort, recall
        if recall < wanted - 1e-9:
            warn(f"the most that the library reaches is a recall of {recall:.3f}, less than the {wanted} asked for")
        return efforts[-1], recall


def _recall(rows: Rows, true: Rows) -> float:
    """Which share of the true items lists hold."""
    n = int(max(rows.max(initial=0), true.max(initial=0))) + 1
    lists = np.arange(len(true), dtype=np.int64)[:, None] * n
    return float(np.isin(true + lists, np.where(rows < 0, -1, rows + lists)).mean())

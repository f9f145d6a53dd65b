"""Exact nearest items by an index that is made once.

Items are grouped into blocks by k-means. A bound of what each block can score tells which ones a query must look into,
in blocks that promise most first; ``native/retrieval/index.hpp`` has the bounds and their proof. Lists are, to the last
bit, those of scoring every item: where vectors do not cluster most blocks have to be looked into, and it only takes
longer.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.checks import check_at_least, check_type
from cofactor.errors import ArtifactError, DataError, ParameterError
from cofactor.kernels import native, on
from cofactor.kernels.filters import NO_FILTERS, Filters
from cofactor.models.base.indexes import known_kind
from cofactor.retrieval.vectors import Space, as_vectors, fingerprint
from cofactor.system.arrays import mapped_arrays, write_arrays
from cofactor.system.files import replacing
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import ArrayLike, NDArray

    from cofactor.kernels.arguments import PackedIndex
    from cofactor.kernels.arrays import Float, Rows, TopK
    from cofactor.system.arrays import Arrays

__all__ = ["ExactIndex"]

_MOST_FACTORS = 16_384  # as in native/retrieval/index.hpp
_PACKED = ("places", "directions", "blocks", "panels", "codes")  # of a PackedIndex, made of the vectors
_FEW = 16  # an index of more than so many items for each that is allowed is passed by


@known_kind
class ExactIndex:
    """The best items of any query, exactly, without preparation at each call.

    Parameters
    ----------
    vectors : (n_items, factors)
        Of items; float32 in rows is used as it lies there, and must not be changed afterwards.
    metric : {"inner_product", "cosine", "euclidean"}
        Scores are inner products, cosines, or minus the distance: always the larger the better. Vectors of zeros have
        no cosine with anything: as items they never come back, as queries they get empty lists.
    threads : int, optional
        For building and searching; a single query is searched by one.

    Raises
    ------
    DataError
        A number is NaN, infinite or above 1e18.
    ParameterError
        ``vectors`` is no matrix, or ``metric`` none of the possible ones.

    Notes
    -----
    Building takes O(n_items^2) with a small constant (under 10 s for 1.86 million vectors of 32 numbers on two cores),
    the index 1.3 bytes for each number with AVX-512 VNNI and 4.3 without, and the space of one more copy of the vectors
    for ``cosine`` and ``euclidean``. Lists do not depend on the number of threads, nor on the CPU beyond the last bits
    of scores. ``euclidean`` finds neighbours by ``q . y - |y|^2 / 2`` in float32, from the mean of the items: of items
    whose distances are that close, either may come back.

    Examples
    --------
    >>> import cofactor as cf
    >>> index = cf.retrieval.ExactIndex([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]], metric="cosine")
    >>> index.search([[2.0, 0.1]], k=2).rows.tolist()
    [[0, 1]]
    """

    _lowered: tuple[tuple[float, str], PackedIndex] | None = None

    def __init__(self, vectors: ArrayLike, *, metric: str = "inner_product", threads: int | None = None) -> None:
        given = as_vectors("vectors", vectors)
        if given.shape[1] > _MOST_FACTORS:
            raise ParameterError(f"vectors have {given.shape[1]:,} numbers each; an index takes {_MOST_FACTORS:,}")
        space = Space.of(given, metric)
        self._threads = resolve_threads(threads)
        order, offsets = on("cpu").block_order(space.items, threads=self._threads)
        if space.left_out is not None:
            order, offsets = _without(order, offsets, space.left_out)
        self._place(given, space, order, offsets)

    def _place(self, given: Float, space: Space, order: Rows, offsets: NDArray[np.int64]) -> None:
        self._given, self._space, self._order, self._offsets = given, space, order, offsets
        self._pack()

    def _pack(self) -> None:
        self._level = native.level
        self._packed = on("cpu").pack_index(
            self._space.items, self._order, self._offsets, bias=self._space.bias, threads=self._threads
        )

    @property
    def metric(self) -> str:
        """What the scores are."""
        return self._space.metric

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of items and of factors."""
        return self._given.shape[0], self._given.shape[1]

    @property
    def space(self) -> Space:
        """The vectors as they are compared with queries."""
        return self._space

    def search(self, queries: ArrayLike, k: int = 10, *, filters: Filters = NO_FILTERS) -> TopK:
        """The k best items of every query, best first, ties by item row.

        Parameters
        ----------
        queries : (n, factors)
        k : int
            Cut to the number of items to choose from.
        filters : Filters
            Items that must not come back, a row for each query, and the only ones that may. Lists have k items
            wherever so many are left. Of few allowed items each is scored.

        Returns
        -------
        TopK
            ``rows`` of items and ``scores``, (n, at most k); -1 and minus infinity where a list ends.
        """
        check_at_least("k", k, 1, whole=True)
        check_type("filters", filters, Filters, "Filters")
        vectors = as_vectors("queries", queries)
        if vectors.shape[1] != self.shape[1]:
            raise ParameterError(f"queries have {vectors.shape[1]} numbers each; the index is of {self.shape[1]}")
        if native.level != self._level:
            self._pack()
        asked, threads = self._space.queries(vectors), 1 if len(vectors) == 1 else self._threads
        if filters.allowed is not None and len(filters.allowed) * _FEW < self.shape[0]:
            top = self._scan(asked, int(k), filters, threads)
        else:
            top = on("cpu").index_top_k(asked, self._packed, int(k), filters=filters, threads=threads)
        return self._space.finished(vectors, top)

    def search_lowered(self, asked: Float, k: int, share: float, *, filters: Filters = NO_FILTERS) -> TopK:
        """Lists of queries of :attr:`space` by bounds that need not hold, see ``lowered_bounds``; for that share."""
        if native.level != self._level:
            self._pack()
        if self._lowered is None or self._lowered[0] != (share, self._level):
            self._lowered = (share, self._level), on("cpu").lowered_bounds(self._packed, share)
        threads = 1 if len(asked) == 1 else self._threads
        return on("cpu").index_top_k(asked, self._lowered[1], k, filters=filters, threads=threads)

    def _scan(self, asked: Float, k: int, filters: Filters, threads: int) -> TopK:
        """Lists of few allowed items, by their scores."""
        if self._space.left_out is not None and filters.allowed is not None:
            filters = filters._replace(allowed=np.setdiff1d(filters.allowed, self._space.left_out, assume_unique=True))
        return on("cpu").top_k(asked, self._space.items, k, bias=self._space.bias, filters=filters, threads=threads)

    def params(self) -> dict[str, Any]:
        """What it was made with besides vectors, metric and threads: nothing."""
        return {}

    def saved(self) -> tuple[dict[str, Any], Arrays]:
        """What a saved model keeps of it: all but the vectors, as it is searched at this CPU level."""
        if native.level != self._level:
            self._pack()
        facts = {"vectors": fingerprint(self._given), "level": self._level}
        packed = {name: getattr(self._packed, name) for name in _PACKED}
        return facts, {"order": self._order, "offsets": self._offsets, **packed}

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
    ) -> Self:
        """An index of these vectors out of what :meth:`saved` gave, its arrays used where they are.

        At another CPU level it is packed again when it is searched. With ``every_entry`` the vectors are compared by
        their sha256, and it is seen to that every item is there once.

        Raises
        ------
        DataError
            It is an index of other vectors, or damaged.
        """
        given = as_vectors("vectors", vectors) if every_entry else vectors
        if every_entry and facts["vectors"] != fingerprint(given):
            raise DataError("its index is one of other vectors")
        space = Space.of(given, metric)
        order, offsets, packed = arrays["order"], arrays["offsets"], {name: arrays[name] for name in _PACKED}
        kept = len(given) - (0 if space.left_out is None else len(space.left_out))
        if not _is_order(order, offsets, len(given), kept, every_entry=every_entry):
            raise DataError("its index is damaged")
        index = cls.__new__(cls)
        index._threads = resolve_threads(threads)
        index._given, index._space, index._order, index._offsets = given, space, order, offsets
        index._level = ""  # packed when it is searched
        if facts["level"] == native.level:
            room = on("cpu").unpacked_index(space.items, offsets, bias=space.bias)
            index._level, index._packed = native.level, room._replace(**packed)
            sizes = [[(part.dtype, part.shape) for part in parts[2:]] for parts in (room, index._packed)]
            if sizes[0] != sizes[1]:
                raise DataError("its index is damaged: its parts are not of the sizes that they must have")
        return index

    def save(self, path: str | Path) -> None:
        """Write what is slow to find again: the order of the items, 4 bytes each; the vectors stay elsewhere.

        A model that ranks by an index is saved with it, see :func:`cofactor.retrieval.indexed`.
        """
        arrays: Arrays = {
            "order": self._order,
            "offsets": self._offsets,
            f"{self.metric} {fingerprint(self._given)}": np.zeros(0, np.uint8),
        }
        with replacing(Path(path).expanduser()) as new, new.open("wb") as file:
            write_arrays(file, arrays)

    @classmethod
    def load(
        cls,
        path: str | Path,
        vectors: ArrayLike,
        *,
        metric: str = "inner_product",
        threads: int | None = None,
    ) -> ExactIndex:
        """Read an index of the given vectors.

        Raises
        ------
        ArtifactError
            The file is no index, or one of other vectors or another metric.
        """
        given = as_vectors("vectors", vectors)
        space = Space.of(given, metric)
        try:
            with Path(path).expanduser().open("rb") as file:
                arrays = mapped_arrays(file)
            order, offsets = arrays.pop("order"), arrays.pop("offsets")
        except (OSError, LookupError, ValueError, TypeError) as error:
            raise ArtifactError(f"{path} is no saved index: {error}; make it again with ExactIndex(vectors)") from error
        if set(arrays) != {f"{metric} {fingerprint(given)}"}:
            raise ArtifactError(f"{path} is an index of other vectors, or of another metric; make it again of these")
        kept = len(given) - (0 if space.left_out is None else len(space.left_out))
        if not _is_order(order, offsets, len(given), kept):
            raise ArtifactError(f"{path} is damaged; make it again with ExactIndex(vectors)")
        index = cls.__new__(cls)
        index._threads = resolve_threads(threads)
        index._place(given, space, order, offsets)
        return index


def _without(order: Rows, offsets: NDArray[np.int64], left_out: Rows) -> tuple[Rows, NDArray[np.int64]]:
    """Blocks without some items, and without those that were of them alone."""
    keep = ~np.isin(order, left_out)
    return order[keep], np.unique(np.append(0, np.cumsum(keep))[offsets])


def _is_order(order: NDArray[Any], offsets: NDArray[Any], n: int, kept: int, *, every_entry: bool = True) -> bool:
    """Whether blocks hold each of ``kept`` out of n items once; without ``every_entry`` by their number alone."""
    if order.dtype != np.int32 or offsets.dtype != np.int64 or order.shape != (kept,) or not len(offsets):
        return False
    if offsets[0] != 0 or offsets[-1] != kept or (np.diff(offsets) <= 0).any():
        return False
    return not every_entry or (bool(((order >= 0) & (order < n)).all()) and len(np.unique(order)) == kept)

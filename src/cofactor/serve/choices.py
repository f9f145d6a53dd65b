"""Which items lists may hold, by a filter and by what is in stock: found beside the event loop, and kept."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.errors import ParameterError
from cofactor.serve.request_error import RequestError

if TYPE_CHECKING:
    from cofactor.kernels.arrays import Rows
    from cofactor.serve.answers import Index
    from cofactor.serve.catalogue import Catalogue
    from cofactor.serve.store import Stock

__all__ = ["Choices"]

_KEPT = 256  # choices, of one filter, stock and model each
_KEPT_BYTES = 64 << 20


class Choices:
    """The item rows that a filter and the stock leave of a model's.

    A filter may take long over millions of items. One after the other is evaluated, in a thread of their own.

    Parameters
    ----------
    catalogue : Catalogue, optional
        The table of items that filters are about.
    """

    def __init__(self, catalogue: Catalogue | None) -> None:
        self._catalogue = catalogue
        self._kept: OrderedDict[tuple[int, str | None, int], tuple[Index, Rows]] = OrderedDict()
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cofactor-filters")

    async def rows(self, index: Index, filter: str | None, stock: Stock | None) -> Rows | None:
        """The rows that are left, ascending; None for all.

        Raises
        ------
        RequestError
            422: the filter is wrong, or there is no table of items that it could be about.
        """
        out = stock is not None and bool(stock.out)
        if filter is None and not out:
            return None
        key = (id(index), filter, stock.number if out and stock is not None else -1)
        kept = self._look_up(key)
        if kept is not None:
            return kept
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._find, key, index, filter, stock)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _look_up(self, key: tuple[int, str | None, int]) -> Rows | None:
        with self._lock:
            if (kept := self._kept.get(key)) is None:
                return None
            self._kept.move_to_end(key)
            return kept[1]

    def _find(self, key: tuple[int, str | None, int], index: Index, filter: str | None, stock: Stock | None) -> Rows:
        if (kept := self._look_up(key)) is not None:  # others wanted the same
            return kept
        mask = np.ones(len(index.items), bool) if filter is None else self._matching(index, filter)
        items, out = index.items, stock.out if stock is not None else ()
        mask[[row for item in out if type(item) is items.kind and (row := items.row(item)) >= 0]] = False
        rows = np.flatnonzero(mask).astype(np.int32)
        with self._lock:
            self._kept[key] = (index, rows)  # which keeps the index, so that its id stays its own
            held = sum(kept.nbytes for _, kept in self._kept.values())
            while len(self._kept) > _KEPT or (held > _KEPT_BYTES and len(self._kept) > 1):
                held -= self._kept.popitem(last=False)[1][1].nbytes
        return rows

    def _matching(self, index: Index, filter: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which items of the model a filter lets through, as a new array."""
        if self._catalogue is None:
            raise RequestError(
                422, "no_items", "there is no table of items to filter by (cofactor serve --items)", "filter"
            )
        try:
            mask = self._catalogue.mask(filter)
        except ParameterError as error:
            raise RequestError(422, "filter", str(error)[:500], "filter") from None
        places = index.places_in(self._catalogue)
        return np.where(places >= 0, mask[places], False)

"""Reading of the store beside the event loop: a database that hangs holds up nobody but those who need it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from cofactor.serve.events import is_id
from cofactor.serve.request_error import RequestError
from cofactor.serve.trained import NEVER, Trained

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cofactor.serve.events import Event
    from cofactor.serve.ids import Id
    from cofactor.serve.store import Stock, Store

__all__ = ["Known", "StoreReader"]

_PATIENCE = 2.0  # seconds that a read may take


class Known(NamedTuple):
    """What the store knows: what is out of stock, and what each user did that is asked for, the oldest first."""

    stock: Stock
    histories: list[tuple[Event, ...]]


class _Asked(NamedTuple):
    users: Sequence[Id]
    trained: Trained
    answer: asyncio.Future[Known]


class StoreReader:
    """Reads a store in a thread of its own; requests that come together share one look at what is new.

    Every answer is of a look that began after the request came, so that nobody misses what was acknowledged before.

    Parameters
    ----------
    store : Store
    patience : float
        Seconds after which those who wait are told that the store cannot be reached; until it answers, others are told
        at once.
    """

    def __init__(self, store: Store, *, patience: float = _PATIENCE) -> None:
        self._store, self._patience = store, patience
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cofactor-reads")
        self._waiting: list[_Asked] = []
        self._busy = self._stuck = False

    def read(self, users: Sequence[Id] = (), trained: Trained = NEVER) -> asyncio.Future[Known]:
        """What is out of stock now, and what users did that a model has not been trained on.

        The future raises a :class:`RequestError` where the store cannot be read.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Known] = loop.create_future()
        if self._stuck:
            answer.set_exception(_unreachable())
            return answer
        self._waiting.append(_Asked(users, trained, answer))
        if not self._busy:
            self._busy = True
            loop.call_soon(self._next)
        return answer

    def close(self) -> None:
        """End the thread, once it has read."""
        self._thread.shutdown(wait=False)

    def _next(self) -> None:
        asked = [one for one in self._waiting if not one.answer.done()]  # whose client went away is left out
        self._waiting = []
        if not asked:
            self._busy = False
            return
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._patience, self._give_up, asked)
        call = loop.run_in_executor(self._thread, self._read, asked)
        call.add_done_callback(partial(self._finished, asked, timer))

    def _read(self, asked: list[_Asked]) -> list[Known]:
        self._store.refresh()
        stock, history = self._store.stock, self._store.history
        return [
            Known(stock, [history(user, one.trained) if is_id(user) else () for user in one.users]) for one in asked
        ]

    def _finished(self, asked: list[_Asked], timer: asyncio.TimerHandle, done: asyncio.Future[list[Known]]) -> None:
        timer.cancel()
        self._stuck = False
        error = done.exception()
        for at, one in enumerate(asked):
            if one.answer.done():
                continue
            if error is not None:
                one.answer.set_exception(error)
            else:
                one.answer.set_result(done.result()[at])
        self._next()

    def _give_up(self, asked: list[_Asked]) -> None:
        """Tell all who wait that it takes too long."""
        self._stuck = True
        waiting, self._waiting = self._waiting, []
        for one in (*asked, *waiting):
            if not one.answer.done():
                one.answer.set_exception(_unreachable())


def _unreachable() -> RequestError:
    message = "the store does not answer; try again"
    return RequestError(503, "store_unavailable", message, headers={"Retry-After": "1"})

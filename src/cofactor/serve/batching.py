"""Requests that are under way together are answered by one call of the model."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cofactor.serve.answers import Index, Listed
    from cofactor.serve.questions import Question

__all__ = ["Batcher"]

_AT_ONCE = 1024  # questions of one call


class _Asked(NamedTuple):
    """What one request asks."""

    model: Index
    questions: Sequence[Question]
    answers: asyncio.Future[list[Listed]]
    long: bool


class Batcher:
    """Collects questions while the model is busy, and asks them all together as soon as it is not.

    Nobody waits for a batch to fill: a question that comes alone is answered alone. A model that answers in less than
    a blink does so between two turns of the event loop, where a thread would cost more than the answer; any other one,
    and whatever is said to take long, in a thread of its own, so that the service goes on reading, and tells that it
    lives.

    Parameters
    ----------
    told : callable
        Called with the number of questions of each call.
    """

    def __init__(self, told: Callable[[int], None]) -> None:
        self._told = told
        self._waiting: list[_Asked] = []
        self._busy = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cofactor-answers")

    def ask(self, index: Index, questions: Sequence[Question], *, long: bool = False) -> asyncio.Future[list[Listed]]:
        """The answers to the questions, as soon as they are there, in one list; ``long``: they may take a while."""
        loop = asyncio.get_running_loop()
        answers: asyncio.Future[list[Listed]] = loop.create_future()
        self._waiting.append(_Asked(index, questions, answers, long))
        if not self._busy:
            self._busy = True
            loop.call_soon(self._next)
        return answers

    def close(self) -> None:
        """End the thread, once it has answered."""
        self._thread.shutdown(wait=False)

    def _next(self) -> None:
        """Answer what waits for the same index as the first."""
        waiting = [asked for asked in self._waiting if not asked.answers.done()]  # whose client went away is left out
        if not waiting:
            self._waiting, self._busy = [], False
            return
        index, long, n = waiting[0].model, waiting[0].long, 0
        together: list[_Asked] = []
        rest: list[_Asked] = []
        for asked in waiting:
            if asked.model is index and asked.long is long and (not together or n + len(asked.questions) <= _AT_ONCE):
                together.append(asked)
                n += len(asked.questions)
            else:
                rest.append(asked)
        self._waiting = rest
        self._told(n)
        loop = asyncio.get_running_loop()
        if index.quick and not long:
            self._hand_out(together, self._answered(index, together))
            if self._waiting:
                loop.call_soon(self._next)
            else:
                self._busy = False
            return
        call = loop.run_in_executor(self._thread, self._answered, index, together)
        call.add_done_callback(lambda done: self._finished(together, done))

    def _finished(
        self,
        together: list[_Asked],
        done: asyncio.Future[list[list[Listed] | Exception]],
    ) -> None:
        self._hand_out(together, done.result())
        self._next()

    @staticmethod
    def _answered(index: Index, together: list[_Asked]) -> list[list[Listed] | Exception]:
        """Answers by request; where one request cannot be answered, the others are all the same."""
        try:
            every = index.recommend([question for asked in together for question in asked.questions])
        except Exception as error:
            if len(together) == 1:
                return [error]
            return [Batcher._answered(index, [asked])[0] for asked in together]
        found: list[list[Listed] | Exception] = []
        begin = 0
        for asked in together:
            found.append(every[begin : begin + len(asked.questions)])
            begin += len(asked.questions)
        return found

    @staticmethod
    def _hand_out(
        together: list[_Asked],
        found: list[list[Listed] | Exception],
    ) -> None:
        for asked, answer in zip(together, found, strict=True):
            if asked.answers.done():
                continue
            if isinstance(answer, Exception):
                asked.answers.set_exception(answer)
            else:
                asked.answers.set_result(answer)

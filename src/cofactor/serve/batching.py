"""Requests that are under way together are answered by one call of the model."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cofactor.serve.answers import Index, Listed
    from cofactor.serve.questions import Question

__all__ = ["Answers", "Batcher"]

_AT_ONCE = 1024  # questions of one call


class Answers(Protocol):
    """Where answers go: a future, or what does as one."""

    def done(self) -> bool:
        """Whether nobody waits any more."""

    def set_result(self, answers: list[Listed], /) -> None:
        """Take the answers."""

    def set_exception(self, error: Exception, /) -> None:
        """Take the reason why there are none."""


class _Asked(NamedTuple):
    """What one request asks."""

    model: Index
    questions: Sequence[Question]
    answers: Answers
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
        self.apart = False  # whether the thread is at work, so that answers may take a while
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cofactor-answers")

    def ask(self, index: Index, questions: Sequence[Question], *, long: bool = False) -> asyncio.Future[list[Listed]]:
        """The answers to the questions, as soon as they are there, in one list; ``long``: they may take a while."""
        answers: asyncio.Future[list[Listed]] = asyncio.get_running_loop().create_future()
        self.put(index, questions, answers, long=long)
        return answers

    def put(self, index: Index, questions: Sequence[Question], answers: Answers, *, long: bool = False) -> None:
        """As :meth:`ask`, for who has somewhere to put the answers."""
        self._waiting.append(_Asked(index, questions, answers, long))
        if not self._busy:
            self._busy = True
            asyncio.get_running_loop().call_soon(self._next)

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
        self.apart = True
        call = loop.run_in_executor(self._thread, self._answered, index, together)
        call.add_done_callback(lambda done: self._finished(together, done))

    def _finished(
        self,
        together: list[_Asked],
        done: asyncio.Future[list[list[Listed] | Exception]],
    ) -> None:
        self.apart = False
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

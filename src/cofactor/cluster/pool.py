"""Workers that hold something of their own, and others in their place when they die."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from cofactor.cluster.engine import died, nodes, require_ray
from cofactor.errors import CofactorError, ParameterError
from cofactor.system.memory import give_back_arrays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Pool", "Worker", "placed"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_PATIENCE = 20.0  # seconds that a new worker may wait for a place of its own
_ROOM = 60.0  # and the first ones
_AGAIN = 10  # deaths in a row without any progress that are borne
_PING = 5.0  # seconds after which a worker that says nothing counts as busy: it is Ray that tells who died


def placed(workers: int | None, threads: int | None) -> tuple[int, int]:
    """How many workers of how many threads: by default one for each node, with all of its threads.

    Raises
    ------
    ParameterError
        The cluster has no room for so many.
    """
    sizes = sorted((node["threads"] for node in nodes() if node["threads"]), reverse=True)
    if not sizes:
        raise ParameterError("the cluster has no node with threads to give; start one with ray start --num-cpus=N")
    if workers is None:
        threads = threads or sizes[-1]
        workers = sum(size // threads for size in sizes) if threads < sizes[-1] else len(sizes)
    threads = threads or max(1, min(sizes[-1], sum(sizes) // workers))
    room = sum(size // threads for size in sizes)
    if workers > room:
        raise ParameterError(
            f"workers={workers} of threads={threads} each: the cluster has room for {room} (threads of its nodes: "
            f"{', '.join(map(str, sizes))}); take fewer, or start more nodes"
        )
    return workers, threads


class Worker:
    """What all workers tell of themselves; its kernels take ``threads`` threads.

    Others derive from it, and have a method ``load`` that loads their part, once.
    """

    def __init__(self, threads: int) -> None:
        os.environ["COFACTOR_NUM_THREADS"] = str(threads)
        give_back_arrays()  # those of a half, beside what stays
        self.threads = threads

    def where(self) -> str:
        """The node that this worker is on."""
        return str(require_ray().get_runtime_context().get_node_id())

    def process(self) -> int:
        """The number of its process there."""
        return os.getpid()


@dataclass
class Pool:
    """Workers of one kind, each with a part of its own.

    Parameters
    ----------
    kind : class
        A kind of :class:`Worker`; ``kind(*arguments(i))`` is worker i.
    n, threads : int
    arguments : callable
    """

    kind: type[Worker]
    n: int
    threads: int
    arguments: Callable[[int], Sequence[Any]]
    handles: list[Any] = field(default_factory=list)
    homes: list[str] = field(default_factory=list)
    deaths: int = 0

    def start(self) -> None:
        """Start all, and wait until each has its part."""
        ray = require_ray()
        try:
            self.handles = [self._new(i, self.threads) for i in range(self.n)]
            homes = [handle.where.remote() for handle in self.handles]
            if late := ray.wait(homes, num_returns=self.n, timeout=_ROOM, fetch_local=False)[1]:
                raise CofactorError(
                    f"{len(late)} of {self.n} workers of {self.threads} threads found no room within {_ROOM:.0f} s: "
                    "others hold the threads of the cluster; close what is done (interactions.close()), or wait for it"
                )
            self.homes = ray.get(homes)
            ray.get([handle.load.remote() for handle in self.handles])
        except died() as error:
            self.homes = [""] * self.n
            self.replace(error)

    def _new(self, i: int, threads: int) -> Any:  # noqa: ANN401
        options = {"num_cpus": threads, "scheduling_strategy": "SPREAD", "max_concurrency": 1}
        return require_ray().remote(self.kind).options(**options).remote(*self.arguments(i))

    def all(self, method: str, *shared: Any) -> list[Any]:  # noqa: ANN401
        """What a method of every worker gives, in their order."""
        return list(require_ray().get(self.asked(method, *shared)))

    def asked(self, method: str, *shared: Any) -> list[Any]:  # noqa: ANN401
        """The same as references."""
        return [getattr(handle, method).remote(*shared) for handle in self.handles]

    def steadily(self, step: Callable[[], T]) -> T:
        """What a step gives, which is taken again where a worker died in it: whoever has done his part keeps it."""
        while True:
            try:
                found = step()
            except died() as error:
                self.replace(error)
            else:
                self.deaths = 0
                return found

    def replace(self, error: BaseException) -> None:
        """Mend, and again where a new worker dies as well, but not for ever."""
        while True:
            self.deaths += 1
            if self.deaths >= _AGAIN:
                raise CofactorError(
                    f"workers died {self.deaths} times in the same step ({str(error).splitlines()[0]}); often they "
                    "have too little memory: take more workers or nodes, or fewer factors"
                ) from error
            try:
                return self.mend()
            except died() as again:
                error = again

    def mend(self) -> None:
        """Put new workers in the place of the dead ones, which load their parts again; busy ones are left alone."""
        ray, missing = require_ray(), []
        asked = {handle.where.remote(): i for i, handle in enumerate(self.handles)}
        told = ray.wait(list(asked), num_returns=len(asked), timeout=_PING)[0]
        for one in told:
            try:
                self.homes[asked[one]] = str(ray.get(one))
            except died():
                missing.append(asked[one])
        for i in sorted(missing):
            _log.warning("worker %d died; another one loads its part", i)
            self.handles[i], self.homes[i] = self._another(i)
        # Those who have their part say so at once.
        ray.get([self.handles[i].load.remote() for i in sorted(asked[one] for one in told)])

    def deal(self, calls: Sequence[tuple[str, tuple[Any, ...]]]) -> Iterator[tuple[int, Any]]:
        """Give every free worker the next call, a method and its arguments; that of one that died goes to another.

        Gives the number of a call and what it gave, as they end.
        """
        ray = require_ray()
        waiting, free = list(range(len(calls)))[::-1], list(range(self.n))[::-1]
        running: dict[Any, tuple[int, int]] = {}
        while waiting or running:
            while waiting and free:
                worker, i = free.pop(), waiting.pop()
                method, arguments = calls[i]
                running[getattr(self.handles[worker], method).remote(*arguments)] = worker, i
            (done,), _ = ray.wait(list(running), num_returns=1)
            worker, i = running.pop(done)
            try:
                found = ray.get(done)
            except died() as error:
                waiting.append(i)
                self.replace(error)
            else:
                self.deaths = 0
                yield i, found
            free.append(worker)

    def _another(self, i: int) -> tuple[Any, str]:
        """A new worker and its node: one with threads of its own, or, where none are left, beside others."""
        ray = require_ray()
        handle = self._new(i, self.threads)
        ready = handle.where.remote()
        if not ray.wait([ready], timeout=_PATIENCE)[0]:
            ray.kill(handle)
            handle = self._new(i, 0)
            ready = handle.where.remote()
        return handle, str(ray.get(ready))

    def leaders(self) -> dict[str, int]:
        """The first worker of every node that has any."""
        return {home: i for i, home in reversed(list(enumerate(self.homes)))}

    def end(self) -> None:
        """Let all workers end at once."""
        ray = require_ray()
        if ray.is_initialized():
            for handle in self.handles:
                ray.kill(handle)
        self.handles, self.homes = [], []

"""``tune`` with as many trials at once as there are workers.

Trial n is proposed from what trials up to n - workers found, and from the parameters of those after them, whichever of
them happen to be done: so that the same search with as many workers tries the same points, however long trials take.
With one worker it is the search of one machine.
"""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from cofactor.cluster.engine import died, require_ray, shared, translated
from cofactor.cluster.events import ClusterEvents
from cofactor.cluster.list_worker import check_sizes
from cofactor.cluster.pool import Pool, Worker, placed
from cofactor.data.sharded import Sharded
from cofactor.errors import ParameterError
from cofactor.evaluation.search import Trial
from cofactor.evaluation.trials import trials_run_by
from cofactor.evaluation.tune import tune as tune_here

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cofactor.evaluation.search import Search
    from cofactor.evaluation.spaces import Point
    from cofactor.evaluation.study import Study
    from cofactor.evaluation.trials import Bench

__all__ = ["TrialWorker", "tune"]


class TrialWorker(Worker):
    """A worker that has the data, and fits and measures one set of parameters after the other."""

    def __init__(self, bench: Bench, threads: int) -> None:
        super().__init__(threads)
        self.bench = bench

    def load(self) -> bool:
        """Nothing is left to load."""
        return True

    def run(self, number: int, params: Point, before: list[Trial], seconds: float) -> tuple[Trial, Counter[str]]:
        """A trial, and what it warned of; ``seconds`` are left for the search."""
        self.bench.deadline = time.perf_counter() + seconds
        self.bench.warnings = Counter()
        return self.bench.run(number, params, before), self.bench.warnings


def tune(model: Any, train: Any, *, workers: int | None, threads: int | None, options: dict[str, Any]) -> Study:  # noqa: ANN401
    """See ``Cluster.tune``."""
    check_sizes(workers, threads)
    if isinstance(train, Sharded | ClusterEvents):
        raise ParameterError(
            f"train: every worker has all of the data in a search, and {type(train).__name__} has it in parts; give "
            "what cofactor.read_events gives, perhaps of some of the users"
        )
    size, each = placed(workers, threads)
    with translated("the search could not be done"), trials_run_by(partial(_run, size, each)):
        return tune_here(model, train, **options)


def _run(
    n: int, threads: int, bench: Bench, search: Search, trials: list[Trial], *, first: Point | None, most: float
) -> Iterator[Trial]:
    """The trials of a search in their order, of which ``n`` run at once."""
    bench_there = shared("model", bench)
    pool = Pool(TrialWorker, n, threads, lambda _: (bench_there, threads))
    course = _Course(pool, bench, search, trials, first)
    try:
        while True:
            course.begin(most)
            if not course.running and len(trials) not in course.done:
                return
            while len(trials) not in course.done:
                course.wait()
            trial = course.done.pop(len(trials))
            yield trial
    finally:
        pool.end()


class _Course:
    """Which trials run and which are done, of those whose turn has not come yet."""

    def __init__(self, pool: Pool, bench: Bench, search: Search, trials: list[Trial], first: Point | None) -> None:
        self.pool, self.bench, self.search, self.trials, self.first = pool, bench, search, trials, first
        self.free = list(range(pool.n))[::-1]
        self.running: dict[Any, tuple[int, int, float]] = {}
        self.asked = {trial.number: trial.params for trial in trials}
        self.done: dict[int, Trial] = {}
        self.ended = False

    def begin(self, most: float) -> None:
        """Give every free worker a trial, as long as there are any to begin."""
        while self.free and not self.ended:
            number, left = len(self.asked), self.bench.deadline - time.perf_counter()
            if number >= most or (self.trials and left < 0):
                return
            if number - len(self.trials) >= self.pool.n:  # what it is proposed from is not there yet
                return
            known = self.trials[: max(0, number - self.pool.n + 1)]
            others = [Trial(i, self.asked[i], "failed") for i in range(len(known), number)]
            is_first = number == 0 and self.first is not None
            params = self.first if is_first else self.search.propose(number, [*known, *others])
            if params is None:
                self.ended = True
                return
            if not self.pool.handles:  # a folder may have all trials already
                self.pool.start()
            self.asked[number] = params
            worker = self.free.pop()
            call = self.pool.handles[worker].run.remote(number, params, known, left)
            self.running[call] = worker, number, time.perf_counter()

    def wait(self) -> None:
        """Take the next trial that ends; one whose worker died has failed."""
        ray = require_ray()
        (call,), _ = ray.wait(list(self.running), num_returns=1)
        worker, number, began = self.running.pop(call)
        try:
            self.done[number], warnings = ray.get(call)
            self.bench.warnings.update(warnings)
            self.pool.deaths = 0
        except died() as error:
            why = f"its worker died ({str(error).splitlines()[0]}); often there is too little memory"
            took = time.perf_counter() - began
            self.done[number] = Trial(number, self.asked[number], "failed", seconds=took, error=why)
            self.pool.replace(error)
        self.free.append(worker)

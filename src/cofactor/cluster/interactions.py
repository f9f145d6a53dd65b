"""Interactions in parts on the workers of a cluster: what models are fitted on there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.checks import check_at_least, check_choice, check_type
from cofactor.cluster.als import fit_als
from cofactor.cluster.als_worker import AlsWorker
from cofactor.cluster.checkpoint import Checkpoint, fingerprint
from cofactor.cluster.collect import collected
from cofactor.cluster.covisitation import VisitWorker, fit_covisitation
from cofactor.cluster.engine import connected, translated
from cofactor.cluster.pool import Pool, placed
from cofactor.cluster.shards import Description, cuts
from cofactor.cluster.wire import WIRES
from cofactor.data.sharded import Sharded
from cofactor.errors import DataError, ParameterError
from cofactor.kernels.csr import CSR, offsets
from cofactor.models.base.fitting import LARGEST_WEIGHT, LEAST_LARGEST
from cofactor.models.factors.als import ImplicitALS
from cofactor.models.sessions.covisitation import CoVisitation
from cofactor.models.sessions.covisitation_sum import CoVisitationSum

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from numpy.typing import ArrayLike, NDArray

    from cofactor.cluster.sketch import Block
    from cofactor.data.ids import IdMap

__all__ = ["ClusterInteractions"]

_NO_MATTER = ("threads", "iterations")  # parameters that may change when a fit is resumed


class ShardWorker(AlsWorker, VisitWorker):
    """A worker for all models that are fitted here."""


class ClusterInteractions(Sharded):
    """A weighted users x items matrix in parts: ``ClusterEvents.interactions`` makes it.

    Every worker holds consecutive rows of the matrix and of the transposed one. They are started by the first ``fit``
    and stay for the next; :meth:`close` ends them, and so does whatever ends a fit early. It is a context that does.
    """

    def __init__(
        self,
        described: Description,
        user_counts: NDArray[np.int64],
        item_counts: NDArray[np.int64],
        *,
        workers: int | None = None,
        threads: int | None = None,
        checkpoint: str | Path | None = None,
        every: int = 1,
        wire: str = "float32",
    ) -> None:
        for name, value in (("workers", workers), ("threads", threads), ("every", every)):
            if value is not None or name == "every":
                check_at_least(name, value, 1, whole=True)
        check_type("checkpoint", checkpoint, str | Path | None, "a folder, an address for fsspec, or None")
        check_choice("wire", wire, WIRES)
        self.described, self._counts, self.every, self.wire = described, (user_counts, item_counts), every, wire
        self.checkpoint = None if checkpoint is None else str(checkpoint)
        n, threads = placed(workers, threads)
        self.cuts = tuple(cuts(counts) for counts in self._counts)
        self._runs = [self._runs_of(side, n) for side in (0, 1)]
        self._pool = Pool(ShardWorker, n, threads, self._arguments)
        self._facts: list[tuple[int, float, float]] = []
        self._reference: Any = None

    def _runs_of(self, side: int, n: int) -> NDArray[np.int64]:
        """Which blocks are each worker's: (n + 1,)."""
        blocks = self.cuts[side]
        ends = np.concatenate([[0], np.cumsum(self._counts[side])])[blocks] + blocks
        runs: NDArray[np.int64] = np.searchsorted(ends, np.arange(n + 1) * (ends[-1] / n)).clip(0, len(blocks) - 1)
        return runs

    def _arguments(self, i: int) -> tuple[Any, ...]:
        blocks = tuple(self.cuts[side][self._runs[side][i] : self._runs[side][i + 1] + 1] for side in (0, 1))
        return self._reference, blocks, self._pool.threads

    @property
    def users(self) -> IdMap:
        """Ids of the rows."""
        return self.described.users

    @property
    def items(self) -> IdMap:
        """Ids of the columns."""
        return self.described.items

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of users and items."""
        return len(self.users), len(self.items)

    @property
    def workers(self) -> int:
        """Number of workers."""
        return self._pool.n

    def pool(self) -> Pool:
        """The workers, started unless they are there."""
        if not self._pool.handles:
            self._reference = connected().put(self.described)
            try:
                with translated("the shards could not be made"):
                    self._pool.start()
                    self._facts = self._pool.steadily(lambda: self._pool.all("facts"))
            except BaseException:
                self.close()
                raise
            largest = max(fact[2] for fact in self._facts)
            if not LEAST_LARGEST <= largest <= LARGEST_WEIGHT:
                self.close()
                raise DataError(
                    f"the largest weight is {largest:.6g}; models compute in float32, with weights up to "
                    f"{LARGEST_WEIGHT:g} of which the largest is at least {LEAST_LARGEST:g}: count in other units"
                )
        return self._pool

    @property
    def nnz(self) -> int:
        """Number of (user, item) pairs; starts the workers."""
        self.pool()
        return sum(fact[0] for fact in self._facts)

    def total(self) -> float:
        """Sum of all weights; starts the workers."""
        self.pool()
        return float(sum(fact[1] for fact in self._facts))

    def take(self, rows: ArrayLike) -> CSR:
        """Some users' rows, ascending, brought here; starts the workers."""
        pool = self.pool()
        parts: list[CSR] = pool.steadily(lambda: pool.all("take", np.asarray(rows, np.int64)))
        return CSR(
            offsets(np.concatenate([np.diff(part.indptr) for part in parts])),
            np.concatenate([part.indices for part in parts]),
            np.concatenate([part.values for part in parts]),
            len(self.items),
        )

    def sizes(self, side: int) -> list[int]:
        """How many rows of a side every worker has."""
        return [int(blocks[side][-1] - blocks[side][0]) for _, blocks, _ in map(self._arguments, range(self.workers))]

    def matrix(self) -> CSR:
        """All rows of users, in files without a name; starts the workers."""
        pool = self.pool()

        def bring() -> CSR:
            lengths = [np.diff(one) for one in pool.all("piece", "indptr", 0, None)]
            n = [fact[0] for fact in self._facts]
            indices = collected(pool, "piece", "indices", sizes=n, dtype=np.int32)
            values = collected(pool, "piece", "values", sizes=n)
            return CSR(offsets(np.concatenate(lengths)), indices, values, self.shape[1])

        return pool.steadily(bring)

    def fit(self, model: Any, **options: Any) -> None:  # noqa: ANN401
        """Fit a model where the parts are; called by ``model.fit(interactions)``."""
        name = type(model).__name__
        connected()
        try:
            with translated(f"{name} could not be fitted"):
                if isinstance(model, ImplicitALS):
                    fit_als(model, self, **options)
                elif isinstance(model, CoVisitation | CoVisitationSum):
                    fit_covisitation(model, self, **options)
                else:
                    raise ParameterError(
                        "interactions: of a cluster, ImplicitALS, CoVisitation and CoVisitationSum are fitted on them, "
                        f"not {name}; read_events(...).interactions() gives others what fits into one machine"
                    )
        except BaseException:
            self.close()  # Ctrl-C among it: no worker stays
            raise

    def sketched(self) -> list[Block]:
        """What tells the rows from others, by blocks, whatever the number of workers; starts these."""
        pool = self.pool()
        return [block for part in pool.steadily(lambda: pool.all("sketched")) for block in part]

    def kept(self, model: ImplicitALS) -> Checkpoint | None:
        """Where the state of a model's fit is kept."""
        if self.checkpoint is None:
            return None
        params = {name: value for name, value in model.params().items() if name not in _NO_MATTER}
        params["wire"] = self.wire
        return Checkpoint(self.checkpoint, fingerprint(self.described, *self._counts), params)

    def close(self) -> None:
        """End the workers; the next fit starts others."""
        self._pool.end()
        self._reference, self._facts = None, []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"ClusterInteractions({self.shape[0]:,} users x {self.shape[1]:,} items on {self.workers} workers)"

"""Stochastic gradient descent of a factorization machine of ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy

from cofactor.kernels.arguments import Table
from cofactor.kernels.arrays import aligned_zeros, width_of
from cofactor.models.base.epochs import Plan, require_finite, run_epochs
from cofactor.models.ratings.fm_samples import LOGISTIC_BOUND

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from cofactor.kernels.cpu import Kernels
    from cofactor.kernels.csr import CSR
    from cofactor.models.base.epochs import Rate
    from cofactor.models.ratings.fm_samples import Kept

__all__ = ["BatchDescent"]

_LEAST_VARIANCE = 1e-8  # of a coordinate over users
_WAY_OUT = "lower regularization, learning_rate or init_std"


class BatchDescent(NamedTuple):
    """How to descend: in batches, with a learning rate that falls to zero as half a cosine wave.

    "row_adam" has one second moment for a row's weight and one for its vector: half the state, as good on held-out
    ratings.
    """

    epochs: int
    learning_rate: float
    batch_size: int
    weight_decay: float
    init_std: float
    seed: int
    threads: int | None
    optimizer: str = "row_adam"
    logistic: bool = False

    def run(self, kernels: Kernels, targets: CSR, kept: Kept, progress: bool | None) -> NDArray[np.float64]:
        """Train, and keep what comes out as the only sample.

        Gives the root of the mean squared error of each epoch, or the mean logistic loss.
        """
        c, n_users = kept.means.shape[1], targets.n_rows
        values = aligned_zeros(n_users + targets.n_columns, width_of(c))
        values[:, 1:c] = np.random.default_rng(self.seed).normal(0, self.init_std, (len(values), c - 1))
        share = targets.values.mean(dtype=np.float64)
        offset = float(scipy.special.logit(share)) if self.logistic else 0.0
        rows, held = kernels.hold(Table.new(values, self.optimizer, self.learning_rate)), kernels.hold(targets)

        def one_epoch(epoch: int, rate: Rate) -> float:
            seed = int(np.random.default_rng([self.seed, epoch]).integers(2**63))
            return kernels.fm_epoch(
                held,
                rows,
                offset=offset,
                weight_decay=self.weight_decay,
                batch_size=self.batch_size,
                n_coordinates=c,
                seed=seed,
                rate=rate.first,
                logistic=self.logistic,
                threads=self.threads,
            )

        def snapshot() -> Callable[[], None]:
            now = kernels.fetch(rows)
            require_finite("FactorizationMachine", now.values, way_out=_WAY_OUT)
            values, first, second = (part.copy() for part in now[:3])
            before = now._replace(values=values, first=first, second=second, steps=now.steps.copy())

            def bring_back() -> None:
                nonlocal rows
                rows = kernels.hold(before)

            return bring_back

        plan = Plan(self.epochs, cosine=True)
        course = run_epochs("FactorizationMachine", plan, one_epoch, snapshot, progress=progress)
        found, losses = kernels.fetch(rows).values[:, :c], course.epochs["loss"].to_numpy()
        require_finite("FactorizationMachine", found, way_out=_WAY_OUT)
        kept.users[:], kept.items[:] = found[:n_users], found[n_users:]
        # New users are folded in by what the trained ones say of the spread of users, and of the noise.
        kept.means[0] = kept.users.mean(axis=0)
        kept.precisions[0] = 1 / np.maximum(kept.users.var(axis=0), _LEAST_VARIANCE)
        kept.offsets[0] = 0.0
        if self.logistic:
            kept.cutpoints[0], kept.noise_precisions[0] = -offset, LOGISTIC_BOUND
            return np.asarray(losses, np.float64)
        kept.noise_precisions[0] = 1 / max(losses[course.kept - 1], _LEAST_VARIANCE)
        errors: NDArray[np.float64] = np.sqrt(losses)
        return errors

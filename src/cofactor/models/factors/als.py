r"""Implicit alternating least squares.

Minimises, over user vectors :math:`x_u` and item vectors :math:`y_i`,

.. math::
    \sum_{(u,i) \in S} w_{ui} (1 - x_u \cdot y_i)^2 + \alpha_0 \sum_{u,i} (x_u \cdot y_i)^2
    + \lambda \sum_u (n_u + \alpha_0 n_I)^\nu |x_u|^2 + \lambda \sum_i (n_i + \alpha_0 n_U)^\nu |y_i|^2

where S are the observed pairs, :math:`w_{ui}` = ``alpha`` times the interaction's weight, :math:`\alpha_0` =
``unobserved_weight``, :math:`\lambda` = ``regularization``, :math:`\nu` = ``regularization_exponent`` and
:math:`n_u, n_i` count the observed pairs of a user and an item.

Sources: Hu, Koren & Volinsky 2008 (confidences, and the Gramian that makes the second sum cheap); Rendle, Krichene,
Zhang & Koren 2021, "Revisiting the performance of iALS on item recommendation benchmarks", eq. 1-4 (this form, the
frequency-scaled regularization and the initial spread); Takacs, Pilaszy & Tikk 2011 (conjugate gradient); Rendle,
Krichene, Zhang & Koren 2021, "iALS++: speeding up matrix factorization with subspace optimization" (subspaces).
Departures: the observed part has weights; sweeps go along the principal axes of the fixed side, where its Gramian is
diagonal: it preconditions conjugate gradient, subspaces meet in the history alone, and short histories are small
systems; training starts and ends with the users, so that user vectors are always the ones that fold-in gives for the
item vectors kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from cofactor.checks import check_at_least, check_choice, check_type
from cofactor.errors import CofactorError, ParameterError
from cofactor.kernels import blas
from cofactor.models.base.factor import FactorModel
from cofactor.models.base.fitting import in_one_step
from cofactor.system.memory import require_memory
from cofactor.system.progress import progress_bar
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.data.interactions import Interactions
    from cofactor.kernels.arrays import Float
    from cofactor.kernels.cpu import Kernels
    from cofactor.kernels.csr import CSR


__all__ = ["ImplicitALS"]

Solver = Literal["auto", "cholesky", "cg", "subspace"]

# "auto" solves exactly up to here; beyond, three steps of conjugate gradient cost a fraction of the exact solution.
_EXACT_UP_TO = 64
# The last user sweep of an inexact solver, and fold-in: conjugate gradient until the residual is this small.
_TO_THE_END: dict[str, Any] = {"solver": "cg", "cg_steps": 200, "cg_tolerance": 1e-6}


class ImplicitALS(FactorModel):
    """Matrix factorization for implicit feedback by alternating least squares (iALS).

    Parameters
    ----------
    factors : int
        Length of the vectors.
    regularization : float
        Weight of the squared norms, scaled by frequency as ``regularization_exponent`` says.
    alpha : float
        Multiplies the interaction weights.
    unobserved_weight : float
        Weight of every pair's pull towards zero, to be seen beside ``alpha``: the first parameter to tune, between
        0.01 (many items, few interactions each) and 1 (few items, repeated interactions).
    regularization_exponent : float
        0: the same regularization for all; 1: proportional to how many terms of the loss a vector takes part in.
    iterations : int
        Sweeps over items and users; one user sweep comes before the first.
    init_std : float
        Item vectors start normal with standard deviation ``init_std / sqrt(factors)``.
    solver : {"auto", "cholesky", "cg", "subspace"}
        "cholesky" solves every row exactly, O(nnz factors^2 + rows factors^3) a sweep, or less where histories are
        shorter than vectors. "cg" improves it by ``cg_steps`` steps of preconditioned conjugate gradient,
        O(nnz factors) a step. "subspace" (iALS++) solves ``block_size`` coordinates at a time, O(nnz factors
        block_size). All turn the axes before a sweep, O(rows factors^2). "auto": cholesky up to 64 factors, cg beyond.
    cg_steps : int
        Three come close to the exact solution, two are quicker to a given loss.
    block_size : int
        Of subspaces; rounded up to a multiple of 16. Larger blocks take longer and come hardly closer.
    seed : int
    threads : int, optional
        Default: what affinity and container limits grant. Results do not depend on it.
    device : {"cpu"}

    Attributes
    ----------
    user_factors_ : (n_users, factors) float32
    item_factors_ : (n_items, factors) float32
        Both stand along the principal axes of the items, the longest first.
    loss_history_ : (iterations,) float64
        Training loss after each iteration, all terms included.

    Examples
    --------
    >>> import cofactor as cf
    >>> x = cf.datasets.synthetic(n_users=200, n_items=50, n_interactions=2000, factors=4, seed=0)
    >>> model = cf.ImplicitALS(factors=8, iterations=5, seed=0).fit(x)
    >>> model.recommend(users=[0], k=3).columns
    ['user_id', 'item_id', 'score', 'rank']
    """

    user_factors_: Float
    item_factors_: Float
    loss_history_: NDArray[np.float64]

    def __init__(
        self,
        factors: int = 128,
        *,
        regularization: float = 0.003,
        alpha: float = 1.0,
        unobserved_weight: float = 0.1,
        regularization_exponent: float = 1.0,
        iterations: int = 15,
        init_std: float = 0.1,
        solver: Solver = "auto",
        cg_steps: int = 3,
        block_size: int = 32,
        seed: int = 0,
        threads: int | None = None,
        device: str = "cpu",
    ) -> None:
        self.factors = factors
        self.regularization = regularization
        self.alpha = alpha
        self.unobserved_weight = unobserved_weight
        self.regularization_exponent = regularization_exponent
        self.iterations = iterations
        self.init_std = init_std
        self.solver = solver
        self.cg_steps = cg_steps
        self.block_size = block_size
        self.seed = seed
        self.threads = threads
        self.device = device

    @in_one_step
    def fit(
        self,
        interactions: Interactions,
        *,
        progress: bool | None = None,
        warm_start: ImplicitALS | None = None,
        on_iteration: Callable[[int, float], object] | None = None,
    ) -> Self:
        """Learn the vectors.

        Parameters
        ----------
        interactions : Interactions
        progress : bool, optional
            Show a bar with the loss; by default when stderr is a terminal.
        warm_start : ImplicitALS, optional
            A fitted model whose item vectors are taken over, by item id, and whose users are solved for them first:
            with the exact solver the same data continues as if it had never stopped, with the others from no worse
            a loss; other data starts close to its solution.
        on_iteration : callable, optional
            Called with (iteration from 1, loss); returning True ends the training.

        Raises
        ------
        ParameterError
            A parameter is out of its range, or training would not fit into memory.
        """
        self._check()
        x = interactions
        require_memory(
            self._bytes_needed(x),
            f"ImplicitALS(factors={self.factors}) on {x.n_users:,} users and {x.n_items:,} items",
            "fewer factors",
        )
        kernels = self._kernels()
        by_user, by_item = kernels.hold(x.user_items), kernels.hold(x.item_users)
        penalties = self._lambda(np.diff(x.item_users.indptr), x.n_users)
        items = self._start(kernels, x, warm_start)
        users = kernels.vectors(x.n_users, self.factors)
        self._sweep(kernels, by_user, users, items, exactly=warm_start is not None)
        check_type("on_iteration", on_iteration, Callable | None, "a function of the iteration and the loss, or None")
        losses: list[float] = []
        with progress_bar("ImplicitALS", progress, total=self.iterations) as bar:
            for iteration in range(1, self.iterations + 1):
                self._sweep(kernels, by_item, items, users)
                last = iteration == self.iterations
                loss = self._sweep(kernels, by_user, users, items, exactly=last)
                losses.append(loss + float(penalties @ kernels.fetch(kernels.squared_norms(items))))
                bar.set_postfix(loss=f"{losses[-1]:.6g}", refresh=False)
                bar.update()
                stop = None if on_iteration is None else on_iteration(iteration, losses[-1])
                if isinstance(stop, bool | np.bool_) and stop:
                    break
        if not last:
            self._sweep(kernels, by_user, users, items, exactly=True)
        self.user_factors_, self.item_factors_ = kernels.fetch(users), kernels.fetch(items)
        self.loss_history_ = np.array(losses)
        return self

    def explain(self, user: object, item: object) -> pl.DataFrame:
        """How much each item of a user's history adds to one score (Hu, Koren & Volinsky 2008, section 5).

        Returns
        -------
        DataFrame
            ``item_id``, ``weight``, ``contribution`` (Float64), largest first. The contributions add up to the score
            that fold-in gives, which with the exact solver is the score of :meth:`predict`.
        """
        x = self._fitted()
        u, i = (
            int(ids.require([value], what)[0])
            for ids, value, what in ((x.users, user, "user"), (x.items, item, "item"))
        )
        history, weights = x.user_items.row(u)
        y = self.item_factors_[history].astype(np.float64)
        w = self.alpha * weights.astype(np.float64)
        kernels = self._kernels()
        gramian = kernels.fetch(kernels.gramian(kernels.hold(self.item_factors_), threads=self.threads))
        a = self.unobserved_weight * gramian.astype(np.float64)
        a += (y * w[:, None]).T @ y
        a[np.diag_indices_from(a)] += self._lambda(np.array([len(history)]), x.n_items)
        contribution = w * (y @ np.linalg.solve(a, self.item_factors_[i].astype(np.float64)))
        table = pl.DataFrame({"item_id": x.items.take(history), "weight": weights, "contribution": contribution})
        return table.sort("contribution", descending=True, maintain_order=True)

    def _fold_in(self, histories: CSR) -> Float:
        kernels, factors = self._kernels(), self.factors
        rows, vectors = kernels.hold(histories), kernels.vectors(histories.n_rows, factors)
        if self._solver() == "cholesky":
            items = kernels.hold(self.item_factors_)
            gramian = kernels.gramian(items, threads=self.threads)
            self._solve(kernels, rows, vectors, items, gramian, solver="cholesky")
            return kernels.fetch(vectors)
        items = kernels.vectors(len(self.item_factors_), factors, lambda out: np.copyto(out, self.item_factors_))
        axes = kernels.hold(np.eye(factors, dtype=np.float32))
        gramian = kernels.to_principal_axes(items, axes, threads=self.threads)
        self._solve(kernels, rows, vectors, items, gramian, **_TO_THE_END)
        return blas.matmul(kernels.fetch(vectors), kernels.fetch(axes).T, threads=self.threads)

    def _solver(self) -> str:
        return self.solver if self.solver != "auto" else "cholesky" if self.factors <= _EXACT_UP_TO else "cg"

    def _sweep(self, kernels: Kernels, history: CSR, solved: Float, fixed: Float, *, exactly: bool = False) -> float:
        """Improve one side with the other held fixed, except that both may be rotated; :meth:`_solve`'s loss.

        ``exactly``: until nothing is left to improve, whatever the solver.
        """
        solver = self._solver()
        options: dict[str, Any] = {"solver": solver, "cg_steps": self.cg_steps, "block_size": self.block_size}
        if exactly and solver != "cholesky":
            options = _TO_THE_END
        rotated = () if solver == "cholesky" else (solved,)  # an exact solution needs no start
        gramian = kernels.to_principal_axes(fixed, *rotated, threads=self.threads)
        return self._solve(kernels, history, solved, fixed, gramian, **options)

    def _solve(
        self,
        kernels: Kernels,
        history: CSR,
        solved: Float,
        fixed: Float,
        gramian: Float,
        **options: Any,  # noqa: ANN401
    ) -> float:
        """The loss without the fixed side's regularization."""
        loss, failed = kernels.als_sweep(
            history,
            solved,
            fixed,
            gramian,
            alpha=self.alpha,
            unobserved_weight=self.unobserved_weight,
            regularization=self.regularization,
            regularization_exponent=self.regularization_exponent,
            threads=self.threads,
            **options,
        )
        if failed >= 0 or not np.isfinite(loss):
            what = f"the equations of row {failed} have no unique solution" if failed >= 0 else f"the loss is {loss}"
            raise CofactorError(
                f"{what} in float32: regularization={self.regularization} is too small for these weights "
                f"(alpha={self.alpha}); raise it, or lower alpha"
            )
        return float(loss)

    def _start(self, kernels: Kernels, x: Interactions, warm_start: ImplicitALS | None) -> Float:
        """Item vectors to start from, the same on every device."""
        check_type("warm_start", warm_start, ImplicitALS | None, "a fitted ImplicitALS, or None")
        if warm_start is not None and warm_start._fitted() and warm_start.item_factors_.shape[1] != self.factors:
            raise ParameterError(
                f"warm_start has {warm_start.item_factors_.shape[1]} factors, this model {self.factors}; "
                "they must be equal"
            )

        def fill(items: Float) -> None:
            np.random.default_rng(self.seed).standard_normal(out=items, dtype=np.float32)
            items *= np.float32(self.init_std / np.sqrt(self.factors))
            if warm_start is not None:
                rows = warm_start.interactions_.items.rows(x.items.ids)
                items[rows >= 0] = warm_start.item_factors_[rows[rows >= 0]]

        return kernels.vectors(x.n_items, self.factors, fill)

    def _lambda(self, n: NDArray[np.int64], n_fixed: int) -> NDArray[np.float64]:
        """Regularization of rows with n observed pairs."""
        frequency = n + np.float64(self.unobserved_weight) * n_fixed
        return np.asarray(self.regularization * frequency**self.regularization_exponent)

    def _bytes_needed(self, x: Interactions) -> int:
        vectors, transposed = 4 * self.factors * (x.n_users + x.n_items), 12 * x.nnz
        padded = -(-self.factors // 16) * 16
        copy = 0 if padded == self.factors else 4 * padded * max(x.n_users, x.n_items)
        threads = resolve_threads(self.threads)
        # The Gramian, its eigenvectors, partial sums over slices (or of a long history), every thread's system.
        slices = min(64 if self.factors <= 256 else 16, max(x.n_users, x.n_items) // 2048 + 1)
        squares = 4 * padded**2 * (12 + 4 * threads + max(17, slices))
        return vectors + copy + transposed + squares + 2**23 * threads

    def _learned(self) -> dict[str, str]:
        vectors = {f"{side}_factors_": f"float32 {side}s {self.factors}" for side in ("user", "item")}
        return {**vectors, "loss_history_": "float64 iterations"}

    def _check(self) -> None:
        for name in ("factors", "cg_steps", "block_size", "iterations"):
            check_at_least(name, getattr(self, name), 1, whole=True)
        check_at_least("seed", self.seed, 0, whole=True)
        for name in ("regularization", "unobserved_weight", "regularization_exponent"):
            check_at_least(name, getattr(self, name), 0)
        for name in ("alpha", "init_std"):
            check_at_least(name, getattr(self, name), 0, above=True)
        check_choice("solver", self.solver, ("auto", "cholesky", "cg", "subspace"))
        resolve_threads(self.threads)
        self._kernels()

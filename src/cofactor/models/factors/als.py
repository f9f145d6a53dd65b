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

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import polars as pl

from cofactor.checks import check_at_least, check_choice, check_type
from cofactor.data.interactions import Interactions
from cofactor.errors import ParameterError
from cofactor.kernels import blas
from cofactor.kernels.filters import Filters
from cofactor.models.base.factor import FactorModel
from cofactor.models.base.fitting import in_one_step
from cofactor.models.factors.als_contributions import contributions, gramian_of
from cofactor.models.factors.als_defaults import EXACT_UP_TO, Matrix, Settings, chosen_share, gather_for, settings_for
from cofactor.models.factors.als_loss import TO_THE_END, check_loss, penalties
from cofactor.system.memory import require_memory
from cofactor.system.progress import progress_bar
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.data.ids import IdMap
    from cofactor.kernels.arrays import Float, Rows, TopK
    from cofactor.kernels.cpu import Kernels
    from cofactor.kernels.csr import CSR

__all__ = ["ImplicitALS"]

Solver = Literal["auto", "cholesky", "cg", "subspace"]
Gather = Literal["auto", "float32", "bfloat16"]

_log = logging.getLogger(__name__)

_CHOSEN = Settings._fields  # parameters that may be left open
# What regularizations are tried out with.
_TRIAL = {"factors": 32, "iterations": 4}


class ImplicitALS(FactorModel):
    """Matrix factorization for implicit feedback by alternating least squares (iALS).

    What is not given is read off the interactions; :mod:`cofactor.models.factors.als_defaults` says how and why.

    Parameters
    ----------
    factors : int, optional
        Length of the vectors. By default 128, or as many as there are users or items where these are fewer.
    regularization : float, optional
        Weight of the squared norms, scaled by frequency as ``regularization_exponent`` says. By default one of five
        shares of what chance alone would bring about in a matrix like this one, whichever finds most of a tenth of the
        pairs of at most 5,000 users, held out: five short fits of 32 factors, fifteen where that is below 3,000 pairs.
    alpha : float, optional
        Multiplies the interaction weights. By default 1 / their mean.
    unobserved_weight : float, optional
        Weight of every pair's pull towards zero, to be seen beside ``alpha``: between 0.01 (many items, few
        interactions each) and 1 (few items, repeated interactions). By default all pairs together pull ten times as
        much as the observed ones, each at most as much as a mean one of them.
    regularization_exponent : float
        0: the same regularization for all; 1: proportional to how many terms of the loss a vector takes part in.
    iterations : int
        Sweeps over items and users; one user sweep comes before the first.
    init_std : float
        Item vectors start normal with standard deviation ``init_std / sqrt(factors)``.
    solver : {"auto", "cholesky", "cg", "subspace"}
        "cholesky" solves every row exactly, O(nnz factors^2 + rows factors^3) a sweep, less for histories shorter than
        vectors; "cg" takes ``cg_steps`` steps of preconditioned conjugate gradient, O(nnz factors) each; "subspace"
        (iALS++) ``block_size`` coordinates at a time. "auto": cholesky up to 64 factors, cg beyond.
    cg_steps : int
        Three come close to the exact solution, two are quicker to a given loss.
    block_size : int
        Of subspaces; rounded up to a multiple of 16. Larger blocks take longer and come hardly closer.
    gather : {"auto", "float32", "bfloat16"}
        What "cg" reads vectors from: copies of 16 bits halve the bytes, sums are float32, and so is the last sweep.
        "auto": bfloat16 beyond 64 factors for vectors of 16 MiB or more; losses but the last are the copies' then.
    seed : int
    threads : int, optional
        Default: what affinity and container limits grant. Results do not depend on it.
    device : {"cpu", "torch", "cuda"}

    Attributes
    ----------
    user_factors_ : (n_users, factors) float32
    item_factors_ : (n_items, factors) float32
        Both stand along the principal axes of the items, the longest first.
    factors_, regularization_, alpha_, unobserved_weight_ : int and float
        The parameters as given, or what was chosen in their place (also logged, at the level of information).
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
    factors_: int
    regularization_: float
    alpha_: float
    unobserved_weight_: float
    loss_history_: NDArray[np.float64]

    def __init__(
        self,
        factors: int | None = None,
        *,
        regularization: float | None = None,
        alpha: float | None = None,
        unobserved_weight: float | None = None,
        regularization_exponent: float = 1.0,
        iterations: int = 15,
        init_std: float = 0.1,
        solver: Solver = "auto",
        cg_steps: int = 3,
        block_size: int = 32,
        gather: Gather = "auto",
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
        self.gather = gather
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
        interactions : Interactions, or those of a cluster (:mod:`cofactor.cluster`)
        progress : bool, optional
            Show a bar with the loss; by default in a terminal and in a notebook.
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
        check_type("warm_start", warm_start, ImplicitALS | None, "a fitted ImplicitALS, or None")
        self._settle(interactions.user_items, warm_start)
        self._train(interactions, progress, warm_start, on_iteration)
        return self

    def _train(
        self,
        x: Interactions,
        progress: bool | None = False,
        warm_start: ImplicitALS | None = None,
        on_iteration: Callable[[int, float], object] | None = None,
    ) -> None:
        """Alternate, with what :meth:`_settle` has settled."""
        what = f"ImplicitALS(factors={self.factors_}) on {x.n_users:,} users and {x.n_items:,} items"
        needed = self._bytes_needed(x)
        require_memory(needed, what, "fewer factors")
        self._require_on_card(needed + 4 * x.nnz, what, "fewer factors")  # it holds both matrices
        kernels = self._kernels()
        by_user, by_item = kernels.hold(x.user_items), kernels.hold(x.item_users)
        of_items = penalties(np.diff(x.item_users.indptr), x.n_users, self._terms())
        items = self._start(kernels, x.items, warm_start)
        users = kernels.vectors(x.n_users, self.factors_)
        self._sweep(kernels, by_user, users, items, exactly=warm_start is not None, of="user")
        check_type("on_iteration", on_iteration, Callable | None, "a function of the iteration and the loss, or None")
        losses: list[float] = []
        with progress_bar("ImplicitALS", progress, total=self.iterations) as bar:
            for iteration in range(1, self.iterations + 1):
                self._sweep(kernels, by_item, items, users, of="item")
                last = iteration == self.iterations
                loss = self._sweep(kernels, by_user, users, items, exactly=last, of="user")
                losses.append(loss + float(of_items @ kernels.fetch(kernels.squared_norms(items))))
                bar.set_postfix(loss=f"{losses[-1]:.6g}", refresh=False)
                bar.update()
                stop = None if on_iteration is None else on_iteration(iteration, losses[-1])
                if isinstance(stop, bool | np.bool_) and stop:
                    break
        if not last:
            self._sweep(kernels, by_user, users, items, exactly=True, of="user")
        self.user_factors_, self.item_factors_ = kernels.fetch(users), kernels.fetch(items)
        self.loss_history_ = np.array(losses)

    def explain(self, user: object, item: object) -> pl.DataFrame:
        """How much each item of a user's history adds to one score (Hu, Koren & Volinsky 2008, section 5).

        Returns
        -------
        DataFrame
            ``item_id``, ``weight``, ``contribution`` (Float64), largest first. The contributions add up to the score
            that fold-in gives, which with the exact solver is the score of :meth:`predict`.
        """
        x = self._fitted_for_tables()
        u, i = int(x.users.require([user], "user")[0]), int(x.items.require([item], "item")[0])
        history, weights = x.user_items.row(u)
        parts = self._contributions(history, weights, i)
        table = pl.DataFrame({"item_id": x.items.take(history), "weight": weights, "contribution": parts})
        return table.sort("contribution", descending=True, maintain_order=True)

    def _contributions(self, history: Rows, weights: Float, item: int) -> NDArray[np.float64]:
        """What each entry of a history, rows and weights, adds to the score of an item; see :meth:`explain`."""
        penalty = float(penalties(np.array([len(history)]), len(self.item_factors_), self._terms())[0])
        g = self._once("gramian", lambda: gramian_of(self._kernels(), self.item_factors_, self.threads))
        c, g = self._used("alpha") * weights, self._used("unobserved_weight") * g
        return contributions(self.item_factors_[history], c, g, penalty, self.item_factors_[item])

    def _fold_in(self, histories: CSR) -> Float:
        kernels = self._kernels()
        rows, vectors = kernels.hold(histories), kernels.vectors(histories.n_rows, self.item_factors_.shape[1])
        items, gramian, axes = self._once("fixed items", self._fixed_items)
        self._solve(kernels, rows, vectors, items, gramian, **({"solver": "cholesky"} if axes is None else TO_THE_END))
        found = kernels.fetch(vectors)
        return found if axes is None else blas.matmul(found, axes.T, threads=self.threads)

    def _fixed_items(self) -> tuple[Float, Float, Float | None]:
        """What histories are folded in with: items, their Gramian, and the axes they were turned to if they were."""
        kernels, (n_items, factors) = self._kernels(), self.item_factors_.shape
        if self._solver() == "cholesky":
            return (items := kernels.hold(self.item_factors_)), kernels.gramian(items, threads=self.threads), None
        items = kernels.vectors(n_items, factors, lambda out: np.copyto(out, self.item_factors_))
        axes = kernels.hold(np.eye(factors, dtype=np.float32))
        return items, kernels.to_principal_axes(items, axes, threads=self.threads), kernels.fetch(axes)

    def _solver(self) -> str:
        return self.solver if self.solver != "auto" else "cholesky" if self._used("factors") <= EXACT_UP_TO else "cg"

    def _gather(self, n_vectors: int) -> str:
        return gather_for(self.gather, self._solver(), self._used("factors"), n_vectors)

    def _sweep(
        self, kernels: Kernels, history: CSR, solved: Float, fixed: Float, *, of: str, exactly: bool = False
    ) -> float:
        """Improve one side with the other held fixed, except that both may be rotated; :meth:`_solve`'s loss.

        ``exactly``: until nothing is left to improve, whatever the solver.
        """
        rotated = () if self._solver() == "cholesky" else (solved,)  # an exact solution needs no start
        gramian = kernels.to_principal_axes(fixed, *rotated, threads=self.threads)
        options = self._options(solved.shape[0] + fixed.shape[0], exactly=exactly)
        return self._solve(kernels, history, solved, fixed, gramian, of=of, **options)

    def _options(self, n_vectors: int, *, exactly: bool = False) -> dict[str, Any]:
        """How sweeps over both sides' ``n_vectors`` solve."""
        solver = self._solver()
        if exactly and solver != "cholesky":
            return TO_THE_END
        steps = {name: getattr(self, name) for name in ("cg_steps", "block_size")}
        return {"solver": solver, "gather": self._gather(n_vectors), **steps}

    def _solve(
        self,
        kernels: Kernels,
        history: CSR,
        solved: Float,
        fixed: Float,
        gramian: Float,
        *,
        of: str = "history",
        **options: Any,  # noqa: ANN401
    ) -> float:
        """The loss without the fixed side's regularization; ``of`` says in errors what a row is."""
        use: dict[str, Any] = {**(terms := self._terms()), "threads": self.threads}
        loss, failed = kernels.als_sweep(history, solved, fixed, gramian, **use, **options)
        check_loss(loss, failed, of, terms)
        return float(loss)

    def _terms(self) -> dict[str, float]:
        """The parameters of the loss."""
        terms = {name: self._used(name) for name in ("alpha", "unobserved_weight", "regularization")}
        return terms | {"regularization_exponent": self.regularization_exponent}

    def _start(self, kernels: Kernels, items_of: IdMap, warm_start: ImplicitALS | None) -> Float:
        """Item vectors to start from, the same on every device."""
        if warm_start is not None and warm_start._fitted() and warm_start.item_factors_.shape[1] != self.factors_:
            raise ParameterError(
                f"warm_start has {warm_start.item_factors_.shape[1]} factors, this model {self.factors_}; "
                "they must be equal: change factors, or leave warm_start out"
            )

        def fill(items: Float) -> None:
            np.random.default_rng(self.seed).standard_normal(out=items, dtype=np.float32)
            items *= np.float32(self.init_std / np.sqrt(self.factors_))
            if warm_start is not None:
                rows = warm_start.interactions_.items.rows(items_of.ids)
                items[rows >= 0] = warm_start.item_factors_[rows[rows >= 0]]

        return kernels.vectors(len(items_of), self.factors_, fill)

    def _settle(self, matrix: Matrix, warm_start: ImplicitALS | None) -> None:
        """Set what the model is fitted with: parameters as given, and numbers in the place of those that are not."""
        given: dict[str, Any] = {name: getattr(self, name) for name in _CHOSEN}
        if given["factors"] is None and warm_start is not None and warm_start._fitted():
            given["factors"] = warm_start.item_factors_.shape[1]

        def settings(part: Matrix, share: float) -> Settings:
            return settings_for(part, **given, exponent=self.regularization_exponent, share=share)

        def tried(part: CSR, share: float) -> Callable[[Rows], TopK]:
            trial = settings(part, share)._asdict()
            trial |= {name: min(most, given.get(name) or most) for name, most in _TRIAL.items()}
            model = type(self)(**self.params() | trial)
            model._settle(part, None)
            model._train(Interactions.from_csr(part))

            def top_k(users: Rows) -> TopK:
                seen = part.take(users)
                return model._nearest(model.user_factors_[users], np.diff(seen.indptr), 10, Filters(seen))

            return top_k

        share = 1.0 if self.regularization is not None else chosen_share(matrix, self.seed, tried)
        for name, value in settings(matrix, share)._asdict().items():
            setattr(self, name + "_", value)
        if None in given.values():
            _log.info("ImplicitALS: %s", ", ".join(f"{name}={self._used(name):.6g}" for name in _CHOSEN))

    def _used(self, name: str) -> Any:  # noqa: ANN401
        """A parameter as the model was fitted with it; models saved before it was learned were given it."""
        return vars(self).get(name + "_", getattr(self, name))

    def _bytes_needed(self, x: Interactions) -> int:
        held = 4 * self.factors_ * (x.n_users + x.n_items) + 12 * x.nnz  # vectors, the transposed matrix
        longer, gather = max(x.n_users, x.n_items), self._gather(x.n_users + x.n_items)
        return held + self._kernels().als_bytes(longer, self.factors_, gather=gather, threads=self.threads)

    def _learned(self) -> dict[str, str]:
        settled = dict.fromkeys((f"{name}_" for name in _CHOSEN), "number or nothing")  # nothing in older files
        vectors = {f"{side}_factors_": f"float32 {side}s {self.factors or 'f'}" for side in ("user", "item")}
        return {**vectors, **settled, "loss_history_": "float64 iterations"}

    def _check(self) -> None:
        given = {name: value for name, value in self.params().items() if value is not None or name not in _CHOSEN}
        for name in ("factors", "cg_steps", "block_size", "iterations"):
            check_at_least(name, given.get(name, 1), 1, whole=True)
        check_at_least("seed", self.seed, 0, whole=True)
        for name in ("regularization", "unobserved_weight", "regularization_exponent"):
            check_at_least(name, given.get(name, 0), 0)
        for name in ("alpha", "init_std"):
            check_at_least(name, given.get(name, 1), 0, above=True)
        check_choice("solver", self.solver, get_args(Solver))
        check_choice("gather", self.gather, get_args(Gather))
        resolve_threads(self.threads)
        self._kernels()

r"""Bayesian matrix factorization of ratings by Gibbs sampling.

.. math:: r_{ui} \sim N(\mu + b_u + b_i + p_u \cdot q_i, \; 1 / \alpha), \qquad
    x_u = (p_u, b_u) \sim N(\mu_U, \Lambda_U^{-1}), \quad y_i = (q_i, b_i) \sim N(\mu_I, \Lambda_I^{-1})

with Normal-Wishart priors of :math:`\mu_U, \Lambda_U` and of :math:`\mu_I, \Lambda_I` and a Gamma prior of
:math:`\alpha`: nothing is to be tuned. A sweep draws each of these given all others: rows by the equations of
alternating least squares with noise added. A rating is predicted as the mean over samples of

.. math:: \mu + E[b_u \mid \cdot] + b_i + E[p_u \mid \cdot] \cdot q_i

where the expectations, given the sample's items, priors and noise, are those that users known only by their ratings
get, too. Its spread is that of the samples, of users around these expectations, and of ratings around both.

Sources: Salakhutdinov & Mnih 2008 (full covariances); Rendle, Zhang & Koren 2019, "On the difficulty of evaluating
baselines" (how good this is). Departures: biases are coordinates of the vectors, so that they vary with the factors;
the noise is learned; the chain starts from alternating least squares; and users are averaged over exactly, so that few
samples do (Rao & Blackwell).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.checks import check_at_least, check_flag, warn
from cofactor.errors import DataError
from cofactor.kernels.arrays import width_of
from cofactor.models.base.batches import pieces
from cofactor.models.base.epochs import is_part_of_more, part_of_more
from cofactor.models.base.fitting import in_one_step
from cofactor.models.base.rating import RatingModel, as_ratings
from cofactor.models.ratings.bayesian_sampler import Prior, Sample, Sampler, Side, forms, inverse
from cofactor.models.ratings.biased_mf import BiasedMF
from cofactor.models.ratings.factored import standardized
from cofactor.system.memory import require_memory
from cofactor.system.progress import progress_bar
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    import polars as pl
    from numpy.typing import NDArray

    from cofactor.data.ratings import Ratings
    from cofactor.data.tables import TableLike
    from cofactor.kernels.arrays import Float, Rows
    from cofactor.kernels.csr import CSR
    from cofactor.models.base.rating import UnknownRated

__all__ = ["BayesianMF"]

_FIRST_EPOCHS = 8
_PIECE = 1 << 14  # pairs rated at once: the rows of all samples pass through the cache


class BayesianMF(RatingModel):
    """Bayesian matrix factorization of ratings with biases: the mean of many models, and how sure they are.

    Parameters
    ----------
    factors : int
    burn_in : int
        Sweeps before the first sample is kept.
    samples : int
        How many are kept; memory and the time of predictions grow with it.
    thinning : int
        A sample is kept after every so many sweeps.
    seed : int
    threads : int, optional
        Results do not depend on it.

    Attributes
    ----------
    mean_, std_ : float
        Of the ratings. All that follows is of standardized ones.
    item_samples_ : (samples, n_items, factors + 1) float32
        Factors, and the bias, of each sample.
    user_means_ : (samples, n_users, factors + 1) float32
        Expectations given the sample's items.
    user_samples_ : (samples, n_users, factors + 1) float32
    user_prior_means_, item_prior_means_ : (samples, factors + 1) float32
    user_precisions_, item_precisions_ : (samples, factors + 1, factors + 1) float32
        Of the priors.
    noise_precisions_ : (samples,) float64
    loss_history_ : (sweeps,) float64
        Mean squared error on the training data after each sweep, of that sweep's draw alone.

    Examples
    --------
    >>> import polars as pl, cofactor as cf
    >>> table = pl.DataFrame({"user_id": [1, 1, 2], "item_id": [7, 8, 7], "rating": [4.5, 0.5, 3.0]})
    >>> cf.BayesianMF(2, burn_in=5, samples=5).fit(table).predict(table).columns
    ['user_id', 'item_id', 'rating', 'std']
    """

    mean_: float
    std_: float
    item_samples_: Float
    user_means_: Float
    user_samples_: Float
    user_prior_means_: Float
    item_prior_means_: Float
    user_precisions_: Float
    item_precisions_: Float
    noise_precisions_: NDArray[np.float64]
    loss_history_: NDArray[np.float64]
    _stream: Callable[[Rows, Rows], tuple[Float, Float]] | None = None  # in place of samples

    def __init__(
        self,
        factors: int = 32,
        *,
        burn_in: int = 50,
        samples: int = 50,
        thinning: int = 6,
        seed: int = 0,
        threads: int | None = None,
    ) -> None:
        self.factors = factors
        self.burn_in = burn_in
        self.samples = samples
        self.thinning = thinning
        self.seed = seed
        self.threads = threads

    @in_one_step
    def fit(self, ratings: Ratings, *, progress: bool | None = None) -> Self:
        """Draw samples; a sweep takes O(nnz factors^2 + rows factors^3).

        Ctrl-C after the first sample leaves those that there are, which a CofactorWarning tells.

        Raises
        ------
        ParameterError
            A parameter is out of its range, or training would not fit into memory.
        """
        self._check()
        x, self.mean_, self.std_ = standardized(ratings.user_items)
        require_memory(
            _bytes(self.factors, self.samples, x),
            f"BayesianMF({self.factors}, samples={self.samples}) on {x.n_rows:,} users and {x.n_columns:,} items",
            "fewer samples or factors, or, where the pairs are known, stream_predictions",
        )
        start, n_kept = self._start(ratings), 0
        losses: list[float] = []
        self._make_room(*x.shape)
        try:
            for n_kept, sample in enumerate(self._drawn(x, start, losses, progress), 1):
                self._keep(n_kept - 1, sample)
        except KeyboardInterrupt:
            if not n_kept or is_part_of_more():
                raise
            warn(f"BayesianMF: stopped by Ctrl-C after {n_kept} of {self.samples} samples, which are kept")
            for name in Sample._fields:
                setattr(self, f"{name}_", getattr(self, f"{name}_")[:n_kept])
        self.loss_history_ = np.array(losses)
        return self

    def stream_predictions(
        self,
        ratings: Ratings,
        pairs: TableLike,
        *,
        unknown: UnknownRated = "estimate",
        clip: bool = False,
        progress: bool | None = None,
    ) -> pl.DataFrame:
        """Rate pairs that are known beforehand while samples are drawn: what ``fit`` and ``predict`` would give.

        No sample is kept, so that memory does not grow with their number, and ``thinning=1`` costs none; nor is
        anything learned: the model stays as it was, fitted or not.

        Parameters
        ----------
        ratings : Ratings
            What to learn from: all that ``fit`` takes.
        pairs, unknown, clip
            As in :meth:`predict`.
        progress : bool, optional

        Returns
        -------
        DataFrame
            As of :meth:`predict`: means over the samples, and standard deviations.
        """
        if progress is not None:
            check_flag("progress", progress)
        self._check()
        new = BayesianMF(**self.params())
        new.device = self.device
        new.interactions_ = as_ratings(ratings)
        new._stream = lambda users, items: new._streamed(users, items, progress)
        return new.predict(pairs, unknown=unknown, clip=clip)

    def _drawn(self, x: CSR, start: Float, losses: list[float], progress: bool | None) -> Iterator[Sample]:
        """Samples, one after the other; the losses of all sweeps are appended."""
        sampler, sweeps = Sampler(self._kernels(), x, start, self.seed, self.threads), self._sweeps()
        with progress_bar("BayesianMF", progress, total=sweeps) as bar:
            for sweep in range(1, sweeps + 1):
                sampler.sweep()
                losses.append(sampler.squares / x.nnz)
                if sweep > self.burn_in and (sweep - self.burn_in) % self.thinning == 0:
                    yield sampler.sample()
                bar.set_postfix(loss=f"{losses[-1]:.4g}", refresh=False)
                bar.update()

    def _make_room(self, n_users: int, n_items: int) -> None:
        """Arrays for all samples, into which each is written once: nothing is held twice."""
        of, n = self.samples, self.factors + 1
        self.item_samples_ = np.empty((of, n_items, n), np.float32)
        self.user_means_, self.user_samples_ = (np.empty((of, n_users, n), np.float32) for _ in range(2))
        self.user_prior_means_, self.item_prior_means_ = (np.empty((of, n), np.float32) for _ in range(2))
        self.user_precisions_, self.item_precisions_ = (np.empty((of, n, n), np.float32) for _ in range(2))
        self.noise_precisions_ = np.empty(of, np.float64)

    def _keep(self, at: int, sample: Sample) -> None:
        for name, part in sample._asdict().items():
            getattr(self, f"{name}_")[at] = part

    def _start(self, ratings: Ratings) -> Float:
        """Items, standardized, to start from: those of a few sweeps of alternating least squares."""
        model = BiasedMF(self.factors, epochs=_FIRST_EPOCHS, seed=self.seed, threads=self.threads)
        model.device = self.device
        with part_of_more():
            model.fit(ratings, progress=False)
        return np.column_stack([model.item_factors_ / np.float32(model.std_**0.5), model.item_biases_ / model.std_])

    def _sweeps(self) -> int:
        return self.burn_in + self.samples * self.thinning

    def _learned(self) -> dict[str, str]:
        n = self.factors + 1
        rows = {f"user_{of}_": f"float32 samples users {n}" for of in ("means", "samples")}
        rows |= {f"{side}_prior_means_": f"float32 samples {n}" for side in ("user", "item")}
        rows |= {f"{side}_precisions_": f"float32 samples {n} {n}" for side in ("user", "item")}
        rows |= {"item_samples_": f"float32 samples items {n}", "noise_precisions_": "float64 samples"}
        return dict.fromkeys(("mean_", "std_"), "number") | rows | {"loss_history_": "float64 sweeps"}

    def _check_state(self) -> None:
        if not len(self.noise_precisions_) or not (self.noise_precisions_ > 0).all() or not self.std_ > 0:
            raise DataError("there must be samples, and std_ and noise_precisions_ must be above 0")

    def _check(self) -> None:
        for name in ("factors", "samples", "thinning"):
            check_at_least(name, getattr(self, name), 1, whole=True)
        for name in ("burn_in", "seed"):
            check_at_least(name, getattr(self, name), 0, whole=True)
        resolve_threads(self.threads)

    # A user's vector: the factors of all samples, each by its share, the mean bias, and 1; an item's: the factors of
    # all samples, 1, and the mean bias.

    def _user_vectors(self, users: Rows) -> Float:
        return self._of_users(_rows(self.user_means_, self.user_prior_means_, users))

    def _of_users(self, means: Float) -> Float:
        """Vectors of users with these means, (samples, n, factors + 1)."""
        n_samples, n, c = means.shape
        vectors = np.ones((n, n_samples * (c - 1) + 2), np.float32)
        vectors[:, :-2] = _side_by_side(means[:, :, :-1]) * np.float32(self.std_ / n_samples)
        vectors[:, -2] = self.mean_ + self.std_ * means[:, :, -1].mean(0, dtype=np.float64)
        return vectors

    def _item_vectors(self, items: Rows) -> Float:
        of_items = _rows(self.item_samples_, self.item_prior_means_, items)
        n_samples, _, c = of_items.shape
        vectors = np.ones((len(items), n_samples * (c - 1) + 2), np.float32)
        vectors[:, :-2] = _side_by_side(of_items[:, :, :-1])
        vectors[:, -1] = self.std_ * of_items[:, :, -1].mean(0, dtype=np.float64)
        return vectors

    def _compared(self) -> Float:
        return _side_by_side(self.item_samples_[:, :, :-1])

    def _compared_users(self) -> Float:
        return _side_by_side(self.user_means_[:, :, :-1])

    def _fold_in(self, histories: CSR) -> Float:
        kernels = self._kernels()
        x = histories.with_values((histories.values.astype(np.float64) - self.mean_) / self.std_)
        held, nobody = kernels.hold(x), np.diff(x.indptr) == 0
        c = self.item_samples_.shape[2]
        means = np.empty((len(self.noise_precisions_), x.n_rows, c), np.float32)
        for s, noise in enumerate(self.noise_precisions_):
            prior = Prior(self.user_prior_means_[s].astype(np.float64), self.user_precisions_[s].astype(np.float64))
            rows = Side(kernels, x.n_rows, c - 1, self.threads)
            rows.set(held, self.item_samples_[s], prior, float(noise))
            means[s] = rows.values()
            means[s, nobody] = self.user_prior_means_[s]
        return self._of_users(means)

    def _rated(self, users: Rows, items: Rows, codes: Rows | None) -> tuple[Float, Float | None]:
        return super()._rated(users, items, codes) if self._stream is None else self._stream(users, items)

    def _streamed(self, users: Rows, items: Rows, progress: bool | None) -> tuple[Float, Float]:
        """Draw samples, of which only sums of the pairs' ratings stay."""
        x, self.mean_, self.std_ = standardized(self.interactions_.user_items)
        require_memory(
            _bytes(self.factors, 2, x) + 40 * len(users),
            f"BayesianMF({self.factors}) of {len(users):,} pairs of {x.n_rows:,} users and {x.n_columns:,} items",
            "fewer factors, or fewer pairs at a time",
        )
        sums, noise = np.zeros((3, len(users))), np.zeros(self.samples)
        for s, sample in enumerate(self._drawn(x, self._start(self.interactions_), [], progress)):
            for name, part in sample._asdict().items():
                setattr(self, f"{name}_", np.asarray(part)[None])
            noise[s] = 1 / sample.noise_precisions
            for piece in pieces(len(users), _PIECE):
                self._add(sums[:, piece], users[piece], items[piece])
        ratings = np.asarray(self.mean_ + self.std_ * (sums[0] / self.samples), np.float32)
        return ratings, self._spread(sums / self.samples, noise)

    def _ratings(self, users: Rows, items: Rows) -> Float:
        ratings = np.empty(len(users), np.float32)
        for piece in pieces(len(users), _PIECE):
            total = sum(own for own, _ in self._by_sample(users[piece], items[piece]))
            ratings[piece] = self.mean_ + self.std_ * (total / len(self.noise_precisions_))
        return ratings

    def _stds(self, users: Rows, items: Rows) -> Float:
        n_samples, stds = len(self.noise_precisions_), np.empty(len(users), np.float32)
        for piece in pieces(len(users), _PIECE):
            sums = np.zeros((3, len(users[piece])))
            self._add(sums, users[piece], items[piece])
            stds[piece] = self._spread(sums / n_samples, 1 / self.noise_precisions_)
        return stds

    def _add(self, sums: NDArray[np.float64], users: Rows, items: Rows) -> None:
        """Of each sample what pairs are rated, its square, and the variance around it, added in place, (3, n)."""
        for own, around in self._by_sample(users, items, spread=True):
            sums += own, own**2, around

    def _spread(self, means: NDArray[np.float64], noise: NDArray[np.float64]) -> Float:
        """Standard deviations by the means of these, and the variances of the noise."""
        mean, square, around = means
        return np.asarray(self.std_ * np.sqrt(np.maximum(square - mean**2, 0) + around + noise.mean()), np.float32)

    def _by_sample(
        self, users: Rows, items: Rows, *, spread: bool = False
    ) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Of each sample the standardized rating of each pair and, with ``spread``, its variance by user and item."""
        for s in range(len(self.noise_precisions_)):
            one = slice(s, s + 1)
            p = _rows(self.user_means_[one], self.user_prior_means_[one], users)[0].astype(np.float64)
            q = _rows(self.item_samples_[one], self.item_prior_means_[one], items)[0].astype(np.float64)
            with_one = q.copy()
            with_one[:, -1] = 1
            around = np.zeros(len(users))
            if spread:
                drawn = _rows(self.user_samples_[one], self.user_prior_means_[one], users)[0].astype(np.float64)
                around += np.einsum("ij,ij->i", drawn - p, with_one) ** 2
                drawn[:, -1] = 1
                of_user, of_item = (inverse(part[s]) for part in (self.user_precisions_, self.item_precisions_))
                around[users < 0] += forms(with_one[users < 0], of_user)
                around[items < 0] += forms(drawn[items < 0], of_item)
                around[(users < 0) & (items < 0)] += np.sum(of_user[:-1, :-1] * of_item[:-1, :-1])
            yield np.einsum("ij,ij->i", p, with_one) + q[:, -1], around


def _bytes(factors: int, samples: int, x: CSR) -> int:
    """What training takes: the samples; vectors, padded, and the copies of them that a step makes; both orders of x."""
    n, width = factors + 1, width_of(factors + 1)
    kept = samples * (n * (2 * x.n_rows + x.n_columns) + 2 * n**2)
    return 4 * (kept + 6 * width * sum(x.shape)) + 24 * x.nnz


def _rows(of_known: Float, of_strangers: Float, rows: Rows) -> Float:
    """Vectors (samples, len(rows), n); those of -1 are the means of the priors."""
    taken = of_known[:, rows]
    taken[:, rows < 0] = of_strangers[:, None]
    return taken


def _side_by_side(of_samples: Float) -> Float:
    """Vectors (samples, n, factors) as (n, samples * factors)."""
    n_samples, n, factors = of_samples.shape
    return of_samples.transpose(1, 0, 2).reshape(n, n_samples * factors)

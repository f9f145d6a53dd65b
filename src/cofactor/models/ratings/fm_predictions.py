"""What a fitted factorization machine answers: a row of samples is what is known of a user or an item."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy

from cofactor.data.context import context_codes, widths_of
from cofactor.data.ratings import Ratings
from cofactor.errors import DataError
from cofactor.kernels.arrays import TopK
from cofactor.kernels.csr import CSR
from cofactor.models.base.rating import RatingModel, as_ratings
from cofactor.models.ratings.fm_context import ContextSamples
from cofactor.models.ratings.fm_lists import lists_of_products, lists_of_ratings
from cofactor.models.ratings.fm_samples import Kept, folded_in, on_scale, without_biases
from cofactor.models.ratings.fm_saved import check_samples, shapes
from cofactor.models.ratings.fm_sides import rated
from cofactor.models.ratings.fm_spread import Described, Spread, strangers

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl
    from numpy.typing import NDArray

    from cofactor.data.context import Context
    from cofactor.data.features import Features
    from cofactor.data.log import Log
    from cofactor.kernels.arguments import FmSamples
    from cofactor.kernels.arrays import Float, Rows
    from cofactor.kernels.filters import Filters
    from cofactor.models.ratings.fm_samples import Curve

__all__ = ["NOISE_FREEDOM", "MachinePredictions"]

_KEPT = (
    "user_samples_", "item_samples_", "rated_item_samples_", "prior_means_", "prior_precisions_", "offsets_",
    "noise_precisions_", "cutpoints_", "user_noises_", "context_samples_", "user_feature_samples_",
    "item_feature_samples_", "item_prior_means_", "item_prior_precisions_",
)  # fmt: skip
_OF_TWO = ("logistic", "sigmoid")  # curves between two levels
NOISE_FREEDOM = 20.0  # degrees of freedom of a user's noise around that of all


class MachinePredictions(RatingModel):
    """A machine that was fitted; a subclass fits it. Answers go by the parameters of the fit."""

    method: str
    task: str
    output: str
    factors: int
    implicit: bool
    user_noise: bool
    context: Context | None

    user_samples_: Float
    item_samples_: Float
    rated_item_samples_: Float
    unknown_user_: Float
    unknown_item_: Float
    user_covariances_: Float | None = None  # models saved before these were kept have none
    item_covariances_: Float | None = None
    prior_means_: Float
    prior_precisions_: Float
    item_prior_means_: Float | None = None  # as the next ones, which files had not before
    item_prior_precisions_: Float | None = None
    user_feature_samples_: Float | None = None
    item_feature_samples_: Float | None = None
    described_users_: NDArray[np.uint8] | None = None  # who came with a table after the fit
    described_items_: NDArray[np.uint8] | None = None
    offsets_: NDArray[np.float64]
    noise_precisions_: NDArray[np.float64]
    user_noises_: Float
    cutpoints_: NDArray[np.float64]
    levels_: NDArray[np.float64]
    mean_: float
    std_: float
    context_features_: Features | None = None
    context_samples_: Float | None = None
    unknown_contexts_: Float | None = None
    context_covariances_: Float | None = None

    def _take_over(self, kept: Kept, x: Ratings) -> None:
        """Set what was learned of the ratings."""
        vars(self).update(zip(_KEPT, kept, strict=True))
        n_samples = len(kept.offsets)
        (self.unknown_user_, self.user_covariances_), (self.unknown_item_, self.item_covariances_) = (
            strangers(rows, np.diff(by.indptr) > 0, n_samples)
            for rows, by in ((kept.users, x.user_items), (kept.items, x.item_users))
        )
        self.context_samples_ = self.unknown_contexts_ = self.context_covariances_ = None
        if self.context_features_ is not None:
            of = ContextSamples.of(kept.contexts, self.context_features_, n_samples)
            self.context_samples_, self.unknown_contexts_, self.context_covariances_ = of[:3]
        self.interactions_ = x.without_log

    # What is saved.

    def _learned(self) -> dict[str, str]:
        n = np.size(getattr(self, "offsets_", ()))
        return shapes(n, self.factors + 1, classes=self._curve is not None, implicit=self.implicit)

    def _check_state(self) -> None:
        columns = () if self.context_features_ is None else self.context_features_.columns
        if [column.name for column in columns] != list(widths_of(self.context)):
            raise DataError("context_features_ of a FactorizationMachine must be of the columns of context")
        if self.unknown_contexts_ is not None and len(self.unknown_contexts_) != len(columns):
            raise DataError("unknown_contexts_ of a FactorizationMachine must have a row for each column of context")
        if self._curve in _OF_TWO and len(self.levels_) != 2:
            raise DataError(f"levels_ of this FactorizationMachine must be two, got {len(self.levels_)}")
        check_samples(self._kept, self.levels_, self.std_, noisy=self.method != "sgd")

    # What it is given.

    def _of_events(self, events: Log) -> Ratings:
        return Ratings.from_events(events, context=self.context)

    def _training_data(self, given: object) -> Ratings:
        widths_of(self.context)
        return as_ratings(given, context=self.context)

    @property
    def context_columns(self) -> tuple[str, ...]:
        """Columns that tables of pairs have besides, which tell the context of a rating."""
        return tuple(widths_of(self._as_fitted.context))

    def _context_codes(self, table: pl.DataFrame, what: str) -> Rows | None:
        if self.context_features_ is None:
            return None
        return context_codes(self.context_features_, table, widths_of(self._as_fitted.context), what)

    # Samples.

    @property
    def _curve(self) -> Curve | None:
        if self.output == "sigmoid":
            return "sigmoid"
        if self.task == "regression":
            return None
        return "logistic" if self.method == "sgd" else "probit"

    @property
    def _contexts(self) -> ContextSamples | None:
        if self.context_features_ is None:
            return None
        assert self.context_samples_ is not None
        assert self.unknown_contexts_ is not None
        assert self.context_covariances_ is not None
        return ContextSamples.kept(
            self.context_samples_, self.unknown_contexts_, self.context_covariances_, self.context_features_
        )

    @property
    def _kept(self) -> Kept:
        """What is kept, of items in the mean context."""
        contexts, kept = self._contexts, Kept(*(getattr(self, name) for name in _KEPT))
        return kept if contexts is None else kept._replace(items=contexts.joined_to_mean(kept.items))

    def _samples(self) -> FmSamples:
        levels = self.levels_ if self._curve == "probit" else None
        contexts, unknown_item = self._contexts, self.unknown_item_
        if contexts is not None:
            unknown_item = contexts.joined_to_mean(unknown_item[None])[0]
        return self._kept.asked(levels, (self.unknown_user_, unknown_item))

    def _user_vectors(self, users: Rows) -> Float:
        return np.where(users[:, None] < 0, self.unknown_user_, self.user_samples_[users])

    def _item_vectors(self, items: Rows) -> Float:
        return np.where(items[:, None] < 0, self.unknown_item_, self.item_samples_[items])

    def _compared(self) -> Float:
        return without_biases(self.item_samples_, self.prior_means_.shape[1] - 1)

    def _compared_users(self) -> Float:
        return without_biases(self.user_samples_, self.prior_means_.shape[1] - 1)

    def _fold_in(self, histories: CSR, told: CSR | None = None) -> Float:
        """Rows of new users; ``told`` are their features, where these are known."""
        fitted = self._as_fitted
        if fitted._curve is None:
            targets = histories.with_values((histories.values - self.mean_) / self.std_)
        elif fitted._curve == "sigmoid":
            shares = (histories.values - self.levels_[0]) / np.ptp(self.levels_)
            targets = histories.with_values(np.clip(shares, 0, 1))
        else:
            middles = (self.levels_[1:] + self.levels_[:-1]) / 2  # of levels that training does not have, the nearest
            targets = histories.with_values(np.searchsorted(middles, histories.values).astype(np.float32))
        features = rated(histories) if fitted.implicit else None
        kept, nobody = fitted._kept, np.diff(histories.indptr) == 0
        if told is not None:
            assert self.user_feature_samples_ is not None
            parts = [told.to_scipy()] + ([] if features is None else [features.to_scipy()])
            features = CSR.from_scipy(scipy.sparse.hstack(parts, format="csr"))
            kept = kept._replace(rated_items=np.concatenate([self.user_feature_samples_, kept.rated_items]))
            nobody &= np.diff(told.indptr) == 0
        rows = folded_in(self._kernels(), kept, targets, features, curve=fitted._curve, threads=self.threads)
        rows[nobody] = self.unknown_user_
        return rows

    # Ratings.

    def _moments(self, users: Rows, items: Rows, samples: FmSamples) -> tuple[Float, Float]:
        """Mean and variance over samples, of standardized ratings where these are numbers."""
        means, variances = self._kernels().fm_ratings(users, items, samples, threads=self.threads)
        if self._curve not in _OF_TWO:
            return means, variances
        return on_scale(self.levels_, means, self.cutpoints_[0, 0]), variances

    def _moments_in(self, users: Rows, items: Rows, codes: Rows) -> tuple[Float, NDArray[np.float64]]:
        """The same in contexts; where these are unknown, what they may be adds to the variance."""
        samples, contexts = self._samples(), self._contexts
        assert contexts is not None
        means, variances = np.empty(len(users), np.float32), np.empty(len(users))
        for piece in contexts.pieces(len(users)):
            own, of_users = self._item_vectors(items[piece]), self._user_vectors(users[piece])
            rows, every = contexts.joined(own, codes[piece]), np.arange(len(own), dtype=np.int32)
            means[piece], variances[piece] = self._moments(users[piece], every, samples._replace(items=rows))
            unknown = np.flatnonzero((codes[piece] < 0).any(axis=1))
            if self.method != "mcmc" or not len(unknown):
                continue
            told = of_users[unknown], rows[unknown], codes[piece][unknown]
            at = piece.start + unknown
            if self._curve is None:
                variances[at] += contexts.variance(*told)
            else:
                variances[at] = contexts.level_variance(*told, samples, means[at])
        return means, variances

    def _ratings(self, users: Rows, items: Rows) -> Float:
        fitted = self._as_fitted
        return self.mean_ + np.float32(self.std_) * fitted._moments(users, items, fitted._samples())[0]

    def _rated(self, users: Rows, items: Rows, codes: Rows | None) -> tuple[Float, Float | None]:
        return self._as_fitted._with_std(users, items, codes)

    def _with_std(self, users: Rows, items: Rows, codes: Rows | None) -> tuple[Float, Float | None]:
        samples = self._samples()
        if codes is None:
            means, over_samples = self._moments(users, items, samples)
            variances = over_samples.astype(np.float64)
        else:
            means, variances = self._moments_in(users, items, codes)
        ratings = self.mean_ + np.float32(self.std_) * means
        if self.method != "mcmc":
            return ratings, None
        if self.user_covariances_ is not None and self.item_covariances_ is not None:
            spread = Spread(samples, self.user_covariances_, self.item_covariances_, *self._described)
            spread.widen(variances, users, items, means)
        if self.task == "regression":
            variances += np.where(users < 0, self._unknown_noise, self.user_noises_[users])
        return ratings, np.asarray(self.std_ * np.sqrt(variances), np.float32)

    @property
    def _unknown_noise(self) -> float:
        """Variance of the noise of a user whom nobody knows."""
        common = float((1 / self.noise_precisions_).mean())
        return common * NOISE_FREEDOM / (NOISE_FREEDOM - 2) if self.user_noise else common

    @property
    def _described(self) -> tuple[Described | None, Described | None]:
        users, items = self.described_users_, self.described_items_
        of_users = None if users is None else Described(users > 0, self.prior_means_, self.prior_precisions_)
        if items is None:
            return of_users, None
        assert self.item_prior_means_ is not None
        assert self.item_prior_precisions_ is not None
        return of_users, Described(items > 0, self.item_prior_means_, self.item_prior_precisions_)

    # Lists.

    def _top_k(self, users: Rows, k: int, filters: Filters) -> TopK:
        return self._as_fitted._lists(lambda rows: self.user_samples_[users[rows]], len(users), k, filters)

    def _top_k_for(self, histories: CSR, k: int, filters: Filters) -> TopK:
        return self._as_fitted._lists(lambda rows: self._fold_in(histories.take(rows)), histories.n_rows, k, filters)

    def _lists(self, rows_of: Callable[[Rows], Float], n: int, k: int, filters: Filters) -> TopK:
        kernels, kept, samples = self._kernels(), self._kept, self._samples()
        if self._curve != "probit":
            top = lists_of_products(kernels, kept, rows_of, n, k, filters=filters, threads=self.threads)
            if self._curve is None:
                return TopK(top.rows, self.mean_ + np.float32(self.std_) * top.scores)
            return TopK(top.rows, on_scale(self.levels_, top.scores, self.cutpoints_[0, 0]))
        rate = lambda users, items, rows: self._moments(users, items, samples._replace(users=rows))[0]  # noqa: E731
        return lists_of_ratings(kernels, kept, rows_of, n, k, rate=rate, filters=filters, threads=self.threads)

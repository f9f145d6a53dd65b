"""Samples of a factorization machine that are kept: what they say of pairs, of lists and of new users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np
import scipy

from cofactor.kernels.arguments import FmSamples, FmSide
from cofactor.kernels.arrays import width_of
from cofactor.kernels.csr import CSR
from cofactor.models.ratings.fm_ordinal import expected_hidden
from cofactor.system.progress import progress_bar

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.kernels.arrays import Float
    from cofactor.kernels.cpu import Kernels
    from cofactor.models.ratings.fm_chain import Chain

__all__ = [
    "BURN_IN", "LOGISTIC_BOUND", "SIGMOID_BOUND", "Curve", "Kept", "folded_in", "on_scale", "sampled", "without_biases",
]  # fmt: skip

Curve: TypeAlias = Literal["probit", "logistic", "sigmoid"]  # of classes, of two values, of a scale

BURN_IN = 1 / 3  # of the sweeps

LOGISTIC_BOUND = 0.25  # of the second derivative of the logistic loss, the precision of the noise in its place
SIGMOID_BOUND = 0.0771  # of that of half the squared error of a sigmoid, at p = .386 where the target is 0

_PASSES = 20  # over the coordinates of a new user's id, of which one or two settle most
_ROUNDS = {None: 1, "probit": 20, "logistic": 40, "sigmoid": 40}  # in which targets are replaced; each is one pass


class Kept(NamedTuple):
    """Rows of all samples side by side, (n, n_samples x n_coordinates), and what each sample has besides."""

    users: Float
    items: Float
    rated_items: Float  # what an item adds to users who rated it; no rows where users have no such features
    means: Float  # (n_samples, n_coordinates): prior of ids of users
    precisions: Float
    offsets: NDArray[np.float64]
    noise_precisions: NDArray[np.float64]
    cutpoints: NDArray[np.float64]  # (n_samples, n_levels - 1)
    noises: Float  # (n_users,), variances, the mean over samples
    contexts: Float  # categories of context, one column after the other
    user_features: Float  # what each feature of the tables adds; of models saved before, None as the next three
    item_features: Float
    item_means: Float  # (n_samples, n_coordinates): prior of ids of items
    item_precisions: Float

    @classmethod
    def room(cls, n_rows: tuple[int, int, int, int, int, int], n_samples: int, c: int, n_cutpoints: int) -> Self:
        """For so many samples of ``c`` coordinates.

        ``n_rows`` are those of users, of items, of what items add to users, of categories of context, and of features
        in the tables of users and of items.
        """
        users, items, rated_items, contexts, *told = (np.empty((n, n_samples * c), np.float32) for n in n_rows)
        means, precisions, item_means, item_precisions = np.ones((4, n_samples, c), np.float32)
        offsets, noise_precisions = np.empty((2, n_samples))
        cutpoints = np.empty((n_samples, n_cutpoints))
        noises = np.zeros(n_rows[0], np.float32)
        return cls(
            users, items, rated_items, means, precisions, offsets, noise_precisions, cutpoints, noises, contexts,
            told[0], told[1], item_means, item_precisions,
        )  # fmt: skip

    def keep(self, at: int, chain: Chain) -> None:
        """Take what a chain has now as sample number ``at``."""
        c = chain.n_coordinates
        here = slice(at * c, at * c + c)
        users, items, *contexts = chain.sides
        self.users[:, here] = users.totals[:, :c]
        self.items[:, here] = items.totals[:, :c]
        if len(self.rated_items):
            self.rated_items[:, here] = users.parts[-len(self.rated_items) :, :c]
        if contexts:
            self.contexts[:, here] = np.concatenate([own.totals[:, :c] for own in contexts])
        for told, own in ((self.user_features, users), (self.item_features, items)):
            told[:, here] = own.parts[: len(told), :c]
        (self.means[at], self.precisions[at]), (self.item_means[at], self.item_precisions[at]) = (
            (prior.means[0], prior.precisions[0]) for prior in chain.priors[:2]
        )
        self.offsets[at], self.noise_precisions[at] = chain.offset, chain.noise_precision
        weights = np.ones(1, np.float32) if chain.weights is None else chain.weights
        self.noises[:] += 1 / (len(self.offsets) * np.float32(chain.noise_precision) * weights)
        if chain.cutpoints is not None:
            self.cutpoints[at] = chain.cutpoints.values

    def asked(self, levels: NDArray[np.float64] | None, unknown: tuple[Float, Float]) -> FmSamples:
        """As kernels take them."""
        cutpoints = None if levels is None else self.cutpoints
        return FmSamples(self.users, self.items, *unknown, self.offsets, levels, cutpoints)


def sampled(chain: Chain, kept: Kept, sweeps: int, *, unit: float, progress: bool | None) -> NDArray[np.float64]:
    """Run a chain; keep what it has after sweeps that are evenly spaced, the last one among them.

    Gives the error of every sweep, (sweeps,), in units of the targets, one of which is ``unit`` in the progress bar.
    """
    errors, n_samples = [], len(kept.offsets)
    first = sweeps * BURN_IN if n_samples > 1 else 0
    places = {int(sweep): at for at, sweep in enumerate(np.linspace(first, sweeps, n_samples + 1)[1:])}
    with progress_bar("FactorizationMachine", progress, total=sweeps) as bar:
        for sweep in range(1, sweeps + 1):
            chain.sweep()
            errors.append(chain.error)
            if sweep in places:
                kept.keep(places[sweep], chain)
            bar.set_postfix(rmse=f"{errors[-1] * unit:.4f}", refresh=False)
            bar.update()
    return np.array(errors)


def folded_in(
    kernels: Kernels, kept: Kept, targets: CSR, features: CSR | None, *, curve: Curve | None, threads: int | None
) -> Float:
    """Totals of users known only by their ratings, in every sample: the mean of their id given all else.

    Parameters
    ----------
    targets : CSR (n, n_items)
        As the chain had them: standardized ratings, classes, or shares of the scale.
    features : CSR (n, n_items), optional
        The users' weights of ``rated_items``.
    curve : {"probit", "logistic", "sigmoid"}, optional
        How hidden numbers make classes, or shares.

    Notes
    -----
    With a curve, targets are in turn replaced by numbers whose squared distances from what is predicted bound the loss,
    so that ids are where their posterior is highest: the expected hidden numbers of the probit
    (expectation-maximization), and steps of the logistic loss, whose second derivative is at most 1/4 (Böhning &
    Lindsay 1988), or of the squared error of a sigmoid, alike.
    """
    (n_samples, c), n = kept.means.shape, targets.n_rows
    width = width_of(c)
    out = np.empty((n, n_samples * c), np.float32)
    nothing = CSR(np.zeros(n + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), 0)
    for at in range(n_samples):
        here = slice(at * c, at * c + c)
        rows = [np.zeros((n_rows, width), np.float32) for n_rows in (n, n, kept.items.shape[0], len(kept.rated_items))]
        totals, ids, items, parts = rows
        ids[:, :c], items[:, :c], parts[:, :c] = kept.means[at], kept.items[:, here], kept.rated_items[:, here]
        own = FmSide(totals, ids, parts, features or nothing, None, np.zeros(len(parts), np.int32))
        held = kernels.hold(own)
        now, passes = targets, _PASSES
        if curve is not None:
            now, passes = targets.with_values(kept.cutpoints[at].mean() + 0 * targets.values), 1
        for _ in range(_ROUNDS[curve]):
            left, _ = kernels.fm_sweep(
                now,
                held,
                items,
                kept.means[at : at + 1],
                kept.precisions[at : at + 1],
                offset=float(kept.offsets[at]),
                noise_precision=float(kept.noise_precisions[at]),
                sampled=False,
                passes=passes,
                threads=threads,
            )
            if curve is not None:
                z = (now.values - left).astype(np.float64)
                now = now.with_values(_working(curve, kept.cutpoints[at], targets.values, z))
        out[:, here] = kernels.fetch(held).totals[:, :c]
    return out


def _working(
    curve: Curve, cutpoints: NDArray[np.float64], classes: Float, z: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What takes the place of classes where ``z`` is predicted."""
    if curve == "probit":
        return expected_hidden(cutpoints, classes.astype(np.intp), z)
    share = scipy.special.expit(z - cutpoints[0])
    if curve == "logistic":
        return np.asarray(z + (classes - share) / LOGISTIC_BOUND, np.float64)
    return np.asarray(z + (classes - share) * share * (1 - share) / SIGMOID_BOUND, np.float64)


def on_scale(levels: NDArray[np.float64], scores: NDArray[np.floating], cutpoint: float) -> Float:
    """Ratings between two levels by the logistic curve of scores; none beyond them, also after rounding."""
    low, high = levels
    shares = scipy.special.expit(scores.astype(np.float64) - cutpoint)
    ratings = np.asarray(low + (high - low) * shares, np.float32)
    least, most = levels.astype(np.float32)
    least = np.nextafter(least, np.float32(np.inf)) if least < low else least
    most = np.nextafter(most, np.float32(-np.inf)) if most > high else most
    return np.clip(ratings, least, most, out=ratings)


def without_biases(samples: Float, factors: int) -> Float:
    """Of rows of samples, each a bias and a vector, the vectors alone, side by side."""
    return samples.reshape(len(samples), -1, factors + 1)[:, :, 1:].reshape(len(samples), -1)

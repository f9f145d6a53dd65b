"""A Markov chain over the parameters of a factorization machine, or coordinate descent, which is one without noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cofactor.errors import CofactorError
from cofactor.kernels.arguments import FmSamples
from cofactor.models.base.epochs import require_finite
from cofactor.models.ratings.fm_ordinal import Cutpoints, expected_hidden, hidden

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.kernels.arguments import FmSide
    from cofactor.kernels.arrays import Float
    from cofactor.kernels.cpu import Kernels
    from cofactor.kernels.csr import CSR
    from cofactor.models.ratings.fm_entries import Entries
    from cofactor.models.ratings.fm_sides import SideFeatures

__all__ = ["Chain", "FieldPriors", "draw_field_priors"]


class FieldPriors(NamedTuple):
    """Normal priors, a row for every field, a column for every coordinate; float64."""

    means: NDArray[np.float64]
    precisions: NDArray[np.float64]

    @classmethod
    def constant(cls, n_fields: int, n_coordinates: int, precision: float) -> Self:
        """Around 0."""
        return cls(np.zeros((n_fields, n_coordinates)), np.full((n_fields, n_coordinates), precision))

    def as_floats(self) -> tuple[Float, Float]:
        """As kernels take them."""
        return self.means.astype(np.float32), self.precisions.astype(np.float32)


def draw_field_priors(own: FmSide, before: FieldPriors, rng: np.random.Generator) -> FieldPriors:
    """Draw means and precisions of every field and coordinate, given its parameters.

    With n parameters theta of a field: the precision from Gamma((n + 2) / 2, (1 + sum (theta - mean)^2 + mean^2) / 2),
    then the mean from N(sum theta / (n + 1), 1 / ((n + 1) precision)): equations of Freudenthaler, Schmidt-Thieme &
    Rendle 2011, with hyperpriors of 1 and 0.
    """
    n_fields, c = before.means.shape
    ends = np.searchsorted(own.groups, np.arange(1, n_fields + 1))
    means, precisions = np.empty_like(before.means), np.empty_like(before.precisions)
    for field in range(n_fields):
        rows = (own.ids if field == 0 else own.parts[ends[field - 1] : ends[field]])[:, :c]
        n, sums = len(rows), rows.sum(axis=0, dtype=np.float64)
        squares = np.einsum("ij,ij->j", rows, rows, dtype=np.float64)
        mean = before.means[field]
        away = np.maximum(squares - 2 * mean * sums + n * mean**2, 0)
        precisions[field] = rng.gamma((n + 2) / 2, size=c) / ((1 + away + mean**2) / 2)
        means[field] = sums / (n + 1) + rng.normal(size=c) / np.sqrt((n + 1) * precisions[field])
    return FieldPriors(means, precisions)


class Chain:
    """Parameters, priors and noise, and the sweep that changes them.

    Parameters
    ----------
    kernels : Kernels
    entries : Entries
        Of ordinal ratings, the targets are classes, numbered from 0.
    sides : sequence of SideFeatures
        Of users, of items, and of each column of context.
    n_coordinates : int
        Factors and the weight.
    n_levels : int, optional
        Of ordinal ratings.
    regularization : float, optional
        Descend, with this penalty; without it everything is sampled.
    noise_freedom : float, optional
        Every user has noise of its own: the precision of the noise of all times a weight with a Gamma prior of mean 1
        and so many degrees of freedom.
    """

    def __init__(
        self,
        kernels: Kernels,
        entries: Entries,
        sides: Sequence[SideFeatures],
        n_coordinates: int,
        *,
        n_levels: int | None = None,
        regularization: float | None = None,
        noise_freedom: float | None = None,
        init_std: float = 0.1,
        seed: int = 0,
        threads: int | None = None,
    ) -> None:
        self._kernels, self._seed, self._threads = kernels, seed, threads
        self._sampled, self.n_coordinates = regularization is None, n_coordinates
        self._way_out = "lower init_std" if self._sampled else "lower init_std, or raise regularization"
        rng = np.random.default_rng([seed, 0])
        self.sides = tuple(side.parameters(n_coordinates, init_std, rng) for side in sides)
        penalty = 1.0 if regularization is None else float(regularization)
        self.priors = [FieldPriors.constant(side.n_fields, n_coordinates, penalty) for side in sides]
        self.offset, self.noise_precision = 0.0, 1.0
        self._entries, nnz = entries, entries.nnz
        self.residual_sum, self.squares = float(entries.values.sum(dtype=np.float64)), float(nnz)
        self.cutpoints: Cutpoints | None = None
        if n_levels is not None:
            self._classes = entries.values.astype(np.intp)
            self.cutpoints = Cutpoints(self._classes, n_levels)
        self._counts = np.diff(entries.matrix(0).indptr)
        self._freedom = noise_freedom
        self.weights: Float | None = None if noise_freedom is None else np.ones(len(self._counts), np.float32)
        self._at_hand: dict[int, tuple[CSR, CSR]] = {}
        self._at = 0

    @property
    def error(self) -> float:
        """Root of the mean squared residual of the last sweep, in units of the targets."""
        return float(np.sqrt(self.squares / self._entries.nnz))

    def sweep(self) -> None:
        """Everything once: hidden numbers and cutpoints, or noise and offset; then, side by side, priors and rows."""
        self._at += 1
        rng = np.random.default_rng([self._seed, self._at])
        if self.cutpoints is not None:
            self._hide(self.cutpoints, rng)
        else:
            self._draw_noise_and_offset(rng)
        for side, own in enumerate(self.sides):
            if self._sampled:
                self.priors[side] = draw_field_priors(own, self.priors[side], rng)
            held = self._kernels.hold(own)
            _, sums = self._kernels.fm_sweep(
                self._held(side),
                held,
                self._entries.others(side, self._totals),
                *self.priors[side].as_floats(),
                offset=self.offset,
                noise_precision=self.noise_precision,
                weights=None if side else self.weights,
                other_weights=self._entries.other_weights(side, self.weights),
                seed=int(rng.integers(2**63)),
                sampled=self._sampled,
                threads=self._threads,
            )
            swept = self._kernels.fetch(held)
            self.sides = (*self.sides[:side], swept, *self.sides[side + 1 :])
            require_finite("FactorizationMachine", sums, swept.totals, way_out=self._way_out)
            if side == 0 and self._freedom is not None:
                self._draw_weights(sums[:, 1], self._freedom, rng)
        self.residual_sum, self.squares = sums.sum(axis=0).tolist()

    def _held(self, side: int) -> CSR:
        """The targets of a side where they are computed with: brought there once, or when they have changed."""
        matrix = self._entries.matrix(side)
        if side not in self._at_hand or self._at_hand[side][0] is not matrix:
            self._at_hand[side] = matrix, self._kernels.hold(matrix)
        return self._at_hand[side][1]

    def _draw_weights(self, squares: NDArray[np.float64], freedom: float, rng: np.random.Generator) -> None:
        """How precise each user is, with a Gamma prior of mean 1; n is the number of its ratings."""
        shape, rate = (freedom + self._counts) / 2, (freedom + self.noise_precision * squares) / 2
        self.weights = (rng.gamma(shape) / rate).astype(np.float32)

    @property
    def _totals(self) -> list[Float]:
        return [side.totals for side in self.sides]

    def predicted(self) -> Float:
        """Of every entry, by the present parameters."""
        c = self.n_coordinates
        rows = self._totals[0], self._entries.others(0, self._totals)
        users, others = (np.ascontiguousarray(of[:, :c]) for of in rows)
        nobody = np.zeros(c, np.float32)
        samples = FmSamples(users, others, nobody, nobody, np.array([self.offset]))
        places = self._entries.matrix(0).indices
        return self._kernels.fm_ratings(self._entries.users, places, samples, threads=self._threads)[0]

    def _draw_noise_and_offset(self, rng: np.random.Generator) -> None:
        n, all_weights = self._entries.nnz, float(self._entries.nnz)
        if self.weights is not None:
            all_weights = float(self._counts @ self.weights.astype(np.float64))
        if self._sampled:
            self.noise_precision = float(rng.gamma((1 + n) / 2) / ((1 + self.squares) / 2))
        precision = self.noise_precision * all_weights + 1
        self.offset = self.noise_precision * (self.residual_sum + all_weights * self.offset) / precision
        if self._sampled:
            self.offset += float(rng.normal() / np.sqrt(precision))

    def _hide(self, cutpoints: Cutpoints, rng: np.random.Generator) -> None:
        z = self.predicted().astype(np.float64)
        require_finite("FactorizationMachine", z, way_out=self._way_out)
        try:
            if self._sampled:
                cutpoints.move(z, rng)
            else:
                cutpoints.to_mode(z)
        except np.linalg.LinAlgError as error:
            raise CofactorError(
                f"FactorizationMachine: hidden numbers from {z.min():.4g} to {z.max():.4g} do not tell where "
                f"levels end; {self._way_out}"
            ) from error
        if self._sampled:
            now = hidden(cutpoints.values, self._classes, z, rng)
        else:
            now = expected_hidden(cutpoints.values, self._classes, z)
        self._entries.set_values(now.astype(np.float32))

"""One factorization in training: its table of parameters, and what an epoch does to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.models.sampled.rows import composed

if TYPE_CHECKING:
    from collections.abc import Callable

    from cofactor.kernels.arguments import Table
    from cofactor.kernels.arrays import Float
    from cofactor.kernels.cpu import Kernels
    from cofactor.kernels.csr import CSR
    from cofactor.models.sampled.rows import Rows

__all__ = ["Training", "unit"]


class Training:
    """A factorization in training.

    Parameters
    ----------
    kernels : Kernels
    matrix : CSR (n_users, n_items)
        Pairs and their weights.
    rows : Rows
    vectors, biases : Table, and Table or None
        With a row for each of ``rows``; changed in place.
    shared : bool
        Which kernel: all positives of a batch share their negatives, or not.
    options : dict
        Of the kernel, but for what depends on the epoch.
    factors : int
        Width of the vectors without what fills them up.
    quantile : int, optional
        The place of a user's list whose score "softmax@k" compares with.
    """

    def __init__(
        self,
        kernels: Kernels,
        matrix: CSR,
        rows: Rows,
        vectors: Table,
        biases: Table | None,
        *,
        shared: bool,
        options: dict[str, Any],
        factors: int,
        quantile: int | None = None,
    ) -> None:
        self._kernels = kernels
        self._matrix = kernels.hold(matrix)
        self._rows = rows
        self._parts = rows.of_users(), rows.of_items()
        self._vectors = kernels.hold(vectors)
        self._biases = None if biases is None else kernels.hold(biases)
        self._kernel: Callable[..., float] = kernels.shared_negatives_epoch if shared else kernels.pairwise_epoch
        self._options = options
        self._factors = factors
        self._quantile = quantile

    def epoch(self, number: int, rate: float) -> float:
        """Pass once over the pairs, with learning rates multiplied by ``rate``; the mean loss."""
        options = self._options | {"epoch": number, "rate": rate}
        if self._quantile is not None:
            options["quantiles"] = self._quantiles(self._quantile)
        parts = (None if part is None else self._kernels.hold(part) for part in self._parts)
        return self._kernel(self._matrix, self._vectors, self._biases, *parts, **options)

    def snapshot(self) -> Callable[[], None]:
        """Keep the present values; the result brings them back."""
        kernels, vectors, biases = self._kernels, *self.tables()
        kept = vectors.values.copy(), None if biases is None else biases.values.copy()

        def bring_back() -> None:
            self._vectors = kernels.hold(vectors._replace(values=kept[0]))
            self._biases = None if biases is None else kernels.hold(biases._replace(values=kept[1]))

        return bring_back

    def tables(self) -> tuple[Table, Table | None]:
        """The tables as they are now."""
        fetch = self._kernels.fetch
        return fetch(self._vectors), None if self._biases is None else fetch(self._biases)

    def factors(self) -> tuple[Float, Float]:
        """Vectors of all users and of all items whose inner products are the scores.

        With biases the last column of the items is theirs, and that of the users is 1.
        """
        vectors, biases = self.tables()
        rows, factors = self._rows, self._factors
        first = (0, rows.n_users), (rows.n_users, rows.n_items)
        sides = [
            composed(vectors.values[:, :factors], parts, *where)
            for parts, where in zip(self._parts, first, strict=True)
        ]
        if self._options["score"] == "cosine":
            sides = [unit(side) for side in sides]
        if biases is not None:
            of_items = composed(biases.values, self._parts[1], *first[1])
            sides = [np.hstack([sides[0], np.ones((rows.n_users, 1), np.float32)]), np.hstack([sides[1], of_items])]
        return sides[0], sides[1]

    def _quantiles(self, k: int) -> Float:
        """Score of every user's k-th best item."""
        users, items = self.factors()
        top = self._kernels.top_k(users, items, k, threads=self._options["threads"])
        return np.ascontiguousarray(top.scores[:, -1])


def unit(vectors: Float) -> Float:
    """Rows divided by their length; those of zeros stay."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 0, norms, 1), np.float32)

"""What the kernels of every device take besides arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cofactor.kernels.arrays import aligned_zeros

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.kernels.arrays import Float, Rows
    from cofactor.kernels.csr import CSR

__all__ = [
    "NO_BIASES",
    "FmRelations",
    "FmSamples",
    "FmSide",
    "PackedIndex",
    "PairEvents",
    "PairRules",
    "PastSessions",
    "RatingSide",
    "RatingStep",
    "SessionKnn",
    "Similarity",
    "Table",
    "optional_csr",
]


class Similarity(NamedTuple):
    """What an inner product is divided by to become a similarity; an array left out is all zeros.

    ``dot / (row_scale column_scale + row_add + column_add - overlap dot + shrink)``: with norms as scales the cosine,
    with counts to add and an overlap of 1 Jaccard's.

    Parameters
    ----------
    row_scale, row_add : (n,) float32, optional
    column_scale, column_add : (n_columns,) float32, optional
    overlap, shrink : float
    """

    row_scale: Float | None = None
    column_scale: Float | None = None
    row_add: Float | None = None
    column_add: Float | None = None
    overlap: float = 0.0
    shrink: float = 0.0

    def arrays(self, n: int, n_columns: int) -> tuple[Float, Float, Float, Float, float, float]:
        """All parts, as the kernels take them."""
        sizes = (n, n_columns, n, n_columns)
        row_scale, column_scale, row_add, column_add = (
            np.zeros(size, np.float32) if part is None else np.ascontiguousarray(part, np.float32)
            for part, size in zip(self[:4], sizes, strict=True)
        )
        return row_scale, column_scale, row_add, column_add, self.overlap, self.shrink


class FmSide(NamedTuple):
    """Users, or items, of a factorization machine: a row of parameters is a weight and a vector, then zeros."""

    totals: Float  # (n, width), width a multiple of 16: what the parameters of a row's id and features add up to
    ids: Float  # (n, width)
    parts: Float  # (n_features, width)
    features: CSR  # n x n_features
    columns: CSR | None  # n_features x n, the same entries; None where parts stay
    groups: Rows  # (n_features,), which prior each has; ids have that of group 0


class FmRelations(NamedTuple):
    """What ratings have besides the ids of their users and items, in a machine that is trained by batches."""

    users: CSR  # n_users x n_user_features
    items: CSR  # n_items x n_item_features
    categories: Rows  # (n_columns, nnz): of every rating, in the order of the targets, counted over all columns
    n_categories: int  # of all columns
    rates: Float  # (n_categories + n_features,): what steps of the vector of each are multiplied by

    @property
    def of_ids_alone(self) -> bool:
        """Whether there is nothing besides."""
        return not (self.n_categories or self.users.n_columns or self.items.n_columns)

    @property
    def n_rows(self) -> int:
        """Of a table: users, items, categories, features of users, and of items."""
        n_features = self.users.n_columns + self.items.n_columns
        return self.users.n_rows + self.items.n_rows + self.n_categories + n_features


class FmSamples(NamedTuple):
    """Totals of a factorization machine, side by side in several samples of its parameters."""

    users: Float  # (n_users, n_samples x n_coordinates)
    items: Float  # (n_items, n_samples x n_coordinates)
    unknown_user: Float  # (n_samples x n_coordinates,), for a row of -1
    unknown_item: Float
    offsets: NDArray[np.float64]  # (n_samples,)
    levels: NDArray[np.float64] | None = None  # (n_levels,), ratings of an ordered probit
    cutpoints: NDArray[np.float64] | None = None  # (n_samples, n_levels - 1)


class PackedIndex(NamedTuple):
    """What ``index_top_k`` searches, for one CPU level."""

    items: Float  # (n_items, factors), the caller's
    bias: Float | None  # (n_items,)
    places: Rows  # items in panels, -1 where one is not full
    first_panel: NDArray[np.int64]  # (n_blocks + 1,)
    directions: Float  # unit vectors of the blocks, side by side
    blocks: NDArray[np.float64]  # bounds of each block
    panels: NDArray[np.float64]  # bounds of each panel
    codes: NDArray[np.uint8]


class PastSessions(NamedTuple):
    """What neighbours are looked for in; sessions are numbered by time, the oldest 0."""

    indptr: NDArray[np.int64]  # (n_sessions + 1,)
    items: Rows  # (n_events,), of a session the oldest first
    weights: NDArray[np.float64]  # (n_sessions,), what the similarity to a session is multiplied by
    places_indptr: NDArray[np.int64]  # (n_items + 1,)
    places: Rows  # the sessions of every item, newest first
    item_weights: NDArray[np.float64]  # (n_items,), of an item that is shared
    candidate_weights: NDArray[np.float64]  # (n_items,), of an item that is scored


class SessionKnn(NamedTuple):
    """The parameters of :class:`cofactor.SessionKNN` that a query needs; ``inf`` for no decay."""

    neighbours: int
    sample_size: int
    last_events: int
    lambda1: float
    lambda3: float
    backward: float
    repeat: float


class PairEvents(NamedTuple):
    """Events of sessions that pairs are made of; what the pairs do not depend on is None."""

    indptr: NDArray[np.int64]  # (n_sessions + 1,)
    items: Rows  # (n_events,)
    times: NDArray[np.int64] | None = None  # (n_events,), ascending inside a session; given, the gap is looked at
    types: NDArray[np.uint8] | None = None  # (n_events,)
    kept: NDArray[np.uint8] | None = None  # (256,): which types take part


class PairRules(NamedTuple):
    """Which two events of a session make a pair, and what it weighs; the fields are those of the kernels."""

    window: int = 1  # the second is at most so many events after the first
    max_gap: int = 0  # and so many seconds; read only with times
    last_events: int = 2**62  # of a session that take part
    both: bool = False  # each pair the other way round, too
    repeats: bool = True  # pairs of an item with itself
    type_weights: Float | None = None  # (256,), by the type of the second event
    distance_weights: Float | None = None  # (window,), by how many events it comes after the first

    @property
    def weighted(self) -> bool:
        """Whether pairs have weights."""
        return self.type_weights is not None or self.distance_weights is not None


class RatingSide(NamedTuple):
    """Users, or items, that ratings are explained by."""

    vectors: Float  # (n, width), width a multiple of 16, filled with zeros
    biases: Float  # (n,)
    shrinkage: Float  # (n,): what regularization is multiplied by


class RatingStep(NamedTuple):
    """What gradient descent on ratings steps with; regularization is that of a rating, times shrinkages."""

    learning_rate: float
    bias_learning_rate: float
    regularization: float
    bias_regularization: float

    def slower(self, rate: float) -> Self:
        """The same with the learning rates multiplied."""
        return self._replace(learning_rate=self.learning_rate * rate, bias_learning_rate=self.bias_learning_rate * rate)


class Table(NamedTuple):
    """Rows that stochastic gradient descent changes, the state of their optimizer, and what it steps with.

    State that the optimizer has no use for is empty.
    """

    values: Float  # (n_rows, width): vectors, width a multiple of 16, filled with zeros; or single numbers, width 1
    first: Float  # like values: mean of the gradients ("adam", "row_adam")
    second: Float  # like values: sum ("adagrad") or mean ("adam") of the squared gradients; (n_rows, 2) ("row_adam")
    steps: Rows  # (n_rows,): how often a row was touched ("adam", "row_adam")
    optimizer: str  # "sgd", "adagrad", "adam"; "row_adam", for machines: one second moment a weight, one a vector
    learning_rate: float
    epsilon: float
    beta1: float
    beta2: float

    @classmethod
    def new(
        cls,
        values: Float,
        optimizer: str,
        learning_rate: float,
        *,
        epsilon: float = 1e-8,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> Self:
        """A table that nothing has happened to yet."""
        none = np.zeros((0, 0), np.float32)
        is_adam = optimizer in ("adam", "row_adam")
        first = aligned_zeros(*values.shape) if is_adam else none
        second = none if optimizer == "sgd" else aligned_zeros(*values.shape)
        if optimizer == "row_adam":
            second = np.zeros((len(values), 2), np.float32)
        steps = np.zeros(len(values) if is_adam else 0, np.int32)
        return cls(values, first, second, steps, optimizer, learning_rate, epsilon, *betas)

    def slower(self, rate: float) -> Self:
        """The same rows, with the learning rate multiplied."""
        return self._replace(learning_rate=self.learning_rate * rate)


NO_BIASES = Table.new(np.zeros((0, 1), np.float32), "sgd", 0.0)
"""What kernels get for biases where there are none."""


def optional_csr(matrix: CSR | None) -> tuple[NDArray[np.int64] | None, Rows | None, Float | None]:
    """Offsets, indices and values of a matrix that may be missing."""
    return (None, None, None) if matrix is None else (matrix.indptr, matrix.indices, matrix.values)

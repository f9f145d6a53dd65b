"""Rows of a table of parameters: what vectors are made of, their gradients, and a step of the optimizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cofactor.errors import DataError

if TYPE_CHECKING:
    from cofactor.kernels.arguments import Table
    from cofactor.kernels.arrays import Float, Rows
    from cofactor.kernels.csr import CSR
    from cofactor.kernels.torch.place import HeldRows, Place, Tensor

__all__ = ["Gradient", "Named", "Side", "check_tables", "group_shares", "side_of", "step_rows"]


class Named(NamedTuple):
    """Rows that some vectors are made of: with parts, weighted sums of several each."""

    n: int
    rows: Tensor  # (n,), or one for every part, int64
    owner: Tensor | None  # the vector that each part belongs to
    weights: Tensor | None

    def made(self, values: Tensor) -> Tensor:
        """The vectors, (n, width)."""
        import torch

        found = values.index_select(0, self.rows)
        if self.owner is None or self.weights is None:
            return found
        out = torch.zeros((self.n, values.shape[1]), device=values.device)
        return out.index_add_(0, self.owner, found * self.weights[:, None])

    def take(self, some: Tensor) -> Named:
        """Those of some of the vectors, ascending."""
        import torch

        if self.owner is None or self.weights is None:
            return Named(len(some), self.rows[some], None, None)
        new = torch.full((self.n,), -1, dtype=torch.int64, device=some.device)
        new[some] = torch.arange(len(some), device=some.device)
        owner = new[self.owner]
        kept = owner >= 0
        return Named(len(some), self.rows[kept], owner[kept], self.weights[kept])

    def back(self, by: Tensor) -> Tensor:
        """Gradients of the rows from those of the vectors."""
        if self.owner is None or self.weights is None:
            return by
        return by.index_select(0, self.owner) * self.weights[:, None]


class Side(NamedTuple):
    """Users, or items, and where their rows are."""

    offset: int
    parts: HeldRows | None

    def named(self, which: Tensor) -> Named:
        """What the vectors of some are made of."""
        if self.parts is None:
            return Named(len(which), which + self.offset, None, None)
        at, owner = self.parts.entries_of(which)
        return Named(len(which), self.parts.indices[at].long(), owner, self.parts.values[at])


def side_of(place: Place, n: int, offset: int, n_rows: int, parts: CSR | HeldRows | None) -> Side:
    """Users or items, with parts that fit."""
    if parts is None:
        return Side(offset, None)
    if parts.shape[0] != n:
        raise ValueError("parts must have one row for each user or item")
    try:
        held = place.rows(parts)
    except DataError as error:
        raise ValueError(f"rows of parts must be ascending and in range: {error}") from error
    if held.shape[1] > n_rows:
        raise ValueError("rows of parts must be ascending and in range")
    return Side(offset, held)


class Gradient:
    """The gradients of a batch, row by row of a table, and which rows take a step.

    On the CPU sums are in order. On a GPU they are made by atomic additions, whose order is open: two runs differ by
    roundoff.
    """

    def __init__(self) -> None:
        self.rows: list[Tensor] = []
        self.by: list[Tensor] = []

    def add(self, named: Named, by: Tensor) -> None:
        """Gradients (n, width) of some vectors."""
        self.rows.append(named.rows)
        self.by.append(named.back(by))

    def step(self, table: Table, n_users: int, *, update_users: bool, update_items: bool) -> None:
        """One step for every row that is named and may move, by the sum of its gradients."""
        import torch

        if not self.rows:
            return
        rows, at = torch.unique(torch.cat(self.rows), return_inverse=True)
        summed = torch.zeros((len(rows), table.values.shape[1]), device=rows.device)
        summed.index_add_(0, at, torch.cat(self.by))
        if not (update_users and update_items):
            may = (rows < n_users) == update_users if update_users != update_items else rows < 0
            rows, summed = rows[may], summed[may]
        step_rows(table, rows, summed)


def step_rows(table: Table, rows: Tensor, g: Tensor, *, n_coordinates: int = 0) -> None:
    """One step of the optimizer for some rows, each named once; ``n_coordinates``: those of a row, for "row_adam"."""
    import torch

    values: Tensor = table.values
    if table.optimizer == "sgd":
        values.index_add_(0, rows, g, alpha=-table.learning_rate)
        return
    second: Tensor = table.second
    if table.optimizer == "adagrad":
        squares = second[rows] + g * g
        second[rows] = squares
        values.index_add_(0, rows, g / (squares.sqrt() + table.epsilon), alpha=-table.learning_rate)
        return
    steps: Tensor = table.steps
    first: Tensor = table.first
    count = steps[rows] + 1
    steps[rows] = count
    mean = first[rows].mul_(table.beta1).add_(g, alpha=1 - table.beta1)
    squared = g * g
    if table.optimizer == "row_adam":  # one second moment for the weight, and one for all of the vector
        of_vector = squared[:, 1:].sum(1, keepdim=True) / max(n_coordinates - 1, 1)
        squared = torch.cat([squared[:, :1], of_vector], 1)
    squares = second[rows].mul_(table.beta2).add_(squared, alpha=1 - table.beta2)
    first[rows], second[rows] = mean, squares
    scales = [(1 - torch.pow(beta, count.double())).float()[:, None] for beta in (table.beta1, table.beta2)]
    spread = (squares / scales[1]).sqrt_().add_(table.epsilon)
    if table.optimizer == "row_adam":
        spread = torch.cat([spread[:, :1], spread[:, 1:].expand(-1, g.shape[1] - 1)], 1)
    values.index_add_(0, rows, mean / scales[0] / spread, alpha=-table.learning_rate)


def group_shares(groups: Tensor | None, discounts: Tensor | None, items: Tensor, negatives: Tensor) -> Tensor | float:
    """What negatives (n, n_negatives), or (n_negatives,) of all, count beside items (n,) of equal groups."""
    if groups is None or discounts is None:
        return 1.0
    rest = 1.0
    for field, discount in enumerate(discounts):
        rest = rest - discount * (groups[items, field][:, None] == groups[negatives, field])
    return rest.clamp_(min=0)  # type: ignore[attr-defined]


def check_tables(
    shape: tuple[int, int], vectors: Table, biases: Table | None, groups: Rows | None, discounts: Float | None
) -> None:
    """Raise unless the tables, and the groups of items, fit users x items."""
    n_items = shape[1]
    if vectors.values.shape[1] % 16:
        raise ValueError("vectors must be padded")
    if len(vectors.values) < sum(shape):
        raise ValueError("vectors must have a row for every user and every item")
    if biases is not None and tuple(biases.values.shape) != (len(vectors.values), 1):
        raise ValueError("biases must have one number for every row of vectors")
    for table in (vectors, biases):
        if table is not None and table.optimizer not in ("sgd", "adagrad", "adam"):
            raise ValueError("optimizer must be sgd, adagrad or adam")
    if (groups is None) != (discounts is None):
        raise ValueError("groups and group_discounts come together")
    if groups is not None and discounts is not None and groups.shape != (n_items, len(discounts)):
        raise ValueError("groups must have one row for every item and one discount for every column")

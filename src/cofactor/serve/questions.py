"""What is asked of a model, by row numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cofactor.kernels.arrays import Rows
    from cofactor.serve.ids import Id

__all__ = ["Entries", "Question"]


@dataclass(slots=True)
class Entries:
    """The events of one history, oldest first: rows of items, and what was told of each; times in microseconds."""

    rows: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    times: list[int] | None = None
    types: list[str] | None = None


@dataclass(slots=True)
class Question:
    """What is wanted, by row numbers: a list for one user or history.

    Parameters
    ----------
    user : int
        Row, -1 for nobody the model knows.
    history : Entries, optional
        What the user had besides.
    k : int
    exclude_seen : bool
    exclude : (n,) int32, ascending, optional
        Items that must not come back.
    allowed : (m,) int32, ascending, optional
        The only items to choose from. Questions that share the same array are answered together.
    fallback : bool
        Popular items for somebody of whom nothing is known, instead of an error or an empty list.
    unknown : list
        Ids of the request that the model does not know.
    """

    user: int = -1
    history: Entries | None = None
    k: int = 10
    exclude_seen: bool = True
    exclude: Rows | None = None
    allowed: Rows | None = None
    fallback: bool = True
    unknown: list[Id] = field(default_factory=list)

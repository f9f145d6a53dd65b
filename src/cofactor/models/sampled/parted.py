"""Pairs that a model is not trained on, without a copy of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from typing import TypeAlias

    from cofactor.kernels.arrays import Float, Rows

    Columns: TypeAlias = tuple[Rows, Rows, Float | None]

__all__ = ["parted"]


def parted(pairs: Columns, n_out: int, rng: np.random.Generator) -> tuple[Columns, Columns]:
    """What is trained on and what is held out, both views of the columns, whose pairs change places.

    Parameters
    ----------
    pairs : items, next items, and weights or None
    n_out : int
        How many are held out.
    rng : Generator
    """
    n = len(pairs[0])
    chosen = rng.choice(n, n_out, replace=False)
    first = n - n_out
    stay = np.ones(n_out, np.bool_)
    stay[chosen[chosen >= first] - first] = False
    to, tail = chosen[chosen < first], first + np.flatnonzero(stay)
    for column in pairs:
        if column is not None:
            out = column[chosen]
            column[to] = column[tail]
            column[first:] = out
    items, next_items, weights = pairs
    trained, held_out = (
        (items[piece], next_items[piece], None if weights is None else weights[piece])
        for piece in (slice(first), slice(first, None))
    )
    return trained, held_out

"""Items beside the pairs of a batch that the pair's user has not seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from cofactor.checks import check_type
from cofactor.data.interactions import Interactions
from cofactor.errors import DataError, ParameterError
from cofactor.kernels import on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cofactor.data.pair_sources import Columns
    from cofactor.kernels.arrays import Rows

__all__ = ["Negatives", "Sampler"]

Sampler: TypeAlias = Literal["exact", "uniform", "popularity"]


class Negatives:
    """What is drawn for the pairs of a loader.

    Parameters
    ----------
    interactions : Interactions
    n : int
        Items drawn for each pair.
    sampler : str
    columns : sequence of str
        Names of the loader's columns, which must be two.

    Raises
    ------
    ParameterError
        There are no interactions, or not two columns.
    """

    def __init__(
        self,
        interactions: Interactions | None,
        n: int,
        sampler: Sampler,
        columns: Sequence[str],
        threads: int | None,
    ) -> None:
        if len(columns) != 2:
            raise ParameterError(
                f"negatives={n} is for pairs of user and item, but there are {len(columns)} columns "
                f"({', '.join(columns)}); name two by columns="
            )
        if interactions is None:
            raise ParameterError(f"negatives={n} needs interactions=, which say what every user has seen")
        check_type("interactions", interactions, Interactions, "Interactions")
        self.n, self.columns, self.threads = int(n), tuple(columns), threads
        self.shape = interactions.user_items.shape
        self.seen = None if sampler == "uniform" else interactions.user_items
        self.alias = None
        if sampler == "popularity":
            counts = np.bincount(interactions.user_items.indices, minlength=self.shape[1])
            self.alias = on("cpu").alias_table(counts.astype(np.float64))

    def draw(self, pairs: Columns, seed: int, first: int) -> Rows:
        """Draw for the pairs (users, items) at places ``first`` and on of a pass, (pairs, n) int32.

        Raises
        ------
        DataError
            A row is not among the interactions' users or items.
        """
        for name, rows, size in zip(self.columns, pairs, self.shape, strict=True):
            if rows.max() >= size:
                raise DataError(
                    f"column {name} has row {rows.max():,}, but interactions= has {size:,} of them; give the "
                    "interactions whose rows these are"
                )
        return on("cpu").sample_negatives(
            pairs[0].astype(np.int32, copy=False), self.n, self.shape, seen=self.seen, alias=self.alias, seed=seed,
            first=first, threads=self.threads,
        )  # fmt: skip

"""Pairs of items that follow each other in sessions: what item-item factorizations are trained on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cofactor.kernels import on
from cofactor.system.memory import require_memory
from cofactor.system.parquet import write_parquet_parts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from cofactor.data.ids import IdMap
    from cofactor.kernels.arguments import PairEvents, PairRules
    from cofactor.kernels.arrays import Float, Rows

__all__ = ["Pairs"]

_PART = 1 << 22  # pairs of a file that are in memory together


@dataclass(frozen=True, eq=False, repr=False)
class Pairs:
    """Pairs of an item and one that follows it, as ``Sessions.pairs`` finds them.

    They are counted at once, and made where they are first asked for: 8 bytes a pair, 12 with weights, and little else.
    ``to_parquet`` writes any number of them in little memory. :class:`cofactor.PairLoader` takes them as they are.

    Parameters
    ----------
    events : PairEvents
    rules : PairRules
    n_items : int
        Rows are below it.
    item_ids : IdMap, optional
        The id of each item row.
    threads : int, optional

    Attributes
    ----------
    n_pairs : int
    n_lone : int
        Sessions with one event or none that takes part: they give no pair.
    n_capped, n_cut : int
        Sessions with more than ``last_events`` events, and how many events that leaves out.
    n_left_out : int
        Events of types that do not take part.
    longest : int
        Events of the longest session.
    """

    events: PairEvents
    rules: PairRules
    n_items: int
    item_ids: IdMap | None = None
    threads: int | None = None
    n_pairs: int = field(init=False)
    n_left_out: int = field(init=False)
    n_lone: int = field(init=False)
    n_capped: int = field(init=False)
    n_cut: int = field(init=False)
    longest: int = field(init=False)
    _starts: NDArray[np.int64] = field(init=False)
    _made: list[tuple[Rows, Rows, Float | None]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        starts, told = on("cpu").count_session_pairs(self.events, self.rules, threads=self.threads)
        names = ("n_left_out", "n_lone", "n_capped", "n_cut", "longest")
        for name, value in (("_starts", starts), ("n_pairs", int(starts[-1])), *zip(names, told, strict=True)):
            object.__setattr__(self, name, value)

    @property
    def items(self) -> Rows:
        """The first item of every pair, (n_pairs,) int32."""
        return self._arrays()[0]

    @property
    def next_items(self) -> Rows:
        """The second item of every pair, (n_pairs,) int32."""
        return self._arrays()[1]

    @property
    def weights(self) -> Float | None:
        """What every pair weighs, (n_pairs,) float32; None where all weigh the same."""
        return self._arrays()[2]

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """The arrays by the names that they have in files: ``item``, ``next_item``, and perhaps ``weight``."""
        return _named(self._arrays())

    def to_parquet(self, path: str | Path) -> None:
        """Write the pairs as rows of items, ``item``, ``next_item`` and perhaps ``weight``, some millions at a time.

        Raises
        ------
        ParameterError
            The name does not end in .parquet, or the file cannot be written (the disk is full ...): what was there
            stays, and nothing of the new file is left.
        """
        schema = {"item": pl.Int32, "next_item": pl.Int32} | ({"weight": pl.Float32} if self.rules.weighted else {})
        write_parquet_parts(self._parts, schema, path)

    def _parts(self) -> Iterator[pl.DataFrame]:
        last, n_blocks = 0, len(self._starts) - 1
        while last < n_blocks:
            first = last
            last = int(np.searchsorted(self._starts, self._starts[first] + _PART, side="right")) - 1
            last = min(max(last, first + 1), n_blocks)
            yield pl.DataFrame(_named(self._read(first, last)))

    def _arrays(self) -> tuple[Rows, Rows, Float | None]:
        if not self._made:
            size = 12 if self.rules.weighted else 8
            require_memory(size * self.n_pairs, f"{self.n_pairs:,} pairs", "to_parquet, and train from the file")
            self._made.append(self._read(0, len(self._starts) - 1))
        return self._made[0]

    def _read(self, first: int, last: int) -> tuple[Rows, Rows, Float | None]:
        return on("cpu").session_pairs(
            self.events, self.rules, starts=self._starts, first=first, last=last, threads=self.threads
        )

    def __len__(self) -> int:
        return self.n_pairs

    def __repr__(self) -> str:
        told = [
            (self.n_lone, "sessions without a pair"),
            (self.n_left_out, "events of other types left out"),
            (self.n_cut, f"early events of {self.n_capped:,} long sessions left out"),
        ]
        notes = "".join(f", {n:,} {what}" for n, what in told if n)
        return f"Pairs({self.n_pairs:,} pairs of {self.n_items:,} items{notes})"


def _named(arrays: tuple[Rows, Rows, Float | None]) -> dict[str, NDArray[np.generic]]:
    items, next_items, weights = arrays
    named: dict[str, NDArray[np.generic]] = {"item": items, "next_item": next_items}
    return named if weights is None else named | {"weight": weights}

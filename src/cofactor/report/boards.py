"""What the columns of a leaderboard are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cofactor.errors import ParameterError
from cofactor.evaluation.sampled import without_label
from cofactor.metrics import parse_all

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["column_of", "higher_is_better", "metrics_of"]


def metrics_of(board: pl.DataFrame) -> list[str]:
    """The metrics of a leaderboard, in their order."""
    ends = ("_low", "_high", "_seconds")
    return [name for name, dtype in board.schema.items() if dtype.is_numeric() and _is_metric(name, ends)]


def higher_is_better(metric: str) -> bool:
    """Whether it is; of names that are no metric's, too."""
    try:
        return parse_all(without_label(metric))[0].kind.higher_is_better
    except ParameterError:
        return True


def column_of(board: pl.DataFrame, name: str) -> NDArray[np.float64]:
    """The values of a column, NaN where there is none."""
    if name not in board.columns:
        return np.full(board.height, np.nan)
    return board[name].cast(pl.Float64).fill_null(np.nan).to_numpy()


def _is_metric(name: str, ends: tuple[str, ...]) -> bool:
    if name.endswith(ends):
        return False
    try:
        parse_all(without_label(name))
    except ParameterError:
        return False
    return True

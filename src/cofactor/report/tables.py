"""Tables and their cells as people read them."""

from __future__ import annotations

import polars as pl

__all__ = ["is_numeric", "readable", "readable_leaderboard"]


def readable_leaderboard(board: pl.DataFrame, *, compact: bool = False) -> pl.DataFrame:
    """A leaderboard of ``compare`` for people: every metric with its interval in one cell.

    Parameters
    ----------
    board : DataFrame
        With or without intervals.
    compact : bool
        Whether to save room: three digits, half the width of the interval, and no seconds of recommending.

    Returns
    -------
    DataFrame
        ``model``, the metrics as text, such as ``0.4120 (0.4050-0.4190)`` or ``0.412 ±0.007``, the seconds, the
        megabytes, what parameters were chosen on, and errors, where there are any. The model of a value that no other
        reaches in as little time has a star.
    """
    columns = []
    for name in board.columns:
        if name.endswith(("_low", "_high")) or name == "reading":
            continue
        if compact and name in ("recommend_seconds", "peak_mb", "chosen_on"):
            continue
        if name in ("error", "peak_mb", "chosen_on") and board[name].is_null().all():
            continue
        if name.endswith("_seconds"):
            cells = ["" if value is None else f"{value:.2f}" for value in board[name]]
            columns.append(pl.Series(name.replace("_seconds", " s"), cells))
        elif name == "peak_mb":
            columns.append(pl.Series("peak MB", ["" if value is None else f"{value:.0f}" for value in board[name]]))
        elif board.schema[name] == pl.Boolean:
            columns.append(pl.Series(name, ["*" if value else "" for value in board[name]]))
        elif board.schema[name] == pl.String or board.schema[name].is_integer():
            columns.append(board[name].rename(name.replace("chosen_on", "chosen on")))
        else:
            ends = [
                board[end] if end in board.columns else [None] * board.height for end in (f"{name}_low", f"{name}_high")
            ]
            cells = [_measured(*values, compact=compact) for values in zip(board[name], *ends, strict=True)]
            columns.append(pl.Series(name, cells))
    return pl.DataFrame(columns)


def _measured(value: float | None, low: float | None, high: float | None, *, compact: bool) -> str:
    if value is None:
        return ""
    if low is None or high is None:
        return f"{value:.3f}" if compact else f"{value:.4f}"
    return f"{value:.3f} ±{(high - low) / 2:.3f}" if compact else f"{value:.4f} ({low:.4f}-{high:.4f})"


def is_numeric(column: pl.Series) -> bool:
    """Whether a column is aligned to the right: numbers, and texts that are one, perhaps with brackets after it."""
    if column.dtype == pl.String:
        known = column.filter(column != "")
        return bool(len(known)) and bool(known.str.contains(r"^[-+]?\d[\d.,() -]*$|^[-+]?\d[\d.,]* \(").all())
    return column.dtype.is_numeric()


def readable(value: object) -> str:
    """A cell of a table as text: four digits of a float, nothing for None."""
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)

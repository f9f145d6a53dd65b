"""What paired tests say of a leaderboard, in words and signs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from cofactor.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SAME", "against_best", "in_words", "marks_of", "readable_tests"]

_COLUMNS = ("metric", "model_a", "model_b", "difference", "p_holm", "different")

SAME = "≈"
"""Not significantly different from the best."""


def against_best(board: pl.DataFrame, tests: pl.DataFrame, metric: str) -> dict[str, tuple[float, float, bool]]:
    """Of every other model: its difference to the best one, the corrected p-value, and whether they differ.

    Parameters
    ----------
    board : DataFrame
        From ``compare``, the best on top.
    tests : DataFrame
        From ``paired_tests``: pairs without the best model are not looked at.
    metric : str

    Raises
    ------
    ParameterError
        The tests are another table.
    """
    if missing := [name for name in _COLUMNS if name not in tests.columns]:
        raise ParameterError(f"tests: a table of paired_tests is expected, and there is no column {missing[0]!r}")
    best, found = board["model"][0], {}
    for a, b, difference, p, different in tests.filter(pl.col("metric") == metric).select(_COLUMNS[1:]).iter_rows():
        if b == best:
            found[a] = (difference, p, different)
        elif a == best:
            found[b] = (-difference, p, different)
    return found


def marks_of(found: Mapping[str, tuple[float, float, bool]]) -> dict[str, str]:
    """A sign for models that do not differ from the best."""
    return {name: SAME for name, (_, _, different) in found.items() if not different}


def in_words(board: pl.DataFrame, found: Mapping[str, tuple[float, float, bool]]) -> pl.Series:
    """A column for the leaderboard."""
    best, cells = board["model"][0], []
    for name in board["model"]:
        if name in found:
            difference, p, different = found[name]
            cells.append(f"{difference:+.4f} (p {_p(p)}){'' if different else f' {SAME}'}")
        else:
            cells.append("")
    return pl.Series(f"against {best}", cells)


def readable_tests(tests: pl.DataFrame) -> pl.DataFrame:
    """All pairs for people; a metric that is the only one is not repeated in every row."""
    rows = tests.iter_rows(named=True)
    table = pl.DataFrame(
        {
            "metric": row["metric"],
            "model": row["model_a"],
            "against": row["model_b"],
            "difference": f"{row['difference']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f})",
            "p, Holm": f"{row['p_holm']:.4f}",
            "p, Wilcoxon": f"{row['p_wilcoxon']:.4f}",
            "differ": "yes" if row["different"] else "no",
        }
        for row in rows
    )
    return table.drop("metric") if table["metric"].n_unique() == 1 else table


def _p(value: float) -> str:
    return "< .001" if value < 0.001 else f"{value:.3f}".lstrip("0") if value < 1 else "1"

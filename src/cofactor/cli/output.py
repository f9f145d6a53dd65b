"""Printing: tables for people or JSON for machines on stdout; notes and errors on stderr."""

from __future__ import annotations

import json
import math
import os
import sys
from typing import TYPE_CHECKING, Any

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cofactor.report.tables import readable, readable_leaderboard

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["complain", "note", "print_facts", "print_json", "print_leaderboard", "print_table", "say"]


def say(text: str = "", style: str = "", *, paragraph: bool = False) -> None:
    """Print a line on stdout; only a paragraph is broken into lines, other text stays fit for copying."""
    _console().print(Text(text, style), soft_wrap=not paragraph)


def note(text: str) -> None:
    """Tell on stderr what was inferred, dropped or adjusted."""
    _console(stderr=True).print(Text.assemble(("note: ", "yellow"), text), soft_wrap=True)


def complain(text: str) -> None:
    """Tell on stderr what went wrong."""
    _console(stderr=True).print(Text.assemble(("error: ", "bold red"), (text, "red")), soft_wrap=True)


def print_json(payload: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout; tables are lists of rows, numbers that JSON lacks are null."""
    sys.stdout.write(json.dumps(_plain(payload), indent=2, default=str, allow_nan=False) + "\n")


def print_leaderboard(board: pl.DataFrame, title: str | None = None) -> None:
    """Print a leaderboard of ``compare``, in fewer characters where the terminal is narrow."""
    console, full = _console(), readable_leaderboard(board)
    wanted = console.measure(_table(full, title), options=console.options.update(max_width=1000)).maximum
    print_table(readable_leaderboard(board, compact=True) if wanted > console.width else full, title)


def print_table(frame: pl.DataFrame, title: str | None = None, *, rows: int = 20) -> None:
    """Print the first rows of a table, and how many more there are."""
    _console().print(_table(frame.head(rows), title))
    if frame.height > rows:
        say(f"... {frame.height - rows:,} more rows", "dim")


def _table(frame: pl.DataFrame, title: str | None) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for name, dtype in frame.schema.items():
        table.add_column(Text(name), justify="right" if dtype.is_numeric() else "left", overflow="fold")
    for row in frame.iter_rows():
        table.add_row(*(Text(readable(value)) for value in row))
    return table


def print_facts(facts: Mapping[str, object], title: str | None = None) -> None:
    """Print names and values, one pair a line."""
    table = Table(title=title, title_justify="left", title_style="bold", show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(Text(name), Text(readable(value)))
    _console().print(table)


def _console(*, stderr: bool = False) -> Console:
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 200  # a pipe or a file has no edge to wrap at
    return console


def _plain(value: object) -> object:
    if isinstance(value, pl.DataFrame):
        return [_plain(row) for row in value.to_dicts()]
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

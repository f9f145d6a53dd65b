"""A measurement in a file: one Parquet with the values of single users, and all else that is told in its metadata.

What was stopped finds there what it had measured before. A file is written as a whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, TypeVar

import polars as pl

from cofactor.checks import warn
from cofactor.system.files import replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["kept_name", "read_kept", "write_kept"]

_KEY = "measured"
_DIGITS = 16

T = TypeVar("T")


def kept_name(*facts: object) -> str:
    """A name that is made of all that a measurement depends on, in the types of JSON."""
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def write_kept(path: Path, told: Mapping[str, Any], users: pl.DataFrame) -> None:
    """Keep what is told, in the types of JSON, and the values of single users."""
    with replacing(path) as beside:
        users.write_parquet(beside, metadata={_KEY: json.dumps(told)})


def read_kept(path: Path, make: Callable[[dict[str, Any], pl.DataFrame], T]) -> T | None:
    """What is made of a file; None where there is none, or with a warning where it cannot be read."""
    if not path.exists():
        return None
    try:
        return make(json.loads(pl.read_parquet_metadata(path)[_KEY]), pl.read_parquet(path))
    except (pl.exceptions.PolarsError, OSError, LookupError, ValueError, TypeError) as error:
        warn(f"{path} cannot be read, and its model is fitted anew: {error}")
        return None

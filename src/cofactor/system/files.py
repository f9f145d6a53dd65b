"""Output files: checked before the work, written under a name beside the target, and renamed at the end."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import polars as pl

from cofactor.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["TABLE_ENDINGS", "check_output", "replacing", "write_table"]

_WRITERS: dict[str, Callable[[pl.DataFrame, Path], object]] = {
    ".parquet": lambda table, path: table.write_parquet(path),
    ".csv": lambda table, path: table.write_csv(path),
    ".jsonl": lambda table, path: table.write_ndjson(path),
    ".ndjson": lambda table, path: table.write_ndjson(path),
    ".arrow": lambda table, path: table.write_ipc(path),
    ".feather": lambda table, path: table.write_ipc(path, compression="lz4"),
}
TABLE_ENDINGS = tuple(_WRITERS)


def check_output(path: str | Path, endings: tuple[str, ...] = TABLE_ENDINGS) -> Path:
    """Check that a file can be written, before the work whose result it will hold.

    Parameters
    ----------
    path : path
        Folders that do not exist yet are made when it is written.
    endings : tuple of str
        What its name may end in.

    Returns
    -------
    Path

    Raises
    ------
    ParameterError
        The ending is another one, the path is a folder, or no file can be created there.
    """
    try:
        return _checked(Path(path).expanduser(), path, endings)
    except ParameterError:
        raise
    except (OSError, RuntimeError, ValueError) as error:  # no permission to look, no such home, no such name
        raise ParameterError(f"{path} cannot be written: {error}") from error


def _checked(target: Path, path: str | Path, endings: tuple[str, ...]) -> Path:
    if target.suffix.lower() not in endings:
        raise ParameterError(f"{path}: the name must end in one of {', '.join(endings)}")
    if target.is_dir():
        raise ParameterError(f"{path} is a folder; give the name of a file")
    parent = next(folder for folder in target.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise ParameterError(f"{path} cannot be written: {parent} is not a folder that can be written to")
    return target


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a name beside ``path`` to write to, and rename it to ``path`` if all went well.

    An interrupted or failed block leaves the old file as it was, and nothing else.

    Raises
    ------
    ParameterError
        The file could not be written.
    """
    beside = path.with_name(f".{path.name}.new-{uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        beside.replace(path)
    except (OSError, pl.exceptions.ComputeError) as error:
        raise ParameterError(f"{path} could not be written: {error}") from error
    finally:
        with suppress(OSError):  # the reason why it could not be written says more
            beside.unlink(missing_ok=True)


def write_table(table: pl.DataFrame, path: str | Path) -> None:
    """Write a table in the format that the ending of its name tells, as a whole or not at all.

    Raises
    ------
    ParameterError
        As `check_output`, or the disk is full.
    """
    target = check_output(path)
    with replacing(target) as beside:
        _WRITERS[target.suffix.lower()](table, beside)

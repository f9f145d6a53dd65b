"""MovieLens, as GroupLens publishes it: 100K, 1M, 10M, 20M, 25M, 32M and latest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cofactor.data.split import Split
from cofactor.datasets._files import existing, rated, read_ratings
from cofactor.errors import DataError, ParameterError

if TYPE_CHECKING:
    from pathlib import Path

    from cofactor.data.events import Events

__all__ = ["movielens", "movielens_fold"]

_FILES = ("u.data", "ratings.dat", "ratings.csv")
_FOLDS = ("1", "2", "3", "4", "5", "a", "b")


def movielens(path: str | Path) -> Events:
    """Read the ratings of any MovieLens release.

    Parameters
    ----------
    path : str or Path
        The unpacked folder, or the file itself: ``u.data`` (100K: tabs), ``ratings.dat`` (1M, 10M: ``::``) or
        ``ratings.csv`` (latest, 20M and later). The layout is taken from the first line, not from the name.

    Returns
    -------
    Events
        ``user_id`` (int32), ``item_id`` (int32), ``rating`` (float32), ``time``.

    Raises
    ------
    DataError
        The file is missing or a line is of another form; names the file, the line and what was expected.
    """
    path = existing(path, "a MovieLens folder or file of ratings")
    if path.is_dir():
        found = [path / name for name in _FILES if (path / name).exists()]
        if not found:
            raise DataError(f"{path}: expected one of {', '.join(_FILES)} in this folder")
        path = found[0]
    return _events(path)


def movielens_fold(path: str | Path, fold: int | str) -> Split:
    """Read one of the splits that come with MovieLens 100K.

    Parameters
    ----------
    path : str or Path
        The unpacked folder.
    fold : int or str
        1 to 5 (disjoint tests of 20 %), or ``"a"``, ``"b"`` (ten ratings per user).

    Returns
    -------
    Split

    Raises
    ------
    ParameterError
        No such fold.
    DataError
        A file is missing or a line is of another form.
    """
    if str(fold) not in _FOLDS:
        raise ParameterError(f"fold={fold!r}: MovieLens 100K has the folds {', '.join(_FOLDS)}")
    folder = existing(path, "the MovieLens 100K folder")
    train, test = (_events(existing(folder / f"u{fold}.{side}", "a MovieLens 100K fold")) for side in ("base", "test"))
    return Split(train, test)


def _events(path: Path) -> Events:
    table = read_ratings(path)
    return rated(table)

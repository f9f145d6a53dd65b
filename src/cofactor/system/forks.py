"""Forked processes, in which the threads of the table library (polars) are gone and its work would wait for ever."""

from __future__ import annotations

import os
import re
from pathlib import Path

from cofactor.errors import CofactorError

__all__ = ["require_living_threads"]

_TASKS = Path("/proc/self/task")
_POOL = re.compile(r"polars-\d+|async-executor")  # names of its threads, which start with the first work and never end


class _Fork:
    """Whether this process was forked from one whose threads it lacks; a child of such a child lacks them too."""

    lost = False
    about_to_be = False

    @classmethod
    def before(cls) -> None:
        cls.about_to_be = _has_threads()

    @classmethod
    def in_child(cls) -> None:
        cls.lost = cls.lost or cls.about_to_be


def _has_threads() -> bool:
    """Whether polars has started threads in this process; yes where the system does not tell."""
    try:
        return any(_POOL.match((task / "comm").read_text()) for task in _TASKS.iterdir())
    except OSError:
        return True


def require_living_threads() -> None:
    """Raise CofactorError where work on tables would wait for threads that a fork has left behind.

    Asked wherever public work on tables begins: reading and grouping a log, reading a table, looking up ids, loading.
    """
    if _Fork.lost:
        raise CofactorError(
            "this process was forked from one that had worked with tables, whose threads do not exist here: it would "
            "wait for ever. Start workers by multiprocessing.get_context('spawn') or 'forkserver', by "
            "ProcessPoolExecutor(mp_context=...) or by joblib's loky; a fitted model's top_k and top_k_for, which "
            "work on row numbers, may be used here"
        )


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(before=_Fork.before, after_in_child=_Fork.in_child)

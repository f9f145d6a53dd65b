"""Temporary folders of servers; those of servers that were killed are removed by the next one that starts."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["hold", "made_folder", "temporary_folder"]

_log = logging.getLogger(__name__)

_ALIVE = "alive"
_YOUNG = 60  # seconds in which a folder may have no lock yet


def made_folder(prefix: str) -> Path:
    """A new temporary folder, for who holds it (see :func:`hold`); those that nobody holds any more are removed."""
    _sweep(prefix)
    return Path(tempfile.mkdtemp(prefix=prefix))


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """A temporary folder that goes with the context; after a kill, with the next one of this prefix."""
    folder = made_folder(prefix)
    alive = hold(folder)
    try:
        yield folder
    finally:
        if alive is not None:
            os.close(alive)
        shutil.rmtree(folder, ignore_errors=True)


def hold(folder: Path) -> int | None:
    """Keep a folder as long as a process that holds it lives, or until the file that is given is closed.

    None where there are no such locks.
    """
    if sys.platform == "win32":
        return None
    handle = os.open(folder / _ALIVE, os.O_CREAT | os.O_RDWR, 0o600)
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_SH)
    return handle


def _sweep(prefix: str) -> None:
    """Remove the folders of servers that died."""
    if sys.platform == "win32":
        return
    for root in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):  # somebody else's, or gone already
            if root.stat().st_mtime > time.time() - _YOUNG:
                continue
            handle = os.open(root / _ALIVE, os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(root, ignore_errors=True)
                _log.info("removed %s, which a server that died has left", root)
            finally:
                os.close(handle)

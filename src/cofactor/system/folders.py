"""Folders whose content changes in one step: a lock for writers, and files that have reached the disk before it."""

from __future__ import annotations

import errno
import hashlib
import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader, BufferedWriter
    from pathlib import Path

__all__ = ["locked", "sha256", "sync_folder", "written"]


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Make a folder unless it is there, and keep other writers out of it while the block runs.

    They wait for each other. The lock lies on the folder itself, leaves no file, and goes with its process however that
    ends.

    Yields
    ------
    bool
        Whether there is a lock: Windows has none on folders, and neither have some network file systems.
    """
    handle = _lock(folder)
    try:
        yield handle is not None
    finally:
        if handle is not None:
            _unlock(handle)


def _lock(folder: Path) -> int | None:
    """An open folder with a lock on it; None where the system has no such lock."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        if sys.platform == "win32":
            return None
        handle, held = -1, False
        try:
            handle = os.open(folder, os.O_RDONLY)
            if not _flock(handle):
                return None
            # Another writer may have removed the folder that it could not fill, and somebody made a new one.
            held = os.path.samestat(os.fstat(handle), folder.stat())
            if held:
                return handle
        except FileNotFoundError:
            continue
        finally:
            if handle >= 0 and not held:
                os.close(handle)


def _flock(handle: int) -> bool:
    """Wait for the lock on an open folder; whether there is such a thing."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError:
        return False
    return True


def _unlock(handle: int) -> None:
    if sys.platform != "win32":
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_UN)  # a child that was forked meanwhile may hold the handle for long
        os.close(handle)


@contextmanager
def written(path: Path) -> Iterator[BufferedWriter]:
    """A new file, with the mode that the umask says, which has reached the disk when the block has ended."""
    with path.open("xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Let the names of a folder's files reach the disk, where the system can do so for folders."""
    if sys.platform == "win32":
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # it may be written and not read
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # the file system keeps no such promise
            raise
    finally:
        os.close(handle)


def sha256(file: Path | BufferedReader) -> str:
    """The SHA-256 of a file, of an open one from its start, in hexadecimal digits."""
    if isinstance(file, os.PathLike):
        with file.open("rb") as opened:
            return sha256(opened)
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()

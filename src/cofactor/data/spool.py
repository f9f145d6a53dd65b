"""Temporary copies of what polars cannot read lazily itself: streams, and text that is not UTF-8."""

from __future__ import annotations

import codecs
import gzip
import os
import stat
import sys
import tempfile
import weakref
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from cofactor.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["is_stream", "spooled"]

_CHUNK = 2**20
_STDIN = ("-", "/dev/stdin")


class _Copy:
    """Something that dies with the interpreter, so that the file goes then."""


_KEPT: list[_Copy] = []


def is_stream(name: str) -> bool:
    """Whether a path can be read only once: standard input, a named pipe, what a shell passes for ``<(...)``."""
    if name in _STDIN:
        return True
    try:
        mode = Path(name).stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def spooled(name: str, encoding: str = "utf8") -> str:
    """Copy a stream or a file into a temporary file, as UTF-8, and return its path; it is deleted at exit.

    Raises
    ------
    DataError
        The text is not of this encoding (names the line), or there is no room for the copy.
    """
    try:
        with tempfile.NamedTemporaryFile(prefix="cofactor-", delete=False) as copy:
            _delete_at_exit(copy.name)
            for chunk in _decoded(name, encoding):
                copy.write(chunk)
    except OSError as error:
        raise DataError(
            f"{name}: could not be copied to {tempfile.gettempdir()} ({error}); if it is full, let TMPDIR name a "
            "folder with more room"
        ) from error
    return copy.name


def _decoded(name: str, encoding: str) -> Iterator[bytes]:
    """The bytes of a source as UTF-8; those of UTF-8 sources as they are."""
    decoder = codecs.getincrementaldecoder(encoding)()
    as_they_are = codecs.lookup(encoding).name == "utf-8"
    line, done = 1, False
    with _opened(name, unpack=not as_they_are) as stream:
        while not done:
            chunk = stream.read(_CHUNK)
            done = not chunk
            if as_they_are:
                yield chunk
                continue
            try:
                text = decoder.decode(chunk, final=done)
            except UnicodeDecodeError as error:
                before = error.object[: error.start].decode(encoding, errors="replace")
                at = line + before.count("\n")
                raise DataError(
                    f"{name}: line {at} is not {encoding} ({error.reason}); pass another encoding="
                ) from error
            line += text.count("\n")
            yield text.encode()


@contextmanager
def _opened(name: str, *, unpack: bool) -> Iterator[BinaryIO]:
    with os.fdopen(os.dup(sys.stdin.fileno()), "rb") if name in _STDIN else Path(name).open("rb") as stream:
        yield cast("BinaryIO", gzip.GzipFile(fileobj=stream)) if unpack and name.endswith(".gz") else stream


def _delete_at_exit(path: str) -> None:
    copy, owner = _Copy(), os.getpid()
    _KEPT.append(copy)
    weakref.finalize(copy, _delete, path, owner)


def _delete(path: str, owner: int) -> None:
    if os.getpid() == owner:  # a forked child leaves the file of its parent alone
        Path(path).unlink(missing_ok=True)

"""Quotes in CSV files: whether lines can be told from rows, found by a look at the bytes.

A quote opens or closes a field only beside a separator or the end of a line. Readers that count quotes take
``TV 24" LED`` for the beginning of a quoted text and put the lines up to the next quote together: rows are lost.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["Quoting", "ambiguous_quote", "byte_chunks", "count_lines", "has_quotes", "is_packed", "quoting"]

Quoting = Literal["none", "literal", "fields"]

_CHUNK = 2**18  # bytes looked at at once, so that they stay in cache
_QUOTE, _NEWLINE = ord('"'), ord("\n")
_BOM = b"\xef\xbb\xbf"


def is_packed(file: str) -> bool:
    """Whether a file is gzip, told by its first bytes."""
    with Path(file).open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def byte_chunks(file: str) -> Iterator[bytes]:
    """The bytes of a file, unpacked where it is gzip, without a byte-order mark."""
    with gzip.open(file) if is_packed(file) else Path(file).open("rb") as stream:
        chunk = stream.read(_CHUNK).removeprefix(_BOM)
        while chunk:
            yield chunk
            chunk = stream.read(_CHUNK)


def quoting(file: str, separator: str) -> Quoting:
    """Whether a file has no quotes, has them only inside of fields, as in ``TV 24" LED``, or quotes fields."""
    edges = _edges(separator, b"")
    found, before = False, b"\n"
    for chunk in byte_chunks(file):
        if b'"' in chunk:
            found = True
            values = np.frombuffer(before + chunk, np.uint8)
            if edges[values[np.flatnonzero(values[1:] == _QUOTE)]].any():
                return "fields"
        before = chunk[-1:]
    return "literal" if found else "none"


def has_quotes(file: str) -> bool:
    """Whether there is a quote anywhere in a file."""
    return any(b'"' in chunk for chunk in byte_chunks(file))


def count_lines(file: str) -> int:
    """Number of lines of a file from its header on; readers pass over empty lines above it."""
    if is_packed(file):  # polars unpacks twice as fast as Python does, which is most of the work
        lines = pl.scan_csv(
            file, has_header=False, quote_char=None, separator="\x01", schema={"line": pl.String}, glob=False
        )  # counted without being parsed, which scan_lines would do
        n_lines = lines.select(pl.len()).collect(engine="streaming").item()
        above = next(byte_chunks(file), b"")
        return int(n_lines) - above[: len(above) - len(above.lstrip(b"\r\n"))].count(b"\n")
    n_lines, last = 0, b""
    for raw in byte_chunks(file):
        chunk = raw if last else raw.lstrip(b"\r\n")
        n_lines += _newlines(np.frombuffer(chunk, np.uint8))
        last = chunk[-1:]
    return n_lines + (last not in (b"", b"\n"))


def ambiguous_quote(file: str, separator: str) -> int | None:
    """Find the line (from 1) of the first quote that neither opens nor closes a field, or is never closed."""
    edges = _edges(separator, b'"')
    inside, line, opened = False, 1, 1
    window = b"\n"  # one byte that was looked at, then those that were not
    for chunk in (*byte_chunks(file), b"\n"):
        window += chunk
        values = np.frombuffer(window, np.uint8)
        at = np.flatnonzero(values[1:-1] == _QUOTE) + 1
        opens = (np.arange(len(at)) + inside) % 2 == 0
        fine = edges[np.where(opens, values[at - 1], values[at + 1])]
        if not fine.all():
            return line + _newlines(values[1 : at[fine.argmin()]])
        if len(at):
            inside = bool(opens[-1])
            opened = line + _newlines(values[1 : at[-1]]) if inside else opened
        line += _newlines(values[1:-1])
        window = window[-2:]
    return opened if inside else None


def _edges(separator: str, more: bytes) -> NDArray[np.bool_]:
    """Which of the 256 bytes may stand beside a quote that opens or closes a field."""
    edges = np.zeros(256, np.bool_)
    edges[list(separator.encode() + b"\r\n" + more)] = True
    return edges


def _newlines(values: NDArray[np.uint8]) -> int:
    return int(np.count_nonzero(values == _NEWLINE))

"""CSV and JSON lines: how they are written, and what is wrong with a file that cannot be read."""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

import polars as pl

from cofactor.data.quotes import ambiguous_quote, byte_chunks
from cofactor.errors import DataError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from typing import Self

__all__ = ["NullValues", "TextOptions", "ambiguity", "bad_csv_row", "bad_encoding", "bad_json_line", "lines_of"]

NullValues: TypeAlias = "str | Sequence[str] | Mapping[str, str] | None"
"""Texts that stand for a missing value, as in ``polars.scan_csv``: one, several, or one for each column."""

_SEPARATORS = ",;\t|"


@dataclass(frozen=True)
class TextOptions:
    """How text files are written.

    Parameters
    ----------
    separator : str, optional
        Between the fields of CSV; told by the header unless given.
    encoding : str
    nulls : str, sequence of str or mapping, optional
        See ``NullValues``.

    Raises
    ------
    ParameterError
        A value is none of the possible ones.
    """

    separator: str | None = None
    encoding: str = "utf8"
    nulls: NullValues = None

    def __post_init__(self) -> None:
        if (s := self.separator) is not None and (not isinstance(s, str) or len(s.encode()) != 1 or s in '"\r\n'):
            raise ParameterError(f"separator={s!r}; it must be one ASCII character, such as ',' ';' '\\t' '|'")
        try:
            "".encode(self.encoding)
        except (LookupError, TypeError) as error:
            raise ParameterError(
                f"encoding={self.encoding!r}; it must be a text encoding, such as 'latin-1'"
            ) from error
        nulls: Any = self.nulls
        texts = [nulls] if isinstance(nulls, str) else [] if nulls is None else nulls
        texts = [*texts, *texts.values()] if isinstance(texts, Mapping) else texts
        if not isinstance(texts, list | tuple) or not all(isinstance(t, str) for t in texts):
            raise ParameterError(f"null_values={nulls!r}; it must be a text, a list of texts or {{column: text}}")

    @property
    def is_utf8(self) -> bool:
        """Whether files can be read as they are."""
        return codecs.lookup(self.encoding).name == "utf-8"

    def nulls_of(self, columns: Collection[str] | None) -> str | list[str] | dict[str, str] | None:
        """What stands for a missing value, as polars takes it for a file with these columns."""
        if self.nulls is None or isinstance(self.nulls, str):
            return self.nulls
        if isinstance(self.nulls, Mapping):
            return {c: text for c, text in self.nulls.items() if columns is None or c in columns}
        return list(self.nulls)

    def without_nulls(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """Put nulls in place of the texts that stand for them, in tables that polars reads without this option."""
        if not self.nulls:
            return frame
        columns = [c for c, dtype in frame.collect_schema().items() if dtype == pl.String]
        nulls = self.nulls_of(columns)
        of = nulls if isinstance(nulls, dict) else dict.fromkeys(columns, nulls)
        values = {c: [v] if isinstance(v, str) else list(v or ()) for c, v in of.items()}
        return frame.with_columns(pl.when(~pl.col(c).is_in(v)).then(pl.col(c)).alias(c) for c, v in values.items())

    def header(self, file: str) -> list[str]:
        """Names of the columns of a CSV file.

        Raises
        ------
        DataError
            They are not UTF-8.
        """
        return next(self._records(file), [])

    def has_rows(self, file: str) -> bool:
        """Whether a CSV file has more than its header."""
        return len(list(islice(self._records(file), 2))) == 2

    def detected(self, file: str, default: str) -> Self:
        """Take the separator that makes the most columns of the header, the default one among equals."""
        if self.separator is not None:
            return self
        counts = {s: len(next(_records(file, s), [])) for s in (default, *_SEPARATORS)}
        return replace(self, separator=max(counts, key=lambda s: counts[s]))

    def _records(self, file: str) -> Iterator[list[str]]:
        return _records(file, self.separator or ",")


def _records(file: str, separator: str) -> Iterator[list[str]]:
    """The header of a CSV file and its rows."""
    try:
        yield from csv.reader((line for line in lines_of(file) if line.strip("\r\n")), delimiter=separator)
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: {bad_encoding(file, TextOptions(separator))}") from error
    except csv.Error as error:
        raise DataError(
            f"{file}: the first lines are not CSV ({error}). Lines must end with a newline; a carriage return alone "
            "ends none"
        ) from error


def lines_of(file: str, errors: str = "strict") -> Iterator[str]:
    """The lines of a text file with their ends, packed or not; a line ends at a newline alone."""
    rest = b""
    for chunk in byte_chunks(file):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode("utf-8", errors) + "\n" for line in whole)
    if rest:
        yield rest.decode("utf-8", errors)


def bad_encoding(file: str, options: TextOptions) -> str | None:
    """Say which line and column of a file is not UTF-8, or None."""
    lines = enumerate(lines_of(file, "surrogateescape"), 1)
    bad = next(((n, line) for n, line in lines if any("\udc80" <= c <= "\udcff" for c in line)), None)
    if bad is None:
        return None
    number, line = bad
    raw = line.rstrip("\r\n").encode("utf-8", "surrogateescape")
    where, value = "", raw
    if options.separator is not None and number > 1:
        header = next(csv.reader(lines_of(file, "replace"), delimiter=options.separator))
        fields = next(csv.reader([line], delimiter=options.separator))
        for name, text in zip(header, fields, strict=False):
            if (encoded := text.encode("utf-8", "surrogateescape")).decode("utf-8", "replace").count("\ufffd"):
                where, value = f", column {name!r}", encoded.rstrip()
                break
    return (
        f"line {number}{where} is not UTF-8: {value[:60]!r}. Name the encoding of the file, such as "
        "encoding='latin-1', 'cp1252' or 'utf-16'"
    )


def bad_json_line(file: str, schema: Mapping[str, pl.DataType]) -> str | None:
    """Find the first line that is no JSON object, or has text where the lines before had numbers."""
    numeric = [c for c, dtype in schema.items() if dtype.is_numeric()]
    for number, line in enumerate(lines_of(file), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            return f"line {number} is not JSON ({error.msg}): {line.strip()[:60]!r}"
        if not isinstance(entry, dict):
            return f"line {number} is not a JSON object: {line.strip()[:60]!r}"
        for c in numeric:
            if not _fits(entry.get(c), schema[c]):
                return (
                    f"line {number}: {c!r} is {entry[c]!r}, but {schema[c]} in the lines before. If it is meant, pass "
                    f"pl.scan_ndjson(..., schema_overrides={{{c!r}: pl.String}}) instead of the path"
                )
    return None


def _fits(value: object, dtype: pl.DataType) -> bool:
    """Whether a JSON value can be of a numeric type."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return True
    return isinstance(value, float) and dtype.is_float()


def bad_csv_row(file: str, text: pl.LazyFrame, schema: Mapping[str, pl.DataType], options: TextOptions) -> str | None:
    """Find the first row that is too long, or the first value of another type; ``text`` is the file as it is."""
    rows = csv.reader(lines_of(file), delimiter=options.separator or ",")
    header = next(rows, [])
    for number, row in enumerate(rows):
        if len(row) > len(header):
            return f"row {number} (from 0, after the header) has {len(row)} fields, but the header {len(header)}"
    text = text.with_row_index("cofactor:row")
    for c, dtype in schema.items():
        bad = text.filter(pl.col(c).is_not_null() & pl.col(c).cast(dtype, strict=False).is_null())
        for number, value in bad.select("cofactor:row", c).head(1).collect(engine="streaming").iter_rows():
            return (
                f"row {number} (from 0, after the header): {c!r} is {value!r}, but {dtype} in the first rows. If it "
                f"stands for a missing value, pass null_values=; if it is meant, pl.scan_csv(..., "
                f"schema_overrides={{{c!r}: pl.String}}) instead of the path"
            )
    return None


def ambiguity(file: str, options: TextOptions) -> str | None:
    """Say where quotes of a CSV file leave open what is a row, or None."""
    if (line := ambiguous_quote(file, options.separator or ",")) is None:
        return None
    text = next(islice(lines_of(file, "replace"), line - 1, None)).rstrip("\r\n")
    return (
        f"line {line} holds a quote that neither opens nor closes a field, or is never closed, so that rows cannot be "
        f"told apart: {text[:80]!r}. Write quotes inside of a field twice and put the field in quotes; or, if no field "
        "is in quotes, pass pl.scan_csv(..., quote_char=None) instead of the path"
    )

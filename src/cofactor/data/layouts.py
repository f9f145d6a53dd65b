"""Several files as one lazy table: columns are matched by their names, and types made one where nothing is lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import polars as pl

from cofactor.data.quotes import Quoting, is_packed, quoting
from cofactor.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from cofactor.data.text import TextOptions

__all__ = ["Format", "Layout", "lay_out"]

Format: TypeAlias = Literal["parquet", "csv", "tsv", "jsonl", "arrow"]
_Types: TypeAlias = "dict[str, pl.DataType]"

_INFERRED_ROWS = 10_000
_LEAST_INFERRED = 100


@dataclass(frozen=True)
class _Run:
    """Files in a row that have the same columns, and for CSV quotes of one kind."""

    files: tuple[str, ...]
    schema: _Types
    quotes: Quoting = "none"


@dataclass(frozen=True)
class Layout:
    """How files are read as one table.

    Attributes
    ----------
    format : Format
    runs : tuple of runs
    types : mapping
        The columns of the table in their order.
    options : TextOptions
    inferred : mapping
        Types that inference gives to columns that are read as text.
    notes : tuple of str
    """

    format: Format
    runs: tuple[_Run, ...]
    types: _Types
    options: TextOptions
    inferred: _Types = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def scan(self, types: Mapping[str, pl.DataType] | None = None) -> pl.LazyFrame:
        """The table; ``types`` are read in place of those that the layout has."""
        wanted = {**self.types, **(types or {})}
        parts = [self._part(run, wanted) for run in self.runs]
        if len(parts) == 1:
            return parts[0]
        columns = [
            [pl.col(c).cast(t) if c in run.schema else pl.lit(None, dtype=t).alias(c) for c, t in wanted.items()]
            for run in self.runs
        ]
        return pl.concat([part.select(exprs) for part, exprs in zip(parts, columns, strict=True)])

    def quoted_files(self) -> list[str]:
        """Files whose fields are quoted."""
        return [file for run in self.runs if run.quotes == "fields" for file in run.files]

    def _part(self, run: _Run, types: _Types) -> pl.LazyFrame:
        if self.format == "jsonl":
            return _scan_json(run.files, {c: types[c] for c in run.schema})
        if self.format not in ("csv", "tsv"):
            return _scan_binary(run.files, self.format)
        return pl.scan_csv(
            list(run.files),
            schema_overrides={c: types[c] for c in run.schema},
            infer_schema=False,
            quote_char=None if run.quotes == "literal" else '"',
            null_values=self.options.nulls_of(run.schema),
            separator=self.options.separator or ",",
            glob=False,
        )


def lay_out(
    files: Sequence[str],
    format: Format,
    options: TextOptions,
    *,
    roles: Collection[str] = (),
    texts: Collection[str] = (),
) -> Layout:
    """Look at the headers of files and at their first rows.

    Parameters
    ----------
    files : paths; addresses such as ``s3://...`` are taken to be alike
    format : Format
    options : TextOptions
        For CSV with a separator.
    roles : columns that no file may lack if one has it
    texts : columns whose text must not change: inference is not trusted with them

    Raises
    ------
    DataError
        A file lacks a column that has a role, or a column is of types that cannot be made one without loss.
    """
    looked_at = files[:1] if any("://" in f for f in files) else files
    n_rows = max(_LEAST_INFERRED, _INFERRED_ROWS // len(looked_at))
    schemas = [_schema(file, format, options, n_rows) for file in looked_at]
    types, notes = _merged(looked_at, schemas, roles, is_text=format in ("csv", "tsv"))
    _refuse_short_floats(looked_at, schemas, texts)
    inferred = {c: types[c] for c in texts if c in types and (format in ("csv", "tsv") or types[c].is_numeric())}
    inferred = inferred if format in ("csv", "tsv", "jsonl") else {}
    as_text = types | {c: pl.String() for c in inferred}
    if looked_at is not files or len(files) == 1 or format == "jsonl":
        run = _Run(tuple(files), types, _quotes(files[0], format, options))
        return Layout(format, (run,), as_text, options, inferred, tuple(notes))
    runs: list[_Run] = []
    for file, schema in zip(files, schemas, strict=True):
        quotes = _quotes(file, format, options)
        last = runs[-1] if runs else None
        alike = last is not None and quotes == last.quotes and list(schema) == list(last.schema)
        if last is not None and alike and (format in ("csv", "tsv") or schema == last.schema):
            runs[-1] = _Run((*last.files, file), last.schema, quotes)
        else:
            runs.append(_Run((file,), schema, quotes))
    return Layout(format, tuple(runs), as_text, options, inferred, tuple(notes))


def _quotes(file: str, format: Format, options: TextOptions) -> Quoting:
    """Look into a CSV file; a packed one would have to be unpacked for it, which is done beside the first pass."""
    if format not in ("csv", "tsv") or "://" in file:
        return "none"
    return "fields" if is_packed(file) else quoting(file, options.separator or ",")


def _schema(file: str, format: Format, options: TextOptions, n_rows: int) -> _Types:
    """The columns of one file; of type Null where it holds no row that could tell."""
    if format == "jsonl":
        return dict(pl.scan_ndjson(_literal([file]), infer_schema_length=n_rows).collect_schema())
    if format not in ("csv", "tsv"):
        return dict(_scan_binary([file], format).collect_schema())
    schema = pl.scan_csv(
        file,
        separator=options.separator or ",",
        infer_schema_length=n_rows,
        null_values=options.nulls_of(None if "://" in file else options.header(file)),
        glob=False,
    ).collect_schema()
    if "://" not in file and not options.has_rows(file):
        return {c: pl.Null() for c in schema}
    return dict(schema)


def _scan_json(files: Sequence[str], types: _Types) -> pl.LazyFrame:
    return pl.scan_ndjson(_literal(files), schema=types)


def _scan_binary(files: Sequence[str], format: Format) -> pl.LazyFrame:
    if format == "arrow":
        return pl.scan_ipc(list(files), glob=False)
    return pl.scan_parquet(list(files), glob=False, hive_partitioning=any("=" in Path(f).parent.name for f in files))


def _literal(files: Sequence[str]) -> list[str]:
    """Escape what looks like a pattern: scanning JSON lines is the one scan without glob=False."""
    return [file if "://" in file else escape(file) for file in files]


def _merged(
    files: Sequence[str], schemas: Sequence[_Types], roles: Collection[str], *, is_text: bool
) -> tuple[_Types, list[str]]:
    """One type for every column of any file."""
    types: _Types = {}
    first: dict[str, str] = {}
    notes: dict[str, str] = {}
    for file, schema in zip(files, schemas, strict=True):
        for column, dtype in schema.items():
            before = types.setdefault(column, dtype)
            common = _common(before, dtype, is_text=is_text)
            if common is None:
                raise DataError(
                    f"{file}: column {column!r} has type {dtype}, but {before} in {first[column]}; write it with one "
                    "type"
                )
            if common == pl.String and before != dtype and pl.Null not in (before, dtype):
                notes[column] = f"{column}: {dtype} in {file}, {before} in {first[column]}; read as text"
            types[column] = common
            first.setdefault(column, file)
    for column in types:
        without = [file for file, schema in zip(files, schemas, strict=True) if column not in schema]
        if without and column in roles:
            raise DataError(f"{without[0]}: there is no column {column!r}, which {first[column]} has")
        if without:
            notes[column] = f"{column}: not in {len(without)} of {len(files)} files, the first {without[0]}; null there"
    return {c: pl.String() if is_text and t == pl.Null else t for c, t in types.items()}, list(notes.values())


def _refuse_short_floats(files: Sequence[str], schemas: Sequence[_Types], ids: Collection[str]) -> None:
    """Float32 ids are whole below 2^24 only, which could not be told any more after they were made Float64."""
    for column in ids:
        types = {schema[column]: file for file, schema in zip(files, schemas, strict=True) if column in schema}
        others = [t for t in types if t not in (pl.Float32, pl.Null)]
        if pl.Float32 in types and others:
            short, other = types[pl.Float32()], types[others[0]]
            raise DataError(
                f"{short}: column {column!r} has type Float32, which holds no ids from 2^24 on, but {others[0]} in "
                f"{other}; write it with one type"
            )


def _common(a: pl.DataType, b: pl.DataType, *, is_text: bool) -> pl.DataType | None:
    """A type that holds the values of both, or None."""
    if b in (a, pl.Null):
        return a
    if a == pl.Null:
        return b
    if isinstance(a, pl.Datetime) and isinstance(b, pl.Datetime):
        finer = max(a.time_unit, b.time_unit, key=("ms", "us", "ns").index)
        return pl.Datetime(finer, a.time_zone) if a.time_zone == b.time_zone else None
    alike = (a.is_numeric() and b.is_numeric()) or all(t in (pl.Date, pl.Datetime) for t in (a, b))
    if not alike:
        texts = (pl.String, pl.Categorical, pl.Enum)
        lossless = all(t in texts or t.is_integer() for t in (a, b)) and any(t in texts for t in (a, b))
        return pl.String() if is_text or lossless else None
    if pl.UInt64 in (a, b) and (a.is_signed_integer() or b.is_signed_integer()):
        return pl.Int64()  # a number beyond it is an error when it is read
    empty = [pl.DataFrame(schema={"x": t}) for t in (a, b)]
    return pl.concat(empty, how="vertical_relaxed").schema["x"]

"""Files and tables of any kind as one lazy table."""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import dataclass
from glob import escape, glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import polars as pl

from cofactor.errors import DataError, ParameterError
from cofactor.system.forks import require_living_threads

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

__all__ = ["Format", "Source", "first_line", "open_source"]

Format: TypeAlias = Literal["parquet", "csv", "tsv", "jsonl", "arrow"]

_EXTENSIONS: dict[str, Format] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".tsv": "tsv",
    ".tsv.gz": "tsv",
    ".jsonl": "jsonl",
    ".jsonl.gz": "jsonl",
    ".ndjson": "jsonl",
    ".ndjson.gz": "jsonl",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}
_INFERRED_ROWS = 10_000


@dataclass(frozen=True)
class Source:
    """A lazy table and where it comes from.

    Attributes
    ----------
    frame : pl.LazyFrame
    files : tuple of str
        Empty for tables in memory.
    format : Format or None
    """

    frame: pl.LazyFrame
    files: tuple[str, ...] = ()
    format: Format | None = None

    def explain(self, error: Exception, columns: Collection[str]) -> DataError:
        """Turn an error met while reading columns into one that names the file, and the row if it can."""
        for file in self.files:
            if (problem := _problem(file, self.format or "parquet", columns)) is not None:
                return DataError(f"{file}: {problem}")
        return DataError(f"the events could not be processed: {first_line(error)}")


def first_line(error: Exception) -> str:
    """Cut what polars adds about its plan."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def open_source(source: Any, format: Format | None = None) -> Source:  # noqa: ANN401
    """Open a path, glob, folder, list of paths, table or frame lazily.

    Raises
    ------
    ParameterError
        The source is of no known kind, or the format cannot be told from the names.
    DataError
        A file does not exist, or its header cannot be read.
    """
    require_living_threads()
    if format is not None and format not in get_args(Format):
        raise ParameterError(f"format={format!r}; it must be one of {', '.join(get_args(Format))}")
    if isinstance(source, str | Path):
        return _open_files([str(source)], format)
    if isinstance(source, list | tuple) and source and all(isinstance(s, str | Path) for s in source):
        return _open_files([str(s) for s in source], format)
    if isinstance(source, pl.LazyFrame):
        return Source(source)
    if isinstance(source, pl.DataFrame):
        return Source(source.lazy())
    try:
        if type(source).__module__.split(".")[0] == "pandas":
            return Source(pl.from_pandas(source).lazy())
        if hasattr(source, "__arrow_c_stream__"):
            return Source(pl.DataFrame(source).lazy())
    except Exception as error:
        raise DataError(f"the table of type {type(source).__name__} could not be converted: {error}") from error
    raise ParameterError(
        f"source is {type(source).__name__}; it must be a path, a glob, a folder, a list of paths, a polars or "
        "pandas table, or any object with __arrow_c_stream__"
    )


def _open_files(names: list[str], format: Format | None) -> Source:
    files = [file for name in names for file in _expand(name)]
    kinds = {format or _format_of(file) for file in files}
    if None in kinds:
        unknown = next(file for file in files if _format_of(file) is None)
        raise ParameterError(
            f"{unknown}: the format cannot be told from the name; known endings are {', '.join(_EXTENSIONS)}. "
            f"Pass format=, one of {', '.join(get_args(Format))}"
        )
    if len(kinds) > 1:
        raise ParameterError(
            f"the {len(files)} files are of several formats ({', '.join(map(str, kinds))}); read one at a time"
        )
    kind = next(k for k in kinds if k is not None)
    source = Source(_scan(files, kind), tuple(files), kind)
    try:
        source.frame.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise source.explain(error, ()) from error
    return source


def _expand(name: str) -> list[str]:
    """List the files of a path, glob or folder; addresses such as s3://... are left to polars."""
    path = Path(name).expanduser()
    if "://" in name or path.is_file():
        return [name if "://" in name else str(path)]
    if path.is_dir():
        inside = sorted(str(f) for f in path.rglob("*") if f.is_file() and _format_of(f.name))
        files = [f for f in inside if not any(p.startswith((".", "_")) for p in Path(f).relative_to(path).parts)]
        if not files:
            raise DataError(f"{name}: the folder holds no file with a known ending ({', '.join(_EXTENSIONS)})")
        return files
    if has_magic(name):
        if files := sorted(f for f in glob(str(path), recursive=True) if Path(f).is_file()):  # noqa: PTH207
            return files
        raise DataError(f"{name}: no file matches")
    raise DataError(f"{name}: no such file or folder")


def _format_of(name: str) -> Format | None:
    return next((kind for ending, kind in _EXTENSIONS.items() if name.lower().endswith(ending)), None)


def _scan(files: Sequence[str], kind: Format, *, as_text: bool = False) -> pl.LazyFrame:
    paths = list(files)
    if kind == "parquet":
        return pl.scan_parquet(paths, glob=False, hive_partitioning=any("=" in Path(f).parent.name for f in paths))
    if kind == "arrow":
        return pl.scan_ipc(paths, glob=False)
    if kind == "jsonl":
        literal = [path if "://" in path else escape(path) for path in paths]  # the one scan without glob=False
        return pl.scan_ndjson(literal, infer_schema_length=_INFERRED_ROWS)
    separator = "\t" if kind == "tsv" else ","
    return pl.scan_csv(
        paths, separator=separator, infer_schema=not as_text, infer_schema_length=_INFERRED_ROWS, glob=False
    )


def _problem(file: str, kind: Format, columns: Collection[str]) -> str | None:
    """Say what is wrong with one file, or None if the columns can be read from it."""
    schema = pl.Schema()
    try:
        scan = _scan([file], kind)
        schema = pl.Schema({c: dtype for c, dtype in scan.collect_schema().items() if c in columns})
        scan.select(pl.len().alias("n"), pl.col(*schema).null_count()).collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        fault = f"not readable as {kind} ({first_line(error)})"
    else:
        return None
    try:
        if kind == "jsonl":
            return _bad_json_line(file, schema) or fault
        if kind in ("csv", "tsv"):
            return _bad_csv_row(file, kind, schema) or fault
    except (pl.exceptions.PolarsError, OSError, EOFError, UnicodeDecodeError):
        pass  # the file is damaged beyond single lines
    return fault


def _bad_json_line(file: str, schema: pl.Schema) -> str | None:
    """Find the first line that is no JSON object, or has text where the lines before had numbers."""
    numeric = [c for c, dtype in schema.items() if dtype.is_numeric()]
    for number, line in enumerate(_lines(file), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            return f"line {number} is not JSON ({error.msg}): {line.strip()[:60]!r}"
        if not isinstance(entry, dict):
            return f"line {number} is not a JSON object: {line.strip()[:60]!r}"
        for c in numeric:
            if not isinstance(entry.get(c), int | float | None):
                return f"line {number}: {c!r} is {entry[c]!r}, but {schema[c]} in the lines before"
    return None


def _bad_csv_row(file: str, kind: Format, schema: pl.Schema) -> str | None:
    """Find the first value that is not of the type that the first rows have, or the first row that is too long."""
    separator = "\t" if kind == "tsv" else ","
    rows = csv.reader(_lines(file), delimiter=separator)
    header = next(rows, [])
    for number, row in enumerate(rows):
        if len(row) > len(header):
            return f"row {number} (from 0, after the header) has {len(row)} fields, but the header {len(header)}"
    text = _scan([file], kind, as_text=True).with_row_index("cofactor:row")
    for c, dtype in schema.items():
        bad = text.filter(pl.col(c).is_not_null() & pl.col(c).cast(dtype, strict=False).is_null())
        for number, value in bad.select("cofactor:row", c).head(1).collect(engine="streaming").iter_rows():
            return (
                f"row {number} (from 0, after the header): {c!r} is {value!r}, but {dtype} in the first rows. If it "
                f"is meant, pass pl.scan_csv(..., schema_overrides={{{c!r}: pl.String}}) instead of the path"
            )
    return None


def _lines(file: str) -> Iterator[str]:
    if file.endswith(".gz"):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            yield from lines
    else:
        with Path(file).open(encoding="utf-8") as lines:
            yield from lines

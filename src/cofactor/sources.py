"""Files and tables of any kind as one lazy table."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import polars as pl

from cofactor.errors import DataError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Format", "Source", "open_source"]

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

    def explain(self, error: Exception, columns: Sequence[str]) -> DataError:
        """A ``DataError`` for an error met while reading the given columns: names the file, and the line if it can."""
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        for file in self.files:
            problem = _problem(file, self.format, columns, self.frame)
            if problem is not None:
                return DataError(f"{file}: {problem}")
        return DataError(f"the events could not be read: {reason}")


def open_source(source: Any, format: Format | None = None) -> Source:  # noqa: ANN401, A002
    """Open a path, glob, folder, list of paths, table or frame lazily.

    Raises
    ------
    ParameterError
        The source is of no known kind, or the format cannot be told from the names.
    DataError
        A file does not exist, or its header cannot be read.
    """
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
        raise DataError(
            f"the table of type {type(source).__name__} could not be converted: {error}"
        ) from error
    raise ParameterError(
        f"source is {type(source).__name__}; it must be a path, a glob, a folder, a list of paths, a polars or pandas "
        "table, or any object with __arrow_c_stream__"
    )


def _open_files(names: list[str], format: Format | None) -> Source:  # noqa: A002
    files = [file for name in names for file in _expand(name)]
    formats = {file: format or _format_of(file) for file in files}
    if unknown := [file for file, kind in formats.items() if kind is None]:
        raise ParameterError(
            f"{unknown[0]}: the format cannot be told from the name; known endings are {', '.join(_EXTENSIONS)}. "
            f"Pass format=, one of {', '.join(get_args(Format))}"
        )
    kinds = Counter(formats.values())
    if len(kinds) > 1:
        raise ParameterError(f"the files are of several formats ({dict(kinds)}); read one format at a time")
    kind = next(iter(kinds))
    assert kind is not None
    source = Source(_scan(files, kind), tuple(files), kind)
    try:
        source.frame.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise source.explain(error, ()) from error
    return source


def _expand(name: str) -> list[str]:
    """The files that a path, glob or folder stands for; addresses such as s3://... are left to polars."""
    path = Path(name).expanduser()
    if "://" in name or path.is_file():
        return [name if "://" in name else str(path)]
    if path.is_dir():
        inside = sorted(str(f) for f in path.rglob("*") if f.is_file() and _format_of(f.name))
        files = [
            f for f in inside if not any(p.startswith((".", "_")) for p in Path(f).relative_to(path).parts)
        ]
        if not files:
            raise DataError(
                f"{name}: the folder holds no file with a known ending ({', '.join(_EXTENSIONS)})"
            )
        return files
    if has_magic(name):
        if files := sorted(f for f in glob(str(path), recursive=True) if Path(f).is_file()):
            return files
        raise DataError(f"{name}: no file matches")
    raise DataError(f"{name}: no such file or folder")


def _format_of(name: str) -> Format | None:
    return next((kind for ending, kind in _EXTENSIONS.items() if name.lower().endswith(ending)), None)


def _scan(files: Sequence[str], kind: Format) -> pl.LazyFrame:
    paths = list(files)
    if kind == "parquet":
        return pl.scan_parquet(
            paths, glob=False, hive_partitioning=any("=" in Path(f).parent.name for f in paths)
        )
    if kind == "arrow":
        return pl.scan_ipc(paths, glob=False)
    if kind == "jsonl":
        return pl.scan_ndjson(paths, infer_schema_length=_INFERRED_ROWS)
    separator = "\t" if kind == "tsv" else ","
    return pl.scan_csv(paths, separator=separator, infer_schema_length=_INFERRED_ROWS, glob=False)


def _problem(file: str, kind: Format | None, columns: Sequence[str], frame: pl.LazyFrame) -> str | None:
    """What is wrong with one file, or None if it can be read."""
    assert kind is not None
    try:
        scan = _scan([file], kind)
        present = [c for c in columns if c in scan.collect_schema()]
        scan.select(pl.len(), *(pl.col(c).null_count().alias(c) for c in present)).collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = f"not readable as {kind}: {str(error).strip().splitlines()[0]}"
        try:
            at = _bad_json_line(file) if kind == "jsonl" else None
        except (OSError, EOFError, UnicodeDecodeError):
            at = None
        return f"line {at[0]}: {at[1]}" if at else reason
    return None


def _bad_json_line(file: str) -> tuple[int, str] | None:
    """Number (from 1) and fault of the first line that is no JSON object."""
    for number, line in _lines(file):
        if line.strip():
            try:
                if not isinstance(json.loads(line), dict):
                    return number, f"not a JSON object: {line.strip()[:60]!r}"
            except json.JSONDecodeError as error:
                return number, f"not JSON ({error.msg}): {line.strip()[:60]!r}"
    return None


def _lines(file: str) -> Iterator[tuple[int, str]]:
    opened = (
        gzip.open(file, "rt", encoding="utf-8") if file.endswith(".gz") else Path(file).open(encoding="utf-8")
    )
    with opened as lines:
        yield from enumerate(lines, 1)

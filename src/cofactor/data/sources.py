"""Files and tables of any kind as one lazy table."""

from __future__ import annotations

import csv
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import polars as pl

from cofactor.checks import check_choice
from cofactor.data.layouts import Format, Layout, lay_out
from cofactor.data.paths import files_of, format_of
from cofactor.data.quotes import byte_chunks, count_lines, has_quotes
from cofactor.data.spool import is_stream, spooled
from cofactor.data.text import TextOptions, ambiguity, bad_csv_row, bad_encoding, bad_json_line
from cofactor.errors import DataError, ParameterError
from cofactor.system.forks import require_living_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

__all__ = ["READ_ERRORS", "Format", "Source", "first_line", "open_source"]

READ_ERRORS: tuple[type[BaseException], ...] = (
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
    OSError,
    EOFError,
    zlib.error,
)
"""What is raised where a file is damaged."""

_BEYOND_LINES: tuple[type[BaseException], ...] = (*READ_ERRORS, csv.Error)

_TEXT = ("csv", "tsv", "jsonl")


@dataclass(frozen=True)
class Source:
    """A lazy table and where it comes from.

    Attributes
    ----------
    frame : pl.LazyFrame
    files : tuple of str
        Empty for tables in memory.
    format : Format or None
    layout : Layout, optional
        How the files are put together.
    names : mapping
        What people call a file that is a temporary copy.
    notes : tuple of str
        What was inferred or left out, for people.
    states : mapping
        Size and time of change of the files when they were opened.
    stored : int, optional
        Number of the last event that came from a server's store, where one was read.
    """

    frame: pl.LazyFrame
    files: tuple[str, ...] = ()
    format: Format | None = None
    layout: Layout | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    states: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    stored: int | None = None

    @classmethod
    def of(cls, frame: pl.LazyFrame, files: Collection[str | Path], format: Format) -> Source:
        """A table that was scanned from files."""
        return cls(frame, tuple(map(str, files)), format, states=_states(map(str, files)))

    @property
    def inferred(self) -> Mapping[str, pl.DataType]:
        """Columns that are read as text, and the types that inference would give them."""
        return {} if self.layout is None else self.layout.inferred

    def with_integers(self, columns: Collection[str]) -> pl.LazyFrame:
        """The table with columns of text, all of it whole numbers as Int64 writes them, read as Int64."""
        if not columns:
            return self.frame
        if self.layout is None or self.layout.format == "jsonl":  # a JSON text does not become a number
            return self.frame.with_columns(pl.col(c).cast(pl.Int64) for c in columns)
        return self.layout.scan(dict.fromkeys(columns, pl.Int64()))

    def check_unchanged(self) -> None:
        """Raise ``DataError`` if a file is not what it was when it was opened."""
        for file, (size, changed) in self.states.items():
            name = self.names.get(file, file)
            try:
                now = Path(file).stat()
            except OSError as error:
                raise DataError(
                    f"{name}: the file was read before and is needed again, but is gone ({error.strerror}); read the "
                    "log again"
                ) from error
            if (now.st_size, now.st_mtime_ns) != (size, changed):
                what = f"{size:,} bytes then, {now.st_size:,} now" if now.st_size != size else "written again"
                raise DataError(f"{name}: the file has changed since it was read ({what}); read the log again")

    @contextmanager
    def rows_checked(self) -> Iterator[Callable[[int], list[str]]]:
        """Give a function that raises ``DataError`` if a pass found fewer rows than the CSV files have.

        It gives notes: rows that go over several lines as quotes have it are told, for nobody may have meant them.
        Lines are counted where fields are quoted, in a thread beside the pass.
        """
        layout = self.layout
        quoted = [] if layout is None else layout.quoted_files()
        if layout is None or not quoted:
            yield lambda _: []
            return
        with ThreadPoolExecutor(1) as beside:
            counted = beside.submit(lambda: sum(map(count_lines, self.files)))

            def check(n_rows: int) -> list[str]:
                try:
                    n_lines = counted.result() - len(self.files)  # of the headers
                    if n_rows == n_lines or not any(map(has_quotes, quoted)):
                        return []
                except READ_ERRORS as error:
                    raise self.explain(error, ()) from error
                for file in quoted:
                    if (fault := ambiguity(file, layout.options)) is not None:
                        raise DataError(f"{self.names.get(file, file)}: {fault}")
                return [f"{n_lines:,} lines make {n_rows:,} rows: fields in quotes go over several lines"]

            yield check

    def explain(self, error: BaseException, columns: Collection[str]) -> DataError:
        """Turn an error met while reading columns into one that names the file, and the row if it can."""
        for file in self.files:
            if (problem := self._problem(file, columns)) is not None:
                return DataError(f"{self.names.get(file, file)}: {problem}")
        return DataError(f"the events could not be processed: {first_line(error)}")

    def _problem(self, file: str, columns: Collection[str]) -> str | None:
        """Say what is wrong with one file, or None if the columns can be read from it."""
        kind = self.format or "parquet"
        options = TextOptions(separator="\t" if kind == "tsv" else ",") if self.layout is None else self.layout.options
        schema: dict[str, pl.DataType] = {}
        single = None
        try:
            single = lay_out([file], kind, options, texts=self.inferred)
            types = single.types if self.layout is None else {**single.types, **self.layout.types}
            schema = {c: types[c] for c in single.types if c in columns}
            nulls = [pl.col(c).null_count() for c in schema]
            single.scan(schema).select(pl.len().alias("cofactor:n"), *nulls).collect(engine="streaming")
        except DataError as error:
            return str(error).removeprefix(f"{file}: ")
        except READ_ERRORS as error:
            fault = f"not readable as {kind} ({first_line(error)})"
        else:
            return None
        try:
            if kind in _TEXT and (wrong := bad_encoding(file, options)) is not None:
                return wrong
            if kind == "jsonl":
                return bad_json_line(file, schema) or fault
            if kind in ("csv", "tsv") and single is not None:
                if file in single.quoted_files() and (wrong := ambiguity(file, options)) is not None:
                    return wrong
                return (
                    bad_csv_row(file, single.scan(dict.fromkeys(single.types, pl.String())), schema, options) or fault
                )
        except _BEYOND_LINES:
            pass  # the file is damaged beyond single lines
        return fault


def first_line(error: BaseException) -> str:
    """Cut what polars adds about its plan."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def open_source(
    source: Any,  # noqa: ANN401
    format: Format | None = None,
    *,
    roles: Collection[str] = (),
    texts: Collection[str] = (),
    options: TextOptions | None = None,
) -> Source:
    """Open a path, glob, folder, list of paths, stream, table or frame lazily.

    Parameters
    ----------
    source, format
        See ``read_events``.
    roles : columns that every file must have and every value of which must be converted
    texts : columns whose text must not change: they are read as text where a file holds text
    options : TextOptions, optional

    Raises
    ------
    ParameterError
        The source is of no known kind, or the format cannot be told from the names.
    DataError
        A file does not exist, its header cannot be read, or files do not fit together.
    """
    require_living_threads()
    check_choice("format", format, (None, *get_args(Format)))
    options = TextOptions() if options is None else options
    if isinstance(source, Source):
        return source
    if isinstance(source, str | Path):
        source = [source]
    if isinstance(source, list | tuple) and source and all(isinstance(s, str | Path) for s in source):
        return _open_files([str(s) for s in source], format, roles, texts, options)
    table = _table(source, roles)
    _refuse_text_options(options, type(source).__name__)
    return replace(table, frame=options.without_nulls(table.frame))


def _table(source: Any, roles: Collection[str]) -> Source:  # noqa: ANN401
    """A table in memory, or a query."""
    if isinstance(source, pl.LazyFrame):
        return Source(source)
    if isinstance(source, pl.DataFrame):
        return Source(source.lazy())
    is_pandas = type(source).__module__.split(".")[0] == "pandas"
    try:
        if is_pandas and hasattr(source, "columns"):
            return Source(pl.from_pandas(source).lazy())
        if hasattr(source, "__arrow_c_stream__") and not is_pandas and not isinstance(source, pl.Series):
            return Source(pl.DataFrame(source).lazy())
    except Exception as error:
        if is_pandas and source.columns.is_unique:
            return _by_column(source, roles)
        raise DataError(f"the table of type {type(source).__name__} could not be converted: {error}") from error
    raise ParameterError(
        f"source is {type(source).__name__}; it must be a path, a glob, a folder, a list of paths, a polars or "
        "pandas table, or any object with __arrow_c_stream__"
    )


def _by_column(table: Any, roles: Collection[str]) -> Source:  # noqa: ANN401
    """A pandas table, some columns of which polars cannot take: they are left out unless they have a role."""
    taken, left_out = [], []
    for name in table.columns:
        try:
            taken.append(pl.from_pandas(table[[name]]).to_series())
        except Exception as error:
            kinds = ", ".join(sorted({type(v).__name__ for v in table[name].dropna()}))
            if name in roles:
                raise DataError(
                    f"column {name!r} holds values of several types ({kinds}); make them one, for example by "
                    f"table[{name!r}].astype(str)"
                ) from error
            left_out.append(f"{name}: left out, as it holds values that make no column ({kinds})")
    return Source(pl.DataFrame(taken).lazy(), notes=tuple(left_out))


def _open_files(
    names: list[str], format: Format | None, roles: Collection[str], texts: Collection[str], options: TextOptions
) -> Source:
    given = files_of(names)
    kind = format_of(given, format)
    if kind not in _TEXT:
        _refuse_text_options(options, kind)
    files = [_readable(file, kind, options) for file in given]
    names_of = {copy: name for copy, name in zip(files, given, strict=True) if copy != name}
    source = Source(pl.LazyFrame(), tuple(files), kind, names=names_of, states=_states(files))
    try:
        files, notes = _with_rows(files, kind)
        if kind in ("csv", "tsv"):
            options, more = _with_separator(files[0], kind, options, roles)
            notes += more
        layout = lay_out(files, kind, options, roles=roles, texts=texts)
        frame = layout.scan()
        frame.collect_schema()
    except DataError as error:
        raise DataError(_renamed(str(error), names_of)) from error
    except READ_ERRORS as error:
        raise source.explain(error, ()) from error
    notes += [_renamed(note, names_of) for note in layout.notes]
    frame = frame if kind in ("csv", "tsv") else options.without_nulls(frame)
    return replace(source, frame=frame, files=tuple(files), layout=layout, notes=tuple(notes))


def _with_rows(files: list[str], kind: Format) -> tuple[list[str], list[str]]:
    """Leave out text files that hold nothing, unless all are so, and tell."""
    empty: set[str] = set()
    if kind in _TEXT and len(files) > 1:
        empty = {f for f in files if "://" not in f and not any(chunk.strip() for chunk in byte_chunks(f))}
    if not empty or len(empty) == len(files):
        return files, []
    return [f for f in files if f not in empty], [f"{len(empty)} of {len(files)} files are empty"]


def _readable(file: str, kind: Format, options: TextOptions) -> str:
    """The path of a file, or of a temporary copy where polars cannot read it lazily."""
    if "://" in file:
        return file
    if is_stream(file) or (kind in _TEXT and not options.is_utf8):
        return spooled(file, options.encoding)
    if kind == "jsonl" and _starts_with_mark(file):
        return spooled(file, "utf-8-sig")
    return file


def _starts_with_mark(file: str) -> bool:
    with Path(file).open("rb") as stream:
        return stream.read(3) == b"\xef\xbb\xbf"


def _with_separator(
    file: str, kind: Format, options: TextOptions, roles: Collection[str]
) -> tuple[TextOptions, list[str]]:
    default = "\t" if kind == "tsv" else ","
    if "://" in file:
        return replace(options, separator=options.separator or default), []
    found = options.detected(file, default)
    twice = [c for c, n in Counter(found.header(file)).items() if n > 1 and c in roles]
    if twice:
        raise DataError(f"{file}: the header has {twice[0]!r} more than once; rename one of the columns")
    told = options.separator is None and found.separator != default
    return found, [f"fields are separated by {found.separator!r} (separator= overrides it)"] if told else []


def _refuse_text_options(options: TextOptions, what: str) -> None:
    for name, given in (("separator", options.separator is not None), ("encoding", not options.is_utf8)):
        if given:
            raise ParameterError(f"{name}= is for text files, but the source is {what}; leave it out")


def _states(files: Collection[str] | Iterator[str]) -> dict[str, tuple[int, int]]:
    local = [(file, Path(file).stat()) for file in files if "://" not in file]
    return {file: (at.st_size, at.st_mtime_ns) for file, at in local}


def _renamed(message: str, copies: Mapping[str, str]) -> str:
    for copy, name in copies.items():
        message = message.replace(copy, name)
    return message

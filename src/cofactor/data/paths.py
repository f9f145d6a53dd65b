"""Which files a path, a glob or a folder stands for, and what their names say of their format."""

from __future__ import annotations

from glob import glob, has_magic
from pathlib import Path
from typing import get_args

from cofactor.data.layouts import Format
from cofactor.data.spool import is_stream
from cofactor.errors import DataError, ParameterError

__all__ = ["files_of", "format_of", "refuse_twice"]

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


def files_of(names: list[str]) -> list[str]:
    """List the files of paths, globs and folders; addresses such as s3://... are left to polars.

    Raises
    ------
    DataError
        A file does not exist, or is named twice: its events would count twice.
    """
    files = [file for name in names for file in _expand(name)]
    refuse_twice(files)
    return files


def format_of(files: list[str], format: Format | None) -> Format:
    """The format of files: the one that is given, or what their names end in.

    Raises
    ------
    ParameterError
        A name does not tell, or the files are of several formats.
    """
    kinds = {format or _known(file) for file in files}
    if None in kinds:
        unknown = next(file for file in files if _known(file) is None)
        raise ParameterError(
            f"{unknown}: the format cannot be told from the name; known endings are {', '.join(_EXTENSIONS)}. "
            f"Pass format=, one of {', '.join(get_args(Format))}"
        )
    if len(kinds) > 1:
        raise ParameterError(
            f"the {len(files)} files are of several formats ({', '.join(map(str, kinds))}); read one at a time"
        )
    return next(k for k in kinds if k is not None)


def _expand(name: str) -> list[str]:
    if "://" in name or is_stream(name):
        return [name]
    path = Path(name).expanduser()
    if path.is_file():
        return [str(path)]
    if path.is_dir():
        inside = sorted(str(f) for f in path.rglob("*") if f.is_file() and _known(f.name))
        files = [f for f in inside if not any(p.startswith((".", "_")) for p in Path(f).relative_to(path).parts)]
        if not files:
            raise DataError(f"{name}: the folder holds no file with a known ending ({', '.join(_EXTENSIONS)})")
        return files
    if has_magic(name):
        if files := sorted(f for f in glob(str(path), recursive=True) if Path(f).is_file()):  # noqa: PTH207
            return files
        raise DataError(f"{name}: no file matches")
    raise DataError(f"{name}: no such file or folder")


def refuse_twice(files: list[str]) -> None:
    """Raise DataError if a file is named twice; other ways to write the same path, and links, are seen through."""
    names: dict[str, str] = {}
    for file in files:
        same = file if "://" in file or is_stream(file) else str(Path(file).resolve())
        if same in names:
            other = "" if names[same] == file else f", also as {names[same]}"
            raise DataError(f"{file}: the file is named twice{other}, and its events would count twice; name it once")
        names[same] = file


def _known(name: str) -> Format | None:
    return next((kind for ending, kind in _EXTENSIONS.items() if name.lower().endswith(ending)), None)

"""Files of checkpoints, in a folder or, by fsspec, in an object store."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from cofactor.errors import ArtifactError, MissingExtraError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["delete", "exists", "join", "read_array", "read_json", "write_array", "write_json", "write_rows"]


def _remote(path: str) -> Any:  # noqa: ANN401
    """The file system of an address; None of a plain path."""
    if "://" not in path:
        return None
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtraError(
            f"{path}: addresses need fsspec and the package of their store; pip install fsspec s3fs (or gcsfs)"
        ) from error
    try:
        return fsspec.core.url_to_fs(path)[0]
    except ImportError as error:
        raise MissingExtraError(f"{path}: {error}") from error
    except ValueError as error:
        raise ParameterError(f"{path}: fsspec knows no such store: {error}") from error


def join(folder: str, name: str) -> str:
    """The path of a file in a folder."""
    return f"{folder.rstrip('/')}/{name}" if "://" in folder else str(Path(folder) / name)


@contextmanager
def _opened(path: str, mode: str) -> Iterator[IO[bytes]]:
    """A file that is there as a whole or not at all."""
    system = _remote(path)
    try:
        if system is not None:
            with system.open(path, mode) as file:
                yield file
        elif mode == "rb":
            with Path(path).open("rb") as file:
                yield file
        else:
            target = Path(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            beside = target.with_name(f".{target.name}-{uuid4().hex[:8]}")
            try:
                with beside.open("xb") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                beside.replace(target)
            finally:
                beside.unlink(missing_ok=True)
    except OSError as error:
        raise ArtifactError(f"{path} cannot be {'read' if mode == 'rb' else 'written'}: {error}") from error


def exists(path: str) -> bool:
    """Whether there is such a file."""
    system = _remote(path)
    return Path(path).is_file() if system is None else bool(system.exists(path))


def delete(path: str) -> None:
    """Delete a file that may be gone already."""
    system = _remote(path)
    with suppress(OSError):
        if system is None:
            Path(path).unlink(missing_ok=True)
        else:
            system.rm(path)


def write_array(path: str, array: NDArray[Any]) -> None:
    """Write an array in NumPy's format."""
    with _opened(path, "wb") as file:
        np.save(file, array)


def write_rows(path: str, parts: Sequence[NDArray[Any]]) -> None:
    """Write rows that lie in parts, one after the other, as one array in NumPy's format."""
    first = parts[0]
    header = {"descr": first.dtype.str, "fortran_order": False, "shape": (sum(map(len, parts)), *first.shape[1:])}
    with _opened(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part).data)


def read_array(path: str) -> NDArray[Any]:
    """Read an array in NumPy's format; ArtifactError where it is damaged."""
    with _opened(path, "rb") as file:
        try:
            array: NDArray[Any] = np.load(file)
        except (ValueError, EOFError) as error:
            raise ArtifactError(f"{path} is damaged: {error}") from error
        return array


def write_json(path: str, value: dict[str, Any]) -> None:
    """Write a table as JSON."""
    with _opened(path, "wb") as file:
        file.write((json.dumps(value, indent=2) + "\n").encode())


def read_json(path: str) -> dict[str, Any]:
    """Read a table of JSON; ArtifactError where it is none."""
    with _opened(path, "rb") as file:
        try:
            found = json.loads(file.read())
        except ValueError as error:
            raise ArtifactError(f"{path} is damaged: {error}") from error
    if not isinstance(found, dict):
        raise ArtifactError(f"{path} is damaged: it holds no table")
    return found

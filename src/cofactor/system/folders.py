"""Folders that are written beside their place and put into it as a whole, and the arrays inside them."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Arrays", "mapped_arrays", "sha256", "swap"]

Arrays: TypeAlias = dict[str, NDArray[Any]]

_DTYPES = {
    **{"BOOL": np.bool_, "U8": np.uint8, "I8": np.int8, "U16": np.uint16, "I16": np.int16, "F16": np.float16},
    **{"U32": np.uint32, "I32": np.int32, "F32": np.float32, "U64": np.uint64, "I64": np.int64, "F64": np.float64},
}


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def mapped_arrays(path: Path) -> Arrays:
    """Arrays of a safetensors file as read-only views of the mapped file (the library's own reader copies)."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            raise ValueError(f"{path.name} is truncated")
        entries = json.loads(file.read(length))
    mapped = np.memmap(path, np.uint8, "r")
    arrays = {}
    for name, entry in entries.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        data = mapped[8 + length + begin : 8 + length + end]
        arrays[name] = np.asarray(data).view(_DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return arrays


def swap(new: Path, target: Path) -> None:
    """Put a finished folder in the place of another, which is deleted, or of nothing."""
    if not target.exists():
        new.rename(target)
        return
    old = target.with_name(f".{target.name}.old-{uuid4().hex}")
    target.rename(old)
    try:
        new.rename(target)
    except BaseException:
        old.rename(target)
        raise
    shutil.rmtree(old)

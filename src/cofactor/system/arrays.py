"""Arrays in a file of the safetensors format: written by its library, read as views of the mapped file, uncopied."""

from __future__ import annotations

import json
import math
import os
import stat
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Arrays", "mapped_arrays", "write_arrays"]

Arrays: TypeAlias = dict[str, NDArray[Any]]

_DTYPES = {
    **{"BOOL": np.bool_, "U8": np.uint8, "I8": np.int8, "U16": np.uint16, "I16": np.int16, "F16": np.float16},
    **{"U32": np.uint32, "I32": np.int32, "F32": np.float32, "U64": np.uint64, "I64": np.int64, "F64": np.float64},
}
_KNOWN = {np.dtype(dtype) for dtype in _DTYPES.values()}
_LENGTH = 8  # bytes of the first number, the length of the header


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays, in any order of bytes and memory, to a new file that has reached the disk at the end.

    Raises
    ------
    OSError
        The file is there, or cannot be written.
    TypeError
        The format has no such type of array.
    """
    plain = {name: np.ascontiguousarray(a, a.dtype.newbyteorder("<")).reshape(a.shape) for name, a in arrays.items()}
    for name, a in plain.items():
        if a.dtype not in _KNOWN:
            raise TypeError(f"{name} is an array of {a.dtype}, which the file format does not know")
    with path.open("xb") as file:
        mode = os.fstat(file.fileno()).st_mode  # as the umask says; the library puts a file for its owner only there
    try:
        save_file(plain, path)
    except SafetensorError as error:
        raise OSError(str(error)) from error
    path.chmod(stat.S_IMODE(mode))
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def mapped_arrays(file: BinaryIO) -> Arrays:
    """Arrays of an open file as read-only views of its mapped bytes, which outlive the file's being closed or deleted.

    Raises
    ------
    ValueError, TypeError, KeyError
        The file is truncated, or its header does not describe arrays that lie within it.
    """
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    length = int.from_bytes(file.read(_LENGTH), "little")
    if not 0 < length <= size - _LENGTH:
        raise ValueError(f"the file is truncated: {size} bytes")
    entries = json.loads(file.read(length))
    if not isinstance(entries, dict):
        raise TypeError("the header is not a table of arrays")
    data = np.memmap(file, np.uint8, "r")[_LENGTH + length :]
    return {name: _view(name, entry, data) for name, entry in entries.items() if name != "__metadata__"}


def _view(name: str, entry: dict[str, Any], data: NDArray[np.uint8]) -> NDArray[Any]:
    dtype, shape = np.dtype(_DTYPES[entry["dtype"]]), entry["shape"]
    begin, end = entry["data_offsets"]
    numbers = [*shape, begin, end]
    if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in numbers):
        raise ValueError(f"{name} has shape {shape} at bytes {begin} to {end}; all must be whole numbers of at least 0")
    if end > len(data) or end - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name}: bytes {begin} to {end} of {len(data)} do not hold {dtype} of shape {shape}")
    array = np.asarray(data[begin:end])
    if array.ctypes.data % dtype.alignment:  # a kernel may rely on it
        array = array.copy()
        array.flags.writeable = False
    return array.view(dtype).reshape(shape)

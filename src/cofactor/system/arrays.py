"""Arrays in a file of the safetensors format: written as they lie in memory, read as views of the mapped file."""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Arrays", "mapped_arrays", "write_arrays"]

Arrays: TypeAlias = dict[str, NDArray[Any]]

_DTYPES = {
    **{"BOOL": np.bool_, "U8": np.uint8, "I8": np.int8, "U16": np.uint16, "I16": np.int16, "F16": np.float16},
    **{"U32": np.uint32, "I32": np.int32, "F32": np.float32, "U64": np.uint64, "I64": np.int64, "F64": np.float64},
}
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}
_LENGTH = 8  # bytes of the first number, the length of the header


def write_arrays(file: BinaryIO, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays, in any order of bytes and memory.

    Not by the library's own writer: it works on a file of its own beside the wanted one, which another saver would take
    for a stranger's, a killed process would leave behind, and nobody but its owner may read in the end.

    Raises
    ------
    TypeError
        The format has no such type of array.
    """
    largest_first = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))  # so that all are aligned
    entries, end = {}, 0
    for name in largest_first:
        a = arrays[name]
        if a.dtype.newbyteorder("=") not in _NAMES:
            raise TypeError(f"{name} is an array of {a.dtype}, which the file format does not know")
        begin, end = end, end + a.nbytes
        dtype = _NAMES[a.dtype.newbyteorder("=")]
        entries[name] = {"dtype": dtype, "shape": list(a.shape), "data_offsets": [begin, end]}
    header = json.dumps(entries).encode()
    header += b" " * (-(_LENGTH + len(header)) % 64)
    file.write(len(header).to_bytes(_LENGTH, "little"))
    file.write(header)
    for name in largest_first:
        flat = np.ascontiguousarray(arrays[name], arrays[name].dtype.newbyteorder("<")).reshape(-1)
        file.write(flat.view(np.uint8).data)


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

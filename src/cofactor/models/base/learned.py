"""What a model learned, checked after it was read from files that somebody may have edited.

Kernels and NumPy trust the shapes, the order and the range of what they are given; nothing else stands between a file
and them.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np

from cofactor.data.features import Features
from cofactor.errors import DataError
from cofactor.kernels.csr import CSR

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.models.base.model import Model

__all__ = ["check_csr", "check_learned", "check_offsets", "check_range", "is_name"]

_BLOCK = 1 << 18  # entries looked at at once: they stay in cache


def is_name(cls: type[Model], name: str) -> bool:
    """Whether a file may set this attribute: learned ones end in ``_``, and none hides a method or a property."""
    hidden = getattr(cls, name, None)
    allowed = re.fullmatch(r"[A-Za-z]\w*_", name) is not None and name != "interactions_"
    return allowed and not callable(hidden) and not isinstance(hidden, property)


def check_csr(name: str, csr: CSR, n_rows: int, *, every_entry: bool) -> CSR:
    """Raise DataError unless this is what :class:`CSR` says: types, lengths and ends, with ``every_entry`` the rest.

    Takes about 2 ns an entry.
    """
    for part, dtype in (("indptr", np.int64), ("indices", np.int32), ("values", np.float32)):
        array = getattr(csr, part)
        if array.ndim != 1 or array.dtype != dtype:
            raise DataError(f"{name}: {part} is {_told(array)}, not {np.dtype(dtype)} of one dimension")
    if not isinstance(csr.n_columns, int) or isinstance(csr.n_columns, bool) or not 0 <= csr.n_columns < 2**31:
        raise DataError(f"{name} has {csr.n_columns!r} columns, which is no number of columns")
    if len(csr.indptr) != n_rows + 1 or len(csr.values) != csr.nnz:
        raise DataError(
            f"{name}: indptr has {len(csr.indptr)} numbers and values {len(csr.values)}, not {n_rows + 1} and {csr.nnz}"
        )
    check_offsets(f"{name}: indptr", csr.indptr, csr.nnz, every_entry=every_entry)
    if every_entry:
        check_range(f"{name}: indices", csr.indices, csr.n_columns)
        _check_ascending(name, csr)
        _check_finite(f"{name}: values", csr.values)
    return csr


def check_offsets(name: str, offsets: NDArray[np.int64], n: int, *, every_entry: bool) -> None:
    """Raise DataError unless offsets start at 0, end at n and, with ``every_entry``, never descend."""
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != n:
        raise DataError(f"{name} must go from 0 to {n}")
    if every_entry and not (offsets[1:] >= offsets[:-1]).all():
        raise DataError(f"{name} must not descend; it does after row {int((offsets[1:] < offsets[:-1]).argmax())}")


def check_range(name: str, rows: NDArray[np.int32], n: int) -> None:
    """Raise DataError unless all numbers are from 0 to n - 1."""
    if len(rows) and not (rows.min() >= 0 and rows.max() < n):
        bad = rows[(rows < 0) | (rows >= n)][0]
        raise DataError(f"{name} must be from 0 to {n - 1}, got {bad}")


def _check_ascending(name: str, csr: CSR) -> None:
    """Where an index is not above the one before it, a row must start."""
    for at in range(1, csr.nnz, _BLOCK):
        these = csr.indices[at - 1 : at + _BLOCK]
        starts = at + np.flatnonzero(these[1:] <= these[:-1])
        wrong = starts[csr.indptr[np.searchsorted(csr.indptr, starts)] != starts]
        if len(wrong):
            row = int(np.searchsorted(csr.indptr, wrong[0], side="right")) - 1
            raise DataError(f"{name}: indices must ascend inside a row, those of row {row} do not")


def _check_finite(name: str, values: NDArray[np.floating]) -> None:
    flat = values.reshape(-1)
    for at in range(0, len(flat), _BLOCK):
        if not np.isfinite(flat[at : at + _BLOCK]).all():
            raise DataError(
                f"{name} must be finite numbers, the one at {at + int((~np.isfinite(flat[at:])).argmax())} is not"
            )


def check_learned(model: Model, *, every_entry: bool) -> None:
    """Raise DataError unless a model has what its class says that it learned, each of the type and shape it must have.

    Parameters
    ----------
    model : Model
        With its interactions.
    every_entry : bool
        Look at the numbers as well.
    """
    x = model.interactions_
    axes = {"users": x.n_users, "items": x.n_items, "entries": x.nnz}
    for name, value in vars(model).items():
        if isinstance(value, CSR):
            check_csr(name, value, len(value.indptr) - 1, every_entry=every_entry)
    for name, wanted in model._learned().items():
        value = vars(model).get(name)
        if not any(_fits(value, one, axes) for one in wanted.split(" or ")):
            raise DataError(f"{name} is {_told(value)}; a {type(model).__name__} learns {wanted}, {_told_axes(axes)}")
        if every_entry and isinstance(value, np.ndarray) and value.dtype.kind == "f":
            _check_finite(name, value)
    if every_entry:
        model._check_state()


def _fits(value: object, wanted: str, axes: dict[str, int]) -> bool:
    """Whether a value is of a type and shape such as "float32 users f"; an axis not known yet is known from then on."""
    kind, *names = wanted.split()
    if kind == "nothing":
        return value is None
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    shape: tuple[int, ...] | None
    if kind == "csr":
        shape = value.shape if isinstance(value, CSR) else None
    elif kind == "features":
        shape = (value.n_features,) if isinstance(value, Features) else None
    else:
        shape = value.shape if isinstance(value, np.ndarray) and value.dtype == kind else None
    if shape is None or len(shape) != len(names):
        return False
    return all(
        n == (int(name) if name.isdecimal() else axes.setdefault(name, n)) for name, n in zip(names, shape, strict=True)
    )


def _told(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    if isinstance(value, CSR):
        return f"csr of shape {value.shape}"
    return "missing" if value is None else repr(value)


def _told_axes(axes: dict[str, int]) -> str:
    return ", ".join(f"{name}={n}" for name, n in axes.items())

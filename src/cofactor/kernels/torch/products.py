"""Products of sparse with sparse and dense matrices, and the inverse of a symmetric one, in PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cofactor.kernels.csr import CSR
    from cofactor.kernels.torch.place import HeldRows, Place, Tensor

__all__ = ["dense_product", "diagonal", "invert", "mirror_scaled", "quadratic_forms", "set_diagonal", "sparse_product"]


def _dense(rows: HeldRows, first: int, last: int) -> Tensor:
    """Rows [first, last) as a dense matrix."""
    import torch

    begin, end = int(rows.csr.indptr[first]), int(rows.csr.indptr[last])
    out = torch.zeros((last - first, rows.shape[1]), device=rows.values.device)
    row = torch.repeat_interleave(rows.indptr[first : last + 1].diff())
    out[row, rows.indices[begin:end].long()] = rows.values[begin:end]
    return out


def sparse_product(
    place: Place, a: CSR, b: CSR, *, lower: bool = False, out: Tensor | None = None, threads: int | None = None
) -> Tensor:
    """``a @ b`` as a dense matrix, in blocks of columns of ``b`` made dense."""
    import torch

    if a.n_columns != b.n_rows:
        raise ValueError(f"a has {a.n_columns} columns and b {b.n_rows} rows")
    n, p = a.n_rows, b.n_columns
    if lower and n != p:
        raise ValueError("a symmetric product must be square")
    left, right = place.rows(a).tensor(), place.rows(b.transposed())
    new = torch.empty((n, p), device=place.device)
    step = max(place.chunk_floats // max(a.n_columns, n, 1), 16)
    for first in range(0, p, step):
        last = min(p, first + step)
        new[:, first:last] = left @ _dense(right, first, last).T.contiguous()
    if out is None:
        return new
    if tuple(out.shape) != (n, p):
        raise ValueError(f"out must have the shape {(n, p)}")
    return out.copy_(torch.where(torch.ones_like(new, dtype=torch.bool).tril(), new, out) if lower else new)


def dense_product(place: Place, d: Tensor, b: CSR, *, out: Tensor | None = None, threads: int | None = None) -> Tensor:
    """``d @ b.T``."""
    d, rows = place.tensor(d), place.rows(b)
    if out is not None and tuple(out.shape) != (len(d), rows.shape[0]):
        raise ValueError(f"out must have the shape {(len(d), rows.shape[0])}")
    if rows.shape[1] != d.shape[1]:
        raise ValueError("the columns of b must be ascending and in range of those of d")
    product = (rows.tensor() @ d.T.contiguous()).T.contiguous()
    return product if out is None else out.copy_(product)


def quadratic_forms(place: Place, k: Tensor, b: CSR, *, threads: int | None = None) -> Tensor:
    """``b[i] @ k @ b[i].T`` for every row of b, float64; of k, symmetric, the lower triangle is read."""
    import torch

    k, rows = place.tensor(k), place.rows(b)
    if k.shape[0] != k.shape[1]:
        raise ValueError("k must be square")
    if rows.shape[1] != len(k):
        raise ValueError("the columns of b must be ascending and in range of those of k")
    whole = k.tril() + k.tril(-1).T
    forms = torch.zeros(rows.shape[0], dtype=torch.float64, device=place.device)
    step = max(place.chunk_floats // max(len(k), 1), 16)
    for first in range(0, rows.shape[0], step):
        last = min(rows.shape[0], first + step)
        part = _dense(rows, first, last)
        forms[first:last] = (part @ whole).double().mul_(part).sum(1)
    return forms


def mirror_scaled(place: Place, p: Tensor, scale: Tensor, diagonal: float, *, threads: int | None = None) -> None:
    """Complete a symmetric p from its lower triangle, in place, scale its columns and set its diagonal."""
    scale = place.tensor(scale)
    if len(scale) != len(p):
        raise ValueError("scale must have one value per column")
    below = p.tril(-1)
    p.copy_(below + below.T).mul_(scale).fill_diagonal_(diagonal)


def invert(place: Place, a: Tensor, *, threads: int | None = None) -> bool:
    """Invert a symmetric positive definite matrix in place, of which the lower triangle is read."""
    import torch

    root, info = torch.linalg.cholesky_ex(a)
    if bool(info):
        return False
    a.copy_(torch.cholesky_inverse(root))
    return bool(a.diagonal().isfinite().all())


def diagonal(place: Place, a: Tensor) -> Tensor:
    """The diagonal of a square matrix, as a copy."""
    return place.tensor(a).diagonal().clone()


def set_diagonal(place: Place, a: Tensor, values: NDArray[np.floating]) -> None:
    """Put others in the place of the diagonal of a square matrix."""
    if len(values) != len(a):
        raise ValueError("values must have one number per row")
    a.diagonal().copy_(place.tensor(values))

"""Where PyTorch computes: what is brought there and back, and how much memory a kernel may take at a time."""

from __future__ import annotations

import re
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from cofactor.errors import CofactorError, MissingExtraError, ParameterError
from cofactor.kernels.torch.precision import whole_products
from cofactor.system.memory import available_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from cofactor.kernels.csr import CSR

__all__ = ["HeldRows", "Place", "Tensor", "sparse_tensor"]

Tensor: TypeAlias = Any
"""A ``torch.Tensor``: the package may not be there."""

_CPU_FLOATS = 1 << 22  # a chunk that stays in the third-level cache
_GPU_BYTES = 1 << 29
_GPU_SHARE = 8  # of the free memory, that chunks take at most


class HeldRows(NamedTuple):
    """Sparse rows where the kernels compute; the offsets and the lengths stay at hand for planning."""

    csr: CSR
    indices: Tensor  # (nnz,) int32
    values: Tensor  # (nnz,) float32
    indptr: Tensor  # (n_rows + 1,) int64

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.csr.shape

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Entries of every row."""
        return np.diff(self.csr.indptr)

    def entries_of(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Where the entries of some rows are, row after row, and the place among ``rows`` of the one each is of."""
        import torch

        begin = self.indptr[rows]
        n = self.indptr[rows + 1] - begin
        owner = torch.repeat_interleave(n)
        return torch.arange(len(owner), device=owner.device) + (begin - n.cumsum(0) + n).index_select(0, owner), owner

    def tensor(self) -> Tensor:
        """The rows as a sparse matrix of PyTorch."""
        return self.part(slice(0, self.shape[0]))

    def part(self, some: slice) -> Tensor:
        """Some rows as a sparse matrix of PyTorch."""
        begin, end = int(self.csr.indptr[some.start]), int(self.csr.indptr[some.stop])
        indptr, indices = self.indptr[some.start : some.stop + 1] - begin, self.indices[begin:end]
        small = end - begin <= np.iinfo(np.int32).max
        parts = (indptr.int(), indices) if small else (indptr, indices.long())
        return sparse_tensor(*parts, self.values[begin:end], self.shape[1])


def sparse_tensor(indptr: Tensor, indices: Tensor, values: Tensor, n_columns: int) -> Tensor:
    """A sparse matrix of PyTorch, offsets and indices of one type: those of 32 bits go to MKL without a copy.

    That these tensors are "in beta state" is not for users to read.
    """
    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support", UserWarning)
        shape = (len(indptr) - 1, n_columns)
        return torch.sparse_csr_tensor(indptr, indices, values, shape, check_invariants=False)


class Place:
    """A device of PyTorch.

    Raises
    ------
    MissingExtraError
        PyTorch is not installed.
    ParameterError
        PyTorch has no such device here.
    """

    def __init__(self, device: str) -> None:
        try:
            import torch
        except ImportError as error:
            raise MissingExtraError(f"device={device!r} needs PyTorch: pip install 'cofactor[gpu]'") from error
        if device == "cuda" and not torch.cuda.is_available():
            built = "sees no GPU" if torch.version.cuda else "is built without CUDA"
            raise ParameterError(
                f"device='cuda' has nothing to compute on: PyTorch {torch.__version__} {built}; "
                "devices that are there: cpu, torch"
            )
        self.name = device
        self.device = torch.device("cuda" if device == "cuda" else "cpu")
        self._rooms: dict[str, Tensor] = {}

    @property
    def chunk_floats(self) -> int:
        """Floats that a kernel takes at a time; beside arguments and results it needs at most four times as many."""
        if self.name != "cuda":
            return _CPU_FLOATS
        import torch

        free, _ = torch.cuda.mem_get_info()
        return max(min(_GPU_BYTES, int(free) // _GPU_SHARE) // 4, _CPU_FLOATS)

    def free_memory(self) -> int | None:
        """Bytes that are free on the card, with what PyTorch keeps of it for later; None without a card."""
        if self.name != "cuda":
            return None
        from torch import cuda

        return int(cuda.mem_get_info()[0]) + int(cuda.memory_reserved()) - int(cuda.memory_allocated())

    def tensor(self, x: Any) -> Tensor:  # noqa: ANN401
        """An array as a tensor of this place, without a copy on the CPU; tensors are there already."""
        import torch

        if isinstance(x, torch.Tensor):
            return x
        array = np.ascontiguousarray(x)
        return torch.from_numpy(array if array.flags.writeable else array.copy()).to(self.device)

    def room(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Memory for float32 numbers in between, the same again for the same name: fresh pages cost as much as sums."""
        import torch

        n = int(np.prod(shape))
        if name not in self._rooms or len(self._rooms[name]) < n:
            self._rooms[name] = torch.empty(0)  # given back before more is taken
            self._rooms[name] = torch.empty(n, dtype=torch.float32, device=self.device)
        return self._rooms[name][:n].view(shape)

    def rows(self, x: CSR | HeldRows) -> HeldRows:
        """Sparse rows at this place."""
        if isinstance(x, HeldRows):
            return x
        x.check_bounds()  # a GPU would not tell, and compute no more
        return HeldRows(x, *(self.tensor(part) for part in (x.indices, x.values, x.indptr)))

    @contextmanager
    def computing(self, kernel: str) -> Iterator[None]:
        """Products in whole float32, no gradients, and a lack of memory told in numbers."""
        import torch

        with self.telling(kernel), whole_products(), torch.no_grad():
            yield

    @contextmanager
    def telling(self, work: str) -> Iterator[None]:
        """A lack of memory told in numbers, of the card or of the machine.

        Raises
        ------
        CofactorError
            There was not enough, for what PyTorch or NumPy asked for.
        """
        import torch

        try:
            yield
        except (RuntimeError, MemoryError) as error:
            of_card = isinstance(error, torch.cuda.OutOfMemoryError)  # its name in every version
            if not (of_card or isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error)):
                raise
            left, way_out = self._left_on_card() if of_card else _left_on_machine()
            raise CofactorError(
                f"{work} ran out of memory on device={self.name!r}{_asked_for(str(error))}: {left}; "
                f"take fewer factors, {way_out}. The model is as it was before"
            ) from error

    def _left_on_card(self) -> tuple[str, str]:
        import torch

        free, total = torch.cuda.mem_get_info()
        chunk = 4 * self.chunk_floats / 2**20
        left = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB are free, of which a chunk may have {chunk:.0f} MiB"
        return left, "end what else is on the card, or use device='cpu'"


def _left_on_machine() -> tuple[str, str]:
    free = available_memory()
    left = "what is free is not known" if free is None else f"{free / 2**30:.1f} GiB of the machine's memory are free"
    return f"{left}, and a chunk has {4 * _CPU_FLOATS / 2**20:.0f} MiB", "or end what else is on the machine"


def _asked_for(message: str) -> str:
    """How much PyTorch or NumPy was asked for, where its message says so."""
    found = re.search(r"(?i)(?:tried|unable) to allocate ([\d.]+) (bytes|[KMGTPE]iB)", message)
    if not found:
        return ""
    amount, unit = found.groups()
    return f", asked for {int(amount) / 2**30:.1f} GiB" if unit == "bytes" else f", asked for {amount} {unit}"

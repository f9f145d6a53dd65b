"""Batches as tensors of PyTorch, and loaders that its DataLoader takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cofactor.errors import MissingExtraError

if TYPE_CHECKING:
    from cofactor.data.pair_sources import Columns

__all__ = ["as_dataset", "as_tensors"]


def as_tensors(columns: Columns) -> tuple[Any, ...]:
    """Tensors in the memory of the arrays."""
    import torch

    return tuple(map(torch.from_numpy, columns))


def as_dataset(loader: Any) -> None:  # noqa: ANN401
    """Make a loader an ``IterableDataset`` too, of which every worker gives its share of the batches.

    Raises
    ------
    MissingExtraError
        PyTorch is not installed.
    """
    try:
        from torch.utils.data import IterableDataset
    except ImportError as error:
        raise MissingExtraError("tensors=True needs PyTorch: pip install 'cofactor[torch]'") from error
    base = type(loader)
    members = {"_share": _share, "__reduce__": _reduce, "__doc__": base.__doc__, "__module__": base.__module__}
    loader.__class__ = type(base.__name__, (base, IterableDataset), members)


def _share(_: object) -> tuple[int, int, tuple[int, ...]]:
    from torch.utils.data import get_worker_info

    worker = get_worker_info()
    if worker is None:
        return 0, 1, ()
    # Workers start anew at every pass and cannot count them; torch draws a seed for all of them each time.
    return worker.id, worker.num_workers, (worker.seed - worker.id,)


def _reduce(loader: Any) -> tuple[Any, ...]:  # noqa: ANN401
    """What takes a loader to another process: its class, being made at run time, is found by no name there."""
    return _rebuilt, (type(loader).__base__, loader.__dict__)


def _rebuilt(base: type, state: dict[str, Any]) -> object:
    loader: object = object.__new__(base)
    vars(loader).update(state)
    as_dataset(loader)
    return loader

"""Products in whole float32, whatever the process has set: no TF32 on a card, no bfloat16 on a CPU."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["whole_products"]

_lock = threading.Lock()
_inside = 0  # the setting is the process's: the first kernel changes it, the last one puts it back
_before: list[str] = []


@contextmanager
def whole_products() -> Iterator[None]:
    """Multiply in whole float32 inside the block, and put back afterwards what the process had."""
    global _inside  # noqa: PLW0603
    with _lock:
        if not _inside:
            _before[:] = _settings()
            _set(["ieee" if _switches() else "highest"] * len(_before))
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _set(_before)


def _switches() -> list[Any]:
    """What PyTorch reads for products: two switches of their own since 2.9, one for all before.

    The old ones raise where the new ones were used, so that they are not looked at where there are new ones.
    """
    import torch

    switches = [torch.backends.cuda.matmul, getattr(torch.backends.mkldnn, "matmul", None)]
    return switches if all(hasattr(switch, "fp32_precision") for switch in switches) else []


def _settings() -> list[str]:
    import torch

    return [switch.fp32_precision for switch in _switches()] or [torch.get_float32_matmul_precision()]


def _set(settings: list[str]) -> None:
    import torch

    switches = _switches()
    if not switches:
        torch.set_float32_matmul_precision(settings[0])
    for switch, wanted in zip(switches, settings, strict=False):
        switch.fp32_precision = "none"  # that of the backend, which is told where nothing else was set
        if switch.fp32_precision != wanted:
            switch.fp32_precision = wanted

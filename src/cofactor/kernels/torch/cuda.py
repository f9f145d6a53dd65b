"""The kernels in PyTorch on a GPU."""

from __future__ import annotations

from cofactor.kernels import torch

__all__ = ["Kernels"]


class Kernels(torch.Kernels):
    """Those of ``device="torch"``, on the current GPU of PyTorch."""

    device = "cuda"

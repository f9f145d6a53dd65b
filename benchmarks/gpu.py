"""``device="cuda"`` on one card: the same results as the CPU, then seconds, peak memory and shares of what it can do.

    python benchmarks/gpu.py                  # in a clean checkout; installs it with PyTorch if it is not installed
    python benchmarks/gpu.py --device torch   # the same code on the CPU, smaller, beside the native kernels
    python benchmarks/gpu.py --device torch --small   # does it run?

It ends within ``--seconds`` (300): what would not fit any more is left out and named. Parity comes first, and a loss
that differs by more than 1e-4 from the CPU's ends the run. "share" is of the card's own figures, measured in the same
run: bytes that must be read once and written once per second of copying, or operations per second of a float32 product.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from _measure import print_header, print_row, seconds_of

if TYPE_CHECKING:
    from collections.abc import Callable


def install() -> None:
    if not all(importlib.util.find_spec(name) for name in ("cofactor", "torch")):
        root = Path(__file__).parent.parent
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", f"{root}[gpu]"], check=True)
        importlib.invalidate_caches()  # what is there now was not when this process began


class Card:
    """Time on a device of PyTorch that is done when its work is, its peak memory, and what it can do."""

    def __init__(self, device: str) -> None:
        import torch

        self.torch, self.is_gpu = torch, device == "cuda"
        self.name = torch.cuda.get_device_name() if self.is_gpu else f"CPU, {torch.get_num_threads()} threads"

    def seconds(self, work: Callable[[], object]) -> float:
        def done() -> None:
            work()
            if self.is_gpu:
                self.torch.cuda.synchronize()

        return seconds_of(done)

    def peak(self) -> str:
        if not self.is_gpu:
            return "-"
        peak = self.torch.cuda.max_memory_allocated() / 2**30
        self.torch.cuda.reset_peak_memory_stats()
        return f"{peak:.1f}"

    def ceilings(self) -> tuple[float, float]:
        """GB/s of a copy, read and written, and GFLOP/s of a float32 product."""
        n = 8192 if self.is_gpu else 1024
        a = self.torch.ones((n, n), device="cuda" if self.is_gpu else "cpu")
        copy = min(self.seconds(a.clone) for _ in range(5))
        product = min(self.seconds(lambda: a @ a) for _ in range(5))
        return 8 * n * n / copy / 1e9, 2 * n**3 / product / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "torch"), default="cuda")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--small", action="store_true", help="sizes of a test")
    args, begin = parser.parse_args(), time.perf_counter()
    install()
    from _gpu_rows import check_epochs, check_parity, check_sweeps, rows

    from cofactor.kernels import on

    kernels, card = on(args.device), Card(args.device)
    print(f"{card.name}, PyTorch {card.torch.__version__}\n")
    check_parity(args.device)
    check_epochs(args.device)
    check_sweeps(args.device)
    copies, products = card.ceilings()
    print(f"copies {copies:,.0f} GB/s, float32 products {products:,.0f} GFLOP/s\n")
    native = args.device == "torch"
    print_header(["what", "s", "peak GiB", "share of copies", "of products", *(["/ native"] if native else [])], 1)
    for row in rows("small" if args.small else args.device):
        if time.perf_counter() - begin > 0.8 * args.seconds:
            print_row(row.name, "left out: no time", *["-"] * (4 if native else 3))
            continue
        card.seconds(partial(row.run, kernels))  # compiles, allocates, holds
        card.peak()
        seconds = min(card.seconds(partial(row.run, kernels)) for _ in range(2)) / row.part
        peak, shares = card.peak(), (row.gigabytes / seconds / copies, row.gigaflops / seconds / products)
        cells = [f"{seconds:.3f}", peak, *(f"{share:.0%}" for share in shares)]
        if native:
            cpu = on("cpu")
            row.run(cpu)
            cells.append(f"{seconds / (min(seconds_of(partial(row.run, cpu)) for _ in range(2)) / row.part):.1f}")
        print_row(row.name, *cells)


if __name__ == "__main__":
    main()

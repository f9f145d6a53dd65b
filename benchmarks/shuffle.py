"""One shuffled pass over pairs in memory, in batches: PairLoader beside NumPy, PyTorch's DataLoader and merlin.

    python benchmarks/shuffle.py                          # 209 M pairs of int32, batches of 65,536
    python benchmarks/shuffle.py --pairs 20_000_000       # a quick try
    python benchmarks/shuffle.py --parquet                # PairLoader from a file, too

Every pass is one in a fresh process; peak memory is the process's, over that of the pairs alone. NumPy: a permutation,
then ``column[permutation[a:b]]``. DataLoader: a ``TensorDataset`` with ``shuffle=True``, which hands over one pair at a
time; it is run on ``--part`` of the pairs (a hundredth) and multiplied. merlin-dataloader, which shuffles inside the
partitions of a file only, is left out and named where it is not installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from _measure import in_fresh_process, peak_memory, print_header, print_row, seconds_of

import cofactor as cf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

N_ITEMS = 1_855_603
PACKAGES = {"DataLoader": "torch", "merlin": "merlin.dataloader"}


def pairs(n: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    rng = np.random.default_rng(0)
    return rng.integers(0, N_ITEMS, n, dtype=np.int32), rng.integers(0, N_ITEMS, n, dtype=np.int32)


def drained(batches: Iterable[Any]) -> None:
    for _ in batches:
        pass


def with_cofactor(args: argparse.Namespace) -> Callable[[], object]:
    loader = cf.PairLoader(pairs(args.pairs), args.batch_size, threads=args.threads)
    return lambda: drained(loader)


def with_cofactor_files(args: argparse.Namespace) -> Callable[[], object]:
    loader = cf.PairLoader(args.file, args.batch_size, threads=args.threads)
    return lambda: drained(loader)


def with_numpy(args: argparse.Namespace) -> Callable[[], object]:
    first, second = pairs(args.pairs)

    def run() -> None:
        order = np.random.default_rng(0).permutation(args.pairs)
        for at in range(0, args.pairs, args.batch_size):
            rows = order[at : at + args.batch_size]
            first[rows], second[rows]

    return run


def with_data_loader(args: argparse.Namespace) -> Callable[[], object]:
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    data = TensorDataset(*(torch.from_numpy(column) for column in pairs(int(args.pairs * args.part))))
    loader = DataLoader(data, batch_size=args.batch_size, shuffle=True)
    return lambda: drained(loader)


def with_merlin(args: argparse.Namespace) -> Callable[[], object]:
    from merlin.dataloader.torch import Loader
    from merlin.io import Dataset

    loader = Loader(Dataset(args.file), batch_size=args.batch_size, shuffle=True)
    return lambda: drained(loader)


CONTENDERS = {
    "PairLoader": with_cofactor,
    "PairLoader, Parquet": with_cofactor_files,
    "NumPy": with_numpy,
    "DataLoader": with_data_loader,
    "merlin": with_merlin,
}


def pass_once(args: argparse.Namespace) -> None:
    """In a fresh process: one pass, and what it took."""
    run = CONTENDERS[args.child](args)
    cpu = time.process_time()
    seconds = seconds_of(run)
    print(json.dumps({"seconds": seconds, "cpu": time.process_time() - cpu, "peak": peak_memory()}))


def compare(args: argparse.Namespace) -> None:
    held = 8 * args.pairs
    print(f"{args.pairs:,} pairs of int32 ({held / 1e9:.2f} GB) in batches of {args.batch_size:,}\n")
    names = [name for name in CONTENDERS if name not in PACKAGES or _is_installed(PACKAGES[name])]
    if not args.parquet:
        names.remove("PairLoader, Parquet")
    if left_out := set(PACKAGES) - set(names):
        print(f"not installed, left out: {', '.join(sorted(left_out))}\n")
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    options = ["--pairs", args.pairs, "--batch-size", args.batch_size, "--part", args.part]
    options += [] if args.threads is None else ["--threads", args.threads]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pairs.parquet"
        if args.parquet or "merlin" in names:
            pl.DataFrame(dict(zip(("item", "next"), pairs(args.pairs), strict=True))).write_parquet(file)
        for _ in range(args.rounds):
            for name in names:
                runs[name].append(in_fresh_process(__file__, "--child", name, "--file", file, *options))
    print_header(["", "s", "M pairs/s", "/ PairLoader", "CPU s", "/ PairLoader", "peak GB", "peak / pairs"], 1)
    own, own_cpu = (statistics.median(run[what] for run in runs["PairLoader"]) for what in ("seconds", "cpu"))
    for name in names:
        scale = args.part if name == "DataLoader" else 1.0
        seconds = statistics.median(run["seconds"] for run in runs[name]) / scale
        cpu = statistics.median(run["cpu"] for run in runs[name]) / scale
        peak = statistics.median(run["peak"] for run in runs[name])
        memory = [f"{peak / 1e9:.2f}", f"{peak / held:.2f}"] if scale == 1 else ["-", "-"]
        rates = [f"{args.pairs / seconds / 1e6:.1f}", f"{seconds / own:.1f}", f"{cpu:.1f}", f"{cpu / own_cpu:.1f}"]
        print_row(name, f"{seconds:.1f}", *rates, *memory)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=209_000_000)
    parser.add_argument("--batch-size", type=int, default=65_536)
    parser.add_argument("--part", type=float, default=0.01)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--parquet", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    args = parser.parse_args()
    (pass_once if args.child else compare)(args)


if __name__ == "__main__":
    main()

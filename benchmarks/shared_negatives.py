"""An epoch of matrix factorization with the sampled softmax beside the same model in PyTorch, in the same run.

    pip install '.[bench]' torch
    python benchmarks/shared_negatives.py                                   # synthetic, as large as Gowalla
    python benchmarks/shared_negatives.py --folder data/gowalla_lightgcn    # train.txt: a user and its items a line

Cosine scores with a temperature, negatives that a batch shares, Adam. PyTorch's Adam steps every row in every batch;
its SparseAdam only those that a batch touches, as cofactor does. PyTorch does not look for items that the user has
seen: cofactor stands in the table with and without ("exact" and "uniform").

The share is that of this machine's float32 matrix products by NumPy, measured between the runs: 6 operations for every
pair, negative and factor over the seconds of an epoch. Seconds are medians of ``--rounds`` epochs taken in turn.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

import ceiling
import numpy as np
from _measure import interleaved, print_header, print_row

import cofactor as cf
from cofactor.kernels import on
from cofactor.kernels.arguments import Table
from cofactor.kernels.csr import CSR
from cofactor.system.threads import available_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from cofactor.kernels.arrays import Float

LOSS = {"loss": "softmax", "score": "cosine", "temperature": 0.1}


def from_folder(folder: Path) -> CSR:
    lines = [np.array(line.split(), np.int64) for line in (folder / "train.txt").read_text().splitlines()]
    users = np.concatenate([np.full(len(line) - 1, line[0]) for line in lines])
    items = np.concatenate([line[1:] for line in lines])
    pairs = np.unique(np.stack([users, items]), axis=1)
    n_items = max(items.max(), last_item(folder / "test.txt")) + 1
    return CSR.from_pairs(*pairs, np.ones(pairs.shape[1]), (int(users.max()) + 1, int(n_items)))


def last_item(path: Path) -> int:
    if not path.exists():
        return 0
    return max(max(map(int, line.split()[1:]), default=0) for line in path.read_text().splitlines())


def with_cofactor(x: CSR, start: Float, sampler: str, args: argparse.Namespace) -> Callable[[], object]:
    table = Table.new(start.copy(), "adam", args.learning_rate)
    kernels, epochs = on("cpu"), iter(range(1 << 30))
    options = LOSS | {"negatives": args.negatives, "batch_size": args.batch_size, "threads": args.threads}
    return lambda: kernels.shared_negatives_epoch(x, table, sampler=sampler, epoch=next(epochs), **options)


def with_torch(x: CSR, start: Float, sparse: bool, args: argparse.Namespace) -> Callable[[], object]:
    import torch
    from torch.nn import functional

    torch.set_num_threads(args.threads)
    users = torch.nn.Embedding.from_pretrained(torch.tensor(start[: x.n_rows]), freeze=False, sparse=sparse)
    items = torch.nn.Embedding.from_pretrained(torch.tensor(start[x.n_rows :]), freeze=False, sparse=sparse)
    kind = torch.optim.SparseAdam if sparse else torch.optim.Adam
    optimizer = kind([*users.parameters(), *items.parameters()], lr=args.learning_rate)
    of, seen = torch.from_numpy(x.row_index().astype(np.int64)), torch.from_numpy(x.indices.astype(np.int64))

    def epoch() -> None:
        for at in torch.randperm(x.nnz).split(args.batch_size):
            drawn = torch.randint(x.n_columns, (args.negatives,))
            u, i = functional.normalize(users(of[at])), functional.normalize(items(seen[at]))
            scores = u @ functional.normalize(items(drawn)).T
            scores = scores.masked_fill(seen[at][:, None] == drawn, -torch.inf)
            positive = (u * i).sum(1, keepdim=True)
            scores = torch.cat([positive, scores], 1) / LOSS["temperature"]
            loss = functional.cross_entropy(scores, torch.zeros(len(at), dtype=torch.int64))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="of a data set; synthetic without it")
    parser.add_argument("--part", type=float, default=1.0, help="share of the pairs, for a quick try")
    parser.add_argument("--users", type=int, default=29_858)
    parser.add_argument("--items", type=int, default=40_981)
    parser.add_argument("--interactions", type=int, default=810_128)
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--negatives", type=int, default=800)
    parser.add_argument("--batch-size", type=int, default=2048)
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=available_threads())
    args = parser.parse_args()
    synthetic = cf.datasets.synthetic(args.users, args.items, args.interactions, seed=0) if not args.folder else None
    x = (synthetic.user_items if synthetic else from_folder(args.folder)).binary()
    rng = np.random.default_rng(0)
    kept = rng.random(x.nnz) < args.part
    x = CSR.from_pairs(x.row_index()[kept], x.indices[kept], x.values[kept], x.shape)
    start = (rng.standard_normal((sum(x.shape), args.factors)) * 0.1).astype(np.float32)
    steps = {
        "cofactor, uniform": with_cofactor(x, start, "uniform", args),
        "cofactor, exact": with_cofactor(x, start, "exact", args),
        "PyTorch, Adam": with_torch(x, start, False, args),
        "PyTorch, SparseAdam": with_torch(x, start, True, args),
    }
    print(f"{x.n_rows:,} users, {x.n_columns:,} items, {x.nnz:,} pairs, {args.factors} factors, batches of "
          f"{args.batch_size:,} with {args.negatives:,} negatives, {args.threads} threads\n")  # fmt: skip
    seconds, figures = interleaved(steps, args.rounds, {"sgemm": lambda: ceiling.sgemm(args.threads)})
    median, sgemm = {name: statistics.median(of) for name, of in seconds.items()}, statistics.median(figures["sgemm"])
    own = [name for name in steps if name.startswith("cofactor")]
    print_header(["", "epoch s", "GFLOP/s", f"of sgemm's {sgemm:.0f}", *(f"x {name}" for name in own)], 1)
    for name, taken in median.items():
        flops = 6 * x.nnz * args.negatives * args.factors / taken / 1e9
        print_row(
            name, f"{taken:.2f}", f"{flops:.0f}", f"{flops / sgemm:.0%}", *(f"{taken / median[o]:.2f}" for o in own)
        )


if __name__ == "__main__":
    main()

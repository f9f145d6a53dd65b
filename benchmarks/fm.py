"""Seconds of a sweep over all parameters of a factorization machine, and the same with features on every rating.

python benchmarks/fm.py                        # ratings in the shape of MovieLens 1M, 32 factors
python benchmarks/fm.py --ratings 100000 --users 943 --items 1682 --factors 8 --threads 1

The peer is what a program does that sees a table of features with a row for every rating, written with SciPy: one
coordinate after the other, each a pass over the ratings that have the feature. It runs on some of the factors, and its
time is scaled up. "sets" adds the items that a user rated and the users who rated an item: as many features for each
rating as both have ratings, which the peer cannot hold. Where myFM is installed (with a setuptools that still has
pkg_resources) CPU seconds of its sweeps follow.

Where PyTorch is installed a pass by batches of 1,024 follows (120 factors, Adam), beside a loop over two embeddings;
the loop runs for some of the batches and its time is scaled up. Its Adam moves every row in every step, the kernel's
those that the batch touches.

    python benchmarks/fm.py --only large                 # a pass over 27 million ratings (138,000 x 27,000) by batches
    python benchmarks/fm.py --only best --data FOLDER    # best validation RMSE of both, and when it was reached (ml-1m)
    python benchmarks/fm.py --only options --data FOLDER # optimizers and outputs of passes by batches (ml-1m, ml-100k)
    python benchmarks/fm.py --only mcmc --data FOLDER    # RMSE and sweeps beside myFM's, sampled alike (ml-1m)
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import scipy.sparse as sp
from _measure import interleaved, print_header, print_row

import cofactor as cf
from cofactor.kernels import native, on
from cofactor.kernels.arguments import Table
from cofactor.kernels.arrays import aligned_zeros, width_of
from cofactor.models.ratings.fm_chain import Chain
from cofactor.models.ratings.fm_entries import Entries
from cofactor.models.ratings.fm_sides import SideFeatures, rated
from cofactor.system.threads import available_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    from cofactor.kernels.csr import CSR


class RowByRow:
    """Sampling with a table of one-hot rows, some coordinates of a sweep; the equations of libFM."""

    def __init__(self, x: CSR, factors: int, seed: int = 0) -> None:
        n = x.nnz
        columns = np.concatenate([x.row_index(), x.n_rows + x.indices])
        rows = np.tile(np.arange(n), 2)
        self._table = sp.csc_matrix((np.ones(2 * n, np.float32), (rows, columns)), (n, x.n_rows + x.n_columns))
        self._rng = np.random.default_rng(seed)
        self._vectors = self._rng.normal(0, 0.1, (factors, self._table.shape[1])).astype(np.float32)
        self._errors = x.values.copy()

    def sweep(self) -> None:
        ends, rows = self._table.indptr, self._table.indices
        for vector in self._vectors:
            sums = self._table @ vector
            for j in range(len(vector)):
                at = rows[ends[j] : ends[j + 1]]
                h, e = sums[at] - vector[j], self._errors[at]
                precision = h @ h + 1.0
                new = (h @ (e + vector[j] * h)) / precision + self._rng.normal() / np.sqrt(precision)
                change = new - vector[j]
                self._errors[at] = e - change * h
                sums[at] += change
                vector[j] = new


def myfm_sweep(x: CSR, factors: int, n: int = 8) -> float:
    """CPU seconds of one of ``n`` sweeps of myFM, which has one thread; what comes before the first is left out."""
    import myfm

    rows = np.tile(np.arange(x.nnz), 2)
    columns = np.concatenate([x.row_index(), x.n_rows + x.indices])
    table = sp.csr_matrix((np.ones(2 * x.nnz), (rows, columns)), (x.nnz, x.n_rows + x.n_columns))

    def seconds(sweeps: int) -> float:
        start = time.process_time()
        fm = myfm.MyFMRegressor(rank=factors, random_seed=0)
        fm.fit(
            table, x.values.astype(np.float64), n_iter=sweeps, n_kept_samples=1, group_shapes=[x.n_rows, x.n_columns]
        )
        return time.process_time() - start

    return (seconds(n + 1) - seconds(1)) / n


def one_hot(users: NDArray[np.int32], items: NDArray[np.int32], n_users: int, n_items: int) -> sp.csr_matrix:
    """A row for every rating; a row of -1 has no column."""
    columns = np.column_stack([users, n_users + items])
    known = np.column_stack([users, items]) >= 0
    rows = np.repeat(np.arange(len(users)), 2).reshape(-1, 2)
    return sp.csr_matrix((np.ones(known.sum()), (rows[known], columns[known])), (len(users), n_users + n_items))


def beside_myfm(folder: Path, threads: int, *, factors: int = 32, sweeps: int = 100, seed: int = 0) -> None:
    """A random tenth of ml-1m, predicted by samples of the last two thirds of as many sweeps of both.

    Both have one noise for all ratings. myFM starts with coordinates of a standard deviation of .1, and so does
    "started alike"; by default ours begins with smaller ones. "user noise" is ours as it is by default. Seconds are of
    the CPU, of a whole fit, by the number of sweeps.
    """
    import myfm

    split = cf.split.random(movielens_1m(folder), 0.1, seed)
    train, test = split.train.ratings(), split.test.ratings().to_frame()
    users, items = train.users.rows(test["user_id"], "user_id"), train.items.rows(test["item_id"], "item_id")
    truth, x, kept = test["rating"].to_numpy(), train.user_items, 2 * sweeps // 3
    print_header(["", "RMSE", "CPU seconds a sweep"], n_texts=1)
    taken = {}
    own = {"iterations": sweeps, "samples": kept, "seed": seed, "threads": threads}
    variants = {
        "FactorizationMachine": {"user_noise": False},
        "started alike": {"user_noise": False, "init_std": 0.1 * np.sqrt(factors)},
        "with user noise": {},
    }
    for name, options in variants.items():
        cpu = time.process_time()
        model = cf.FactorizationMachine(factors, **own, **options).fit(train, progress=False)
        taken[name] = (time.process_time() - cpu) / sweeps
        error = np.sqrt(np.mean((model.rate(users, items)[0] - truth) ** 2))
        print_row(name, f"{error:.4f}", f"{taken[name]:.3f}")
    cpu = time.process_time()
    fm = myfm.MyFMRegressor(rank=factors, random_seed=seed)
    shape = x.n_rows, x.n_columns
    table = one_hot(x.row_index().astype(np.int32), x.indices, *shape)
    fm.fit(table, x.values.astype(np.float64), n_iter=sweeps, n_kept_samples=kept, group_shapes=list(shape))
    taken["myFM"] = (time.process_time() - cpu) / sweeps
    error = np.sqrt(np.mean((fm.predict(one_hot(users, items, *shape)) - truth) ** 2))
    print_row("myFM", f"{error:.4f}", f"{taken['myFM']:.3f}")
    print(f"\n{sweeps} sweeps, {factors} factors; {taken['myFM'] / taken['FactorizationMachine']:.0f}x a sweep")


def kernel_pass(x: CSR, factors: int, batch: int, threads: int) -> Callable[[], object]:
    rows = aligned_zeros(x.n_rows + x.n_columns, width_of(factors + 1))
    rows[:, 1 : factors + 1] = np.random.default_rng(0).normal(0, 0.01, (len(rows), factors))
    table = Table.new(rows, "row_adam", 1e-3)
    settings = {"offset": 0.0, "weight_decay": 1e-5, "batch_size": batch, "n_coordinates": factors + 1}
    return lambda: on("cpu").fm_epoch(x, table, **settings, threads=threads)


class TwoEmbeddings:
    """The loop: an inner product and biases, Adam with weight decay over whole tables."""

    def __init__(self, x: CSR, factors: int, batch: int, threads: int, *, mean: float = 0.0) -> None:
        import torch

        torch.set_num_threads(threads)
        torch.manual_seed(0)
        sizes = (x.n_rows, factors), (x.n_columns, factors), (x.n_rows, 1), (x.n_columns, 1)
        self._tables = [torch.nn.Embedding(*size) for size in sizes]
        for table in self._tables:
            torch.nn.init.normal_(table.weight, 0, 0.01)
        self._optimizer = torch.optim.Adam([t.weight for t in self._tables], lr=1e-3, weight_decay=1e-5)
        self._rows = [torch.from_numpy(of.astype(np.int64)) for of in (x.row_index(), x.indices)]
        self._values, self._batch, self._mean = torch.from_numpy(x.values), batch, mean

    def _predicted(self, u: torch.Tensor, i: torch.Tensor) -> torch.Tensor:
        users, items, user_biases, item_biases = self._tables
        return self._mean + (users(u) * items(i)).sum(1) + user_biases(u)[:, 0] + item_biases(i)[:, 0]

    def epoch(self, n_batches: int | None = None) -> None:
        """Go through all ratings in random order, or through so many batches."""
        import torch

        order = torch.randperm(len(self._values))
        for chosen in order.split(self._batch)[:n_batches]:
            found = self._predicted(*(rows[chosen] for rows in self._rows))
            loss = ((found - self._values[chosen]) ** 2).mean()
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()

    def rate(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.float32]:
        import torch

        with torch.no_grad():
            return self._predicted(*(torch.from_numpy(of.astype(np.int64)) for of in (users, items))).numpy()


def by_batches(
    x: CSR, rounds: int, threads: int, *, factors: int = 120, batch: int = 1024, n_batches: int = 40
) -> None:
    steps = {"by batches": kernel_pass(x, factors, batch, threads)}
    loop = TwoEmbeddings(x, factors, batch, threads)
    steps["PyTorch"] = lambda: loop.epoch(n_batches)
    seconds, _ = interleaved(steps, rounds)
    times = {name: statistics.median(of) for name, of in seconds.items()}
    times["PyTorch"] *= x.nnz / (batch * n_batches)
    print(f"\nA pass over the ratings, {factors} factors\n")
    print_header(["pass", "seconds", "of PyTorch's"], n_texts=1)
    for name, own in times.items():
        print_row(name, f"{own:.2f}", f"{times['PyTorch'] / own:.0f}x")


def movielens_1m(folder: Path) -> cf.Events:
    files = sorted((folder / "ml-1m").glob("ratings*.parquet"))
    if not files:
        return cf.datasets.movielens(folder / "ml-1m")
    return cf.read_events(pl.read_parquet(files[0]), user="user_id", item="movie_id", rating="rating")


def large(threads: int, *, factors: int = 120, batch: int = 1024, n: int = 27_000_000) -> None:
    """A pass over as many ratings as the notebook's; users and items as those of MovieLens 25M, and as unequal."""
    drawn = cf.datasets.synthetic(138_000, 27_000, n, seed=0).user_items
    x = drawn.with_values(np.random.default_rng(0).normal(size=drawn.nnz))
    one_pass = kernel_pass(x, factors, batch, threads)
    print(f"{x.nnz:,} ratings, {factors} factors, batches of {batch:,}, {threads} threads, CPU level {native.level}\n")
    print_header(["pass", "seconds", "CPU seconds"], n_texts=1)
    for number in (1, 2):
        start, cpu = time.perf_counter(), time.process_time()
        one_pass()
        print_row(str(number), f"{time.perf_counter() - start:.1f}", f"{time.process_time() - cpu:.1f}")


def best(folder: Path, threads: int, *, factors: int = 120, batch: int = 1024, most: int = 40) -> None:
    """RMSE of a random tenth of ml-1m (seed 0), a validation side on which both choose when to stop, and when.

    The model has its defaults; the loop those of the notebook, and is stopped when an epoch is worse than the one
    before. Seconds are of the CPU, of all threads.
    """
    split = cf.split.random(movielens_1m(folder), 0.1, 0)
    train, test = split.train.ratings(), split.test.ratings().to_frame()
    rows = [ids.rows(test[column], column) for ids, column in ((train.users, "user_id"), (train.items, "item_id"))]
    truth = test["rating"].to_numpy()
    known = (rows[0] >= 0) & (rows[1] >= 0)
    print_header(["", "best RMSE", "CPU seconds", "epochs"], n_texts=1)
    cpu = time.process_time()
    model = cf.FactorizationMachine(factors, method="sgd", batch_size=batch, threads=threads).fit(train, progress=False)
    seconds = time.process_time() - cpu
    error = np.sqrt(np.mean((model.rate(*rows)[0] - truth)[known] ** 2))
    print_row("FactorizationMachine", f"{error:.4f}", f"{seconds:.1f}", str(len(model.error_history_)))
    found: list[float] = []
    loop = TwoEmbeddings(train.user_items, factors, batch, threads, mean=float(train.user_items.values.mean()))
    cpu, spent = time.process_time(), 0.0
    for _ in range(most):
        loop.epoch()
        error = float(np.sqrt(np.mean((loop.rate(rows[0][known], rows[1][known]) - truth[known]) ** 2)))
        if found and error > min(found):
            break
        found.append(error)
        spent = time.process_time() - cpu
        print_row("PyTorch", f"{error:.4f}", f"{spent:.1f}", str(len(found)))
    print(f"\n{spent / seconds:.0f}x")


def options(folder: Path, threads: int, *, factors: int = 120) -> None:
    """RMSE, clipped, of optimizers and outputs by their defaults, on parts of training sides; CPU seconds of fits.

    A tenth of the training side of ml-1m (nine tenths, seed 0), and an eighth of that of u1 of ml-100k.
    """
    u1 = pl.read_csv(folder / "ml-100k" / "u1.base", separator="\t", has_header=False).select(pl.nth(0, 1, 2))
    u1.columns = ["user_id", "item_id", "rating"]
    small = cf.split.random(cf.read_events(u1, user="user_id", item="item_id", rating="rating"), 0.125, 0)
    splits = {
        "1M": cf.split.random(cf.split.random(movielens_1m(folder), 0.1, 0).train, 0.1, 0),
        "100K": small,
    }
    print_header(["", "log", "RMSE", "CPU seconds"], n_texts=2)
    for name, split in splits.items():
        test = split.test.ratings().to_frame()
        for output, scale in (("identity", None), ("sigmoid", None), ("sigmoid", (0.5, 5.5))):
            train = split.train.ratings(scale=scale)
            rows = train.users.rows(test["user_id"], "user_id"), train.items.rows(test["item_id"], "item_id")
            for optimizer in ("row_adam", "adam", "adagrad"):
                cpu = time.process_time()
                given = {"method": "sgd", "output": output, "optimizer": optimizer, "threads": threads}
                model = cf.FactorizationMachine(factors, **given).fit(train, progress=False)
                seconds = time.process_time() - cpu
                error = np.sqrt(np.mean((model.rate(*rows, clip=True)[0] - test["rating"].to_numpy()) ** 2))
                told = f"{optimizer}, {output}" + ("" if scale is None else f" from {scale[0]} to {scale[1]}")
                print_row(told, name, f"{error:.4f}", f"{seconds:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=6040)
    parser.add_argument("--items", type=int, default=3706)
    parser.add_argument("--ratings", type=int, default=900_000)
    parser.add_argument("--factors", type=int, default=32)
    parser.add_argument("--peer-factors", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=available_threads())
    parser.add_argument("--only", choices=("large", "best", "options", "mcmc"), help="one of the other comparisons")
    parser.add_argument("--sweeps", type=int, default=100, help='of "mcmc"')
    parser.add_argument("--seed", type=int, default=0, help='of "mcmc": of the split and of the samples')
    parser.add_argument("--data", type=Path, default=os.environ.get("COFACTOR_DATA"), help="folder that holds ml-1m")
    args = parser.parse_args()
    if args.only == "large":
        large(args.threads)
    elif args.only is not None:
        if args.data is None:
            parser.error("give --data FOLDER or set COFACTOR_DATA")
        if args.only == "best":
            best(Path(args.data), args.threads)
        elif args.only == "options":
            options(Path(args.data), args.threads)
        else:
            beside_myfm(Path(args.data), args.threads, factors=args.factors, sweeps=args.sweeps, seed=args.seed)
    else:
        sweeps(args)


def sweeps(args: argparse.Namespace) -> None:
    """Sweeps over all parameters, and passes by batches where there is PyTorch."""
    drawn = cf.datasets.synthetic(args.users, args.items, args.ratings, seed=0).user_items
    x = drawn.with_values(np.random.default_rng(0).normal(size=drawn.nnz))
    print(f"{x.nnz:,} ratings, {args.factors} factors, {args.threads} threads, CPU level {native.level}\n")
    none: tuple[SideFeatures, SideFeatures] = (SideFeatures.of(x.n_rows, []), SideFeatures.of(x.n_columns, []))
    sets = [SideFeatures.of(m.n_rows, [(rated(m), np.zeros(m.n_columns, np.int32))]) for m in (x, x.transposed())]
    steps = {
        name: Chain(on("cpu"), Entries(x), sides, args.factors + 1, threads=args.threads).sweep
        for name, sides in {"ids": none, "ids and sets": (sets[0], sets[1])}.items()
    }
    peer = RowByRow(x, args.peer_factors)
    seconds, _ = interleaved(steps | {"SciPy, ids": peer.sweep}, args.rounds)
    times = {name: statistics.median(of) for name, of in seconds.items()}
    times["SciPy, ids"] *= args.factors / args.peer_factors
    print_header(["sweep", "seconds", "of SciPy's"], n_texts=1)
    for name, own in times.items():
        print_row(name, f"{own:.3f}", f"{times['SciPy, ids'] / own:.1f}x")
    if importlib.util.find_spec("myfm") is not None:
        start = time.process_time()
        for _ in range(8):
            steps["ids"]()
        own, peers = (time.process_time() - start) / 8, myfm_sweep(x, args.factors)
        print(f"\nCPU seconds of a sweep over ids: {own:.3f}; myFM {peers:.3f}, {peers / own:.1f}x")
    if importlib.util.find_spec("torch") is not None:
        by_batches(x, args.rounds, args.threads)


if __name__ == "__main__":
    main()

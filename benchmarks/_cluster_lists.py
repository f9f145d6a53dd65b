"""Lists for everyone on a cluster of this machine: how long they take, what workers hold, and one that is killed."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from _measure import print_header, print_row
from _processes import cpu_seconds, named, peaks

import cofactor as cf
from cofactor.system.progress import at_every_step

if TYPE_CHECKING:
    import argparse


def lists(args: argparse.Namespace) -> None:
    """Lists of ten for everyone, written to Parquet, with and without a worker killed in the middle."""
    rng = np.random.default_rng(0)
    x = cf.datasets.synthetic(args.list_users, args.items, 5 * args.list_users, seed=0)
    vectors = [rng.standard_normal((n, 64), dtype=np.float32) for n in (x.n_users, x.n_items)]
    with tempfile.TemporaryDirectory() as folder:
        cf.FactorModel.from_vectors(*vectors, interactions=x).save(Path(folder) / "model")
        model = cf.load(Path(folder) / "model", verify=False)
        model.threads = 2
        n = -(-x.n_users // 20_000)
        (Path(folder) / "alone").mkdir()
        began, used = time.perf_counter(), time.process_time()
        for i in range(n):
            users = x.users.ids.slice(i * x.n_users // n, (i + 1) * x.n_users // n - i * x.n_users // n)
            model.recommend(users, k=10).write_parquet(Path(folder) / "alone" / f"part-{i:05}.parquet")
        alone, used = time.perf_counter() - began, time.process_time() - used
        at: list[float] = []
        with (
            cf.cluster.connect(threads=2, object_store=args.store) as cluster,
            at_every_step(lambda: at.append(time.perf_counter())),
            peaks(lambda: named("ray::ListWorker"), cpu_seconds) as theirs,
        ):
            began = time.perf_counter()
            cluster.recommend(Path(folder) / "model", Path(folder) / "lists", 10, workers=2, threads=1)
            both = time.perf_counter() - began
        going = (at[-1] - at[2]) / (len(at) - 3)  # a shard, once both have brought their first one
        print(f"{x.n_users:,} users x {x.n_items:,} items: one process {alone:.1f} s, two workers {both:.1f} s with")
        print(f"their start: {alone / both:.0%} of the throughput, {alone / n / going:.0%} once they run")
        print(f"processors: one process {used:.1f} s, two workers {sum(theirs.values()):.1f} s with their start")
        print(f"the same lists: {_same(Path(folder) / 'alone', Path(folder) / 'lists')}\n", flush=True)
        print_header(["a worker killed", "memory of workers MiB", "the same lists", "users twice or missing", "s"])
        for killed in (False, True):
            _again(args, Path(folder), x.n_users, n, killed=killed)


def _same(one: Path, other: Path) -> bool:
    """Whether two folders have the same files of lists."""
    names = [sorted(path.name for path in folder.glob("*.parquet")) for folder in (one, other)]
    return names[0] == names[1] and all(
        pl.read_parquet(one / name).equals(pl.read_parquet(other / name)) for name in names[0]
    )


def _again(args: argparse.Namespace, folder: Path, n_users: int, n: int, *, killed: bool) -> None:
    """Lists with a look at the memory of workers, of which one is killed once a third of the shards is there."""
    out, done, victims = folder / f"lists-{killed}", 0, []

    def step() -> None:
        nonlocal done
        done += 1
        if killed and done == max(2, n // 3):
            victims.append(named("ray::ListWorker")[0])
            os.kill(victims[0], signal.SIGKILL)

    began = time.perf_counter()
    with (
        cf.cluster.connect(threads=2, object_store=args.store) as cluster,
        at_every_step(step),
        peaks(lambda: named("ray::ListWorker")) as most,
    ):
        cluster.recommend(folder / "model", out, 10, workers=2, threads=1)
    took = time.perf_counter() - began
    assert len(victims) == killed
    lists = pl.concat([pl.read_parquet(path, columns=["user_id", "rank"]) for path in out.glob("*.parquet")])
    twice = lists.filter(lists.is_duplicated())["user_id"].n_unique()
    wrong = twice + n_users - lists["user_id"].n_unique()
    mib = " ".join(f"{m / 2**20:.0f}" for m in most.values())
    print_row("yes" if killed else "no", mib, "yes" if _same(folder / "alone", out) else "NO", wrong, f"{took:.1f}")

"""A cluster of Ray on this machine beside one process: seconds an iteration, memory, kills, and lists for everyone.

    pip install 'cofactor[ray]'
    python benchmarks/cluster.py                # two workers of one thread, one process of two: seconds and memory
    python benchmarks/cluster.py memory         # what a worker, and one process, hold of their own
    python benchmarks/cluster.py kills          # nodes killed at random moments, 20 times; the driver killed, 5 times
    python benchmarks/cluster.py recommend      # 1 M users x 27 k items, lists of ten; a worker killed in the middle
    python benchmarks/cluster.py spark          # an iteration of Spark's ALS, local[2]: needs pyspark and Java
    python benchmarks/cluster.py plan           # the formulas of docs/decisions/0022, and a simulation of the network

Every option works with every table: ``--users 5000 --items 2000 --interactions 200000`` is a quick try.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from _cluster_lists import lists
from _cluster_plan import plan
from _measure import print_header, print_row
from _processes import cpu_seconds, named, peaks

import cofactor as cf
from cofactor.cluster import pool

ROLES = {"user": "user_id", "item": "item_id"}


def write_log(args: argparse.Namespace, folder: Path, parts: int = 8) -> Path:
    table = cf.datasets.synthetic(args.users, args.items, args.interactions, seed=0).to_frame().drop("weight")
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(parts):
        table.gather_every(parts, i).write_parquet(folder / f"part-{i}.parquet")
    return folder


def timed(model: cf.ImplicitALS, data: Any, pids: tuple[int, ...] = ()) -> Any:
    """Seconds of all iterations but the first and the last, which do more, and those of the processors of processes."""
    at: list[tuple[float, ...]] = []

    def look(*_: object) -> None:
        at.append((time.perf_counter(), *map(cpu_seconds, pids)))

    model.fit(data, progress=False, on_iteration=look)
    return np.diff(np.array(at), axis=0)[: model.iterations - 2]


def iterations(args: argparse.Namespace) -> None:
    """The main table."""
    import ray

    with tempfile.TemporaryDirectory() as folder:
        log = write_log(args, Path(folder) / "log")
        began = time.perf_counter()
        alone = cf.read_events(log, **ROLES).interactions()
        read_alone = time.perf_counter() - began
        with cf.cluster.connect(threads=2, object_store=args.store) as cluster:
            began = time.perf_counter()
            events = cluster.read_events(log, **ROLES)
            first = time.perf_counter() - began
            with events.interactions(workers=2, threads=1, wire=args.wire) as x:
                workers = x.pool()
                both = time.perf_counter() - began
                pids = ray.get([handle.process.remote() for handle in workers.handles])
                print(f"{alone}")
                print(f"read in {read_alone:.1f} s by one process, in {first:.1f} + {both - first:.1f} s by two\n")
                print_header(
                    [
                        "factors",
                        "one process s",
                        "two workers s",
                        "ratio",
                        "of processors",
                        "loss differs by",
                        "worker MiB",
                    ]
                )
                for factors in args.factors:
                    _row(args, factors, alone, x, pids)


def _row(args: argparse.Namespace, factors: int, alone: cf.Interactions, x: Any, pids: list[int]) -> None:
    given: dict[str, Any] = {"factors": factors, "regularization": 0.01, "alpha": 1.0, "unobserved_weight": 0.1}
    given |= {"iterations": args.iterations}
    seconds: dict[str, list[Any]] = {"one": [], "two": []}
    for _ in range(args.rounds):
        one = cf.ImplicitALS(**given, threads=2)
        seconds["one"].append(timed(one, alone, (os.getpid(),)))
        two = cf.ImplicitALS(**given)
        seconds["two"].append(timed(two, x, tuple(pids)))
    with peaks(lambda: pids) as most:  # apart: a look at a process takes 27 ms of a processor
        cf.ImplicitALS(**given | {"iterations": 2}).fit(x, progress=False)
    one_s, one_cpu = np.median(np.concatenate(seconds["one"]), axis=0)
    two_s, *cpu = np.median(np.concatenate(seconds["two"]), axis=0)
    differs = float(np.abs(one.loss_history_ / two.loss_history_ - 1).max())
    mib = " ".join(f"{m / 2**20:.0f}" for m in most.values())
    print_row(
        factors, f"{one_s:.2f}", f"{two_s:.2f}", f"{two_s / one_s:.2f}", f"{2 * max(cpu) / one_cpu:.2f}",
        f"{differs:.1e}", mib,
    )  # fmt: skip


ALONE = """
import json, sys
import cofactor as cf
x = cf.read_events(sys.argv[1], user="user_id", item="item_id").interactions()
print("read", flush=True)
sys.stdin.readline()
cf.ImplicitALS(**json.loads(sys.argv[2])).fit(x, progress=False)
"""


def memory(args: argparse.Namespace) -> None:
    """What one process, and each of two workers, hold of their own at most while reading, and in a fit."""
    print_header(["factors", "one reads MiB", "one fits", "workers read", "workers fit", "part of one's fit"])
    with tempfile.TemporaryDirectory() as folder:
        log = write_log(args, Path(folder) / "log")
        for factors in args.factors:
            given: dict[str, Any] = {"factors": factors, "regularization": 0.01, "alpha": 1.0}
            given |= {"unobserved_weight": 0.1, "iterations": 2}
            command = [sys.executable, "-c", ALONE, str(log), json.dumps(given | {"threads": 2})]
            alone = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert alone.stdin is not None
            assert alone.stdout is not None
            with peaks(lambda pid=alone.pid: [pid]) as one_reads:  # type: ignore[misc]
                alone.stdout.readline()
            with peaks(lambda pid=alone.pid: [pid]) as one_fits:  # type: ignore[misc]
                alone.communicate("go\n")
            with (
                cf.cluster.connect(threads=2, object_store=args.store) as cluster,
                cluster.read_events(log, **ROLES).interactions(workers=2, threads=1) as x,
            ):
                with peaks(lambda: named("ray::ShardWorker")) as reading:
                    x.pool()
                with peaks(lambda: named("ray::ShardWorker")) as fitting:
                    cf.ImplicitALS(**given).fit(x, progress=False)
            one, most = one_fits[alone.pid], max(fitting.values())
            texts = [" ".join(f"{m / 2**20:.0f}" for m in found.values()) for found in (one_reads, one_fits, reading)]
            print_row(factors, *texts, " ".join(f"{m / 2**20:.0f}" for m in fitting.values()), f"{most / one:.0%}")


def kills(args: argparse.Namespace) -> None:
    """Nodes killed at random moments, and drivers."""
    from ray.cluster_utils import Cluster

    rng = random.Random(args.seed)
    pool._PATIENCE = 3.0  # seconds that a new worker waits for threads of its own: none come here
    store = {"object_store_memory": 100 * 2**20}
    given: dict[str, Any] = {"factors": 16, "regularization": 0.01, "iterations": 8, "solver": "cg"}
    folder = Path(tempfile.mkdtemp(prefix="cofactor-kills-"))
    log = write_log(args, folder / "log")
    alone = cf.ImplicitALS(**given).fit(cf.read_events(log, **ROLES).interactions())
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **store})
    for _ in range(2):
        nodes.add_node(num_cpus=1, **store)
    try:
        with cf.cluster.connect(nodes.address) as cluster:
            events = cluster.read_events(log, **ROLES)
            with events.interactions(workers=2, threads=1) as x:
                x.pool()
                began = time.perf_counter()
                cf.ImplicitALS(**given).fit(x)
                length = time.perf_counter() - began
            for i in range(args.kills):
                moment = rng.uniform(0, length)

                def strike(moment: float = moment) -> None:
                    time.sleep(moment)
                    nodes.remove_node(next(iter(nodes.worker_nodes)), allow_graceful=False)

                with events.interactions(workers=2, threads=1) as x:
                    x.pool()
                    killer = threading.Thread(target=strike)
                    killer.start()
                    began = time.perf_counter()
                    model = cf.ImplicitALS(**given).fit(x)
                    took = time.perf_counter() - began
                    killer.join()
                same = float(np.abs(model.loss_history_ / alone.loss_history_ - 1).max())
                when = "in the fit" if took > moment else "after the fit"
                length = length if took > moment else min(length, took)
                told = f"node killed after {moment:.2f} s, {when} ({length:.2f} s undisturbed, {took:.1f} s now)"
                print(f"{told}: loss differs by {same:.1e}", flush=True)
                assert same < 1e-5, i
                nodes.add_node(num_cpus=1, **store)
    finally:
        nodes.shutdown()
    for _ in range(args.driver_kills):
        _kill_driver(folder, given, alone, rng)
    shutil.rmtree(folder, ignore_errors=True)


DRIVER = """
import json, sys
import cofactor as cf
log, kept, out, given = sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
with cf.cluster.connect(threads=2, object_store="100MB") as cluster:
    events = cluster.read_events(log, user="user_id", item="item_id")
    with events.interactions(workers=2, threads=1, checkpoint=kept) as x:
        seen = []
        model = cf.ImplicitALS(**given).fit(x, on_iteration=lambda n, loss: print("iteration", n, flush=True))
open(out, "w").write(json.dumps(list(model.loss_history_)))
"""


def _kill_driver(folder: Path, given: dict[str, Any], alone: Any, rng: random.Random) -> None:
    command = [sys.executable, "-c", DRIVER, folder / "log", folder / "kept", folder / "losses", json.dumps(given)]
    command = [str(part) for part in command]
    victim, after = subprocess.Popen(command, stdout=subprocess.PIPE, text=True), rng.randrange(1, 7)
    assert victim.stdout is not None
    for line in victim.stdout:
        if line.startswith(f"iteration {after}"):
            time.sleep(rng.uniform(0, 0.3))
            victim.send_signal(signal.SIGKILL)
            break
    victim.wait()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    losses = np.array(json.loads((folder / "losses").read_text()))
    first = done.stdout.split()[1]
    differs = float(np.abs(losses / alone.loss_history_ - 1).max())
    print(f"driver killed after iteration {after}: went on with iteration {first}, loss differs by {differs:.1e}")
    assert differs < 1e-5


def spark(args: argparse.Namespace) -> None:
    """A whole fit of Spark's ALS, local[2], and of two workers, on the same log: from files to vectors at hand.

    Spark has a small fit before, which warms it up.
    """
    from pyspark.ml.recommendation import ALS
    from pyspark.sql import SparkSession

    factors, n = args.factors[0], args.iterations
    with tempfile.TemporaryDirectory() as folder:
        log = write_log(args, Path(folder) / "log")
        began = time.perf_counter()
        builder = SparkSession.builder.master("local[2]").config("spark.driver.memory", "5g")
        session = builder.config("spark.ui.showConsoleProgress", "false").getOrCreate()
        session.sparkContext.setLogLevel("OFF")

        def fitted(share: float, iterations: int) -> float:
            start = time.perf_counter()
            frame = session.read.parquet(str(log)).selectExpr("int(user_id) user", "int(item_id) item", "1.0f rating")
            als = ALS(rank=factors, maxIter=iterations, implicitPrefs=True, regParam=0.01, seed=0)
            model = als.setUserCol("user").setItemCol("item").fit(frame.sample(share, 0) if share < 1 else frame)
            model.itemFactors.count()
            model.userFactors.count()
            return time.perf_counter() - start

        fitted(0.01, 1)
        warm = time.perf_counter() - began
        theirs = fitted(1.0, n)
        session.stop()
        print(f"{args.interactions:,} pairs, {factors} factors, {n} iterations", flush=True)
        print(f"Spark: {theirs:.1f} s, after {warm:.1f} s to start and warm up", flush=True)
        began = time.perf_counter()
        with cf.cluster.connect(threads=2, object_store=args.store) as cluster:
            start = time.perf_counter() - began
            given: dict[str, Any] = {"regularization": 0.01, "alpha": 1.0, "unobserved_weight": 0.1}
            model, at = cf.ImplicitALS(factors, iterations=n, **given), []
            with cluster.read_events(log, **ROLES).interactions(workers=2, threads=1) as x:
                x.pool()
                loaded = time.perf_counter() - began - start
                at = timed(model, x)
            ours = time.perf_counter() - began - start
    print(f"two workers: {ours:.1f} s ({loaded:.1f} of them to start workers and read), after {start:.1f} s for Ray")
    print(f"an iteration {np.median(at):.2f} s; {theirs / ours:.1f} times as fast,", end=" ")
    print(f"{(theirs + warm) / (ours + start):.1f} times with both starts")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tables = {"iterations": iterations, "memory": memory, "kills": kills, "recommend": lists}
    tables |= {"spark": spark, "plan": plan}
    parser.add_argument("table", nargs="?", choices=tables, default="iterations")
    parser.add_argument("--users", type=int)
    parser.add_argument("--items", type=int, default=27_000)
    parser.add_argument("--interactions", type=int)
    parser.add_argument("--factors", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--store", default="1GB")
    parser.add_argument("--wire", default="float32", choices=["float32", "float16"])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--driver-kills", type=int, default=5)
    parser.add_argument("--list-users", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    small = args.table == "kills"
    args.users = args.users or (20_000 if small else 138_000)
    args.interactions = args.interactions or (2_000_000 if small else 17_000_000)
    tables[args.table](args)


if __name__ == "__main__":
    main()

"""A cluster of several nodes, simulated on this machine: a log in parts, ALS on it, lists, and a node that dies.

    pip install 'cofactor[ray]'
    python examples/cluster.py
    python examples/cluster.py --users 20000 --interactions 2000000 --out cluster-demo

Three nodes of Ray with object stores of their own run on this machine; on real ones the same calls take the address of
the head node. In the middle of training one node is killed: its worker is replaced, and the loss at the end is that of
one machine. The model that comes out is an ordinary one.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import cofactor as cf

ALS: dict[str, Any] = {"factors": 32, "regularization": 0.01, "iterations": 6, "solver": "cg", "seed": 0}


def main() -> dict[str, Any]:
    """Run it all; gives the losses."""
    chosen = _arguments()
    log = write_log(chosen.out / "log", chosen.users, chosen.items, chosen.interactions)
    nodes = simulated()
    try:
        with cf.cluster.connect(nodes.address) as cluster:
            print(cluster)
            events = cluster.read_events(log, user="user_id", item="item_id")
            print(events)
            with events.interactions(workers=2, threads=1, checkpoint=chosen.out / "checkpoint") as x:
                model = cf.ImplicitALS(**ALS).fit(x, on_iteration=lambda n, loss: told(n, loss, x, nodes))
            print(f"saved to {chosen.out / 'model'}")
            model.save(chosen.out / "model")
            parts = cluster.recommend(model, chosen.out / "lists", k=10, workers=1, threads=1)
            print(f"{sum(pl.read_parquet(part).height for part in parts):,} rows of lists in {len(parts)} files")
    finally:
        nodes.shutdown()
    alone = cf.ImplicitALS(**ALS).fit(cf.read_events(log, user="user_id", item="item_id"))
    difference = float(np.abs(model.loss_history_ / alone.loss_history_ - 1).max())
    print(f"losses differ from those of one machine by at most {difference:.1e}")
    return {"cluster": model.loss_history_, "alone": alone.loss_history_}


def write_log(folder: Path, n_users: int, n_items: int, n_interactions: int) -> Path:
    """A synthetic log in four files of Parquet."""
    table = cf.datasets.synthetic(n_users, n_items, n_interactions, seed=0).to_frame()
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(4):
        table.filter(pl.int_range(pl.len()) % 4 == i).write_parquet(folder / f"part-{i}.parquet")
    return folder


def simulated() -> Any:  # noqa: ANN401
    """Three nodes on this machine: the head, which has no worker, and two with one thread each."""
    from ray.cluster_utils import Cluster

    store = {"object_store_memory": 100 * 2**20}
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **store})
    for _ in range(2):
        nodes.add_node(num_cpus=1, **store)
    return nodes


def told(iteration: int, loss: float, x: cf.cluster.ClusterInteractions, nodes: Any) -> None:  # noqa: ANN401
    """Print the loss; after the third iteration a node dies."""
    print(f"iteration {iteration}: loss {loss:.6g}, {x.workers} workers", flush=True)
    if iteration == 3:
        started = time.perf_counter()
        nodes.remove_node(next(iter(nodes.worker_nodes)), allow_graceful=False)
        print(f"a node was killed ({time.perf_counter() - started:.1f} s)", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A simulated cluster of Ray on this machine.")
    parser.add_argument("--users", type=int, default=5000)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--interactions", type=int, default=200_000)
    parser.add_argument("--out", type=Path, default=None, help="a folder; by default a temporary one")
    chosen = parser.parse_args()
    chosen.out = chosen.out or Path(tempfile.mkdtemp(prefix="cofactor-cluster-"))
    return chosen


if __name__ == "__main__":
    main()

"""All accuracy metrics of 138,493 users' lists at three cut-offs, from tables and from arrays.

    pip install '.[bench]' ranx irspack; python -m venv rt; rt/bin/pip install rectools    # which asks for NumPy < 2
    python benchmarks/metrics.py --rectools rt/bin/python
    python benchmarks/metrics.py --peers implicit                                          # arrays alone

27 metrics: nine at 5, 10 and 20 places. From tables of integer ids: ``cf.evaluate`` beside RecTools, ranx and irspack,
each with as many of the metrics as it has. From arrays: ``cf.evaluate_rows`` with all of them beside implicit's four at
one cut-off. None of them gives intervals, so cofactor does not either. All run in the same run and in turn, medians are
compared, and where two define a metric alike the values are held together.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import scipy.sparse as sp
from _measure import print_header, print_row, seconds_of

import cofactor as cf
from cofactor.kernels import native
from cofactor.system.threads import available_threads

if TYPE_CHECKING:
    from collections.abc import Callable

FAMILIES = (
    "recall", "truncated_recall", "precision", "hit_rate", "ndcg", "ndcg_fixed", "map", "map_full", "mrr",
)  # fmt: skip
CUTOFFS = (5, 10, 20)
NAMES = [f"{family}@{k}" for family in FAMILIES for k in CUTOFFS]

# What others call a metric that they define as we do.
RANX = {"recall": "recall", "precision": "precision", "hit_rate": "hit_rate", "ndcg": "ndcg", "map_full": "map", "mrr": "mrr"}  # fmt: skip  # noqa: E501
IRSPACK = {"recall": "recall", "precision": "precision", "hit_rate": "hit", "ndcg": "ndcg"}


def problem(n_users: int, n_items: int, k: int, n_relevant: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Lists of k items and about n_relevant relevant ones a user, both with popular items more often."""
    rng = np.random.default_rng(0)
    shares = (np.arange(n_items) + 30.0) ** -0.9
    popular = np.searchsorted(np.cumsum(shares / shares.sum()), rng.random((n_users, 3 * k)))
    names = rng.permutation(n_items)
    lists, test = [], []
    for name, columns, into in (("lists", slice(0, 3 * k), lists), ("test", slice(k, k + n_relevant), test)):
        item = names[popular[:, columns] % n_items]
        table = pl.DataFrame({"user_id": np.repeat(np.arange(n_users), item.shape[1]), "item_id": item.ravel()})
        table = table.unique(["user_id", "item_id"], maintain_order=True)
        if name == "lists":
            table = table.with_columns(rank=pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over("user_id"))
            table = table.filter(pl.col("rank") <= k)
        into.append(table)
    return lists[0], test[0]


def arrays(lists: pl.DataFrame, test: pl.DataFrame, n_users: int, n_items: int) -> tuple[Any, Any]:
    """The lists as a matrix of rows, -1 where one ends, and the relevant items as a sparse matrix."""
    rows = np.full((n_users, int(lists["rank"].max())), -1, np.int32)
    rows[lists["user_id"].to_numpy(), lists["rank"].to_numpy() - 1] = lists["item_id"].to_numpy()
    pairs = (test["user_id"].to_numpy(), test["item_id"].to_numpy())
    return rows, sp.csr_matrix((np.ones(len(test), np.float32), pairs), shape=(n_users, n_items))


def values(table: pl.DataFrame) -> dict[str, float]:
    return dict(table.select("metric", "value").iter_rows())


def with_cofactor(lists: pl.DataFrame, test: pl.DataFrame) -> dict[str, float]:
    return values(cf.evaluate(lists, test, NAMES, n_bootstrap=0))


def with_cofactor_rows(rows: Any, relevant: Any) -> dict[str, float]:
    return values(cf.evaluate_rows(rows, relevant, NAMES))


def with_ranx(qrels: Any, run: Any) -> dict[str, float]:
    import ranx

    theirs = {f"{other}@{k}": f"{ours}@{k}" for ours, other in RANX.items() for k in CUTOFFS}
    found = ranx.evaluate(qrels, run, list(theirs))
    return {theirs[name]: value for name, value in found.items()}


def prepared_for_ranx(lists: pl.DataFrame, test: pl.DataFrame) -> tuple[Any, Any]:
    """What ranx computes from, which takes it longer than the metrics do."""
    import ranx

    text = [pl.col("user_id").cast(pl.String), pl.col("item_id").cast(pl.String)]
    objects = {"user_id": object, "item_id": object}
    qrels = test.select(*text, pl.lit(1, pl.Int64).alias("score")).to_pandas().astype(objects)
    run = lists.select(*text, (1 / pl.col("rank")).alias("score")).to_pandas().astype(objects)
    columns = {"q_id_col": "user_id", "doc_id_col": "item_id", "score_col": "score"}
    return ranx.Qrels.from_df(qrels, **columns), ranx.Run.from_df(run, **columns)


def with_irspack(tables: dict[int, Any], truth: Any) -> dict[str, float]:
    from irspack.evaluation.evaluate_df_to_df import evaluate_recommendation_df

    found = {}
    for k, table in tables.items():
        theirs = evaluate_recommendation_df(table, truth, "user_id", "item_id")
        found |= {f"{ours}@{k}": theirs[other] for ours, other in IRSPACK.items() if other in theirs}
    return found


def with_implicit(rows: Any, relevant: Any, threads: int) -> dict[str, float]:
    from implicit.evaluation import ranking_metrics_at_k

    model = SimpleNamespace(recommend=lambda users, _, N: (rows[users, :N], None))
    k = CUTOFFS[-1]
    options = {"K": k, "show_progress": False, "num_threads": threads}
    found = ranking_metrics_at_k(model, relevant, relevant, **options)
    return {f"map@{k}": found["map"], f"ndcg@{k}": found["ndcg"]}


class RecTools:
    """RecTools under a Python that has it, which is asked once a round and tells its seconds."""

    def __init__(self, python: str, lists: pl.DataFrame, test: pl.DataFrame, folder: Path) -> None:
        columns = {f"lists_{c}": lists[c].to_numpy() for c in ("user_id", "item_id", "rank")}
        columns |= {f"test_{c}": test[c].to_numpy() for c in ("user_id", "item_id")}
        np.savez(folder / "columns.npz", **columns)
        command = [python, str(Path(__file__).with_name("_rectools.py")), str(folder / "columns.npz")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def once(self) -> tuple[float, dict[str, float]]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("once\n")
        self.process.stdin.flush()
        if not (line := self.process.stdout.readline()):
            raise SystemExit("RecTools ended; its message is above")
        seconds, found = json.loads(line)
        return seconds, found


def timed(step: Callable[[], dict[str, float]]) -> Callable[[], tuple[float, dict[str, float]]]:
    def run() -> tuple[float, dict[str, float]]:
        found: dict[str, float] = {}
        seconds = seconds_of(lambda: found.update(step()))
        return seconds, found

    return run


def steps_of(args: argparse.Namespace, folder: Path) -> dict[str, Callable[[], tuple[float, dict[str, float]]]]:
    """Everything to time, by name."""
    lists, test = problem(args.users, args.items, CUTOFFS[-1], args.relevant)
    rows, relevant = arrays(lists, test, args.users, args.items)
    steps = {
        "cofactor, tables": timed(partial(with_cofactor, lists, test)),
        "cofactor, arrays": timed(partial(with_cofactor_rows, rows, relevant)),
    }
    if "implicit" in args.peers:
        steps["implicit, arrays"] = timed(partial(with_implicit, rows, relevant, args.threads))
    if "rectools" in args.peers:
        steps["RecTools, tables"] = RecTools(args.rectools, lists, test, folder).once
    if "ranx" in args.peers:
        begin = time.perf_counter()
        given = prepared_for_ranx(lists, test)
        print(f"ranx: {time.perf_counter() - begin:.1f} s of preparing, not counted below")
        steps["ranx, tables"] = timed(partial(with_ranx, *given))
    if "irspack" in args.peers:
        tables = {k: lists.filter(pl.col("rank") <= k).to_pandas() for k in CUTOFFS}
        steps["irspack, tables"] = timed(partial(with_irspack, tables, test.to_pandas()))
    print(f"{len(lists):,} places, {len(test):,} relevant pairs, {args.threads} threads, CPU level {native.level}\n")
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=138_493)
    parser.add_argument("--items", type=int, default=26_744)
    parser.add_argument("--relevant", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slow-rounds", type=int, default=1, help="of ranx and irspack")
    parser.add_argument("--threads", type=int, default=available_threads())
    parser.add_argument("--rectools", default=sys.executable, help="a Python that has RecTools")
    peers = ["rectools", "ranx", "irspack", "implicit"]
    parser.add_argument("--peers", nargs="*", choices=peers, default=peers)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        steps = steps_of(args, Path(folder))
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        found: dict[str, dict[str, float]] = {}
        for turn in range(args.rounds + 1):  # the first, in which threads start and code is compiled, is not counted
            for name, step in steps.items():
                slow = name.startswith(("ranx", "irspack"))
                if slow and turn > args.slow_rounds:
                    continue
                took, found[name] = step()
                if turn > 0:
                    seconds[name].append(took)
    print_header(["library", "metrics", "s", "times cofactor", "largest difference"], n_texts=1)
    for name, times in seconds.items():
        ours = f"cofactor, {name.split(', ')[1]}"
        off = max((abs(v - found[ours][metric]) for metric, v in found[name].items()), default=0.0)
        n = 4 if name.startswith("implicit") else len(found[name])
        median = statistics.median(times)
        print_row(name, n, f"{median:.3f}", f"{median / statistics.median(seconds[ours]):.1f}", f"{off:.0e}")
        if off > 1e-6:
            raise SystemExit(f"{name} and cofactor differ where their definitions agree")


if __name__ == "__main__":
    main()

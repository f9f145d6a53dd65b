"""``SessionKNN`` on published splits: its speed, and how its parameters were chosen.

    python benchmarks/session_knn.py --data FOLDER         # seconds of a fit, and of a thousand queries
    python benchmarks/session_knn.py --data FOLDER --tune  # around the chosen ones, on training sessions held out
    python benchmarks/session_knn.py --data FOLDER --cut   # the learned `repeat` beside constants, on cuts of train

FOLDER (or the environment variable COFACTOR_DATA) holds ``session_diginetica`` and ``session_yoochoose1_64``, the
splits of SR-GNN (Wu et al. 2019) as whole sessions in Parquet. What was seen may come again; P@20 is the share of tests
whose next item is among the first 20 of all items. Its accuracy, and that of other models, is in
``benchmarks/published``. Tuning never reads a test file: the last training sessions, as many as the test has, are held
out and turned into tests. There is no peer: we know of no package with such a model; session-rec, the framework of the
V-SkNN papers, is a repository of scripts.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from _measure import print_header, print_row, seconds_of

import cofactor as cf
from cofactor.datasets import NextItem, next_item, next_item_tests
from cofactor.evaluation.experiment import Experiment

if TYPE_CHECKING:
    from cofactor.models import Recommender

METRICS = ("hit_rate@20", "mrr@20")

# Sessions of the test, which has one test for each of their events but the first.
N_TEST_SESSIONS = {"session_diginetica": 15_963, "session_yoochoose1_64": 15_324}

GRID: dict[str, tuple[Any, ...]] = {
    "neighbours": (100, 200, 500, 1000),
    "sample_size": (1000, 2500, 5000),
    "lambda1": (0.7, 1.0, 1.4, 2.0, 3.0),
    "lambda2": (30_000, 60_000, 100_000, 150_000, None),
    "lambda3": (1.0, 1.4, 2.0, 3.0, 4.0, 6.0),
    "similarity": ("dot", "cosine"),
    "idf": (0, 1, 2, 3, 4, 5),
    "candidate_idf": (0, 0.5, 1.0, 1.5),
    "backward": (0.1, 0.25, 0.5, 0.75, 1.0),
    "repeat": (0.05, 0.1, 0.15, 0.3, 0.6, 1.0, 1.5),
}


def read(name: str, folder: Path) -> NextItem:
    return next_item(folder / name / "train_sessions.parquet", folder / name / "test.parquet")


def held_out(task: NextItem, n_sessions: int) -> NextItem:
    """The same protocol inside train: the last sessions become tests, without the items that only they have."""
    ids = task.train.frame.select(pl.col("session").unique().sort()).collect()["session"]
    first = ids[-n_sessions]
    train = task.train.filter(pl.col("session") < first)
    known = train.frame.select(pl.col("item_id").unique()).collect()
    later = task.train.filter(pl.col("session") >= first)
    later = later.with_frame(later.frame.join(known.lazy(), on="item_id", how="semi", maintain_order="left"))
    return NextItem(train, *next_item_tests(later))


def with_repeats(task: NextItem, share: float) -> cf.Events:
    """Training sessions of which so many next items were in the session before.

    Sessions that have such items, or those that have least of them, are left out until that is so.
    """
    log = task.train.collect()
    first = pl.struct("session", "item_id").is_first_distinct()
    of = log.group_by("session", maintain_order=True).agg(n=pl.len() - 1, again=(~first).sum())
    n, again = (of[name].to_numpy().astype(np.int64) for name in ("n", "again"))
    too_many = again.sum() > share * n.sum()
    at_random = np.random.default_rng(0).permutation(len(n))
    out = at_random[again[at_random] > 0] if too_many else np.lexsort((at_random, again / np.maximum(n, 1)))
    left = (again.sum() - np.cumsum(again[out])) / np.maximum(n.sum() - np.cumsum(n[out]), 1)
    reached = np.flatnonzero(left <= share if too_many else left >= share)
    gone = of["session"].gather(out[: reached[0] + 1 if len(reached) else len(out)])
    return task.train.with_frame(log.filter(~pl.col("session").is_in(gone.implode())))


def cuts(name: str, task: NextItem) -> None:
    """The learned ``repeat`` beside constants, where the next item was in the session more and less often."""
    print(f"\n{name}, sessions of train left out until the next item was in the session that often\n")
    print_header(["share", "tests", "repeat", "P@20", "MRR@20"], 1)
    for share in (0.05, 0.25, 0.45):
        train = with_repeats(task, share)
        inner = held_out(NextItem(train, task.prefixes, task.targets), train_sessions(train) // 10)
        seen = inner.prefixes.join(inner.targets, on=["user_id", "item_id"]).select("user_id").n_unique()
        x = inner.train.interactions()
        for repeat in (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, None):
            model = cf.SessionKNN(repeat=repeat).fit(x)
            label = f"learned: {model.repeat_:g}" if repeat is None else f"{repeat:g}"
            figures = (f"{v:.2f}" for v in percent(model, inner))
            print_row(f"{seen / len(inner.targets):.1%}", f"{len(inner.targets):,}", label, *figures)


def train_sessions(train: cf.Events) -> int:
    return int(train.frame.select(pl.col("session").n_unique()).collect().item())


def percent(model: Recommender, task: NextItem) -> tuple[float, float]:
    lists = model.recommend_for(task.prefixes, k=20, exclude_seen=False)
    hit, mrr = cf.evaluate(lists, task.targets, METRICS, n_bootstrap=0)["value"]
    return 100 * hit, 100 * mrr


def tune(name: str, task: NextItem) -> None:
    """One parameter after the other around the chosen ones."""
    inner = held_out(task, N_TEST_SESSIONS[name])
    x, best = inner.train.interactions(), cf.SessionKNN(**chosen(name))
    print(f"\n{name}: {len(inner.targets):,} tests held out of train; chosen: {chosen(name)}\n")
    print_header(["parameter", "value", "P@20", "MRR@20"], 2)
    print_row("", "", *(f"{v:.2f}" for v in percent(best.fit(x), inner)))
    for parameter, values in GRID.items():
        for value in (*values, None) if parameter == "repeat" else values:
            if value != getattr(best, parameter):
                model = cf.SessionKNN(**{**best.params(), parameter: value}).fit(x)
                print_row(parameter, value, *(f"{v:.2f}" for v in percent(model, inner)))


def chosen(name: str) -> dict[str, Any]:
    """The parameters that benchmarks/published has."""
    return Experiment.read(Path(__file__).parent / "published" / f"{name}.toml").models["SessionKNN"].parameters


def speed(name: str, task: NextItem) -> None:
    x, model = task.train.interactions(), cf.SessionKNN(**chosen(name))
    some = task.prefixes.filter(pl.col("user_id") < 5000)
    fit = seconds_of(lambda: model.fit(x))
    asked = np.median([seconds_of(lambda: model.recommend_for(some, k=20, exclude_seen=False)) for _ in range(3)])
    print_header(["split", "fit, s", "1,000 queries, s"], 1)
    print_row(name, f"{fit:.2f}", f"{asked / 5:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("COFACTOR_DATA"), help="folder of the data sets")
    parser.add_argument("--only", choices=list(N_TEST_SESSIONS), help="one data set instead of both")
    parser.add_argument("--tune", action="store_true", help="show the parameters on held-out training sessions")
    parser.add_argument("--cut", action="store_true", help="show `repeat` on cuts of the training sessions")
    args = parser.parse_args()
    if args.data is None:
        parser.error("give --data FOLDER or set COFACTOR_DATA")
    for name in [args.only] if args.only else N_TEST_SESSIONS:
        (tune if args.tune else cuts if args.cut else speed)(name, read(name, Path(args.data)))


if __name__ == "__main__":
    main()

"""Next items of sessions on published splits, beside the published numbers.

    python benchmarks/session_knn.py --data FOLDER         # fit with the chosen parameters, report on the test split
    python benchmarks/session_knn.py --data FOLDER --tune  # around the chosen ones, on training sessions held out
    python benchmarks/session_knn.py --data FOLDER --cut   # the learned `repeat` beside constants, on cuts of train

FOLDER (or the environment variable COFACTOR_DATA) holds ``session_diginetica`` and ``session_yoochoose1_64``, the
splits of SR-GNN (Wu et al. 2019) as whole sessions in Parquet. What was seen may come again; P@20 is the share of tests
whose next item is among the first 20 of all items. Tuning never reads a test file: the last training sessions, as many
as the test has, are held out and turned into tests. There is no peer in the table: we know of no package with
such a model; session-rec, the framework of the V-SkNN papers, is a repository of scripts.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from _measure import print_header, print_row, seconds_of

import cofactor as cf
from cofactor.datasets import NextItem, next_item, next_item_tests

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cofactor.models import Recommender

METRICS = ("hit_rate@20", "mrr@20")

# P@20 and MRR@20 in percent: GCE-GNN (Wang et al. 2020) for Diginetica, SR-GNN (Wu et al. 2019) for Yoochoose.
PUBLISHED = {
    "session_diginetica": {
        "POP": (0.93, 0.21),
        "Item-KNN": (35.75, 11.57),
        "S-POP": (21.06, 13.68),
        "GRU4Rec": (29.45, 8.33),
        "SR-GNN": (50.73, 17.59),
        "GCE-GNN": (54.22, 19.04),
    },
    "session_yoochoose1_64": {
        "POP": (6.71, 1.65),
        "S-POP": (30.44, 18.35),
        "Item-KNN": (51.60, 21.81),
        "GRU4Rec": (60.64, 22.89),
        "SR-GNN": (70.57, 30.94),
    },
}
# Sessions of the test, which has one test for each of their events but the first.
N_TEST_SESSIONS = {"session_diginetica": 15_963, "session_yoochoose1_64": 15_324}

# Chosen with --tune, P@20 + 1.5 MRR@20, by turns of one parameter each; lambda2 counts sessions, as there are no times.
CHOSEN: dict[str, dict[str, Any]] = {
    "session_diginetica": {
        "neighbours": 500,
        "sample_size": 2500,
        "lambda1": 2.0,
        "lambda2": 150_000,
        "lambda3": 4.0,
        "idf": 4,
        "candidate_idf": 1.5,
        "backward": 0.75,
        "repeat": 1.0,
    },
    "session_yoochoose1_64": {
        "neighbours": 1500,
        "sample_size": 5000,
        "lambda1": 1.0,
        "lambda2": 60_000,
        "lambda3": 1.4,
        "idf": 4,
        "candidate_idf": 1.0,
        "backward": 0.5,
        "repeat": 0.1,
    },
}
# Beside SessionKNN's 1, by scores: chosen on every other of the same held-out tests, of .02, .05, .1, .15 and .2.
FACTORS_WEIGHT = {"session_diginetica": 0.05, "session_yoochoose1_64": 0.1}
STAN = {"lambda1": 1.4, "lambda3": 2.0, "similarity": "cosine", "idf": 0, "candidate_idf": 0}
STAN |= {"backward": 1.0, "repeat": 1.0}
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
    x, chosen = inner.train.interactions(), cf.SessionKNN(**CHOSEN[name])
    print(f"\n{name}: {len(inner.targets):,} tests held out of train; chosen: {CHOSEN[name]}\n")
    print_header(["parameter", "value", "P@20", "MRR@20"], 2)
    print_row("", "", *(f"{v:.2f}" for v in percent(chosen.fit(x), inner)))
    for parameter, values in GRID.items():
        for value in (*values, None) if parameter == "repeat" else values:
            if value != getattr(chosen, parameter):
                model = cf.SessionKNN(**{**chosen.params(), parameter: value}).fit(x)
                print_row(parameter, value, *(f"{v:.2f}" for v in percent(model, inner)))


def models(name: str) -> Iterator[tuple[str, Recommender]]:
    yield "`Popular`", cf.Popular()
    for other, params in (("CoVisitation", {}), ("ItemKNN", {})):
        if hasattr(cf, other):
            yield f"`{other}`", getattr(cf, other)(**params)
    yield "`SessionKNN`, STAN's factors 1 and 3, cosine", cf.SessionKNN(**STAN)
    yield "`SessionKNN`, defaults", cf.SessionKNN()
    yield "**`SessionKNN`**", cf.SessionKNN(**CHOSEN[name])
    both = cf.SessionKNN(**CHOSEN[name]), cf.ItemPairsMF()
    yield "**`Blend`** of it and `ItemPairsMF`", cf.Blend(*both, weights=[1, FACTORS_WEIGHT[name]], by="score")


def report(name: str, task: NextItem) -> None:
    x = task.train.interactions()
    some = task.prefixes.filter(pl.col("user_id") < 5000)
    rows: dict[str, tuple[tuple[float, float], str, str]] = {
        label: (numbers, "", "") for label, numbers in PUBLISHED[name].items()
    }
    for label, model in models(name):
        begin = time.perf_counter()
        model.fit(x)
        fit = time.perf_counter() - begin
        numbers = percent(model, task)
        asked = np.median([seconds_of(lambda: model.recommend_for(some, k=20, exclude_seen=False)) for _ in range(3)])  # noqa: B023
        rows[label] = (numbers, f"{fit:.2f}", f"{asked / 5:.3f}")
    print(f"\n{name}: {len(task.targets):,} tests, {CHOSEN[name]}\n")
    print_header(["model", "P@20", "MRR@20", "fit, s", "1,000 queries, s"], 1)
    for label, (numbers, fit, asked) in sorted(rows.items(), key=lambda row: row[1][0][1]):
        print_row(label, *(f"{v:.2f}" for v in numbers), fit, asked)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("COFACTOR_DATA"), help="folder of the data sets")
    parser.add_argument("--only", choices=list(PUBLISHED), help="one data set instead of both")
    parser.add_argument("--tune", action="store_true", help="show the parameters on held-out training sessions")
    parser.add_argument("--cut", action="store_true", help="show `repeat` on cuts of the training sessions")
    args = parser.parse_args()
    if args.data is None:
        parser.error("give --data FOLDER or set COFACTOR_DATA")
    for name in [args.only] if args.only else PUBLISHED:
        (tune if args.tune else cuts if args.cut else report)(name, read(name, Path(args.data)))


if __name__ == "__main__":
    main()

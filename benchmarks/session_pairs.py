"""Consecutive pairs of sorted events: Sessions.pairs beside the grouped expression of polars, and a shift of NumPy.

    python benchmarks/session_pairs.py                       # 50 M events of sessions of 17 on average
    python benchmarks/session_pairs.py --events 216_000_000  # without --grouped less memory is needed

Every way runs twice in a fresh process: "first" includes what the system needs to hand out memory. "pairs" are made of
sessions that are there, "log to pairs" of a frame with a session and an item for each event,
``read_events(...).sessions().pairs()``; the grouped expression is ``pl.col("item").shift(-1).over("session")`` on the
same frame. Peak memory is what both runs added at most.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from _measure import in_fresh_process, peak_memory, print_header, print_row, seconds_of

import cofactor as cf
from cofactor.data.sessions import Sessions

if TYPE_CHECKING:
    from collections.abc import Callable

N_ITEMS, LENGTH = 1_855_603, 17


def sessions(n: int) -> Sessions:
    rng = np.random.default_rng(0)
    indptr = np.concatenate([[0], np.cumsum(rng.geometric(1 / LENGTH, n // LENGTH))]).astype(np.int64)
    return Sessions(indptr, rng.integers(0, N_ITEMS, indptr[-1], dtype=np.int32), N_ITEMS)


def frame(n: int) -> pl.DataFrame:
    s = sessions(n)
    rows = np.repeat(np.arange(s.n_sessions, dtype=np.int32), np.diff(s.indptr))
    return pl.DataFrame({"session": rows, "item": s.items})


def pairs(args: argparse.Namespace) -> Callable[[], object]:
    s = sessions(args.events)
    return lambda: s.pairs(threads=args.threads).items


def to_parquet(args: argparse.Namespace) -> Callable[[], object]:
    s = sessions(args.events)

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            s.pairs(threads=args.threads).to_parquet(Path(folder) / "pairs.parquet")

    return run


def from_log(args: argparse.Namespace) -> Callable[[], object]:
    table = frame(args.events)
    return lambda: cf.read_events(table, user=None, session="session", item="item").sessions().pairs().items


def grouped(args: argparse.Namespace) -> Callable[[], object]:
    table = frame(args.events)
    return lambda: table.with_columns(next_item=pl.col("item").shift(-1).over("session")).drop_nulls()


def shifted(args: argparse.Namespace) -> Callable[[], object]:
    table = frame(args.events)
    session, item = table["session"].to_numpy(), table["item"].to_numpy()

    def run() -> None:
        same = session[1:] == session[:-1]
        item[:-1][same], item[1:][same]

    return run


CONTENDERS = {
    "pairs": pairs,
    "pairs, to Parquet": to_parquet,
    "log to pairs": from_log,
    "NumPy, shifted": shifted,
    "polars, grouped": grouped,
}


def once(args: argparse.Namespace) -> None:
    run = CONTENDERS[args.child](args)
    before = peak_memory()
    first, second = seconds_of(run), seconds_of(run)
    print(json.dumps({"seconds": second, "first": first, "peak": peak_memory() - before}))


def compare(args: argparse.Namespace) -> None:
    held = 8 * (args.events - args.events // LENGTH)
    print(f"about {args.events:,} events; the pairs are {held / 1e9:.2f} GB\n")
    names = [name for name in CONTENDERS if args.grouped or name != "polars, grouped"]
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    options = ["--events", args.events] + ([] if args.threads is None else ["--threads", args.threads])
    for _ in range(args.rounds):
        for name in names:
            runs[name].append(in_fresh_process(__file__, "--child", name, *options))
    print_header(["", "first, s", "s", "M events/s", "times pairs", "more memory, GB"], 1)
    own = statistics.median(run["seconds"] for run in runs["pairs"])
    for name in names:
        seconds = statistics.median(run["seconds"] for run in runs[name])
        first = statistics.median(run["first"] for run in runs[name])
        peak = statistics.median(run["peak"] for run in runs[name])
        speed = f"{args.events / seconds / 1e6:.1f}"
        print_row(name, f"{first:.2f}", f"{seconds:.2f}", speed, f"{seconds / own:.1f}", f"{peak / 1e9:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=50_000_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--grouped", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    (once if args.child else compare)(args)


if __name__ == "__main__":
    main()

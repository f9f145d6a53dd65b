"""What the look for leaks costs: a log of 17 million events and a test of 3 million, of 138,000 users and 27,000 items.

    python benchmarks/leaks.py
    python benchmarks/leaks.py --ids text --split random   # where nearly all test events are before their user's last

Seconds of the clock and of the CPU, each round; the log is in memory.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
import polars as pl
from _measure import print_header, print_row

import cofactor as cf

N_EVENTS, N_USERS, N_ITEMS, DAYS = 20_000_000, 138_000, 27_000, 365
ROUNDS = 5


def log(ids: str) -> cf.Events:
    rng = np.random.default_rng(0)
    users = (rng.pareto(1.2, N_EVENTS) * 1000).astype(np.int64) % N_USERS
    items = (rng.pareto(0.8, N_EVENTS) * 200).astype(np.int64) % N_ITEMS
    seconds = 1_700_000_000 + rng.integers(0, DAYS * 86_400, N_EVENTS)
    frame = pl.DataFrame({"user_id": users, "item_id": items, "time": seconds})
    if ids == "text":
        frame = frame.with_columns(pl.format(f"{name}-{{}}", name).alias(name) for name in ("user_id", "item_id"))
    return cf.read_events(frame, user="user_id", item="item_id", time="time", time_unit="s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ids", choices=["integers", "text"], default="integers")
    parser.add_argument("--split", choices=["time", "random"], default="time")
    given = parser.parse_args()
    events = log(given.ids)
    split = cf.split.by_time(events, "56d") if given.split == "time" else cf.split.random(events, 0.15)
    train, test = (replace(side, frame=side.collect().lazy(), source=None) for side in (split.train, split.test))
    print_header([f"{given.ids}, split by {given.split}", "seconds", "seconds of the CPU"], n_texts=1)
    for turn in range(ROUNDS):
        begin = time.perf_counter(), time.process_time()
        found = cf.check_leaks(train, test)
        print_row(turn, f"{time.perf_counter() - begin[0]:.2f}", f"{time.process_time() - begin[1]:.2f}")
    print(found)


if __name__ == "__main__":
    main()

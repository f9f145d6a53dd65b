"""Kill -9 of a process that stores events: whatever it had acknowledged must be there.

    python benchmarks/store_kills.py                      # 100 kills, SQLite in a temporary folder
    python benchmarks/store_kills.py --kills 20 --store postgresql://me@host/test

A child process appends events from four threads and says of each, over a pipe, that it was acknowledged. It is killed
at a random moment between two of them or within one. Then the store is opened by another process and searched for every
event that was acknowledged; the next child goes on with the same store.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import struct
import tempfile
import threading
import time
from pathlib import Path

from cofactor.serve.events import check_event
from cofactor.serve.store import open_store

THREADS = 4
TOLD = struct.Struct("qq")  # thread, number of the event


def child(url: str, begin: int, pipe: int) -> None:
    """Append events, telling of each; never returns."""
    store = open_store(url)

    def write(thread: int) -> None:
        for n in range(begin, begin + 1_000_000):
            store.append([check_event(f"user-{thread}", n, event_type="'; DROP TABLE cofactor_events; --")])
            os.write(pipe, TOLD.pack(thread, n))

    threads = [threading.Thread(target=write, args=(t,), daemon=True) for t in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def acknowledged(pipe: int) -> set[tuple[int, int]]:
    """What the child told before its end."""
    data = b""
    while part := os.read(pipe, 1 << 16):
        data += part
    whole = len(data) // TOLD.size * TOLD.size
    return set(TOLD.iter_unpack(data[:whole]))


def main() -> None:
    """Kill, look, and go on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--store", help="address of an empty store; by default an SQLite file")
    parser.add_argument("--longest", type=float, default=0.1, help="seconds that a child lives after its first event")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    told: set[tuple[int, int]] = set()
    lost = killed_within = 0
    with tempfile.TemporaryDirectory() as folder:
        url = given.store or str(Path(folder) / "events.db")
        for kill in range(given.kills):
            reading, writing = os.pipe()
            if (process := os.fork()) == 0:
                os.close(reading)
                try:
                    child(url, kill * 1_000_000, writing)
                finally:
                    os._exit(1)
            os.close(writing)
            first = os.read(reading, TOLD.size)
            time.sleep(rng.uniform(0, given.longest))
            os.kill(process, signal.SIGKILL)
            _, status = os.waitpid(process, 0)
            assert os.WIFSIGNALED(status), "the child ended by itself"
            told |= {TOLD.unpack(first)} | acknowledged(reading)
            os.close(reading)
            with open_store(url, longest=10_000_000) as store:
                there = {(t, event.item) for t in range(THREADS) for event in store.history(f"user-{t}")}
            lost += bool(told - there)
            killed_within += any(n >= kill * 1_000_000 for _, n in there - told)
    print(
        f"{given.kills - lost} of {given.kills} kills lost none of {len(told):,} acknowledged events; {killed_within} "
        "fell between a commit and its answer"
    )
    raise SystemExit(1 if lost else 0)


if __name__ == "__main__":
    main()

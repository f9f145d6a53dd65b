"""Swaps of the model under full load, and kill -9 of workers under load: what clients notice.

    python benchmarks/swaps.py                      # 50 swaps, then 10 kills, two workers
    python benchmarks/swaps.py --swaps 5 --kills 2 --users 2000

Two models of the same users and items take turns in the watched folder's place, by ``POST /reload``, while lists are
asked for on 16 connections without a pause. Every answer must be one of 200, name a version that was served, and hold
that version's list of that user to the item. Then events are sent while workers are killed: only requests of the killed
worker may fail, and every event that was acknowledged must be in the store.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from _http_load import Load, load, request

import cofactor as cf
from cofactor.serve.store import open_store

K = 10


def models(n_users: int, n_items: int, factors: int) -> list[cf.FactorModel]:
    """Two models whose lists differ."""
    rng = np.random.default_rng(0)
    users, items = np.repeat(np.arange(n_users), 5), rng.integers(0, n_items, 5 * n_users)
    seen = cf.Interactions.from_frame({"user_id": [*users, 0], "item_id": [*items, n_items - 1]})
    made = []
    for _ in range(2):
        vectors = (rng.standard_normal((n, factors), np.float32) for n in (n_users, n_items))
        made.append(cf.FactorModel.from_vectors(*vectors, seen, user_ids=range(n_users), item_ids=range(n_items)))
    return made


def lists(model: cf.FactorModel) -> list[list[int]]:
    """The items of everybody's list, by user."""
    table = model.recommend(None, K)
    return table["item_id"].to_numpy().reshape(-1, K).tolist()  # type: ignore[no-any-return]


def ask(port: int, method: str, path: str, body: Any = None) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, None if body is None else json.dumps(body))
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{path}: {answer.status} {data[:300]!r}")
    return json.loads(data)


class Server:
    """``cofactor serve`` as a process."""

    def __init__(self, folder: Path, store: Path, workers: int) -> None:
        code = "from cofactor.cli import main; main()"
        options = ["--store", store, "--workers", str(workers), "--threads", "1", "--port", "0"]
        command = [sys.executable, "-c", code, "serve", folder, *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.port = int(line.rpartition(":")[2])
        self.wait()

    def wait(self) -> None:
        """Until a request is answered."""
        for _ in range(600):
            try:
                ask(self.port, "GET", "/health/ready")
                return
            except (OSError, RuntimeError, http.client.HTTPException):
                time.sleep(0.05)
        raise RuntimeError("the server does not become ready")

    def workers(self) -> list[int]:
        """Their process ids (Linux)."""
        pid = self.process.pid
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(60)


def swaps(server: Server, folder: Path, pair: list[cf.FactorModel], n: int, n_users: int) -> bool:
    """Let the models take turns; whether nobody noticed."""
    expected = [lists(model) for model in pair]
    turn = {ask(server.port, "GET", "/about")["models"][0]["version"]: 0}
    asked = [request("/recommend", json.dumps({"user": u, "k": K}).encode()) for u in range(n_users)]
    found: list[Load] = []
    done = threading.Event()

    def keep_asking() -> None:
        while not done.is_set():
            found.append(load(server.port, asked, connections=16, seconds=2.0, warm_up=0.0, keep=1 << 30))

    thread = threading.Thread(target=keep_asking)
    thread.start()
    seconds = []
    for swap in range(1, n + 1):
        pair[swap % 2].save(folder)
        begin = time.perf_counter()
        turn[ask(server.port, "POST", "/reload")["model"]["version"]] = swap % 2
        seconds.append(time.perf_counter() - begin)
    done.set()
    thread.join()
    statuses: dict[int, int] = {}
    mixed = 0
    for one in found:
        for status, count in one.statuses.items():
            statuses[status] = statuses.get(status, 0) + count
        for body in one.bodies:
            told = json.loads(body)
            if "lists" not in told:
                continue
            answer = told["lists"][0]
            items = [entry["item"] for entry in answer["items"]]
            mixed += items != expected[turn[told["model"]["version"]]][answer["user"]]
    broken = sum(one.broken for one in found)
    print(
        f"{n} swaps (median {np.median(seconds) * 1000:.0f} ms each): answers by status {statuses}, "
        f"{broken} broken connections, {mixed} lists that are not their version's"
    )
    return set(statuses) == {200} and not broken and not mixed


def kills(server: Server, store: Path, n: int) -> bool:
    """Kill workers while events are sent; whether all that was acknowledged is stored."""
    acknowledged: set[tuple[int, int]] = set()
    failed = refused = 0
    done = threading.Event()
    lock = threading.Lock()

    def send(user: int) -> None:
        nonlocal failed, refused
        n_sent = 0
        while not done.is_set():
            n_sent += 1
            try:
                ask(server.port, "POST", "/events", {"events": [{"user": user, "item": n_sent}]})
                with lock:
                    acknowledged.add((user, n_sent))
            except (OSError, http.client.HTTPException):
                failed += 1
            except RuntimeError as error:
                refused += 1
                print(error)

    threads = [threading.Thread(target=send, args=(10**6 + t,)) for t in range(8)]
    for thread in threads:
        thread.start()
    rng = random.Random(0)
    for _ in range(n):
        time.sleep(rng.uniform(0.3, 1.0))
        os.kill(rng.choice(server.workers()), signal.SIGKILL)
        server.wait()
    done.set()
    for thread in threads:
        thread.join()
    with open_store(store, longest=10**7) as opened:
        there = {(10**6 + t, event.item) for t in range(8) for event in opened.history(10**6 + t)}
    lost = len(acknowledged - there)
    print(
        f"{n} kills of a worker: {len(acknowledged):,} events acknowledged, {lost} of them lost; {failed} requests "
        f"ended with their worker, {refused} were refused"
    )
    return not lost and not refused


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swaps", type=int, default=50)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--items", type=int, default=27_000)
    parser.add_argument("--factors", type=int, default=64)
    given = parser.parse_args()
    pair = models(given.users, given.items, given.factors)
    with tempfile.TemporaryDirectory() as root:
        folder, store = Path(root) / "shop", Path(root) / "events.db"
        pair[0].save(folder)
        server = Server(folder, store, given.workers)
        try:
            fine = swaps(server, folder, pair, given.swaps, given.users)
            fine &= kills(server, store, given.kills) if given.kills else True
        finally:
            server.end()
    raise SystemExit(0 if fine else 1)


if __name__ == "__main__":
    main()

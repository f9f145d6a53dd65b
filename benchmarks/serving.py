"""A served model beside a FastAPI endpoint that returns a constant list: one worker, one core, client on another.

    pip install 'cofactor[serve,bench]' fastapi && python benchmarks/serving.py [--part lists ...]

The part ``peer`` takes skrecsys too, and runs only where it is asked for.

Loopback, bounded. The servers stand ready together and are asked in turns, for a second each, so that whatever else the
machine does falls on both; told are medians of ratios of requests a second, and of CPU time a request, which does not
count what others do. Data is synthetic: 30,000 users, 27,000 items, 1.5 million pairs, vectors of ImplicitALS.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import polars as pl
from _http_load import load, request

import cofactor as cf
from cofactor.serve.answers import Index
from cofactor.serve.messages import Event

HERE = Path(__file__).parent
N_USERS, N_ITEMS, N_PAIRS = 30_000, 27_000, 1_500_000
SERVER, CLIENT = 0, 1  # cores
CONNECTIONS = 64


class Server:
    """A process that listens, on a core of its own."""

    def __init__(self, command: list[str], ready: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        words = [word.replace("PORT", str(self.port)) for word in command]
        environment = os.environ | {"COFACTOR_NUM_THREADS": "1"}
        begun = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, *words], cwd=HERE, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.sched_setaffinity(self.process.pid, {SERVER})
        while not self._answers(ready):
            if self.process.poll() is not None:
                raise SystemExit(f"{' '.join(words)} ended with {self.process.returncode}")
            time.sleep(0.01)
        self.seconds_to_ready, self.cpu_to_ready = time.perf_counter() - begun, self.cpu()

    def _answers(self, path: str) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as sock:
                sock.sendall(request(path, headers={"Connection": "close"}))
                return sock.recv(64).startswith(b"HTTP/1.1 200")
        except OSError:
            return False

    def cpu(self) -> float:
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def of_model(folder: Path) -> Server:
    return Server(
        ["-c", "from cofactor.cli import main; main()", "serve", str(folder), "--port", "PORT"], "/health/ready"
    )


def constant() -> Server:
    command = ["-m", "uvicorn", "_constant_list:app", "--port", "PORT", "--no-access-log", "--log-level", "error"]
    return Server([*command, "--loop", "uvloop", "--http", "httptools"], "/constant")


def in_turns(servers: dict[str, tuple[Server, list[bytes]]], rounds: int, seconds: float) -> dict[str, list[tuple]]:
    """(requests a second, CPU microseconds a request) of each server and round."""
    found: dict[str, list[tuple]] = {name: [] for name in servers}
    for at in range(rounds + 1):
        for name, (server, requests) in servers.items():
            begun = server.cpu()
            told = load(server.port, requests, seconds=seconds, warm_up=0, connections=CONNECTIONS)
            if at:  # the first round warms up
                cpu = (server.cpu() - begun) / max(len(told.latencies), 1)
                found[name].append((told.per_second, 1e6 * cpu))
            assert set(told.statuses) == {200}, told.statuses
    return found


def ratio(found: dict[str, list[tuple]], name: str, base: str) -> str:
    speed = median(a[0] / b[0] for a, b in zip(found[name], found[base], strict=True))
    cpu = median(b[1] / a[1] for a, b in zip(found[name], found[base], strict=True))
    own = median(a[1] for a in found[name])
    return f"{speed:.2f}x the requests a second, {cpu:.2f}x as many by CPU time ({own:.0f} us a request)"


def models(folder: Path) -> dict[str, Path]:
    """Of 128 factors and of 64, fitted once."""
    found = {f"{factors}": folder / f"ials{factors}" for factors in (128, 64)}
    if not all((path / "model.json").exists() for path in found.values()):
        x = cf.datasets.synthetic(n_users=N_USERS, n_items=N_ITEMS, n_interactions=N_PAIRS, factors=32, seed=0)
        for factors, path in found.items():
            model = cf.ImplicitALS(int(factors), iterations=3, regularization=0.01, alpha=10.0, seed=0).fit(x)
            model.save(path)
    return found


def known_requests(n: int = 20_000) -> list[bytes]:
    rng = random.Random(0)
    return [request("/recommend", b'{"user":%d,"k":10}' % rng.randrange(N_USERS)) for _ in range(n)]


def history_requests(n: int = 5_000) -> list[bytes]:
    rng = random.Random(0)
    histories = ([{"item": i} for i in rng.sample(range(N_ITEMS), 20)] for _ in range(n))
    return [request("/recommend", json.dumps({"history": h, "k": 10}).encode()) for h in histories]


def lists(folder: Path, rounds: int, seconds: float) -> None:
    """Known users and fold-in beside the constant list, and latencies at 70 % of the load."""
    saved = models(folder)
    fixed = constant()
    open_servers = {
        "constant": (fixed, [request("/constant")]),
        "constant, typed": (fixed, [request("/typed")]),
        "known": (of_model(saved["128"]), known_requests()),
        "fold-in": (of_model(saved["64"]), history_requests()),
    }
    try:
        found = in_turns(open_servers, rounds, seconds)
        for name, per in found.items():
            print(f"{name}: {median(p[0] for p in per):,.0f} requests/s, {median(p[1] for p in per):.0f} us CPU each")
        for base in ("constant", "constant, typed"):
            print(f"known users, {N_ITEMS:,} items x 128, beside {base}: {ratio(found, 'known', base)}; target 1.7")
            print(f"fold-in of 20 items, 64 factors, beside {base}: {ratio(found, 'fold-in', base)}; target 0.85")
        tails({name: open_servers[name] for name in ("constant", "known")}, rounds, seconds)
    finally:
        for server in {id(server): server for server, _ in open_servers.values()}.values():
            server.close()


def tails(servers: dict[str, tuple[Server, list[bytes]]], rounds: int, seconds: float) -> None:
    """Latencies at 70 % of what each can do, in turns: the constant list's are the machine's own share.

    For known users at 70 % of 1.7 times the constant list's load too, which is the least that is wanted of them.
    """
    tries: dict[str, list[tuple]] = {}
    for _ in range(rounds):
        most = {
            name: load(server.port, requests, seconds=seconds, warm_up=0.1, connections=CONNECTIONS).per_second
            for name, (server, requests) in servers.items()
        }
        at = {f"{name} at 70 % of its load": (name, 0.7 * most[name]) for name in servers}
        at["known at 70 % of 1.7 times the constant's"] = ("known", 0.7 * 1.7 * most["constant"])
        for what, (name, rate) in at.items():
            server, requests = servers[name]
            told = load(server.port, requests, seconds=2 * seconds, rate=rate)
            tries.setdefault(what, []).append((*told.ms(99, 50), round(rate)))
    for what, told in tries.items():
        p99, p50, rate = (sorted(one[at] for one in told) for at in range(3))
        print(
            f"{what} ({median(rate):,.0f}/s): p50 {median(p50)} ms, p99 {median(p99)} ms ({p99[0]} to {p99[-1]}) in "
            f"the median of {rounds} turns" + ("; target p99 5" if what.startswith("known") else "")
        )


def peer(folder: Path, rounds: int, seconds: float) -> None:
    """An item kNN beside skrecsys' recipe for one, which tells ids alone; both leave out what was seen."""
    x = cf.datasets.synthetic(n_users=N_USERS, n_items=N_ITEMS, n_interactions=N_PAIRS, factors=32, seed=0)
    x.to_frame().select("user_id", "item_id").write_parquet(folder / "pairs.parquet")
    cf.ItemKNN(similarity="cosine", neighbours=50).fit(x).save(folder / "knn")
    os.environ["PAIRS"] = str((folder / "pairs.parquet").resolve())
    command = ["-m", "uvicorn", "_skrecsys_list:app", "--port", "PORT", "--no-access-log", "--log-level", "error"]
    paths = [f"/users/{random.Random(at).randrange(N_USERS)}/recommendations" for at in range(20_000)]
    servers = {
        "skrecsys": (
            Server([*command, "--loop", "uvloop", "--http", "httptools"], paths[0]),
            list(map(request, paths)),
        ),
        "item kNN": (of_model(folder / "knn"), known_requests()),
    }
    try:
        found = in_turns(servers, rounds, seconds)
        for name, per in found.items():
            print(f"{name}: {median(p[0] for p in per):,.0f} requests/s, {median(p[1] for p in per):.0f} us CPU each")
        print(f"item kNN beside skrecsys' recipe: {ratio(found, 'item kNN', 'skrecsys')}; target 1.5")
    finally:
        for server, _ in servers.values():
            server.close()


def equal(folder: Path, n: int = 10_000) -> None:
    """Served lists of 10,000 users and of 10,000 histories beside those of tables, with filters of every kind."""
    saved, rng = models(folder), np.random.default_rng(0)
    for kind, path in (("users", saved["128"]), ("histories", saved["64"])):
        model = cf.load(path)
        index, known = Index(model).warm(), model.interactions_.users.ids
        users = known.gather(rng.choice(len(known), n, replace=False)).to_list()
        allowed = np.sort(rng.choice(len(index.items), len(index.items) // 3, replace=False)).astype(np.int32)
        exclude = np.sort(rng.choice(len(index.items), 500, replace=False)).astype(np.int32)
        out = pl.DataFrame({"item_id": [index.items.ids[row] for row in exclude]})
        pairs = pl.DataFrame({"user_id": users}).join(out, how="cross")
        some = [index.items.ids[row] for row in allowed]
        histories = [rng.choice(len(index.items), 20, replace=False) for _ in users]
        events = [[Event(item=index.items.ids[row]) for row in rows.tolist()] for rows in histories]
        table = pl.DataFrame(
            {"user_id": np.repeat(users, 20), "item_id": [event.item for history in events for event in history]}
        )
        for exclude_seen in (True, False):
            for rows, left_out in ((None, None), (allowed, None), (allowed, exclude)):
                options = {"k": 10, "exclude_seen": exclude_seen, "items": None if rows is None else some}
                if kind == "users":
                    wanted = model.recommend(users, exclude=None if left_out is None else pairs, **options)
                    asked = [index.question(user, None, fallback=False) for user in users]
                elif left_out is None:
                    wanted = model.recommend_for(table, **options)
                    asked = [index.question(None, history, fallback=False) for history in events]
                else:
                    continue  # recommend_for takes no pairs to leave out
                for question in asked:
                    question.exclude_seen, question.allowed, question.exclude = exclude_seen, rows, left_out
                found = []
                while asked:  # batches of any size
                    size = int(rng.integers(1, 100))
                    found += index.recommend(asked[:size])
                    del asked[:size]
                lists = [(u, index.items.ids[r]) for u, a in zip(users, found, strict=True) for r in a.rows]
                scores = np.array([score for answer in found for score in answer.scores], np.float32)
                same = lists == list(zip(wanted["user_id"], wanted["item_id"], strict=True))
                exact = same and bool((scores == wanted["score"].to_numpy()).all())
                told = f"exclude_seen={exclude_seen}, items={rows is not None}, exclude={left_out is not None}"
                print(
                    f"{n:,} {kind}, {told}: lists {'equal' if same else 'DIFFER'}, "
                    f"scores {'equal' if exact else 'differ'}"
                )


def ready(folder: Path, rounds: int) -> None:
    """From start to ready."""
    saved = models(folder)
    times = []
    for _ in range(max(2, rounds // 2)):
        server = of_model(saved["64"])
        times.append((server.seconds_to_ready, server.cpu_to_ready))
        server.close()
    print(f"start to ready: {min(times)[0]:.2f} s, CPU {min(t[1] for t in times):.2f} s; target 2")


def memory(folder: Path, n: int) -> None:
    """Memory over many requests of both kinds."""
    server = of_model(models(folder)["64"])
    every = [*known_requests(), *history_requests(20_000)]
    try:
        sizes, done = [], 0
        while done < n:
            done += len(load(server.port, every, seconds=5, warm_up=0).latencies)
            sizes.append((done, server.memory() >> 10))
            print(f"  {done:,} requests: {sizes[-1][1]:,} KiB", flush=True)
        begin = next(size for done, size in sizes if done >= n // 10)
        print(f"memory over {done:,} requests: {(sizes[-1][1] - begin) / begin:+.2%} since the first tenth")
    finally:
        server.close()


def large() -> None:
    """One query among 1.86 million items x 32, without HTTP: the time of one call."""
    rng = np.random.default_rng(0)
    n_items, n_users, factors = 1_860_000, 2_000, 32
    centres = rng.standard_normal((2_000, factors), np.float32)
    items = centres[rng.integers(0, len(centres), n_items)] + 0.3 * rng.standard_normal((n_items, factors), np.float32)
    users = items[rng.integers(0, n_items, n_users)]
    seen = {"user_id": np.repeat(np.arange(n_users), 20), "item_id": rng.integers(0, n_items, 20 * n_users)}
    model = cf.FactorModel.from_vectors(users, items, seen, user_ids=np.arange(n_users), item_ids=np.arange(n_items))
    begun = time.perf_counter()
    index = Index(model).warm()
    print(f"1.86 M items x 32: the index is made in {time.perf_counter() - begun:.1f} s")
    times = []
    for user in range(n_users):
        begun = time.perf_counter()
        index.recommend([index.question(user, None)])
        times.append(time.perf_counter() - begun)
    p50, p99 = np.percentile(times, (50, 99)) * 1000
    print(f"one query of 1.86 M items x 32: p50 {p50:.3f} ms, p99 {p99:.3f} ms; target p50 1.5")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="*", default=["lists", "equal", "ready", "large", "memory"])
    parser.add_argument("--folder", type=Path, help="where the fitted models are kept; by default nowhere")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--requests", type=int, default=1_000_000, help="of the part memory")
    given = parser.parse_args()
    os.sched_setaffinity(0, {CLIENT})
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        if "lists" in given.part:
            lists(folder, given.rounds, given.seconds)
        if "peer" in given.part:
            peer(folder, given.rounds, given.seconds)
        if "equal" in given.part:
            equal(folder)
        if "ready" in given.part:
            ready(folder, given.rounds)
        if "large" in given.part:
            large()
        if "memory" in given.part:
            memory(folder, given.requests)


if __name__ == "__main__":
    main()

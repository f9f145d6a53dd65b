"""Time co-visitation on a log with the shape of OTTO's, beside the usual self-join in polars.

    python benchmarks/covisitation.py --events 50_000_000               # cofactor, from a Parquet file and from arrays
    python benchmarks/covisitation.py --events 5_000_000 --self-join    # both, the same matrices
    python benchmarks/covisitation.py --events 20_000_000 --self-join --preset type_weighted   # takes 18 GB

Every run is a process of its own; seconds start after the imports, memory is the peak of the whole process. The log:
log-normal lengths of sessions (median 6, at most 495 events, as in OTTO's) and popularity of 1.8 M items, visits of a
session days apart, a quarter of its events repeating an item of it, items of a session mostly from one of 2,000
clusters; clicks, carts and orders of one month, in the order of sessions.

The self-join is written twice: in memory and chunk by chunk, as in the notebooks, and for all sessions at once by
polars' streaming engine.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from _measure import in_fresh_process, peak_memory, print_header, print_row

MONTH = 28 * 86_400
START = 1_659_304_800
TYPES, SHARES = ("clicks", "carts", "orders"), (0.898, 0.078, 0.024)
NEIGHBOURS = 50
PRESETS = ("type_weighted", "buy_to_buy", "time_weighted")
JOINED_SESSIONS = 100_000  # of a self-join


def write_log(path: Path, n_events: int, n_items: int = 1_800_000, seed: int = 0) -> None:
    """Write sessions chunk by chunk until there are enough events."""
    import pyarrow.parquet as pq

    rng = np.random.default_rng(seed)
    cluster = np.sort(rng.integers(0, 2000, n_items))
    shares = np.cumsum(np.exp(rng.normal(0, 1.8, n_items)))
    bounds = np.append(0.0, shares)[np.searchsorted(cluster, np.arange(2001))]
    ids = rng.permutation(n_items).astype(np.int32)
    writer, written, first = None, 0, 0
    while written < n_events:
        table = _sessions(rng, first, 200_000, shares, bounds, ids)[: n_events - written].to_arrow()
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
        written, first = written + len(table), first + 200_000
    if writer:
        writer.close()


def _sessions(
    rng: np.random.Generator, first: int, n: int, shares: np.ndarray, bounds: np.ndarray, ids: np.ndarray
) -> pl.DataFrame:
    lengths = np.clip(np.exp(rng.normal(np.log(6), 1.46, n)), 2, 495).astype(np.int64)
    starts = np.append(0, np.cumsum(lengths))
    total, row = int(starts[-1]), np.repeat(np.arange(n), lengths)
    at = np.arange(total) - starts[row]
    mine = rng.integers(0, len(bounds) - 1, n)[row]
    draw = rng.random(total)
    local = bounds[mine] + draw * (bounds[mine + 1] - bounds[mine])
    item = np.searchsorted(shares, np.where(rng.random(total) < 0.8, local, draw * shares[-1]))
    repeats = (rng.random(total) < 0.25) & (at > 0)
    item[repeats] = item[(starts[row] + (rng.random(total) * at).astype(np.int64))[repeats]]
    gap = np.where(
        rng.random(total) < 0.1,
        rng.exponential(1, total) * 2 * 86_400 / (1 + lengths / 15)[row],
        np.exp(rng.normal(3.5, 1.2, total)),
    )
    gap[at == 0] = 0
    since = np.cumsum(gap)
    seconds = rng.integers(0, MONTH, n)[row] + since - since[starts[:-1]][row]
    log = pl.DataFrame(
        {
            "session": (row + first).astype(np.int32),
            "aid": ids[np.minimum(item, len(ids) - 1)],
            "ts": (seconds * 1000).astype(np.int64) + START * 1000,
            "type": pl.Series(np.array(TYPES)[rng.choice(len(TYPES), total, p=SHARES)], dtype=pl.Enum(TYPES)),
        }
    )
    return log.filter(pl.col("ts") < (START + MONTH) * 1000)


def run_cofactor(path: str, preset: str) -> dict[str, Any]:
    """From the file to the matrix; a recommender takes the interactions as well."""
    import warnings

    import cofactor as cf

    warnings.simplefilter("ignore", cf.CofactorWarning)
    begin, cpu = time.perf_counter(), time.process_time()
    events = cf.read_events(path, user="session", item="aid", time="ts", event_type="type", time_unit="ms")
    sessions = events.sessions()
    read, cpu_read, memory = time.perf_counter(), time.process_time(), peak_memory()
    weights = getattr(cf.CoVisitation, preset)(neighbours=NEIGHBOURS).count(sessions)
    end, cpu_end = time.perf_counter(), time.process_time()
    return {
        "reading": read - begin,
        "counting": end - read,
        "seconds": end - begin,
        "cpu reading": cpu_read - cpu,
        "cpu counting": cpu_end - cpu_read,
        "cpu": cpu_end - cpu,
        "memory of reading": memory / 1e9,
        "nnz": weights.nnz,
        "sum": float(weights.values.sum(dtype=float)),
    }


def run_fit(path: str, preset: str) -> dict[str, Any]:
    """From the file to a recommender."""
    import warnings

    import cofactor as cf

    warnings.simplefilter("ignore", cf.CofactorWarning)
    begin, cpu = time.perf_counter(), time.process_time()
    events = cf.read_events(path, user="session", item="aid", time="ts", event_type="type", time_unit="ms")
    x = events.interactions()
    read = time.perf_counter()
    model = getattr(cf.CoVisitation, preset)(neighbours=NEIGHBOURS).fit(x)
    end = time.perf_counter()
    return {
        "reading": read - begin,
        "counting": end - read,
        "seconds": end - begin,
        "cpu": time.process_time() - cpu,
        "nnz": model.item_weights_.nnz,
    }


def run_polars(path: str, preset: str) -> dict[str, Any]:
    """Self-joins of chunks of sessions, in memory; the definition of ``CoVisitation``."""
    begin, cpu = time.perf_counter(), time.process_time()
    log, gap = _weighed(path, preset)
    parts = []
    for first in range(0, log["session"].max() + 1, JOINED_SESSIONS):
        mine = log.filter(pl.col("session").is_between(first, first + JOINED_SESSIONS - 1))
        parts.append(_joined(mine, gap, "in-memory"))
        if len(parts) == 5:
            parts = [pl.concat(parts).group_by("aid", "aid_y").agg(pl.col("w").sum())]
    total = pl.concat(parts).group_by("aid", "aid_y").agg(pl.col("w").sum())
    del parts
    return _kept(total, begin, cpu)


def run_streaming(path: str, preset: str) -> dict[str, Any]:
    """The same with all sessions at once, joined and summed by the streaming engine; the rest is quicker in memory."""
    begin, cpu = time.perf_counter(), time.process_time()
    return _kept(_joined(*_weighed(path, preset), "streaming"), begin, cpu)


def _weighed(path: str, preset: str) -> tuple[pl.DataFrame, int]:
    """Events that take part with their weights, and the longest gap."""
    log = pl.read_parquet(path).with_columns(pl.col("ts") // 1000, pl.col("type").to_physical().cast(pl.UInt8))
    low, high = log["ts"].min(), log["ts"].max()
    if preset == "buy_to_buy":
        log = log.filter(pl.col("type") > 0).with_columns(w=pl.lit(1.0))
    elif preset == "type_weighted":
        log = log.with_columns(w=pl.col("type").replace_strict(range(3), [1.0, 6.0, 3.0]))
    else:
        log = log.with_columns(w=1 + (pl.col("ts") - low) * (3.0 / (high - low)))
    return log.select("session", "aid", "ts", "w"), 14 * 86_400 if preset == "buy_to_buy" else 86_400


def _joined(log: pl.DataFrame, gap: int, engine: Literal["in-memory", "streaming"]) -> pl.DataFrame:
    """Summed weights of the pairs of items."""
    last = log.group_by("session", maintain_order=True).tail(30)
    pairs = (
        last.lazy()
        .join(last.lazy().rename({"aid": "aid_y", "ts": "ts_y", "w": "w_y"}), on="session")
        .filter(pl.col("aid") != pl.col("aid_y"), (pl.col("ts") - pl.col("ts_y")).abs() <= gap)
        .group_by("session", "aid", "aid_y")
        .agg(w=pl.col("w_y").max())
        .group_by("aid", "aid_y")
        .agg(pl.col("w").sum())
    )
    return pairs.collect(engine=engine)


def _kept(pairs: pl.DataFrame, begin: float, cpu: float) -> dict[str, Any]:
    """The best neighbours, and what it took to get there."""
    best = pairs.sort(["aid", "w", "aid_y"], descending=[False, True, False]).group_by("aid").head(NEIGHBOURS)
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "cpu": time.process_time() - cpu, "nnz": len(best), "sum": best["w"].sum()}


RUNS = {"cofactor": run_cofactor, "polars": run_polars, "streaming": run_streaming, "fit": run_fit}


def run(name: str, path: Path, preset: str) -> dict[str, Any]:
    return dict(in_fresh_process(__file__, "--run", name, "--path", path, "--preset", preset))


def report(path: Path, presets: tuple[str, ...]) -> None:
    print_header(
        ["matrix", "reading, s", "counting, s", "in all, s", "CPU s", "GB after reading", "peak GB", "kept"], n_texts=1
    )
    columns = ("reading", "counting", "seconds", "cpu", "memory of reading", "memory")
    for preset in presets:
        r = run("cofactor", path, preset)
        print_row(preset, *(f"{r[c]:.1f}" for c in columns), f"{r['nnz']:,}")
    r = run("fit", path, presets[0])
    print(f"\nwith interactions, as a recommender ({presets[0]}):\n")
    print_header(["interactions, s", "fit, s", "in all, s", "CPU s", "peak GB"])
    print_row(*(f"{r[c]:.1f}" for c in ("reading", "counting", "seconds", "cpu", "memory")))


def compare(path: Path, presets: tuple[str, ...]) -> None:
    libraries = ("cofactor", "polars", "streaming")
    columns = [*(f"{name}, s" for name in libraries), "polars / cofactor", "streaming / cofactor"]
    columns += [f"{name}, {unit}" for unit in ("CPU s", "GB") for name in libraries]
    print_header(["matrix", *columns], n_texts=1)
    for preset in presets:
        ours, *theirs = (run(name, path, preset) for name in libraries)
        for peer in theirs:
            assert ours["nnz"] == peer["nnz"], (ours, peer)
            assert abs(ours["sum"] - peer["sum"]) < 1e-6 * ours["sum"], (ours, peer)
        all_three = [ours, *theirs]
        cells = [r["seconds"] for r in all_three] + [r["seconds"] / ours["seconds"] for r in theirs]
        cells += [r["cpu"] for r in all_three] + [r["memory"] for r in all_three]
        print_row(preset, *(f"{cell:.1f}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=50_000_000)
    parser.add_argument("--self-join", action="store_true")
    parser.add_argument("--log", type=Path, help="a log written before, or where to keep it")
    parser.add_argument("--preset", choices=PRESETS, help="only this one")
    parser.add_argument("--run", choices=RUNS, help=argparse.SUPPRESS)
    parser.add_argument("--path", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        print(json.dumps(RUNS[args.run](args.path, args.preset) | {"memory": peak_memory() / 1e9}))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = args.log or Path(folder) / "log.parquet"
        if not path.exists():
            write_log(path, args.events)
        print(f"\n{args.events:,} events, {path.stat().st_size / 1e6:,.0f} MB\n")
        presets = (args.preset,) if args.preset else PRESETS
        (compare if args.self_join else report)(path, presets)


if __name__ == "__main__":
    main()

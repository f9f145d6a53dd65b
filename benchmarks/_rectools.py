"""RecTools' side of ``metrics.py``, which may run under a Python of its own: imports nothing of cofactor.

``python _rectools.py FILE`` reads columns of integers and answers every line of its input with seconds and values.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
import pandas as pd
import rectools.metrics

CUTOFFS = (5, 10, 20)
METRICS: dict[str, tuple[str, dict[str, Any]]] = {
    "recall": ("Recall", {}),
    "truncated_recall": ("Precision", {"r_precision": True}),
    "precision": ("Precision", {}),
    "hit_rate": ("HitRate", {}),
    "ndcg": ("NDCG", {"divide_by_achievable": True}),
    "ndcg_fixed": ("NDCG", {}),
    "map_full": ("MAP", {}),
    "mrr": ("MRR", {}),
}


def once(lists: pd.DataFrame, test: pd.DataFrame) -> tuple[float, dict[str, float]]:
    """Seconds and values of all metrics together."""
    wanted = {
        f"{name}@{k}": getattr(rectools.metrics, kind)(k=k, **options)
        for name, (kind, options) in METRICS.items()
        for k in CUTOFFS
    }
    begin = time.perf_counter()
    found = rectools.metrics.calc_metrics(wanted, lists, test)
    return time.perf_counter() - begin, {name: float(value) for name, value in found.items()}


def main() -> None:
    columns = np.load(sys.argv[1])
    lists = pd.DataFrame({name: columns[f"lists_{name}"] for name in ("user_id", "item_id", "rank")})
    test = pd.DataFrame({name: columns[f"test_{name}"] for name in ("user_id", "item_id")})
    for _ in sys.stdin:
        print(json.dumps(once(lists, test)), flush=True)


if __name__ == "__main__":
    main()

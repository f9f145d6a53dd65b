"""What a search costs beside the fits it is made of, and how many fits TPE needs to be as good as a grid.

    pip install '.[tune,demo]'
    python benchmarks/tune.py

The grocery log without its last four weeks; parameters of ``ImplicitALS`` are chosen on the four weeks before, repeats
allowed. The grid has 27 points. Its cost is set against 27 fits by hand of the same models on the same interactions,
in the same run, in seconds of the clock and of the CPU. TPE has 9 trials, the first of which is the middle of the grid,
for each of five seeds: among the grid's points, in the ranges that they stand for (half a step beyond the ends), and in
the space that ``tune`` takes by itself.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from _measure import print_header, print_row

import cofactor as cf
from cofactor.evaluation.holdout import hold_out
from cofactor.evaluation.spaces import grid_of, parse_space

BASE = {"factors": 64, "alpha": 1.0, "regularization": 0.003, "unobserved_weight": 0.3, "iterations": 12}
GRID: dict[str, Any] = {
    "factors": [32, 64, 128],
    "regularization": [0.001, 0.003, 0.01],
    "unobserved_weight": [0.1, 0.3, 1.0],
}
SPACES: dict[str, Any] = {
    "the grid's own points": GRID,
    "the ranges that its points stand for": {
        "factors": [32, 64, 128],
        "regularization": (0.00056, 0.0178),
        "unobserved_weight": (0.056, 1.78),
    },
    "the default space": None,
}
SEEDS = range(5)


def main() -> None:
    events = cf.datasets.completejourney()
    train, _ = cf.split.by_time(events, "28d")  # the last four weeks are not looked at
    options: dict[str, Any] = {"valid": "28d", "exclude_seen": False, "progress": False}

    begin = time.perf_counter(), time.process_time()
    study = cf.tune(cf.ImplicitALS(**BASE), train, space=GRID, method="grid", **options)
    whole = time.perf_counter() - begin[0], time.process_time() - begin[1]

    data = hold_out(train, "28d").training.interactions
    begin = time.perf_counter(), time.process_time()
    for point in grid_of(parse_space(GRID)):
        cf.ImplicitALS(**BASE | point).fit(data, progress=False)
    fits = time.perf_counter() - begin[0], time.process_time() - begin[1]
    print_header(["27-point grid", "seconds", "seconds of the CPU"], n_texts=1)
    print_row("fits by hand", *(f"{of:.1f}" for of in fits))
    print_row("tune, with reading, splitting and measuring", *(f"{of:.1f}" for of in whole))
    print_row("ratio", *(f"{a / b:.3f}" for a, b in zip(whole, fits, strict=True)))
    print()

    print_header(["search", "trials", "best ndcg@10 in validation", "parameters"], n_texts=1)
    print_row("grid", len(study.trials), f"{study.best_value:.5f}", study.best_params)
    for name, space in SPACES.items():
        found = []
        for seed in SEEDS:
            tpe = cf.tune(cf.ImplicitALS(**BASE), train, space=space, trials=9, seed=seed, **options)
            found.append(tpe.best_value)
            print_row(f"TPE, {name}, seed {seed}", len(tpe.trials), f"{tpe.best_value:.5f}", tpe.best_params)
        median = statistics.median(found)
        print_row(f"TPE, {name}, median", 9, f"{median:.5f}", f"{median - study.best_value:+.5f} beside the grid")


if __name__ == "__main__":
    main()

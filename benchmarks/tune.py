"""What a search costs beside the fits it is made of, and how many fits TPE needs to be as good as a grid.

    pip install '.[tune,demo]'
    python benchmarks/tune.py
    python benchmarks/tune.py --folder tune-kept --minutes 4   # in pieces: each call goes on, and tells what there is

The grocery log without its last four weeks; parameters of ``ImplicitALS`` are chosen on the four weeks before, repeats
allowed. The grid has 27 points. Its cost is set against 27 fits by hand of the same models on the same interactions,
by turns, nine and nine, in seconds of the clock and of the CPU; the search reads, splits, measures and keeps its trials
in a folder, which it goes on from at every turn. TPE has 9 trials, the first of which is the middle of the grid, for
each of five seeds: among the grid's points, in the ranges that they stand for (half a step beyond the ends), and in the
space that ``tune`` takes by itself.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _measure import print_header, print_row

import cofactor as cf
from cofactor.evaluation.holdout import hold_out
from cofactor.evaluation.spaces import grid_of, parse_space

if TYPE_CHECKING:
    from collections.abc import Callable

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
AT_ONCE, TPE_TRIALS = 9, 9
OPTIONS: dict[str, Any] = {"valid": "28d", "exclude_seen": False, "progress": False}


def seconds(of: Callable[[], object]) -> tuple[float, float]:
    """Of the clock and of the CPU."""
    begin = time.perf_counter(), time.process_time()
    of()
    return time.perf_counter() - begin[0], time.process_time() - begin[1]


def grid_study(train: Any, folder: Path, trials: int | None = None) -> Any:
    model = cf.ImplicitALS(**BASE)
    return cf.tune(model, train, space=GRID, method="grid", trials=trials, folder=folder / "grid", **OPTIONS)


def grid_piece(train: Any, folder: Path, done: int) -> dict[str, tuple[float, float]]:
    """The next trials of the grid, and the same fits by hand."""
    points = list(grid_of(parse_space(GRID)))[done : done + AT_ONCE]
    if (trials := folder / "grid" / "trials.jsonl").exists():  # a piece that was cut short is measured anew, as a whole
        trials.write_bytes(b"".join(trials.read_bytes().splitlines(keepends=True)[:done]))
    searched = seconds(lambda: grid_study(train, folder, done + AT_ONCE))
    data = hold_out(train, "28d").training.interactions
    fits = [cf.ImplicitALS(**BASE | point) for point in points]
    return {"tune": searched, "hand": seconds(lambda: [model.fit(data, progress=False) for model in fits])}


def tpe_piece(train: Any, folder: Path, name: str, seed: int) -> dict[str, Any]:
    kept = folder / f"tpe-{list(SPACES).index(name)}-{seed}"  # a piece that was cut short goes on
    model = cf.ImplicitALS(**BASE)
    study = cf.tune(model, train, space=SPACES[name], trials=TPE_TRIALS, seed=seed, folder=kept, **OPTIONS)
    return {"best": study.best_value, "trials": len(study.trials), "params": study.best_params}


def tell(kept: dict[str, Any], study: Any) -> None:
    turns = [kept[name] for name in kept if name.startswith("grid")]
    fits, whole = ([sum(turn[of][i] for turn in turns) for i in (0, 1)] for of in ("hand", "tune"))
    print_header(["27-point grid", "seconds", "seconds of the CPU"], n_texts=1)
    print_row("fits by hand", *(f"{of:.1f}" for of in fits))
    print_row("tune, with reading, splitting and measuring", *(f"{of:.1f}" for of in whole))
    print_row("ratio", *(f"{a / b:.3f}" for a, b in zip(whole, fits, strict=True)))
    print()

    print_header(["search", "trials", "best ndcg@10 in validation", "parameters"], n_texts=1)
    print_row("grid", len(study.trials), f"{study.best_value:.5f}", study.best_params)
    for name in SPACES:
        found = {seed: kept[f"{name}, seed {seed}"] for seed in SEEDS if f"{name}, seed {seed}" in kept}
        for seed, of in found.items():
            print_row(f"TPE, {name}, seed {seed}", of["trials"], f"{of['best']:.5f}", of["params"])
        if len(found) < len(SEEDS):
            continue
        median = statistics.median(of["best"] for of in found.values())
        beside = f"{median - study.best_value:+.5f} beside the grid"
        print_row(f"TPE, {name}, median", TPE_TRIALS, f"{median:.5f}", beside)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="keeps what was measured; the next run goes on from there")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after which nothing more is begun")
    given = parser.parse_args()
    deadline = time.perf_counter() + 60 * given.minutes
    folder = given.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "measured.json"
    kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}

    train, _ = cf.split.by_time(cf.datasets.completejourney(), "28d")  # the last four weeks are not looked at
    pieces: dict[str, Callable[[], Any]] = {
        f"grid from {done}": lambda done=done: grid_piece(train, folder, done) for done in range(0, 27, AT_ONCE)
    }
    pieces |= {
        f"{name}, seed {s}": lambda n=name, s=s: tpe_piece(train, folder, n, s) for name in SPACES for s in SEEDS
    }
    for name, run in pieces.items():
        if name in kept:
            continue
        if time.perf_counter() > deadline:
            print(f"{len(kept)} of {len(pieces)} pieces are measured; run it again to go on\n")
            break
        kept[name] = run()
        file.write_text(json.dumps(kept, default=str))
    if sum(name.startswith("grid") for name in kept) * AT_ONCE == 27:
        tell(kept, grid_study(train, folder))


if __name__ == "__main__":
    main()

"""How the parameters in these files were chosen: grids on a part of train held out, by the protocol of the test.

    python benchmarks/published/tune.py --data FOLDER
    python benchmarks/published/tune.py --data FOLDER --only ncf_ml-1m --models EASE "SLIM, non-negative" --draws 3

Every value of ``GRIDS`` is tried with the other parameters as the file has them. No test file is read. What is chosen
on sessions has a protocol of its own: ``benchmarks/session_knn.py --tune``.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

import cofactor as cf
from cofactor.evaluation.experiment import Experiment

HERE = Path(__file__).parent
GRIDS: dict[str, dict[str, dict[str, tuple[Any, ...]]]] = {
    "ncf_ml-1m": {
        "SampledMF": {"temperature": (0.1, 0.13, 0.2), "epochs": (14, 30)},
        "SampledMF, logistic": {"epochs": (64, 192, 320), "regularization": (0.0035, 0.0055, 0.008)},
        "ImplicitALS": {"regularization": (0.004, 0.007, 0.012), "unobserved_weight": (0.1, 0.3, 0.6)},
        "EASE": {"regularization": (500.0, 1000.0, 1320.0, 2000.0), "popularity_exponent": (0.0, 0.1)},
        "PureSVD": {"factors": (32, 48, 64, 96), "popularity_exponent": (0.0, 0.1, 0.25)},
        "SLIM": {"l1_regularization": (5.0, 7.0, 10.0), "l2_regularization": (250.0, 500.0, 1000.0)},
        "SLIM, non-negative": {"l1_regularization": (1.0, 3.0, 10.0), "l2_regularization": (250.0, 500.0, 1000.0)},
        "ItemKNN": {"similarity": ("cosine", "tfidf", "jaccard", "bm25"), "neighbours": (50, 70, 100, 200)},
        "RP3beta": {"alpha": (0.6, 0.7, 0.8), "beta": (0.2, 0.3, 0.4), "neighbours": (70, 100, 150)},
    },
    "gowalla_lightgcn": {
        "SampledMF": {
            "temperature": (0.08, 0.1, 0.12),
            "positive_temperature": (0.1, 0.125, 0.15),
            "negatives": (1024, 2048),
        },
        "ImplicitALS": {"regularization": (0.001, 0.002, 0.004), "unobserved_weight": (0.015, 0.03)},
        "EASE": {"popularity_exponent": (0.0, 0.1, 0.2, 0.3)},
        "SLIM": {"l1_regularization": (0.1, 0.25, 0.5), "l2_regularization": (20.0, 40.0, 80.0)},
        # Of the similarities at 200 neighbours, the asymmetric cosine was the best by far.
        "ItemKNN": {"neighbours": (50, 200), "alpha": (0.0, 0.1, 0.25, 0.5), "shrinkage": (5.0, 20.0, 40.0)},
        "RP3beta": {"alpha": (0.5, 0.6, 0.7), "beta": (0.1, 0.2, 0.3), "neighbours": (200, 500)},
        "GraphFilter": {"history_exponent": (0.5, 0.6), "amplification": (1.0, 1.3), "low_pass": (0.0, 0.03, 0.1)},
    },
}


class HeldOut(NamedTuple):
    train: cf.Interactions
    test: pl.DataFrame
    candidates: pl.DataFrame | None


def held_out(whole: cf.Interactions, seed: int, *, one_each: bool) -> HeldOut:
    """The same protocol inside train: one item a user with 99 negatives, or a tenth of the pairs."""
    rng = np.random.default_rng(seed)
    pairs = whole.to_frame().with_columns(key=pl.Series(rng.random(whole.nnz)))
    rank = pl.col("key").rank("ordinal").over("user_id")
    enough = pl.len().over("user_id") > 5
    out = enough & (rank == 1 if one_each else rank <= pl.len().over("user_id") * 0.1)
    test = pairs.filter(out).select("user_id", "item_id")
    train = cf.Interactions.from_frame(pairs.filter(~out))
    if not one_each:
        return HeldOut(train, test, None)
    every = whole.items.ids.to_numpy()
    negatives = pl.DataFrame(
        {"user_id": test["user_id"].to_numpy().repeat(120), "item_id": rng.choice(every, len(test) * 120)}
    ).cast(test.schema)
    negatives = negatives.unique(maintain_order=True).join(whole.to_frame(), on=["user_id", "item_id"], how="anti")
    candidates = pl.concat([test, negatives.group_by("user_id", maintain_order=True).head(99)])
    return HeldOut(train, test, candidates)


def measure(model: cf.Recommender, inner: HeldOut, metrics: list[str]) -> tuple[list[float], float]:
    """The metrics, and the seconds that fitting took."""
    start = time.perf_counter()
    model.fit(inner.train)
    seconds = time.perf_counter() - start
    found = cf.evaluate(model, inner.test, metrics, candidates=inner.candidates, n_bootstrap=0)
    return found["value"].to_list(), seconds


def tune(experiment: Experiment, data: Path, grids: dict[str, dict[str, tuple[Any, ...]]], draws: int) -> None:
    """A table of its grid for every model: the means of several draws."""
    fold = experiment.data.folds(data, 0)[0]
    metrics = list(experiment.metrics)
    inner = [held_out(fold.interactions, seed, one_each=fold.candidates is not None) for seed in range(draws)]
    for label, grid in grids.items():
        spec = experiment.models[label]
        print(f"\n{experiment.name}, {label}: {len(inner[0].test):,} pairs held out of train, {draws} times")
        print(f"otherwise {spec.parameters}\n")
        print(f"| {' | '.join(grid)} | {' | '.join(metrics)} | fit s |\n|{'---:|' * (len(grid) + len(metrics) + 1)}")
        for values in itertools.product(*grid.values()):
            given = {**spec.parameters, **dict(zip(grid, values, strict=True))}
            scores, seconds = zip(*(measure(spec.model(**given), part, metrics) for part in inner), strict=True)
            cells = [*map(str, values), *(f"{s:.4f}" for s in np.mean(scores, axis=0)), f"{np.mean(seconds):.1f}"]
            print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("COFACTOR_DATA"), help="folder of the data sets")
    parser.add_argument("--only", choices=list(GRIDS), metavar="NAME", help="one data set instead of all")
    labels = sorted({label for grids in GRIDS.values() for label in grids})
    parser.add_argument("--models", nargs="+", choices=labels, metavar="NAME", help=f"some of {'; '.join(labels)}")
    parser.add_argument("--draws", type=int, default=1, help="held-out parts that the mean is of (default 1)")
    args = parser.parse_args()
    if args.data is None:
        parser.error("give --data FOLDER or set COFACTOR_DATA")
    warnings.simplefilter("ignore", cf.CofactorWarning)  # negatives of the published file that are repeats
    for name in [args.only] if args.only else GRIDS:
        grids = {label: grid for label, grid in GRIDS[name].items() if args.models is None or label in args.models}
        tune(Experiment.read(HERE / f"{name}.toml"), Path(args.data), grids, args.draws)


if __name__ == "__main__":
    main()

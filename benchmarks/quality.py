"""Accuracy of the models on published splits, beside the published numbers.

    python benchmarks/quality.py --data FOLDER              # fit with the chosen parameters, report on the test split
    python benchmarks/quality.py --data FOLDER --tune       # how they were chosen: grids on a part of train held out
    python benchmarks/quality.py --data FOLDER --only ncf_ml-1m --models EASE SLIM

FOLDER (or the environment variable COFACTOR_DATA) holds ``ncf_ml-1m`` (the leave-one-out split of He et al. 2017) and
``gowalla_lightgcn`` (He et al. 2020). Tuning never reads a test file.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

import cofactor as cf

if TYPE_CHECKING:
    from collections.abc import Callable

PUBLISHED = {
    "ncf_ml-1m": {
        "columns": ("hit_rate@10", "ndcg@10"),
        "rows": {
            "TopPop": (0.4533, 0.2542),
            "MF-BPR": (0.6305, 0.3730),
            "ItemKNN": (0.6694, 0.3979),
            "RP3beta": (0.6758, 0.4011),
            "PureSVD": (0.6937, 0.4303),
            "NeuMF": (0.7093, 0.4349),
            "iALS (Dacrema et al. 2021)": (0.7109, 0.4382),
            "SLIM": (0.7162, 0.4468),
            "EASE": (0.7192, 0.4494),
            "iALS (Rendle et al. 2021)": (0.7310, 0.4521),
        },
    },
    "gowalla_lightgcn": {
        "columns": ("recall@20", "ndcg@20"),
        "rows": {
            "Item2Vec": (0.1326, 0.1057),
            "ItemCF": (0.1570, 0.1214),
            "MF-BPR": (0.1627, 0.1378),
            "SLIM": (0.1699, 0.1382),
            "EASE": (0.1765, 0.1467),
            "LightGCN": (0.1820, 0.1547),
            "MF-CCL": (0.1837, 0.1493),
            "UltraGCN": (0.1862, 0.1580),
            "SimpleX": (0.1872, 0.1557),
            "BSPM": (0.1920, 0.1597),
        },
    },
}


class Candidate(NamedTuple):
    """A model of a data set: its parameters as chosen with ``--tune`` among the values of ``grid``."""

    model: Callable[..., cf.Recommender]
    chosen: dict[str, Any]
    grid: dict[str, tuple[Any, ...]] | None = None  # the values tried; what it does not name stays as chosen


# Factors and iterations of ImplicitALS are what fits into a minute or two.
IALS = {"alpha": 1.0, "regularization_exponent": 1.0, "init_std": 0.1, "iterations": 12}
# Many negatives for each batch, the learning rate falling to zero.
BSL = {"loss": "bsl", "negatives": 2048, "epochs": 30, "lr_schedule": "cosine"}
# The losses and negatives of Rendle et al. 2020, "Neural collaborative filtering vs. matrix factorization revisited".
LOGISTIC = {"loss": "logistic", "negatives": 8, "sampler": "uniform", "optimizer": "sgd", "deterministic": False}
MODELS: dict[str, dict[str, Candidate]] = {
    "ncf_ml-1m": {
        "Popular": Candidate(cf.Popular, {}),
        "SampledMF": Candidate(
            cf.SampledMF,
            {
                "factors": 192,
                "biases": True,
                "temperature": 0.1,
                "negatives": 256,
                "batch_size": 256,
                "learning_rate": 0.001,
                "bias_learning_rate": 0.003,
                "regularization": 0.01,
                "epochs": 30,
                "lr_schedule": "cosine",
            },
            {"temperature": (0.1, 0.13, 0.2), "epochs": (14, 30)},
        ),
        "SampledMF, logistic": Candidate(
            cf.SampledMF,
            {
                **LOGISTIC,
                "factors": 192,
                "init_std": 0.1 * 192**0.5,
                "learning_rate": 0.006,
                "lr_schedule": "cosine",
                "epochs": 192,
                "regularization": 0.0055,
                "bias_regularization": 0.0055,
            },
            {"epochs": (64, 192, 320), "regularization": (0.0035, 0.0055, 0.008)},
        ),
        "ImplicitALS": Candidate(
            cf.ImplicitALS,
            {**IALS, "factors": 192, "regularization": 0.007, "unobserved_weight": 0.3, "solver": "cholesky"},
            {"regularization": (0.004, 0.007, 0.012), "unobserved_weight": (0.1, 0.3, 0.6)},
        ),
        "EASE": Candidate(
            cf.EASE,
            {"regularization": 1000.0, "popularity_exponent": 0.1},
            {"regularization": (500.0, 1000.0, 1320.0, 2000.0), "popularity_exponent": (0.0, 0.1)},
        ),
        "EASE, l2 as published": Candidate(cf.EASE, {"regularization": 1320.0}),
        "PureSVD": Candidate(
            cf.PureSVD,
            {"factors": 96, "popularity_exponent": 0.25},
            {"factors": (32, 48, 64, 96), "popularity_exponent": (0.0, 0.1, 0.25)},
        ),
        "SLIM": Candidate(
            cf.SLIM,
            {"l1_regularization": 5.0, "l2_regularization": 500.0, "non_negative": False},
            {"l1_regularization": (5.0, 7.0, 10.0), "l2_regularization": (250.0, 500.0, 1000.0)},
        ),
        "SLIM, non-negative": Candidate(
            cf.SLIM,
            {"l1_regularization": 3.0, "l2_regularization": 500.0},
            {"l1_regularization": (1.0, 3.0, 10.0), "l2_regularization": (250.0, 500.0, 1000.0)},
        ),
        "ItemKNN": Candidate(
            cf.ItemKNN,
            {"similarity": "bm25", "neighbours": 70},
            {"similarity": ("cosine", "tfidf", "jaccard", "bm25"), "neighbours": (50, 70, 100, 200)},
        ),
        "RP3beta": Candidate(
            cf.RP3beta,
            {"alpha": 0.7, "beta": 0.2, "neighbours": 100, "normalize": True},
            {"alpha": (0.6, 0.7, 0.8), "beta": (0.2, 0.3, 0.4), "neighbours": (70, 100, 150)},
        ),
    },
    "gowalla_lightgcn": {
        "Popular": Candidate(cf.Popular, {}),
        "SampledMF": Candidate(
            cf.SampledMF,
            {**BSL, "factors": 64, "temperature": 0.1, "positive_temperature": 0.125},
            {"temperature": (0.08, 0.1, 0.12), "positive_temperature": (0.1, 0.125, 0.15), "negatives": (1024, 2048)},
        ),
        "SampledMF, 256 factors": Candidate(
            cf.SampledMF, {**BSL, "factors": 256, "temperature": 0.1, "positive_temperature": 0.125}
        ),
        "ImplicitALS": Candidate(
            cf.ImplicitALS,
            {**IALS, "factors": 512, "regularization": 0.002, "unobserved_weight": 0.015, "solver": "cg"},
            {"regularization": (0.001, 0.002, 0.004), "unobserved_weight": (0.015, 0.03)},
        ),
        "EASE": Candidate(
            cf.EASE, {"regularization": 80.0, "popularity_exponent": 0.1}, {"popularity_exponent": (0.0, 0.1, 0.2, 0.3)}
        ),
        "EASE, l2 as published": Candidate(cf.EASE, {"regularization": 80.0}),
        "SLIM": Candidate(
            cf.SLIM,
            {"l1_regularization": 0.1, "l2_regularization": 40.0},
            {"l1_regularization": (0.1, 0.25, 0.5), "l2_regularization": (20.0, 40.0, 80.0)},
        ),
        "ItemKNN": Candidate(  # of the similarities at 200 neighbours, the asymmetric cosine was the best by far
            cf.ItemKNN,
            {"similarity": "asymmetric", "neighbours": 50, "alpha": 0.0, "shrinkage": 20.0},
            {"neighbours": (50, 200), "alpha": (0.0, 0.1, 0.25, 0.5), "shrinkage": (5.0, 20.0, 40.0)},
        ),
        "RP3beta": Candidate(
            cf.RP3beta,
            {"alpha": 0.6, "beta": 0.3, "neighbours": 500},
            {"alpha": (0.5, 0.6, 0.7), "beta": (0.1, 0.2, 0.3), "neighbours": (200, 500)},
        ),
        "GraphFilter": Candidate(
            cf.GraphFilter,
            {
                "history_exponent": 0.6,
                "user_exponent": 0.7,
                "item_exponent": 0.3,
                "amplification": 1.3,
                "low_pass": 0.03,
                "factors": 400,
            },
            {"history_exponent": (0.5, 0.6), "amplification": (1.0, 1.3), "low_pass": (0.0, 0.03, 0.1)},
        ),
    },
}


class Task(NamedTuple):
    train: cf.Interactions
    test: pl.DataFrame
    candidates: pl.DataFrame | None
    metrics: tuple[str, str]


def read(name: str, folder: Path) -> Task:
    metrics = PUBLISHED[name]["columns"]
    if name == "ncf_ml-1m":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", cf.CofactorWarning)  # 156 negatives of the published file are repeats
            train, test, candidates = cf.datasets.leave_one_out_with_negatives(
                folder / "train.parquet", folder / "ml-1m.test.rating", folder / "ml-1m.test.negative"
            )
        return Task(train.interactions(), test, candidates, metrics)
    train = cf.datasets.user_item_lists(folder / "train.txt")
    return Task(train.interactions(), cf.datasets.user_item_lists(folder / "test.txt").pairs(), None, metrics)


def held_out(task: Task, seed: int = 0) -> Task:
    """The same protocol inside train: one item a user with 99 negatives, or a tenth of the pairs."""
    rng = np.random.default_rng(seed)
    pairs = task.train.to_frame().with_columns(key=pl.Series(rng.random(task.train.nnz)))
    rank = pl.col("key").rank("ordinal").over("user_id")
    enough = pl.len().over("user_id") > 5
    out = enough & (rank == 1 if task.candidates is not None else rank <= pl.len().over("user_id") * 0.1)
    test = pairs.filter(out).select("user_id", "item_id")
    train = cf.Interactions.from_frame(pairs.filter(~out))
    if task.candidates is None:
        return Task(train, test, None, task.metrics)
    every = task.train.items.ids.to_numpy()
    negatives = pl.DataFrame(
        {"user_id": test["user_id"].to_numpy().repeat(120), "item_id": rng.choice(every, len(test) * 120)}
    ).cast(test.schema)
    negatives = negatives.unique(maintain_order=True).join(task.train.to_frame(), on=["user_id", "item_id"], how="anti")
    candidates = pl.concat([test, negatives.group_by("user_id", maintain_order=True).head(99)])
    return Task(train, test, candidates, task.metrics)


def measure(task: Task, model: cf.Recommender) -> tuple[tuple[float, ...], float]:
    """The task's metrics, and the seconds that fitting took."""
    start = time.perf_counter()
    model.fit(task.train)
    seconds = time.perf_counter() - start
    table = cf.evaluate(model, task.test, metrics=list(task.metrics), candidates=task.candidates)
    return tuple(table["value"]), seconds


def tune(name: str, task: Task, models: dict[str, Candidate], draws: int) -> None:
    """A table of its grid for every model, measured on a part of train: the means of several draws."""
    inner = [held_out(task, seed) for seed in range(draws)]
    for label, candidate in models.items():
        if (grid := candidate.grid) is None:
            continue
        out = f"{len(inner[0].test):,} pairs held out of train, {draws} times"
        print(f"\n{name}, {label}: {out}; otherwise {candidate.chosen}\n")
        print(f"| {' | '.join(grid)} | {' | '.join(task.metrics)} | fit s |\n|{'---:|' * (len(grid) + 3)}")
        for values in itertools.product(*grid.values()):
            model = candidate.model(**{**candidate.chosen, **dict(zip(grid, values, strict=True))})
            scores, seconds = zip(*(measure(part, model) for part in inner), strict=True)
            cells = [*map(str, values), *(f"{s:.4f}" for s in np.mean(scores, axis=0)), f"{np.mean(seconds):.1f}"]
            print(f"| {' | '.join(cells)} |", flush=True)


def report(name: str, task: Task, models: dict[str, Candidate], seed: int) -> None:
    """One table: the published rows and ours, by the first metric."""
    rows = {label: (numbers, "", "") for label, numbers in PUBLISHED[name]["rows"].items()}
    for label, candidate in models.items():
        model = candidate.model(**candidate.chosen)
        if "seed" in model.params():
            model.seed = seed
        scores, seconds = measure(task, model)
        parameters = ", ".join(f"{key}={value!r}" for key, value in candidate.chosen.items())
        rows[f"**cofactor {label}**"] = (scores, f"{seconds:.1f}", parameters)
        print(f"{name}, {label}: {' '.join(f'{s:.4f}' for s in scores)}, {seconds:.1f} s to fit", flush=True)
    print(f"\n| {name} | {' | '.join(task.metrics)} | fit s | parameters |\n|---|---:|---:|---:|---|")
    for label, (scores, seconds, parameters) in sorted(rows.items(), key=lambda row: row[1][0]):
        print(f"| {label} | {' | '.join(f'{s:.4f}' for s in scores)} | {seconds} | {parameters} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("COFACTOR_DATA"), help="folder of the data sets")
    parser.add_argument("--only", choices=list(MODELS), metavar="DATASET", help="one data set instead of all")
    labels = sorted({label for models in MODELS.values() for label in models})
    parser.add_argument("--models", nargs="+", choices=labels, metavar="NAME", help=f"some of {', '.join(labels)}")
    parser.add_argument("--tune", action="store_true", help="show the grids on held-out training data")
    parser.add_argument("--seed", type=int, default=0, help="of the models that have one")
    parser.add_argument("--draws", type=int, default=1, help="held-out parts that --tune takes the mean of (default 1)")
    args = parser.parse_args()
    if args.data is None:
        parser.error("give --data FOLDER or set COFACTOR_DATA")
    for name in [args.only] if args.only else MODELS:
        models = {k: v for k, v in MODELS[name].items() if args.models is None or k in args.models}
        task = read(name, Path(args.data) / name)
        if args.tune:
            tune(name, task, models, args.draws)
        else:
            report(name, task, models, args.seed)


if __name__ == "__main__":
    main()

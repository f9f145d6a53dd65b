"""Gradient descent on ratings beside Surprise (Cython, one thread): seconds of a fit with its defaults, in one run.

    python benchmarks/ratings_sgd.py                       # synthetic ratings of the size of MovieLens 1M
    python benchmarks/ratings_sgd.py --data FOLDER         # MovieLens 1M, nine tenths of it, and the errors on the rest
    python benchmarks/ratings_sgd.py --threads 1

``SVD``: 100 factors, 20 epochs, a learning rate of .005 and a regularization of .02 for each rating, for factors and
biases. Both get what they train on ready made; the seconds are those of their fit, the best of ``--rounds`` taken in
turn, and CPU seconds beside.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from _measure import print_header, print_row

import cofactor as cf

if TYPE_CHECKING:
    from collections.abc import Callable

COLUMNS = ["user_id", "item_id", "rating"]


def synthetic(n_users: int = 6000, n_items: int = 3700, n: int = 1_000_000) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    keys = np.unique(
        (rng.random(n) ** 1.5 * n_users).astype(np.int64) * n_items + (rng.random(n) ** 2 * n_items).astype(int)
    )
    users, items = keys // n_items, keys % n_items
    p, q = (rng.normal(size=(k, 8)) for k in (n_users, n_items))
    told = 3.5 + 0.35 * np.einsum("ij,ij->i", p[users], q[items]) + rng.normal(0, 0.8, len(users))
    return pl.DataFrame({"user_id": users, "item_id": items, "rating": told.round().clip(1, 5)})


def movielens(folder: Path) -> pl.DataFrame:
    files = sorted((folder / "ml-1m").glob("ratings*.parquet"))
    table = pl.read_parquet(files[0]) if files else cf.datasets.movielens(folder / "ml-1m").frame.collect()
    return table.select(
        user_id="user_id", item_id="movie_id" if "movie_id" in table.columns else "item_id", rating="rating"
    )


def like_svd(std: float, threads: int | None) -> cf.BiasedMF:
    """The same parameters, in units of the standard deviation of ratings."""
    return cf.BiasedMF(
        100, method="sgd", epochs=20, lr_schedule="constant", init_std=0.1 / std**0.5, regularization_exponent=1,
        learning_rate=0.005 * std, bias_learning_rate=0.005, regularization=0.02 / std, bias_regularization=0.02,
        threads=threads,
    )  # fmt: skip


def seconds_of(step: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - wall, time.process_time() - cpu


def beside_surprise(
    ours: tuple[str, cf.RatingModel, cf.Ratings],
    theirs: str,
    tables: tuple[pl.DataFrame, pl.DataFrame],
    shape: str,
    rounds: int,
) -> None:
    """A table of seconds of fitting, in turn, and of RMSE: a model by name with its ratings, and one of Surprise."""
    (name, model, ratings), (train, test) = ours, tables
    contenders: dict[str, tuple[Any, Any]] = {name: (model, ratings)}
    if importlib.util.find_spec("surprise"):
        import surprise

        scale = surprise.Reader(rating_scale=ratings.scale)
        whole = surprise.Dataset.load_from_df(train.to_pandas()[COLUMNS], scale).build_full_trainset()
        contenders[f"Surprise {theirs}"] = getattr(surprise, theirs)(random_state=0), whole
    else:
        print("surprise is not installed, left out\n")
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for label, (one, data) in contenders.items():
            taken[label].append(seconds_of(lambda one=one, data=data: one.fit(data)))
    print(f"{len(train):,} ratings, {shape}\n")
    print_header(["", "s", "CPU s", f"times {name}", "RMSE"], 1)
    first = min(taken[name])[0]
    for label, (one, _) in contenders.items():
        if one is model:
            rated = model.predict(test, clip=True)["rating"].to_numpy()
        else:
            rated = np.array([one.predict(u, i).est for u, i in test.select(COLUMNS[:2]).rows()])
        wall, cpu = min(taken[label])
        rmse = np.sqrt(np.mean((rated - test["rating"].to_numpy()) ** 2))
        print_row(label, f"{wall:.3f}", f"{cpu:.3f}", f"{wall / first:.1f}", f"{rmse:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    warnings.simplefilter("ignore", cf.CofactorWarning)
    table = synthetic() if args.data is None else movielens(args.data)
    held = np.random.default_rng(1).random(len(table)) < 0.1
    train, test = table.filter(~held), table.filter(held)
    ratings, std = cf.Ratings.from_frame(train), float(train["rating"].std(ddof=0))  # type: ignore[arg-type]
    ours = like_svd(std, args.threads)
    beside_surprise(("BiasedMF, sgd", ours, ratings), "SVD", (train, test), "100 factors, 20 epochs", args.rounds)


if __name__ == "__main__":
    main()

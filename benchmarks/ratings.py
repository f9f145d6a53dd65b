"""Errors of predicted ratings on MovieLens with features of films and users, and those of Surprise.

    python benchmarks/ratings.py --data FOLDER              # both data sets
    python benchmarks/ratings.py --data FOLDER --only ml-100k
    python benchmarks/ratings.py --data FOLDER --surprise   # Surprise's models as well, on the same splits
    python benchmarks/ratings.py --data FOLDER --cold --only ml-100k    # films and users without ratings
    python benchmarks/ratings.py --data FOLDER --first --models BiasOnly BiasedMF --surprise SlopeOne KNNBaseline

All other models, and published numbers, are in ``benchmarks/published``, on the same splits (``BiasOnly`` and
``BiasedMF`` are here to have times beside). FOLDER (or the environment variable COFACTOR_DATA) holds ``ml-100k``
(u.data, u.item, u.user and the folds u1 to u5, as GroupLens publishes them) and ``ml-1m`` (users.dat, movies.dat and
ratings.dat, or a Parquet file of its user_id, movie_id and rating in the order of that file). Nothing is chosen on a
test side.

Protocols: ``ml-100k`` u1, u3 and the mean of u1 to u5; ``ml-1m`` a random tenth held out (seeds 0, 1, 2; mean and
standard deviation) and five folds.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from _measure import print_header, print_row, seconds_of

import cofactor as cf

if TYPE_CHECKING:
    from collections.abc import Callable

    from cofactor.data.split import Split


class Described(cf.FactorizationMachine):
    """One that brings its tables of features along."""

    tables: dict[str, pl.DataFrame]

    def fit(self, ratings: cf.Ratings, *, progress: bool | None = None) -> Described:  # type: ignore[override]
        return super().fit(ratings, **self.tables, progress=progress)


class DescribedLater(Described):
    """One that is told of new films and users when it rates them."""

    def fit(self, ratings: cf.Ratings, *, progress: bool | None = None) -> DescribedLater:  # type: ignore[override]
        known = ratings.to_frame()
        tables = {name: table.join(known, on=table.columns[0], how="semi") for name, table in self.tables.items()}
        return cf.FactorizationMachine.fit(self, ratings, **tables, progress=progress)  # type: ignore[return-value]

    def predict(self, pairs: pl.DataFrame, **options: Any) -> pl.DataFrame:  # type: ignore[override]
        return super().predict(pairs, **self.tables, **options)


MODELS: dict[str, Callable[[], cf.RatingModel]] = {
    "BiasOnly": cf.BiasOnly,
    "BiasedMF": cf.BiasedMF,
    "FactorizationMachine, sets and features": lambda: Described(implicit=True),
    "FactorizationMachine by sgd": lambda: cf.FactorizationMachine(120, method="sgd"),
    "FactorizationMachine by sgd, features": lambda: Described(120, method="sgd"),
    "FactorizationMachine by sgd, sets": lambda: cf.FactorizationMachine(120, method="sgd", implicit=True),
    "FactorizationMachine by sgd, sets and features": lambda: Described(120, method="sgd", implicit=True),
    "FactorizationMachine, sets, features and hours": lambda: Described(8, implicit=True, context=["user_hour"]),
    "FactorizationMachine, sets and features, ordinal": lambda: Described(
        8, implicit=True, task="ordinal", iterations=1000, samples=200
    ),
}
OF_THE_NEW: dict[str, Callable[[], cf.RatingModel]] = {
    "BiasOnly": cf.BiasOnly,
    "FactorizationMachine(8)": lambda: cf.FactorizationMachine(8, iterations=200),
    "FactorizationMachine(8), features": lambda: Described(8, iterations=200),
    "FactorizationMachine(8), described when they are rated": lambda: DescribedLater(8, iterations=200),
    "FactorizationMachine by sgd": lambda: cf.FactorizationMachine(120, method="sgd"),
    "FactorizationMachine by sgd, features": lambda: Described(120, method="sgd"),
    "FactorizationMachine by sgd, described when they are rated": lambda: DescribedLater(120, method="sgd"),
}
SURPRISE = {  # its SVD++ takes a quarter of an hour for each split of ml-1m
    "ml-100k": ["SVD", "SVDpp", "CoClustering"],
    "ml-1m": ["SVD", "CoClustering"],
}
BY_ITEMS = {"sim_options": {"name": "pearson_baseline", "user_based": False}, "verbose": False}
ALGORITHMS: dict[str, tuple[str, dict[str, Any]]] = {
    "SVD": ("SVD", {"random_state": 0}),
    "SVDpp": ("SVDpp", {"random_state": 0}),
    "CoClustering": ("CoClustering", {"random_state": 0}),
    "SlopeOne": ("SlopeOne", {}),
    "KNNBaseline": ("KNNBaseline", {"verbose": False}),
    "KNNBaseline, items": ("KNNBaseline", BY_ITEMS),
}


def u_folds(folder: Path) -> dict[str, list[Split]]:
    folds = [in_hours(cf.datasets.movielens_fold(folder, fold)) for fold in range(1, 6)]
    return {"u1": folds[:1], "u3": folds[2:3], "u1 to u5": folds}


def in_hours(split: Split) -> Split:
    """With a column for the hour of every user: who rates for an hour is in one mood."""
    train, test = (
        part.with_frame(
            part.frame.with_columns(user_hour=pl.format("{} {}", part.user, pl.col(str(part.time)).dt.truncate("1h")))
        )
        for part in (split.train, split.test)
    )
    return replace(split, train=train, test=test)


def random_splits(folder: Path) -> dict[str, list[Split]]:
    files = sorted(folder.glob("ratings*.parquet"))
    if files:
        events = cf.read_events(pl.read_parquet(files[0]), user="user_id", item="movie_id", rating="rating")
    else:
        events = cf.datasets.movielens(folder)
    return {"90/10": [cf.split.random(events, 0.1, seed) for seed in range(3)], "5 folds": cf.split.k_fold(events, 5)}


def cold_splits(folder: Path) -> dict[str, list[Split]]:
    """A fifth of the films, or of the users, held out with all their ratings."""
    events = cf.datasets.movielens(folder)
    ways = {"films": cf.split.cold_items, "users": cf.split.cold_users}
    return {name: [way(events, 0.2, seed=seed) for seed in range(3)] for name, way in ways.items()}


def films_and_users(folder: Path) -> dict[str, pl.DataFrame]:
    """Genres and year of films; sex, occupation, age and, of 100K, the first digit of the zip code of users."""
    if (folder / "u.item").is_file():
        lines = [line.split("|") for line in (folder / "u.item").read_text(encoding="latin-1").splitlines()]
        genres = [line.split("|")[0] for line in (folder / "u.genre").read_text().split()]
        films = [
            (int(line[0]), [g for g, there in zip(genres, line[5:], strict=True) if there == "1"], line[2][-4:])
            for line in lines
        ]
        people = [line.split("|") for line in (folder / "u.user").read_text().splitlines()]
        users = [
            (int(u), sex, occupation, f"{int(age) // 10}0s", place[:1]) for u, age, sex, occupation, place in people
        ]
        columns = ["user_id", "sex", "occupation", "age", "zip"]
    else:
        lines = [line.split("::") for line in (folder / "movies.dat").read_text(encoding="latin-1").splitlines()]
        films = [(int(i), kinds.split("|"), title.strip()[-5:-1]) for i, title, kinds in lines]
        people = [line.split("::") for line in (folder / "users.dat").read_text().splitlines()]
        users = [(int(u), sex, occupation, age) for u, sex, age, occupation, _ in people]
        columns = ["user_id", "sex", "occupation", "age"]
    return {
        "item_features": pl.DataFrame(films, ["item_id", "genres", "year"], orient="row"),
        "user_features": pl.DataFrame(users, columns, orient="row"),
    }


PROTOCOLS: dict[str, Callable[[Path], dict[str, list[Split]]]] = {"ml-100k": u_folds, "ml-1m": random_splits}


def first_of(protocols: dict[str, list[Split]]) -> dict[str, list[Split]]:
    """The first split of the first protocol alone."""
    protocol, splits = next(iter(protocols.items()))
    return {protocol: splits[:1]}


Rated = tuple[pl.Series, float, float]  # ratings of the test side, seconds of the fit and of the ratings


def report(label: str, protocols: dict[str, list[Split]], rate: Callable[[Split], Rated]) -> None:
    """Print the row of a model."""
    cells: list[Any] = []
    for splits in protocols.values():
        errors, seconds = [], []
        for split in splits:
            found, *spent = rate(split)
            over = split.test.ratings().to_frame()["rating"].to_numpy() - found.to_numpy()
            errors.append((np.sqrt(np.mean(over**2)), np.mean(np.abs(over))))
            seconds.append(spent)
        (rmse, mae), std = np.mean(errors, axis=0), np.std(errors, axis=0, ddof=len(errors) > 1)[0]
        cells.append(f"{rmse:.4f} ({mae:.4f})" + (f" +- {std:.4f}" if len(errors) > 1 else ""))
    print_row(label, *cells, *(f"{one:.2f}" for one in np.mean(seconds, axis=0)))


def rated_here(model: cf.RatingModel, split: Split) -> Rated:
    train, test = split.train.ratings(), split.test.ratings().to_frame()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cf.CofactorWarning)  # items of a test side that train does not hold
        fit = seconds_of(lambda: model.fit(train, progress=False))
        start = time.perf_counter()
        found = model.predict(test, clip=True)["rating"]
    return found, fit, time.perf_counter() - start


def rated_by_surprise(algorithm: str, split: Split) -> Rated:
    """One of its models with its defaults, or what else is in ``ALGORITHMS``."""
    import surprise

    train, test = (part.ratings().to_frame() for part in (split.train, split.test))
    frame = train.to_pandas()[["user_id", "item_id", "rating"]]
    scale = surprise.Reader(rating_scale=(frame["rating"].min(), frame["rating"].max()))
    whole = surprise.Dataset.load_from_df(frame, scale).build_full_trainset()
    name, options = ALGORITHMS[algorithm]
    model = getattr(surprise, name)(**options)
    fit = seconds_of(lambda: model.fit(whole))
    start = time.perf_counter()
    found = [model.predict(u, i).est for u, i in test.select("user_id", "item_id").rows()]
    return pl.Series(found), fit, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("COFACTOR_DATA"), help="folder of the data sets")
    parser.add_argument("--only", choices=list(PROTOCOLS), metavar="DATASET", help="one data set instead of all")
    parser.add_argument(
        "--models", nargs="+", choices=list(MODELS), metavar="NAME", help=f"some of {', '.join(MODELS)}"
    )
    parser.add_argument(
        "--surprise", nargs="*", choices=list(ALGORITHMS), metavar="NAME",
        help=f"models of Surprise, too, on the same splits: some of {', '.join(ALGORITHMS)}",
    )  # fmt: skip
    parser.add_argument("--cold", action="store_true", help="films and users that have no ratings")
    parser.add_argument("--first", action="store_true", help="the first split of the first protocol alone")
    args = parser.parse_args()
    if args.data is None:
        parser.error("give --data FOLDER or set COFACTOR_DATA")
    for name in [args.only] if args.only else PROTOCOLS:
        folder = Path(args.data) / name
        if not folder.is_dir():
            print(f"{name}: skipped, there is no {folder}")
            continue
        Described.tables = films_and_users(folder)
        if args.cold:
            print(f"\n{name}: RMSE (MAE) +- standard deviation over three splits, mean seconds\n")
            protocols = cold_splits(folder)
            print_header(["model", *protocols, "fit s", "predict s"], n_texts=1)
            for label, make in OF_THE_NEW.items():
                report(label, protocols, lambda split, make=make: rated_here(make(), split))
            continue
        timed = name == "ml-100k"  # ml-1m is read without its times
        protocols = PROTOCOLS[name](folder)
        if args.first:
            protocols = first_of(protocols)
        print(f"\n{name}: RMSE (MAE) +- standard deviation over the splits, mean seconds\n")
        print_header(["model", *protocols, "fit s", "predict s"], n_texts=1)
        for label in args.models or MODELS:
            if timed or not label.endswith("hours"):
                report(label, protocols, lambda split, make=MODELS[label]: rated_here(make(), split))
        for label in [] if args.surprise is None else args.surprise or SURPRISE[name]:
            report(f"Surprise {label}", protocols, partial(rated_by_surprise, label))


if __name__ == "__main__":
    main()

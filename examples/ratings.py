"""How many stars would they give? All models of ratings on MovieLens, from the ratings to films for somebody new.

    python examples/ratings.py ml-100k                 # a folder of 100K, 1M, 10M, 20M, 25M, 32M or latest
    python examples/ratings.py ml-25m --models BiasOnly BiasedMF SVDpp
    python examples/ratings.py ml-1m --out .           # and ratings.svg there (matplotlib)

A tenth of the ratings, drawn at random, is held out, and every model is fitted with its defaults on the others. The
tables show

- the error of each model (RMSE and MAE in stars), how often the rating lies in the 90 % interval of those that know how
  sure they are, and the seconds of fitting and of predicting;
- how the best one errs on each number of stars;
- the ten films nearest to one, by the cosine of their vectors;
- what to show somebody of whom three films are known, without fitting anything again.

The plot shows the vectors of well-known films in two dimensions, by genre, and the error of a model as it trains.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import polars as pl

import cofactor as cf

MODELS = {
    "GlobalMean": cf.GlobalMean,
    "BiasOnly": cf.BiasOnly,
    "CoClustering": cf.CoClustering,
    "BiasedMF": cf.BiasedMF,
    "SVDpp": cf.SVDpp,
    "BayesianMF": cf.BayesianMF,
    "FactorizationMachine": cf.FactorizationMachine,
    "FactorizationMachine, sets and genres": lambda: cf.FactorizationMachine(implicit=True),
}
DESCRIBED = "FactorizationMachine, sets and genres"
LIKED = ("Terminator 2: Judgment Day", "Die Hard", "Aliens")
GENRES = ("Animation", "Horror", "Sci-Fi", "Romance")
NINETY = 1.645  # standard deviations to either side that hold 90 % of a normal distribution


def main() -> dict[str, pl.DataFrame]:
    """Print the tables; plot the films."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path, help="of MovieLens, any release")
    options.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), help="some of them")
    options.add_argument("--like", default="Toy Story", help="film whose neighbours are shown")
    options.add_argument("--liked", nargs="+", default=LIKED, help="films that somebody gave the most stars")
    options.add_argument("--out", type=Path, help="folder for ratings.svg")
    given = options.parse_args()
    events, films = cf.datasets.movielens(given.folder), read_films(given.folder)
    train, test = (part.ratings() for part in cf.split.random(events, 0.1, seed=0))
    print(f"{train}\n{test.nnz:,} ratings to test\n")
    genres = films.select("item_id", "genres").filter(pl.col("item_id").is_in(train.items.ids.implode()))
    fitted = {name: fit(MODELS[name](), train, genres if name == DESCRIBED else None) for name in given.models}
    table, best = compared(fitted, test)
    model = fitted[best][0]
    found = {"models": table, f"errors of {best}": cf.errors_by_rating(model, test)}
    nearest = next((fitted[name][0] for name in ("BayesianMF", "BiasedMF", "SVDpp") if name in fitted), None)
    if nearest is not None:
        found[f"like {given.like}"] = similar(nearest, films, given.like)
    found["for somebody new"] = recommended(model, films, given.liked)
    for name, table in found.items():
        print(f"## {name}\n\n{markdown(table)}\n")
    if given.out and isinstance(nearest, cf.BayesianMF | cf.BiasedMF | cf.SVDpp):
        given.out.mkdir(parents=True, exist_ok=True)
        plot(nearest, films).savefig(given.out / "ratings.svg", metadata={"Date": None})
    return found


def read_films(folder: Path) -> pl.DataFrame:
    """``item_id``, ``title`` without the year, ``genres`` (a list) of whatever release lies in the folder."""
    if (folder / "u.item").exists():
        names = [line.split("|")[0] for line in (folder / "u.genre").read_text().splitlines() if line.strip()]
        rows = [line.split("|") for line in (folder / "u.item").read_text(encoding="latin-1").splitlines()]
        lists = [[name for name, flag in zip(names, row[5:], strict=False) if flag == "1"] for row in rows]
    elif (folder / "movies.dat").exists():
        rows = [line.split("::") for line in (folder / "movies.dat").read_text(encoding="latin-1").splitlines()]
        lists = [row[2].split("|") for row in rows]
    else:
        rows = pl.read_csv(folder / "movies.csv", infer_schema=False).rows()
        lists = [row[2].split("|") for row in rows]
    films = pl.DataFrame({"item_id": [int(row[0]) for row in rows], "title": [row[1] for row in rows], "genres": lists})
    title = pl.col("title").str.replace(r"\s*\(\d{4}\)\s*$", "").str.replace(r"^(.*), (The|A|An)$", "$2 $1")
    return films.with_columns(pl.col("item_id").cast(pl.Int32), title)


def fit(model: cf.RatingModel, train: cf.Ratings, genres: pl.DataFrame | None) -> tuple[cf.RatingModel, float]:
    """A fitted model, and the seconds that it took."""
    start = time.perf_counter()
    model.fit(train, **({} if genres is None else {"item_features": genres}))
    return model, time.perf_counter() - start


def compared(fitted: dict[str, tuple[cf.RatingModel, float]], test: cf.Ratings) -> tuple[pl.DataFrame, str]:
    """Errors on the test ratings, best last; and the name of the best."""
    pairs, rows = test.to_frame(), []
    for name, (model, seconds) in fitted.items():
        start = time.perf_counter()
        told = model.predict(pairs, clip=True)
        predicting = time.perf_counter() - start
        errors = (told["rating"] - pairs["rating"]).to_numpy()
        row = {"model": name, "RMSE": float(np.sqrt(np.mean(errors**2))), "MAE": float(np.abs(errors).mean())}
        if "std" in told.columns:
            row["in 90 % interval"] = float((np.abs(errors) <= NINETY * told["std"].to_numpy()).mean())
        rows.append({**row, "fit s": seconds, "predict s": predicting})
    table = pl.DataFrame(rows, infer_schema_length=None).sort("RMSE", descending=True)
    return table, table["model"][-1]


def ids_of(films: pl.DataFrame, titles: list[str] | tuple[str, ...], known: cf.IdMap) -> pl.DataFrame:
    """Films that were rated, by title."""
    found = films.filter(pl.col("title").is_in(titles), pl.col("item_id").is_in(known.ids.implode()))
    missing = sorted(set(titles) - set(found["title"]))
    if missing:
        raise SystemExit(f"no rated film has the title {missing[0]!r}; give one as it stands in the release, no year")
    return found.unique("title", keep="first", maintain_order=True)


def similar(model: cf.RatingModel, films: pl.DataFrame, title: str) -> pl.DataFrame:
    """The ten films whose vectors point most nearly the same way, among those with many ratings."""
    x = model.interactions_
    ids = ids_of(films, [title], x.items)["item_id"]
    often = x.items.take(np.flatnonzero(np.diff(x.item_users.indptr) >= min(50, x.nnz / x.n_items)))
    near = model.similar_items(ids, k=x.n_items).filter(pl.col("similar_item_id").is_in(often.implode())).head(10)
    return near.select(item_id="similar_item_id", cosine="score").join(films, "item_id", maintain_order="left").select(
        "title", "cosine", pl.col("genres").list.join(", ")
    )  # fmt: skip


def recommended(model: cf.RatingModel, films: pl.DataFrame, liked: list[str] | tuple[str, ...]) -> pl.DataFrame:
    """What somebody would rate highest who gave some films the most stars."""
    x = model.interactions_
    ids = ids_of(films, liked, x.items)["item_id"]
    history = pl.DataFrame({"user_id": ["new"] * len(ids), "item_id": ids, "rating": [float(x.scale[1])] * len(ids)})
    lists = model.recommend_for(history, k=10).join(films, "item_id", maintain_order="left")
    return lists.select("rank", "title", stars="score", genres=pl.col("genres").list.join(", "))


def markdown(table: pl.DataFrame) -> str:
    """A table in Markdown."""
    lines = [f"| {' | '.join(table.columns)} |", "|" + "---|" * table.width]
    for row in table.iter_rows():
        cells = ["" if cell is None else f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(model: cf.RatingModel, films: pl.DataFrame) -> object:
    """Films of some genres in the plane of their first two principal axes, and the loss after every epoch."""
    from cofactor.report.figures import BLUE, INK, ORANGE, PALE, new_figure, plain_axes

    x = model.interactions_
    counts = np.diff(x.item_users.indptr)
    rows = np.sort(np.argsort(-counts, kind="stable")[:400])
    kinds = pl.DataFrame({"item_id": x.items.take(rows)}).join(films, "item_id", how="left", maintain_order="left")
    vectors = model.item_vectors()["vector"].to_numpy()[rows]
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    centred = vectors - vectors.mean(0)
    plane = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    figure = new_figure(9, 4)
    axes, losses = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
    for one in (axes, losses):
        plain_axes(one, "both")
    axes.scatter(*plane.T, s=8, color="#d9dee4")
    for genre, colour in zip(GENRES, (BLUE, ORANGE, "#2f855a", "#7b5ea7"), strict=True):
        of = kinds["genres"].list.contains(genre).fill_null(value=False).to_numpy()
        axes.scatter(*plane[of].T, s=14, color=colour, label=genre)
    axes.set_title("400 films most often rated", color=INK, loc="left", fontsize=11)
    axes.legend(frameon=False, labelcolor=INK, fontsize=8)
    losses.plot(np.arange(1, len(model.loss_history_) + 1), model.loss_history_, color=BLUE, linewidth=1.8)
    losses.set_xlabel("epoch or sweep", color=PALE)
    losses.set_title(f"Training loss of {type(model).__name__}", color=INK, loc="left", fontsize=11)
    return figure


if __name__ == "__main__":
    main()

"""Which negatives, and how fast may biases learn? Factorizations trained by sampled negatives, on MovieLens-100K.

    python examples/negative_sampling.py ml-100k          # a folder with u.data and u.item
    python examples/negative_sampling.py                  # purchases of groceries: pip install 'cofactor[demo]'
    python examples/negative_sampling.py ml-100k --out .  # and negative-sampling.svg there (matplotlib)

Every rating counts as a like. Of all pairs, drawn at random, 90 % train a model, by 5 % one chooses, and 5 % are for
the test: the protocol of a well-known notebook, whose library no longer installs. Its figures for 10 factors and 10
epochs of the adaptive hinge loss stand in the first table. Lists leave out what a user has in the training part.
The tables show

- all losses beside popularity, first those with few negatives for each pair;
- exact negatives (never an item that the user has) beside unchecked ones;
- one optimizer for all beside slow biases, none, and popular negatives, with how many users have what is recommended;
- similar items by title.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import polars as pl

import cofactor as cf
from cofactor.errors import CofactorWarning

METRICS = ("map@10", "mrr", "auc", "ndcg@10")
NOTEBOOK = {"map@10": 0.047, "mrr": 0.165, "auc": 0.904}
SHAPE = {"factors": 10, "epochs": 10, "batch_size": 256, "seed": 0}
FEW = {"learning_rate": 0.01}
MANY = {"temperature": 0.2, "learning_rate": 0.005}
OWN = {"softmax@k": {"temperature": 0.1}, "ccl": {"negative_weight": 30.0, "margin": 0.7}}  # chosen by the second part
BIASES = {
    "one optimizer": {},
    "slow biases": {"bias_optimizer": "sgd", "bias_learning_rate": 0.001},
    "no biases": {"biases": False},
    "negatives by popularity": {"sampler": "popularity"},
}


def main() -> dict[str, pl.DataFrame]:
    """Print the tables of the study; plot how popular recommended items are."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path, nargs="?", help="of MovieLens-100K; the grocery log without it")
    options.add_argument("--users", type=int, help="only so many users, for a quick try")
    options.add_argument("--out", type=Path, help="folder for negative-sampling.svg")
    given = options.parse_args()
    pairs, titles = movies(given.folder) if given.folder else groceries()
    if given.users:
        pairs = pairs.filter(pl.col("user_id").rank("dense") <= given.users)
    train, choice, test = parts(pairs)
    x = cf.Interactions.from_frame(train)
    print(f"{x}\n{len(choice):,} pairs to choose by, {len(test):,} to test\n")
    found = {"models": models(x, test, notebook=given.folder is not None), "samplers": samplers(x, choice)}
    found["optimizers"], popularity = optimizers(x, choice)
    model = cf.SampledMF(16, seed=0).fit(x, held_out=choice)
    found["similar"] = similar(model, titles)
    for name, table in found.items():
        print(f"## {name}\n\n{markdown(table)}\n")
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        plot(popularity).savefig(given.out / "negative-sampling.svg", metadata={"Date": None})
    return found


def movies(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Pairs of MovieLens-100K, and ``item_id`` with ``title``."""
    pairs = cf.datasets.movielens(folder).interactions().to_frame().select("user_id", "item_id")
    lines = (folder / "u.item").read_text(encoding="latin-1").splitlines()
    titles = pl.DataFrame([line.split("|")[:2] for line in lines], schema=["item_id", "title"], orient="row")
    return pairs, titles.with_columns(pl.col("item_id").cast(pairs["item_id"].dtype))


def groceries() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Products that households bought at least five times, and what they are called."""
    x = cf.datasets.completejourney().interactions(min_user_count=5, min_item_count=50)
    pairs = x.to_frame().select("user_id", "item_id")
    names = cf.datasets.grocery_products()
    return pairs, names.select(pl.col("product_id").cast(pairs["item_id"].dtype).alias("item_id"), title="name")


def parts(pairs: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """90 % of the pairs, 5 % and 5 %, at random; the latter of users and items of the first."""
    place = np.random.default_rng(0).permutation(len(pairs)) / len(pairs)
    train, *others = (pairs.filter(pl.Series((place >= low) & (place < high))) for low, high in
                      ((0.0, 0.9), (0.9, 0.95), (0.95, 1.0)))  # fmt: skip
    choice, test = (
        other.join(train, on="user_id", how="semi").join(train, on="item_id", how="semi") for other in others
    )
    return train, choice, test


def models(x: cf.Interactions, test: pl.DataFrame, *, notebook: bool) -> pl.DataFrame:
    """The protocol of the notebook: each loss with 10 factors and 10 epochs, on the test pairs."""
    some = {
        name: cf.SampledMF(loss=name, **FEW, **SHAPE) for name in ("adaptive_hinge", "hinge", "bpr", "warp", "logistic")
    }
    some |= {
        name: cf.SampledMF(loss=name, **MANY | OWN.get(name, {}), **SHAPE)
        for name in ("softmax", "softmax@k", "bsl", "ccl")
    }
    rows = [{"model": name, **measured(model, x, test)} for name, model in {"Popular": cf.Popular(), **some}.items()]
    if notebook:
        rows.append({"model": "the notebook, adaptive_hinge", **NOTEBOOK})
    return pl.DataFrame(rows)


def samplers(x: cf.Interactions, choice: pl.DataFrame) -> pl.DataFrame:
    """Exact against unchecked negatives: seconds, and quality on the pairs to choose by."""
    rows = []
    for loss, options in (("bpr", FEW), ("adaptive_hinge", FEW), ("softmax", MANY)):
        for sampler in ("exact", "uniform"):
            model = cf.SampledMF(loss=loss, sampler=sampler, **options, **SHAPE)
            rows.append({"loss": loss, "sampler": sampler, **measured(model, x, choice)})
    return pl.DataFrame(rows)


def optimizers(x: cf.Interactions, choice: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, np.ndarray]]:
    """What keeps popular items down; and how popular each listed item is, sorted."""
    popular = np.bincount(x.user_items.indices, minlength=x.n_items) / x.n_users
    rows, popularity = [], {"what users have": np.sort(popular[x.user_items.indices])}
    for name, options in BIASES.items():
        model = cf.SampledMF(loss="adaptive_hinge", **FEW, **options, **SHAPE)
        found = measured(model, x, choice)
        listed = x.items.rows(model.recommend()["item_id"])
        popularity[name] = np.sort(popular[listed])
        coverage = len(np.unique(listed)) / x.n_items
        rows.append({"way": name, **found, "popularity": float(popular[listed].mean()), "coverage": coverage})
    return pl.DataFrame(rows), popularity


def measured(model: cf.Recommender, x: cf.Interactions, pairs: pl.DataFrame) -> dict[str, float]:
    """Fit a model and measure it."""
    start = time.perf_counter()
    model.fit(x)
    seconds = time.perf_counter() - start
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CofactorWarning)  # a few users have nothing to test
        found = cf.evaluate(model, pairs, METRICS, n_bootstrap=0)
    return {**dict(found.select("metric", "value").iter_rows()), "seconds": seconds}


def similar(model: cf.SampledMF, titles: pl.DataFrame) -> pl.DataFrame:
    """The three nearest of the items that most users have, by title."""
    x = model.interactions_
    most = np.argsort(-np.bincount(x.user_items.indices, minlength=x.n_items), kind="stable")[:6]
    near = model.similar_items(x.items.take(most), k=3)
    named = near.join(titles, on="item_id", how="left", maintain_order="left")
    others = titles.rename({"item_id": "similar_item_id", "title": "similar"})
    named = named.join(others, on="similar_item_id", how="left", maintain_order="left")
    return named.group_by("title", maintain_order=True).agg(pl.col("similar").str.join("; "))


def markdown(table: pl.DataFrame) -> str:
    """A table in Markdown."""
    lines = [f"| {' | '.join(table.columns)} |", "|" + "---|" * table.width]
    for row in table.iter_rows():
        cells = ["" if cell is None else f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(popularity: dict[str, np.ndarray]) -> object:
    """Share of list places whose item at most so many users have."""
    from cofactor.report.figures import BLUE, INK, ORANGE, PALE, new_figure, plain_axes

    figure = new_figure(7, 4)
    axes = figure.add_subplot(1, 1, 1)
    plain_axes(axes, "both")
    colours = (PALE, BLUE, "#2f855a", ORANGE, "#7b5ea7")
    for (name, shares), colour in zip(popularity.items(), colours, strict=True):
        places = np.linspace(0, 1, 201)
        axes.plot(100 * np.quantile(shares, places), places, color=colour, linewidth=1.8, label=name)
    axes.set_xlabel("users who have the item, %", color=PALE)
    axes.set_title("Share of places in lists up to that popularity", color=INK, loc="left", fontsize=11)
    axes.set(xlim=(0, None), ylim=(0, 1))
    axes.legend(frameon=False, loc="lower right", labelcolor=INK)
    return figure


if __name__ == "__main__":
    main()

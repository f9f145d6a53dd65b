"""Which model for groceries? Every simple model of cofactor on a year of purchases, measured on the last four weeks.

    python examples/baselines_study.py                  # docs/baselines-study.md and docs/images/baselines-study.svg
    python examples/baselines_study.py --validate       # on the four weeks before: here parameters were chosen
    python examples/baselines_study.py --households 100 --out study

Two tables: what a household buys (repeats allowed), and what it buys that it had not bought before (discovery). Needs
``pip install 'cofactor[demo]'``; a few minutes on two cores.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

import cofactor as cf
from cofactor.kernels.csr import CSR
from cofactor.report.figures import BLUE, INK, PALE, new_figure, plain_axes, require_matplotlib

if TYPE_CHECKING:
    from collections.abc import Callable

METRICS = ("recall@10", "precision@10", "ndcg@10", "coverage@10")
TITLES = {"repeats": "Everything: repeats allowed", "discovery": "Discovery: what was bought before is left out"}
DOCS = Path(__file__).parents[1] / "docs"

# Factories, so that each model is made, fitted, measured and given back in turn. The first of a pair says which weights
# it is fitted on: "counts" are numbers of purchases, "recent" square roots of counts with a half-life of 90 days,
# "ratings" logarithms of counts, for models that predict how much somebody likes what it bought: nothing tells them
# what it did not buy, as something does iALS.
# Parameters were chosen on the four weeks before the test weeks, by ndcg@10 with repeats allowed; those of Repurchase
# and of the blend with it on the mean of that window and of the two before it.
MODELS: dict[str, tuple[str, Callable[[], cf.Recommender]]] = {
    "Random, uniform": ("counts", lambda: cf.Random(seed=0)),
    "Random, by popularity": ("counts", lambda: cf.Random(seed=0, weighted=True)),
    "Popular": ("counts", lambda: cf.Popular(by="weight")),
    "Popular, last 7 days": ("counts", lambda: cf.Popular(window="7d")),
    "PersonalPopular": ("counts", cf.PersonalPopular),
    "PersonalPopular, half-life 90 days": ("counts", lambda: cf.PersonalPopular(half_life="90d")),
    "Fallback: personal, then popular": (
        "counts",
        lambda: cf.Fallback(cf.PersonalPopular(half_life="90d"), cf.Popular(window="7d")),
    ),
    "ItemKNN": ("recent", lambda: cf.ItemKNN("cosine", 300, shrinkage=10.0)),
    "UserKNN": ("recent", lambda: cf.UserKNN("cosine", 100)),
    "RP3beta": ("recent", lambda: cf.RP3beta(0.6, 0.3, 300, neighbours_of="history")),
    "CoVisitation": ("recent", lambda: cf.CoVisitation(200, last_events=200)),
    "EASE": ("recent", lambda: cf.EASE(30.0)),
    "SLIM": ("recent", lambda: cf.SLIM(0.1, 3.0, neighbours=50)),
    "GraphFilter": ("recent", lambda: cf.GraphFilter(low_pass=0.0)),
    "PureSVD": ("recent", lambda: cf.PureSVD(64)),
    "iALS": (
        "counts",
        lambda: cf.ImplicitALS(
            128,
            alpha=1.0,
            unobserved_weight=1.0,
            regularization=0.002,
            regularization_exponent=1.0,
            iterations=12,
            seed=0,
        ),
    ),
    "Explicit ALS": ("ratings", lambda: cf.BiasedMF(32, method="als")),
    "Biased MF by SGD": ("ratings", lambda: cf.BiasedMF(32, method="sgd")),
    "SVD++": ("ratings", lambda: cf.SVDpp(32)),
    "Co-clustering": ("ratings", lambda: cf.CoClustering(5, 5)),
    "NextBasket as in the paper": (
        "counts",
        lambda: cf.NextBasket(half_life=None, neighbour_half_life=None, trend=None, alpha=0.7),
    ),
    "NextBasket": ("counts", cf.NextBasket),
    "Repurchase": ("counts", cf.Repurchase),
}
# Of models that are fitted anyway, by their scores: what each weighs.
BLENDS = {
    "Blend of NextBasket, EASE and the paper's": {"NextBasket": 1.0, "EASE": 0.3, "NextBasket as in the paper": 0.2},
    "Blend of Repurchase and NextBasket": {"Repurchase": 1.0, "NextBasket": 0.2},
}


def main() -> None:
    """Run the study and write its tables and its plot."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--validate", action="store_true", help="leave the last four weeks out altogether")
    options.add_argument("--households", type=int, help="of the first so many households only")
    options.add_argument("--models", nargs="+", help="models whose names begin so")
    options.add_argument("--out", type=Path, default=DOCS, help="folder for baselines-study.md and images/")
    given = options.parse_args()
    require_matplotlib()
    started = time.perf_counter()
    train, test = split(given.validate, given.households)
    x = train.interactions()
    pairs = test.pairs()
    new = pairs.join(x.to_frame(), on=["user_id", "item_id"], how="anti")
    facts = (
        f"{x.n_users:,} households, {x.n_items:,} products, {train.n_events:,} purchases to learn from. In the next "
        f"four weeks {pairs['user_id'].n_unique():,} households bought {pairs.height:,} products (each counted once a "
        f"household), {new.height:,} of them for the first time."
    )
    print(facts, flush=True)
    chosen = [n for n in [*MODELS, *BLENDS] if not given.models or n.startswith(tuple(given.models))]
    boards = study(x, train.interactions(cf.weights.half_life("90d")), {"repeats": pairs, "discovery": new}, chosen)
    seconds = time.perf_counter() - started
    (given.out / "images").mkdir(parents=True, exist_ok=True)
    plot(boards).savefig(given.out / "images" / "baselines-study.svg", metadata={"Date": None})
    text = page(facts, boards, seconds, validate=given.validate)
    (given.out / "baselines-study.md").write_text(text)
    print(f"\n{text}\nwritten to {given.out} after {seconds:.0f} s")


def split(validate: bool, households: int | None) -> cf.split.Split:
    """The last four weeks are test; or, to choose parameters without them, the four weeks before."""
    events = cf.datasets.completejourney()
    if households is not None:
        ids = events.frame.select(pl.col(events.user).unique().sort()).collect().to_series()[:households]
        events = events.filter(pl.col(events.user).is_in(ids.implode()))
    if validate:
        events = cf.split.by_time(events, "28d").train
    return cf.split.by_time(events, "28d")


def study(
    x: cf.Interactions, decayed: cf.Interactions, tests: dict[str, pl.DataFrame], names: list[str]
) -> dict[str, pl.DataFrame]:
    """Fit every model once and measure it on every test: a leaderboard for each."""
    weights = {"counts": x, "recent": rooted(decayed), "ratings": liked(x)}
    rows: dict[str, list[dict[str, object]]] = {test: [] for test in tests}
    kept: dict[str, cf.Recommender] = {}
    fit_seconds: dict[str, float] = {}
    for name in names:
        start = time.perf_counter()
        if name in BLENDS:
            parts = [kept.get(part) or MODELS[part][1]().fit(weights[MODELS[part][0]]) for part in BLENDS[name]]
            model: cf.Recommender = cf.Blend.fitted(*parts, by="score", weights=list(BLENDS[name].values()))
        else:
            model = MODELS[name][1]().fit(weights[MODELS[name][0]])
        fit_seconds[name] = time.perf_counter() - start
        if name in BLENDS:
            fit_seconds[name] += sum(fit_seconds.get(part, 0.0) for part in BLENDS[name])
        if any(name in parts for parts in BLENDS.values()):
            kept[name] = model
        for test, pairs in tests.items():
            start = time.perf_counter()
            found = cf.evaluate(model, pairs, METRICS, exclude_seen=test == "discovery", n_bootstrap=0)
            values = dict(found.select("metric", "value").iter_rows())
            seconds = {"fit_seconds": fit_seconds[name], "recommend_seconds": time.perf_counter() - start}
            rows[test].append({"model": name, **values, **seconds})
            print(f"{test:10}{name:36}", *(f"{name} {value:.4f}" for name, value in values.items()), flush=True)
    return {test: pl.DataFrame(board).sort("ndcg@10", descending=True) for test, board in rows.items()}


def rooted(x: cf.Interactions) -> cf.Interactions:
    """Square roots of the weights: the tenth purchase says less than the first."""
    m = x.user_items
    return cf.Interactions(x.users, x.items, CSR(m.indptr, m.indices, np.sqrt(m.values), m.n_columns), x.events)


def liked(x: cf.Interactions) -> cf.Ratings:
    """How much a household likes a product, if that is the logarithm of how often it bought it."""
    return cf.Ratings(x.users, x.items, x.user_items.with_values(np.log2(1 + x.user_items.values)))


def page(facts: str, boards: dict[str, pl.DataFrame], seconds: float, *, validate: bool) -> str:
    """The tables in Markdown."""
    weeks = "the four weeks before the last four" if validate else "the last four weeks"
    lines = [
        "# Baselines on a grocery log",
        "",
        f"Made by `python examples/baselines_study.py{' --validate' if validate else ''}` in {seconds:.0f} s. "
        f"The Complete Journey, split by time, measured on {weeks}. {facts}",
        "",
        "Parameters were chosen on the four weeks before the test weeks (those of Repurchase and its blend also on the "
        "eight weeks before these; the models of ratings, explicit ALS, biased MF, SVD++ and co-clustering, have 32 "
        "factors, 5 x 5 clusters and else their defaults). Seconds are of one run on a shared machine with two cores; "
        "those of blends include their parts, and making interactions of the events is left out. "
        "What the figures mean for a choice is in [choosing a model](choosing-a-model.md).",
        "",
        "![ndcg@10 of every model](images/baselines-study.svg)",
    ]
    for test, board in boards.items():
        names = [c for c in board.columns if c != "model"]
        lines += ["", f"## {TITLES[test]}", "", f"| model | {' | '.join(name.replace('_', ' ') for name in names)} |"]
        lines.append("|---|" + "---:|" * len(names))
        for row in board.iter_rows(named=True):
            cells = [f"{row[name]:.1f}" if name.endswith("seconds") else f"{row[name]:.4f}" for name in names]
            lines.append(f"| {row['model']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def plot(boards: dict[str, pl.DataFrame]) -> object:
    """One panel of bars for each leaderboard, models in the order of the first."""
    order = next(iter(boards.values()))["model"].to_list()
    figure = new_figure(11, 0.9 + 0.32 * len(order))
    for number, (test, board) in enumerate(boards.items()):
        axes = figure.add_subplot(1, len(boards), number + 1)
        plain_axes(axes, "x")
        found = dict(board.select("model", "ndcg@10").iter_rows())
        values = [found[name] for name in order]
        best = max(values)
        axes.barh(range(len(order)), values, height=0.66, color=[BLUE if v == best else "#a9c1dc" for v in values])
        for place, value in enumerate(values):
            axes.annotate(f"{value:.3f}", (value, place), (4, 0), textcoords="offset points", va="center", color=INK)
        axes.set(xlim=(0, best * 1.18), ylim=(len(order) - 0.5, -0.5))
        axes.set_title(TITLES[test], color=INK, loc="left", fontsize=11)
        axes.set_xlabel("ndcg@10", color=PALE)
        axes.set_yticks(range(len(order)), order if number == 0 else [""] * len(order), color=INK)
        axes.tick_params(axis="y", length=0)
    return figure


if __name__ == "__main__":
    main()

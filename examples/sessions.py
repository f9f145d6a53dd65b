"""The next item of a session: five models and a blend of two of them, its weight chosen on the end of the training log.

    python examples/sessions.py session_diginetica session_yoochoose1_64    # published splits, as whole sessions
    python examples/sessions.py                                             # a synthetic log

A folder holds train_sessions.parquet (a row for each session, in the order of time, with its items as a list) and
test.parquet (prefix and target); see cofactor.datasets.next_item. What was seen may come again. P@20 is the share of
tests whose next item is among the first 20 of all, MRR@20 the mean of 1 / its place.

The newest training sessions, a tenth of them, are held out and turned into tests; the weight of the blend is the one
that is best there by P@20 + 1.5 MRR@20 (in percent). The tests themselves are read once, at the end.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import polars as pl

import cofactor as cf
from cofactor.datasets import NextItem, next_item, next_item_tests

METRICS = ("hit_rate@20", "mrr@20")
WEIGHTS = (0.05, 0.1, 0.2, 0.3)  # of vectors beside neighbours, whose weight is 1


def held_out(log: cf.Events, share: float) -> NextItem:
    """The newest sessions as tests, without the items that only they have."""
    session = str(log.session)
    ids = log.frame.select(pl.col(session).unique().sort()).collect()[session]
    first = ids[-max(1, round(share * len(ids)))]
    train, later = log.filter(pl.col(session) < first), log.filter(pl.col(session) >= first)
    known = train.frame.select(pl.col(log.item).unique())
    later = later.with_frame(later.frame.join(known, on=log.item, how="semi", maintain_order="left"))
    return NextItem(train, *next_item_tests(later))


def read(folder: Path | None) -> NextItem:
    """A published split, or one of a synthetic log."""
    if folder is not None:
        return next_item(folder / "train_sessions.parquet", folder / "test.parquet")
    return held_out(cf.datasets.synthetic_sessions(6_000, 500, mean_length=6), 0.1)


def percent(model: cf.models.Recommender, task: NextItem) -> tuple[float, float]:
    """P@20 and MRR@20."""
    lists = model.recommend_for(task.prefixes, k=20, exclude_seen=False)
    hit, mrr = cf.evaluate(lists, task.targets, METRICS, n_bootstrap=0)["value"]
    return 100 * hit, 100 * mrr


def blended(models: dict[str, cf.models.Recommender], weight: float) -> cf.Blend:
    """Neighbours and vectors by their scores, each relative to its list."""
    return cf.Blend.fitted(models["SessionKNN"], models["SessionMF"], weights=[1, weight], by="score")


def fitted(x: cf.Interactions, names: tuple[str, ...]) -> dict[str, cf.models.Recommender]:
    """Models with their defaults."""
    return {name: getattr(cf, name)().fit(x) for name in names}


def study(task: NextItem) -> pl.DataFrame:
    """The models, worst first."""
    inner = held_out(task.train, 0.1)
    models = fitted(inner.train.interactions(), ("SessionKNN", "SessionMF"))
    tried = {}
    for weight in WEIGHTS:
        hit, mrr = percent(blended(models, weight), inner)
        tried[weight] = hit + 1.5 * mrr
        print(f"held-out sessions: weight {weight:4}, P@20 {hit:.2f}, MRR@20 {mrr:.2f}", flush=True)
    chosen = max(tried, key=lambda weight: tried[weight])
    models = fitted(task.train.interactions(), ("Popular", "CoVisitation", "ItemPairsMF", "SessionMF", "SessionKNN"))
    models[f"Blend, weights 1 and {chosen}"] = blended(models, chosen)
    rows = [(name, *percent(model, task)) for name, model in models.items()]
    return pl.DataFrame(rows, schema=["model", "P@20", "MRR@20"], orient="row").sort("P@20")


def main() -> dict[str, pl.DataFrame]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, help="next-item splits; by default a synthetic log")
    folders = parser.parse_args().folders or [None]
    warnings.simplefilter("ignore", cf.CofactorWarning)  # CoVisitation leaves out the early events of long sessions
    found = {}
    for folder in folders:
        name = "synthetic" if folder is None else folder.name
        task = read(folder)
        found[name] = study(task)
        print(f"\n{name}: {len(task.targets):,} tests\n")
        print("| model | P@20 | MRR@20 |\n|---|---:|---:|")
        for model, hit, mrr in found[name].iter_rows():
            print(f"| {model} | {hit:.2f} | {mrr:.2f} |", flush=True)
    return found


if __name__ == "__main__":
    main()

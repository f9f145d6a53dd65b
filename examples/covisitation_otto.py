"""Carts and orders from clicks: the three classic co-visitation matrices on sessions in the format of OTTO's log.

    python examples/covisitation_otto.py otto-recsys-train.jsonl
    python examples/covisitation_otto.py                          # on a synthetic log

Sessions with an event in the last quarter of the log's time are cut at a random event (as in the competition): what
comes before joins the training data, what comes after is to be found. recall@20 as the competition counts it: for each
type the items found, over all sessions, by the items there were to find (20 a session at most); of clicks only the
next. Total: 0.1 clicks + 0.3 carts + 0.6 orders.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import polars as pl

import cofactor as cf

TYPES = {"clicks": 0.1, "carts": 0.3, "orders": 0.6}
HISTORY = cf.weights.by_type({"clicks": 1, "carts": 6, "orders": 3}) * cf.weights.half_life("1d")
MATRICES = cf.CoVisitation.type_weighted(), cf.CoVisitation.buy_to_buy(), cf.CoVisitation.time_weighted()


def read(paths: list[str]) -> cf.Events:
    if paths:
        return cf.datasets.otto(paths)
    shares = {"clicks": 0.9, "carts": 0.07, "orders": 0.03}
    events = cf.datasets.synthetic_events(20_000, 5_000, 300_000, days=4, event_types=shares)
    return cf.read_events(
        events.frame, user=None, session="user_id", item="item_id", time="time", event_type="event_type"
    )


def cut(events: cf.Events, seed: int = 0) -> tuple[cf.Events, pl.DataFrame]:
    """Training events, and (session, item, type) of what follows the cut of the test sessions."""
    session, time_of = str(events.session), str(events.time)
    log = events.collect().sort(session, time_of, maintain_order=True)
    span = log.select(pl.col(time_of).min().alias("first"), pl.col(time_of).max().alias("last")).row(0)
    late = span[1] - (span[1] - span[0]) / 4
    draw = pl.Series(np.random.default_rng(seed).random(log[session].n_unique()))
    cuts = log.group_by(session, maintain_order=True).agg(
        n=pl.len(), is_test=(pl.col(time_of).max() >= late) & (pl.len() > 1)
    )
    cuts = cuts.with_columns(kept=pl.when("is_test").then(1 + (draw * (pl.col("n") - 1)).floor()).otherwise("n"))
    known = pl.int_range(pl.len()).over(session) < pl.col("kept")
    log = log.join(cuts.select(session, "kept"), on=session, maintain_order="left").with_columns(known=known)
    train = events.with_frame(log.filter("known").drop("known", "kept"))
    after = log.filter(~pl.col("known")).select(
        user_id=session, item_id=events.item, type=pl.col(str(events.event_type)).cast(pl.String)
    )
    next_click = after.filter(type="clicks").unique("user_id", keep="first", maintain_order=True)
    others = after.filter(pl.col("type") != "clicks").unique()
    return train, pl.concat([next_click, others])


def recalls(table: pl.DataFrame, truth: pl.DataFrame) -> list[float]:
    found = truth.join(table, on=["user_id", "item_id"]).group_by("type").len("found")
    possible = truth.group_by("type", "user_id").len().group_by("type").agg(possible=pl.col("len").clip(0, 20).sum())
    share = possible.join(found, on="type", how="left").with_columns(recall=pl.col("found").fill_null(0) / "possible")
    by_type = dict(share.select("type", "recall").iter_rows())
    each = [by_type.get(t, 0.0) for t in TYPES]
    return [*each, float(np.dot(each, list(TYPES.values())))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", nargs="*", help="files of OTTO sessions, JSON lines")
    warnings.simplefilter("ignore", cf.CofactorWarning)  # last_events leaves out the early events of long sessions
    train, truth = cut(read(parser.parse_args().log))
    x = train.interactions(HISTORY)
    matrices = cf.CoVisitationSum(*MATRICES, weights=[1, 5, 1])
    models = {
        "popular": cf.Popular(),
        "the session's own items, newest first": cf.PersonalPopular(),
        "own items, then popular": cf.Fallback(cf.PersonalPopular(), cf.Popular()),
        "own items, then three matrices, then popular": cf.Fallback(cf.PersonalPopular(), matrices, cf.Popular()),
    }
    sessions = truth["user_id"].unique().sort()
    print(f"{train.n_events:,} events to learn from, {len(sessions):,} sessions to go on with\n")
    print("| model | clicks | carts | orders | total | seconds |\n|---|---:|---:|---:|---:|---:|")
    for name, model in models.items():
        begin = time.perf_counter()
        table = model.fit(x).recommend(sessions, k=20, exclude_seen=False)
        figures = " | ".join(f"{r:.4f}" for r in recalls(table, truth))
        print(f"| {name} | {figures} | {time.perf_counter() - begin:.1f} |", flush=True)
    like = cf.CoVisitation.buy_to_buy(["orders"]).fit(x).similar_items(k=3)
    print(f"\nbought together, the first of {len(like):,} pairs:\n{like.head(5)}")


if __name__ == "__main__":
    main()

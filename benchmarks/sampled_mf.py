"""Losses x samplers of SampledMF x data sets: seconds and quality on a held-out part of train.

    python benchmarks/sampled_mf.py FOLDER                       # ml-100k, ncf_ml-1m and gowalla_lightgcn inside it
    python benchmarks/sampled_mf.py FOLDER --data ml-100k --peers
    python benchmarks/sampled_mf.py FOLDER --data gowalla_lightgcn --users 5000

A tenth of the pairs, of at most 5,000 users, is held out of the training part; no test file is read. Each loss runs for
the same number of epochs with each of its samplers, from one seed, with the parameters in ``LOSSES``; seconds are those
of ``fit``. ``--peers`` adds what of LightFM (WARP, BPR), implicit (BPR) and PyTorch (BPR, batches of 1,024 with Adam)
is installed, for as many epochs in the same run.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from _measure import print_header, print_row

import cofactor as cf
from cofactor.system.threads import available_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from cofactor.kernels.arrays import Float

    Fit = Callable[[cf.Interactions, argparse.Namespace], tuple[Float, Float]]

METRICS = ("ndcg@10", "recall@20")
FEW = {"learning_rate": 0.01, "batch_size": 512}
LOSSES: dict[str, dict[str, Any]] = {
    "bpr": FEW,
    "hinge": FEW,
    "adaptive_hinge": FEW,
    "warp": FEW,
    "logistic": FEW,
    "softmax": {"temperature": 0.15},
    "softmax@k": {"temperature": 0.1},
    "bsl": {"temperature": 0.15},
    "ccl": {},
}


def read(folder: Path, name: str) -> pl.DataFrame:
    """Training pairs of a data set."""
    if name == "ml-100k":
        return cf.datasets.movielens(folder / name).pairs()
    if name == "ncf_ml-1m":
        table = pl.read_parquet(folder / name / "train.parquet")
        return table.select(user_id="user", item_id="item").unique(maintain_order=True)
    return cf.datasets.user_item_lists(folder / name / "train.txt").pairs()


def parts(pairs: pl.DataFrame, users: int | None) -> tuple[cf.Interactions, pl.DataFrame]:
    """Nine tenths to train on, and the rest of at most 5,000 users to measure by."""
    if users:
        pairs = pairs.filter(pl.col("user_id").rank("dense") <= users)
    rng = np.random.default_rng(0)
    ids = pairs["user_id"].unique().sort()
    some = ids.gather(np.sort(rng.permutation(len(ids))[:5000]))
    out = pl.Series(rng.random(len(pairs)) < 0.1) & pairs["user_id"].is_in(some.implode())
    train, held_out = pairs.filter(~out), pairs.filter(out)
    known = held_out.join(train, on="user_id", how="semi").join(train, on="item_id", how="semi")
    return cf.Interactions.from_frame(train), known


def measured(model: cf.Recommender, held_out: pl.DataFrame) -> list[str]:
    users = held_out["user_id"].unique(maintain_order=True)
    found = cf.evaluate(model.recommend(users, k=20), held_out, METRICS, n_bootstrap=0)
    return [f"{value:.4f}" for value in found["value"]]


def as_model(fit: Fit, x: cf.Interactions, args: argparse.Namespace) -> cf.Recommender:
    return cf.FactorModel.from_vectors(*fit(x, args), interactions=x)


def with_implicit(x: cf.Interactions, args: argparse.Namespace) -> tuple[Float, Float]:
    from implicit.bpr import BayesianPersonalizedRanking

    model = BayesianPersonalizedRanking(
        args.factors, learning_rate=0.01, regularization=0.01, iterations=args.epochs, num_threads=args.threads
    )
    model.fit(x.user_items.to_scipy().tocsr(), show_progress=False)
    return model.user_factors, model.item_factors


def with_lightfm(loss: str) -> Fit:
    def fit(x: cf.Interactions, args: argparse.Namespace) -> tuple[Float, Float]:
        from lightfm import LightFM

        model = LightFM(args.factors, loss=loss, learning_schedule="adagrad", random_state=0)
        model.fit(x.user_items.to_scipy().tocoo(), epochs=args.epochs, num_threads=args.threads)
        item_biases, items = model.get_item_representations()
        _, users = model.get_user_representations()
        return np.hstack([users, np.ones((len(users), 1))]), np.hstack([items, item_biases[:, None]])

    return fit


def with_torch(x: cf.Interactions, args: argparse.Namespace) -> tuple[Float, Float]:
    import torch
    from _torch_bpr import TorchBPR

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = TorchBPR(x.user_items, args.factors, 0.01, penalty=0.005)
    for _ in range(args.epochs):
        model.epoch(1024)
    return model.vectors()


PEERS: dict[str, tuple[str, Fit]] = {
    "implicit, bpr": ("implicit", with_implicit),
    "LightFM, bpr": ("lightfm", with_lightfm("bpr")),
    "LightFM, warp": ("lightfm", with_lightfm("warp")),
    "PyTorch, bpr": ("torch", with_torch),
}


def table(x: cf.Interactions, held_out: pl.DataFrame, args: argparse.Namespace) -> None:
    def row(name: str, sampler: str, fit: Callable[[], cf.Recommender]) -> None:
        start = time.perf_counter()
        model = fit()
        print_row(name, sampler, f"{time.perf_counter() - start:.2f}", *measured(model, held_out))

    print_header(["model", "sampler", "fit s", *METRICS], 2)
    row("Popular", "", lambda: cf.Popular().fit(x))
    row("ImplicitALS", "", lambda: cf.ImplicitALS(args.factors, threads=args.threads).fit(x))
    shape = {"factors": args.factors, "epochs": args.epochs, "threads": args.threads}
    for loss, sampler in product(args.losses, args.samplers):
        if sampler != "in_batch" or LOSSES[loss] is not FEW:
            model = cf.SampledMF(loss=loss, sampler=sampler, **shape, **LOSSES[loss])
            row(loss, sampler, partial(model.fit, x))
    for peer, (package, fit) in PEERS.items() if args.peers else ():
        if find_spec(package) is None:
            print_row(peer, "", "not installed", *("" for _ in METRICS))
        else:
            row(peer, "", partial(as_model, fit, x, args))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds a folder for each data set")
    parser.add_argument("--data", nargs="+", default=["ml-100k", "ncf_ml-1m", "gowalla_lightgcn"])
    parser.add_argument("--losses", nargs="+", default=list(LOSSES), choices=list(LOSSES))
    parser.add_argument("--samplers", nargs="+", default=["exact", "uniform", "popularity", "in_batch"])
    parser.add_argument("--users", type=int, help="only the first so many")
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=available_threads())
    parser.add_argument("--peers", action="store_true", help="other libraries, too")
    args = parser.parse_args()
    for name in args.data:
        x, held_out = parts(read(args.folder, name), args.users)
        print(f"\n{name}: {x.n_users:,} users, {x.n_items:,} items, {x.user_items.nnz:,} pairs; {len(held_out):,} held "
              f"out. {args.factors} factors, {args.epochs} epochs, {args.threads} threads\n")  # fmt: skip
        table(x, held_out, args)


if __name__ == "__main__":
    main()

"""Epochs of BPR beside implicit and rusket: same matrix, same run, and the quality of the vectors after each.

    pip install '.[bench]' rusket
    python benchmarks/pairwise.py                         # seconds per epoch of BPR, 17.4 M interactions
    python benchmarks/pairwise.py losses                  # of every loss and optimizer
    python benchmarks/pairwise.py threads                 # speed-up with threads
    python benchmarks/pairwise.py quality --data FOLDER   # NDCG@10 after some epochs of MovieLens 1M
    python benchmarks/pairwise.py pytorch --data FOLDER   # an epoch of MovieLens 1M beside a loop in PyTorch

``--users 5000 --items 2000 --interactions 200_000`` is a quick try. Runs are interleaved and medians compared, since
machines drift. A peer's epoch is what two more of them take. All use the same regularization, draw one negative that
the user has not seen (implicit: by frequency, as it always does), and learn biases of the items but rusket, which has
none, and a row of ours that has none either. For quality each is trained with each of ``--rates`` (ours fall to zero
along half a wave), and its best for each number of epochs stands below; a tenth of the pairs of FOLDER/ncf_ml-1m's
training part is held out, at random, and ranked among all items that a user has not in training; the test files are not
read.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from _measure import interleaved, print_header, print_row, seconds_of

import cofactor as cf
from cofactor.kernels import native, on
from cofactor.kernels.arguments import Table
from cofactor.kernels.csr import CSR
from cofactor.models.base.epochs import Plan
from cofactor.system.threads import available_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from cofactor.kernels.arrays import Float

    Run = Callable[[CSR, int, argparse.Namespace], tuple[Float, Float]]

LOSSES = ("bpr", "hinge", "adaptive_hinge", "warp", "logistic")
RATES = {"sgd": 0.05, "adagrad": 0.05, "adam": 0.002}


class Cofactor:
    """Vectors in training; ``step`` is one epoch."""

    def __init__(self, x: CSR, args: argparse.Namespace, threads: int | None = None, **options: Any) -> None:
        self.x, self.threads, self.done = x, threads or args.threads, 0
        self.options = {"loss": "bpr", "negatives": 1, "optimizer": "sgd"} | options
        optimizer = self.options.pop("optimizer")
        rate = args.learning_rate if optimizer == "sgd" else RATES[optimizer]
        rate /= 10 if self.options["loss"] == "warp" else 1  # its weights are up to 10 at this size
        self.kernels, rng = on("cpu"), np.random.default_rng(0)
        n = x.n_rows + x.n_columns

        def fill(values: Float) -> None:
            values[:] = rng.standard_normal(values.shape, np.float32) / np.sqrt(args.factors)

        width = -(-args.factors // 16) * 16
        self.vectors = Table.new(self.kernels.vectors(n, width, fill), optimizer, rate)
        self.vectors.values[:, args.factors :] = 0
        biased = self.options.pop("biases", True)
        self.biases = Table.new(np.zeros((n, 1), np.float32), optimizer, rate) if biased else None
        self.regularization = args.regularization

    def step(self, rate: float = 1.0, last_rate: float | None = None) -> None:
        loss, _, _ = self.kernels.pairwise_epoch(
            self.x, self.vectors, self.biases, sampler="exact", regularization=self.regularization,
            bias_regularization=self.regularization, epoch=self.done, threads=self.threads, rate=rate,
            last_rate=last_rate, **self.options,
        )  # fmt: skip
        self.done += 1
        if not np.isfinite(loss):
            raise FloatingPointError(f"epoch {self.done} diverged")


def with_cofactor(x: CSR, epochs: int, args: argparse.Namespace, options: dict[str, Any]) -> tuple[Float, Float]:
    """Trained as ``SampledMF(lr_schedule="cosine")`` trains: the rate falls to zero along half a wave."""
    ours, plan = Cofactor(x, args, **options), Plan(epochs, cosine=True)
    for epoch in range(epochs):
        ours.step(*plan.rate(epoch, 1.0))
    users, items = ours.vectors.values[: x.n_rows], ours.vectors.values[x.n_rows :]
    if ours.biases is None:
        return users, items
    return np.c_[users, np.ones(len(users))], np.c_[items, ours.biases.values[x.n_rows :]]


def with_implicit(x: CSR, epochs: int, args: argparse.Namespace) -> tuple[Float, Float]:
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    peer = BayesianPersonalizedRanking(
        args.factors, args.learning_rate, args.regularization, iterations=epochs, num_threads=args.threads,
        random_state=0,
    )  # fmt: skip
    peer.fit(x.to_scipy(), show_progress=False)
    return peer.user_factors, peer.item_factors


def with_rusket(x: CSR, epochs: int, args: argparse.Namespace) -> tuple[Float, Float]:
    os.environ["RAYON_NUM_THREADS"] = str(args.threads)
    import rusket

    peer = rusket.BPR(args.factors, args.learning_rate, args.regularization, iterations=epochs)
    peer.fit(x.to_scipy())
    return peer.user_factors, peer.item_factors


PEERS: dict[str, Run] = {
    "implicit": with_implicit,
    "rusket": with_rusket,
}


def peer_epoch(x: CSR, name: str, args: argparse.Namespace) -> float:
    few, more = (seconds_of(lambda n=n: PEERS[name](x, n, args)) for n in (1, 3))
    return (more - few) / 2


def matrix(args: argparse.Namespace) -> CSR:
    x = cf.datasets.synthetic(args.users, args.items, args.interactions, seed=0)
    print(f"{x}, {args.factors} factors\n", flush=True)
    return x.user_items.binary()


def epochs(args: argparse.Namespace) -> None:
    """The main table."""
    x = matrix(args)
    ours = Cofactor(x, args)
    ours.step()
    seconds: dict[str, list[float]] = {name: [] for name in ("cofactor", *args.peers)}
    for _ in range(args.rounds):
        seconds["cofactor"] += [seconds_of(ours.step) for _ in range(3)]
        for name in args.peers:
            seconds[name].append(peer_epoch(x, name, args))
    median = {name: statistics.median(s) for name, s in seconds.items()}
    print_header(["library", "s per epoch", "from", "to", "times cofactor's"], 1)
    for name, s in seconds.items():
        cells = (f"{value:.2f}" for value in (median[name], min(s), max(s), median[name] / median["cofactor"]))
        print_row(name, *cells)


def losses(args: argparse.Namespace) -> None:
    """Seconds per epoch of every loss, 5 negatives for adaptive_hinge, without locks and deterministic."""
    x = matrix(args)
    print_header(["loss", "optimizer", "s", "deterministic s"], 2)
    for loss in args.losses:
        for optimizer in RATES:
            options = {"loss": loss, "optimizer": optimizer, "negatives": 5 if loss == "adaptive_hinge" else 1}
            ways = [Cofactor(x, args, **options, deterministic=way) for way in (False, True)]
            seconds, _ = interleaved({str(k): way.step for k, way in enumerate(ways)}, args.rounds)
            print_row(loss, optimizer, *(f"{statistics.median(s):.2f}" for s in seconds.values()))


def threads(args: argparse.Namespace) -> None:
    x, counts = matrix(args), range(1, args.threads + 1)
    print_header(["loss", *(f"threads: {t}" for t in counts), *(f"{t} / 1" for t in counts[1:])], 1)
    for loss in args.losses:
        steps = {str(t): Cofactor(x, args, t, loss=loss).step for t in counts}
        median = [statistics.median(s) for s in interleaved(steps, args.rounds)[0].values()]
        print_row(loss, *(f"{s:.2f} s" for s in median), *(f"{median[0] / s:.2f}" for s in median[1:]))


def movielens(args: argparse.Namespace) -> CSR:
    files = (args.data / "ncf_ml-1m" / file for file in ("train.parquet", "ml-1m.test.rating", "ml-1m.test.negative"))
    return cf.datasets.leave_one_out_with_negatives(*files)[0].interactions().user_items.binary()


def pytorch(args: argparse.Namespace) -> None:
    """An epoch of the same model and loss, beside the first batches of one in PyTorch."""
    import torch
    from _torch_bpr import TorchBPR

    x = movielens(args)
    print(f"{x.nnz:,} pairs, {args.factors} factors, PyTorch {torch.__version__}\n", flush=True)

    def loop(batch: int, threads: int) -> Callable[[], None]:
        model = TorchBPR(x, args.factors, 0.001)

        def epoch() -> None:
            torch.set_num_threads(threads)
            model.epoch(batch, args.batches)

        return epoch

    ours = {name: Cofactor(x, args, optimizer=name) for name in ("sgd", "adam")}
    steps = {f"cofactor, {name}": way.step for name, way in ours.items()}
    ways = {(batch, t): f"PyTorch, batches of {batch:,}, threads: {t}" for batch in (256, 1024) for t in (1, 2)}
    steps |= {name: loop(*way) for way, name in ways.items()}
    for way in ours.values():
        way.step()
    seconds = {name: statistics.median(s) for name, s in interleaved(steps, args.rounds)[0].items()}
    for (batch, _), name in ways.items():
        seconds[name] *= max(1.0, x.nnz / (batch * args.batches))
    print_header(["epoch", "s", *(f"times that of {name}" for name in ours)], 1)
    for name, s in seconds.items():
        print_row(name, f"{s:.3f}", *(f"{s / seconds[f'cofactor, {one}']:.1f}" for one in ours))


def quality(args: argparse.Namespace) -> None:
    """NDCG@10 on held-out pairs after so many epochs, and the seconds that they took with all that goes with them."""
    every = movielens(args)
    out = np.random.default_rng(0).random(every.nnz) < 0.1
    users, items = every.row_index(), every.indices
    x = CSR.from_pairs(users[~out], items[~out], np.ones((~out).sum(), np.float32), every.shape)
    held_out = CSR.from_pairs(users[out], items[out], np.ones(out.sum(), np.float32), every.shape)
    columns = [str(n) for n in args.epochs]
    print(f"{x.nnz:,} pairs to train with, {held_out.nnz:,} held out; NDCG@10 after so many epochs in all\n")
    print_header(["library", "rate", *columns, "s of the last"], 1)
    ways = {
        "cofactor": {},
        "cofactor, no biases": {"biases": False},
        "cofactor, deterministic": {"deterministic": True},
    }
    runs: dict[str, Run] = {name: partial(with_cofactor, options=options) for name, options in ways.items()}
    runs |= {f"cofactor, {one}": partial(with_cofactor, options={"loss": one}) for one in args.losses if one != "bpr"}
    for name, run in (runs | {name: PEERS[name] for name in args.peers}).items():
        table = []
        for rate in args.rates:
            args.learning_rate, found = rate, []
            for n in args.epochs:
                begin = time.perf_counter()
                try:
                    users_of, items_of = run(x, n, args)
                except FloatingPointError:  # printed as nan
                    found.append(np.nan)
                    continue
                seconds = time.perf_counter() - begin
                found.append(ndcg(np.asarray(users_of) @ np.asarray(items_of).T, x, held_out))
            print_row(name, f"{rate:g}", *(f"{value:.4f}" for value in found), f"{seconds:.1f}")
            table.append(found)
        print_row(f"**{name}**", "best", *(f"**{value:.4f}**" for value in np.nanmax(table, axis=0)), "")


def ndcg(scores: Float, x: CSR, held_out: CSR, k: int = 10) -> float:
    """Mean over the users with held-out items."""
    scores[x.row_index(), x.indices] = -np.inf
    some = np.argpartition(-scores, k, axis=1)[:, :k]
    best = np.take_along_axis(some, np.argsort(-np.take_along_axis(scores, some, axis=1), axis=1), axis=1)
    hits = held_out.to_scipy().toarray()[np.arange(len(scores))[:, None], best] > 0
    gain = 1 / np.log2(np.arange(2, k + 2))
    most = np.concatenate([[0.0], np.cumsum(gain)])[np.minimum(np.diff(held_out.indptr), k)]
    return float(((hits @ gain)[most > 0] / most[most > 0]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ways = {"epochs": epochs, "losses": losses, "threads": threads, "quality": quality, "pytorch": pytorch}
    parser.add_argument("what", nargs="?", choices=ways, default="epochs")
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--users", type=int, default=138_000)
    parser.add_argument("--items", type=int, default=27_000)
    parser.add_argument("--interactions", type=int, default=17_400_000)
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=0.05)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.1, 0.15, 0.2, 0.25, 0.3])
    parser.add_argument("--regularization", type=float, default=0.01)
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=LOSSES)
    parser.add_argument("--epochs", type=int, nargs="+", default=[1, 2, 5, 10, 20, 40])
    parser.add_argument("--batches", type=int, default=200, help="of an epoch of PyTorch that are run")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=available_threads())
    args = parser.parse_args()
    if args.what in ("quality", "pytorch") and args.data is None:
        parser.error(f"{args.what} needs --data FOLDER")
    print(f"{', '.join(f'{name} {version(name)}' for name in args.peers)}; {args.threads} threads, {native.level}")
    ways[args.what](args)


if __name__ == "__main__":
    main()

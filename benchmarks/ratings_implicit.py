"""SVD++ beside Surprise's (Cython, one thread): seconds of a fit with its defaults, in one run.

    python benchmarks/ratings_implicit.py                  # synthetic ratings, a tenth of the size of MovieLens 1M
    python benchmarks/ratings_implicit.py --ratings 1_000_000     # takes Surprise many minutes

``SVDpp``: 20 factors, 20 epochs, a learning rate of .007 and a regularization of .02 for each rating. Both get what
they train on ready made; the seconds are those of their fit, the best of ``--rounds`` taken in turn, and CPU seconds.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
from ratings_sgd import beside_surprise, synthetic

import cofactor as cf


def like_theirs(std: float, threads: int | None) -> cf.SVDpp:
    """The same parameters, in units of the standard deviation of ratings."""
    return cf.SVDpp(
        20, epochs=20, lr_schedule="constant", init_std=0.1 / std**0.5, regularization_exponent=1, threads=threads,
        learning_rate=0.007 * std, bias_learning_rate=0.007, regularization=0.02 / std, bias_regularization=0.02,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    warnings.simplefilter("ignore", cf.CofactorWarning)
    share = (args.ratings / 1_000_000) ** 0.5
    table = synthetic(int(6000 * share), int(3700 * share), args.ratings)
    held = np.random.default_rng(1).random(len(table)) < 0.1
    train, test = table.filter(~held), table.filter(held)
    ratings, std = cf.Ratings.from_frame(train), float(train["rating"].std(ddof=0))  # type: ignore[arg-type]
    ours = like_theirs(std, args.threads)
    beside_surprise(("SVDpp", ours, ratings), "SVDpp", (train, test), "20 factors, 20 epochs", args.rounds)


if __name__ == "__main__":
    main()

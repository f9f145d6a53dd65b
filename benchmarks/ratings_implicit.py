"""SVD++ beside Surprise's (Cython, one thread): seconds of a fit with its defaults, in one run.

    python benchmarks/ratings_implicit.py                  # synthetic ratings, a tenth of the size of MovieLens 1M
    python benchmarks/ratings_implicit.py --ratings 1_000_000     # takes Surprise many minutes

``SVDpp``: 20 factors, 20 epochs, a learning rate of .007 and a regularization of .02 for each rating. Both get what
they train on ready made; the seconds are those of their fit, the best of ``--rounds`` taken in turn, and CPU seconds.
"""

from __future__ import annotations

import argparse
import importlib.util
import warnings
from typing import Any

import numpy as np
from _measure import print_header, print_row
from ratings_sgd import COLUMNS, seconds_of, synthetic

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
    contenders: dict[str, tuple[Any, Any]] = {"SVDpp": (like_theirs(std, args.threads), ratings)}
    if importlib.util.find_spec("surprise"):
        import surprise

        scale = surprise.Reader(rating_scale=ratings.scale)
        whole = surprise.Dataset.load_from_df(train.to_pandas()[COLUMNS], scale).build_full_trainset()
        contenders["Surprise SVD++"] = surprise.SVDpp(random_state=0), whole
    else:
        print("surprise is not installed, left out\n")
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(args.rounds):
        for name, (model, data) in contenders.items():
            taken[name].append(seconds_of(lambda model=model, data=data: model.fit(data)))
    print(f"{len(train):,} ratings, 20 factors, 20 epochs\n")
    print_header(["", "s", "CPU s", "times SVDpp", "RMSE"], 1)
    first = min(taken["SVDpp"])[0]
    for name, (model, _) in contenders.items():
        if isinstance(model, cf.SVDpp):
            rated = model.predict(test, clip=True)["rating"].to_numpy()
        else:
            rated = np.array([model.predict(u, i).est for u, i in test.select(COLUMNS[:2]).rows()])
        wall, cpu = min(taken[name])
        rmse = np.sqrt(np.mean((rated - test["rating"].to_numpy()) ** 2))
        print_row(name, f"{wall:.3f}", f"{cpu:.3f}", f"{wall / first:.1f}", f"{rmse:.4f}")


if __name__ == "__main__":
    main()

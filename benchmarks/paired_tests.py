"""Paired tests between models: how often equal ones are called different, how often better ones are, and seconds.

    python benchmarks/paired_tests.py               # some minutes
    python benchmarks/paired_tests.py --families 50 # a look
    python benchmarks/paired_tests.py gate          # how often a candidate that is too bad is let through
    python benchmarks/paired_tests.py speed         # 10 models, so 45 pairs, of 138,000 users

A family is ten models of the same users. Each user has a probability of a hit, which all models share: so do hard users
stay hard. Level: all ten are equal. Power: the first finds a tenth more. Kinds of values: `recall@10` (hits of ten
places), `hit_rate@1` (one held-out item), `rare` (a hit in a hundred users), `ndcg@10` (skewed, with many zeros). A
pair is called different where its p-value, or the Holm-corrected one for the family, is at most .05; of Wilcoxon's test
the p-value alone. At its level a column stands at 5 % or below, and the noise of the simulation: +- 2 standard errors.

The gate: candidates that are worse by just the margin, a tenth of the baseline, should pass in 2.5 % of the cases;
equal ones and better ones as often as the users can tell. Where nobody has a hit it refuses to decide.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from _measure import print_header, print_row, seconds_of

import cofactor as cf
from cofactor.evaluation.paired_statistics import paired_means

if TYPE_CHECKING:
    from numpy.typing import NDArray

MODELS = 10
LIFT = 1.1
MARGIN = 0.1
ROUNDS = 5
KINDS = ("recall@10", "hit_rate@1", "rare", "ndcg@10")


def values(kind: str, hard: NDArray[np.float64], rng: np.random.Generator, lift: float) -> NDArray[np.float64]:
    """What one model has for every user; ``hard`` is shared by all models."""
    n = len(hard)
    if kind == "recall@10":
        return rng.binomial(10, np.minimum(hard * lift, 1)) / 10
    if kind == "hit_rate@1":
        return (rng.random(n) < hard * lift).astype(np.float64)
    if kind == "rare":
        return (rng.random(n) < hard / 16 * lift).astype(np.float64)
    rank = rng.geometric(0.3, n)
    return np.where(rng.random(n) < hard * lift, 1 / np.log2(1 + rank), 0.0)


def family(kind: str, n: int, seed: int, lift: float) -> dict[str, pl.DataFrame]:
    rng = np.random.default_rng([seed, n])
    hard = rng.beta(0.4, 2, n)
    lifts = [lift] + [1.0] * (MODELS - 1)
    return {
        str(m): pl.DataFrame({"user_id": np.arange(n), kind: values(kind, hard, rng, of)}) for m, of in enumerate(lifts)
    }


def rates(kind: str, n: int, families: int, lift: float) -> tuple[float, float, float, float]:
    """Shares of the pairs with the first model by p-value, Holm and Wilcoxon, and of families with any by Holm."""
    found = [cf.paired_tests(family(kind, n, seed, lift), seed=seed) for seed in range(families)]
    first = pl.concat([table.filter(pl.col("model_a") == "0") if lift != 1 else table for table in found])
    shares = first.select(pl.col("p_value", "p_holm", "p_wilcoxon").le(0.05).mean()).row(0)
    return *shares, float(np.mean([table["different"].any() for table in found]))


def told(share: float) -> str:
    return f"{100 * share:.1f} %"


def level_and_power(families: int, kinds: list[str], users: list[int]) -> None:
    print(f"{families} families of {MODELS} models; two standard errors of 5 % of the families: "
          f"{told(2 * np.sqrt(0.05 * 0.95 / families))}\n")  # fmt: skip
    names = ["values", "users", "equal: pairs", "Wilcoxon", "Holm: families", "better: pairs", "Wilcoxon", "Holm"]
    print_header(names, 1)
    for kind in kinds:
        for n in users:
            level, _, wilcoxon, any_holm = rates(kind, n, families, 1.0)
            power, power_holm, power_wilcoxon, _ = rates(kind, n, families, LIFT)
            figures = (level, wilcoxon, any_holm, power, power_wilcoxon, power_holm)
            print_row(kind, f"{n:,}", *map(told, figures))


def passed(kind: str, n: int, times: int, lift: float) -> float:
    """Share of the gates that a candidate passes whose hits are ``lift`` times those of the baseline."""
    count = 0
    for seed in range(times):
        rng = np.random.default_rng([seed, n])
        hard = rng.beta(0.4, 2, n)
        old, new = (values(kind, hard, rng, of) for of in (1.0, lift))
        found = paired_means((new - old)[:, None], confidence=0.95, n_resamples=1000, seed=seed)
        count += bool((old.any() or new.any()) and found.low[0] >= -MARGIN * old.mean())
    return count / times


def gates(times: int, kinds: list[str], users: list[int]) -> None:
    noise = told(2 * np.sqrt(0.025 * 0.975 / times))
    print(f"\n{times} gates with a margin of {told(MARGIN)}; two standard errors of 2.5 %: {noise}\n")
    print_header(["values", "users", "worse by the margin", "equal", "better by a tenth"], 1)
    for kind in kinds:
        for n in users:
            print_row(kind, f"{n:,}", *(told(passed(kind, n, times, lift)) for lift in (1 - MARGIN, 1.0, LIFT)))


def speed(n: int = 138_000) -> None:
    results = family("ndcg@10", n, 0, LIFT)
    begin = time.process_time()
    walls = [seconds_of(lambda: cf.paired_tests(results)) for _ in range(ROUNDS)]
    processor = (time.process_time() - begin) / ROUNDS
    wall = statistics.median(walls)
    print(f"\n{MODELS * (MODELS - 1) // 2} pairs of {n:,} users: {wall:.2f} s, {processor:.2f} s of a processor")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", nargs="?", choices=["all", "gate", "speed"], default="all")
    parser.add_argument("--families", type=int, default=400)
    parser.add_argument("--values", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--users", type=int, nargs="+", default=[50, 500, 5000])
    given = parser.parse_args()
    if given.task == "all":
        level_and_power(given.families, given.values, given.users)
    if given.task in ("all", "gate"):
        gates(given.families, given.values, given.users)
    if given.task != "gate":
        speed()


if __name__ == "__main__":
    main()

"""What ``gpu.py`` checks and times: for each, what it needs held, what it does, and the least that it must move."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from item_pairs import planted

import cofactor as cf
from cofactor.kernels import on
from cofactor.kernels.arguments import FmSide, Table
from cofactor.kernels.csr import CSR
from cofactor.kernels.filters import Filters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OPTIONS: dict[str, Any] = {
    "alpha": 10.0,
    "unobserved_weight": 1.0,
    "regularization": 0.01,
    "regularization_exponent": 0.0,
}
# users, items, pairs, vectors among which neighbours are looked for, pairs of a batch
SIZES = {
    "cuda": (138_000, 27_000, 17_000_000, 1_860_000, 65_536),
    "torch": (6_040, 3_706, 1_000_000, 20_000, 8_192),
    "small": (600, 400, 20_000, 2_000, 1_024),
}
# items, pairs of items, the part of these that is run, pairs of a block
PAIRS = {
    "cuda": (1_860_000, 209_000_000, 1 / 200, 8_192),
    "torch": (20_000, 1_000_000, 1 / 10, 8_192),
    "small": (2_000, 20_000, 1 / 2, 1_024),
}


class Row(NamedTuple):
    """What is timed: its name, what it does, and the bytes and operations that it takes at least."""

    name: str
    run: Callable[[Any], object]
    gigabytes: float
    gigaflops: float
    part: float = 1.0  # of the whole that is run; seconds are those of the whole


def iteration(kernels: Any, x: Any, factors: int, solver: str) -> Callable[[], float]:
    """A sweep over users and one over items from the same start on every device; gives their losses."""
    rng, scale = np.random.default_rng(0), np.float32(0.1 / np.sqrt(factors))
    start = [scale * rng.standard_normal((n, factors), np.float32) for n in (x.n_users, x.n_items)]
    users, items = (kernels.vectors(*v.shape, partial(np.copyto, src=v)) for v in start)
    by_user, by_item = kernels.hold(x.user_items), kernels.hold(x.item_users)

    def step() -> float:
        total = 0.0
        for history, solved, fixed in ((by_user, users, items), (by_item, items, users)):
            gramian = kernels.to_principal_axes(fixed, *(() if solver == "cholesky" else (solved,)))
            loss, failed = kernels.als_sweep(history, solved, fixed, gramian, solver=solver, **OPTIONS)
            assert failed < 0, failed
            total += loss
        return total

    return step


def tell_losses(what: str, losses: Any) -> None:
    """How far losses are from the CPU's; the end of the run where that is too far."""
    apart = float(np.abs(np.divide(*losses) - 1).max())
    print(f"{what}: losses differ from the CPU's by {apart:.1e} at most")
    if not apart <= 1e-4:  # NaN is too far as well
        raise SystemExit("that is more than 1e-4")


def check_parity(device: str) -> None:
    x = cf.datasets.synthetic(3_000, 1_500, 100_000, seed=1)
    for solver in ("cholesky", "cg"):
        steps = [iteration(on(name), x, 64, solver) for name in ("cpu", device)]
        losses = [[step() for _ in range(4)] for step in steps]
        tell_losses(f"{solver}, four iterations", losses)
    vectors = np.random.default_rng(0).standard_normal((4_000, 32), np.float32)
    here, there = (on(name).top_k(vectors, vectors, 20) for name in ("cpu", device))
    apart = float(np.abs(here.scores - there.scores).max())
    print(f"top 20: {(here.rows == there.rows).mean():.4%} of the items in the same place, scores within {apart:.1e}\n")
    if apart > 1e-3:
        raise SystemExit("that is more than 1e-3")


def check_epochs(device: str) -> None:
    """The same batches and negatives, so the same losses; and the weights of an inverse."""
    x = cf.datasets.synthetic(1_000, 500, 20_000, seed=1)
    for name, epoch in epochs(x, 2_048).items():
        if name.startswith("FM"):
            continue  # batches of its own
        steps = [epoch(on(where)) for where in ("cpu", device)]
        losses = [[step() for _ in range(2)] for step in steps]
        tell_losses(name, losses)
    steps = [pairs_epoch(on(where), *planted(20_000, 2_000), n_items=2_000, block=1_024) for where in ("cpu", device)]
    losses = [[step() for _ in range(2)] for step in steps]
    tell_losses("pair MF epoch", losses)
    here, there = (cf.EASE(100.0, device=where).fit(x).item_weights_ for where in ("cpu", device))
    apart = float(np.abs(here - there).max() / np.abs(here).max())
    print(f"EASE: weights differ by {apart:.1e} of the largest\n")
    if apart > 1e-3:
        raise SystemExit("that is more than 1e-3")


def check_sweeps(device: str) -> None:
    """The draws of the same seed, and the weights that elastic nets come to."""
    x = cf.datasets.synthetic(1_000, 500, 20_000, seed=1)
    here, there = (machine_sweep(on(name), x, 32)() for name in ("cpu", device))
    apart = float(np.abs(here - there).max())
    print(f"FM sweep: residuals differ from the CPU's by {apart:.1e} at most")
    if apart > 1e-3:
        raise SystemExit("that is more than 1e-3")
    here, there = (
        cf.SLIM(0.5, 10.0, tolerance=1e-5, device=name).fit(x).item_weights_.to_scipy() for name in ("cpu", device)
    )
    apart = float(abs(here - there).max())
    print(f"SLIM: weights differ by {apart:.1e} at most\n")
    if apart > 1e-3:
        raise SystemExit("that is more than 1e-3")


def machine_sweep(kernels: Any, x: Any, factors: int) -> Callable[[], Any]:
    """A sweep over users, with two columns of categories; gives what it leaves of the ratings."""
    rng, n, c = np.random.default_rng(0), x.n_users, factors + 1
    columns = (30 * np.arange(2) + rng.integers(30, size=(n, 2))).ravel()
    features = CSR.from_pairs(np.repeat(np.arange(n), 2), columns, np.ones(2 * n, np.float32), (n, 60))
    rows = [np.zeros((size, -(-c // 16) * 16), np.float32) for size in (n, n, 60, x.n_items)]
    for part in rows[1:]:
        part[:, :c] = rng.normal(0, 0.1, (len(part), c))
    own = kernels.hold(FmSide(*rows[:3], features, features.transposed(), np.zeros(60, np.int32)))
    other, targets = kernels.hold(rows[3]), kernels.hold(x.user_items)
    priors = np.zeros((1, c), np.float32), np.ones((1, c), np.float32)
    return lambda: kernels.fm_sweep(targets, own, other, *priors)[0]


def slim(kernels: Any, x: Any, n_columns: int) -> Callable[[], Any]:
    """Some columns of SLIM with X'X at hand."""
    by_user = x.user_items
    padded = CSR(by_user.indptr, by_user.indices, by_user.values, -(-x.n_items // 16) * 16)
    gramian = kernels.sparse_product(x.item_users, padded)
    sides = kernels.hold(by_user), kernels.hold(x.item_users)
    options = {"l1": 1.0, "l2": 100.0, "non_negative": True, "tolerance": 1e-3, "iterations": 1000}
    return lambda: kernels.slim_columns(*sides, 0, n_columns, gramian=gramian, **options)


def epochs(x: Any, batch: int) -> dict[str, Callable[[Any], Callable[[], float]]]:
    """What an epoch of each kind needs held, and then does."""
    width, n = 64, x.n_users + x.n_items

    def table(kernels: Any, optimizer: str, rate: float) -> Any:
        values = 0.1 * np.random.default_rng(0).standard_normal((n, width), np.float32)
        return kernels.hold(Table.new(values, optimizer, rate))

    def pairwise(kernels: Any) -> Callable[[], float]:
        held = kernels.hold(x.user_items), table(kernels, "adagrad", 0.05)
        options = {"loss": "bpr", "sampler": "exact", "deterministic": True, "batch_size": batch}
        return lambda: kernels.pairwise_epoch(*held, **options)[0]

    def softmax(kernels: Any) -> Callable[[], float]:
        held = kernels.hold(x.user_items), table(kernels, "adam", 0.001)
        options = {"loss": "softmax", "score": "dot", "sampler": "uniform", "negatives": 800, "batch_size": batch}
        return lambda: kernels.shared_negatives_epoch(*held, **options)

    def machine(kernels: Any) -> Callable[[], float]:
        held = kernels.hold(x.user_items), table(kernels, "row_adam", 0.001)
        options = {"offset": 1.0, "weight_decay": 1e-5, "batch_size": batch, "n_coordinates": width}
        return lambda: kernels.fm_epoch(*held, **options)

    return {
        f"BPR epoch, {width} factors, batches of {batch:,}": pairwise,
        f"softmax epoch, 800 negatives, {width} factors": softmax,
        f"FM epoch by gradient descent, {width} factors": machine,
    }


def pairs_epoch(kernels: Any, items: Any, next_items: Any, *, n_items: int, block: int) -> Callable[[], float]:
    """An epoch of ``ItemPairsMF`` with its default loss, in blocks that threads do not change."""
    values = np.random.default_rng(0).standard_normal((n_items, 32), np.float32) / np.float32(np.sqrt(32))
    held = *map(kernels.hold, (items, next_items)), None, kernels.hold(Table.new(values, "adam", 0.01))
    options = {"n_items": n_items, "batch_size": block, "threads": 1}
    return lambda: float(kernels.item_pairs_epoch(*held, **options)[0])


def held_once(make: Callable[[Any], Callable[[], object]]) -> Callable[[Any], None]:
    """A function of the kernels that holds what it needs at its first call with them."""
    at_hand: list[Any] = [None, None]

    def run(kernels: Any) -> None:
        if at_hand[0] is not kernels:
            at_hand[:] = kernels, make(kernels)
        at_hand[1]()

    return run


def rows(size: str) -> Iterator[Row]:
    n_users, n_items, nnz, n_neighbours, batch = SIZES[size]
    x, rng = cf.datasets.synthetic(n_users, n_items, nnz, seed=0), np.random.default_rng(0)
    for solver, factors in (("cholesky", 64), ("cg", 64), ("cg", 128), ("cholesky", 128)):
        entry = 2 * x.nnz * factors
        work = 2 * entry * (factors / 2 if solver == "cholesky" else 4 * 2) / 1e9
        run = held_once(partial(iteration, x=x, factors=factors, solver=solver))
        yield Row(f"ALS iteration, {solver}, {factors} factors, {x.nnz:,} pairs", run, 4 * entry / 1e9, work)
    users, items = (rng.standard_normal((n, 128), np.float32) for n in (x.n_users, x.n_items))
    scores = x.n_users * x.n_items
    yield Row(
        f"top 10 of {x.n_users:,} users x {x.n_items:,} items, 128 factors, seen left out",
        lambda kernels: kernels.top_k(kernels.hold(users), kernels.hold(items), 10, filters=Filters(x.user_items)),
        8 * scores / 1e9,
        2 * scores * 128 / 1e9,
    )
    many = rng.standard_normal((n_neighbours, 32), np.float32)
    part = many[: n_neighbours // 20]
    yield Row(
        f"20 neighbours of all {n_neighbours:,} x 32 (a twentieth of the queries run)",
        lambda kernels: kernels.top_k(kernels.hold(part), kernels.hold(many), 20),
        8 * n_neighbours**2 / 1e9,
        2 * 32 * n_neighbours**2 / 1e9,
        1 / 20,
    )
    # Bytes: rows that a batch reads and writes once, with the state of the optimizer, per pair. Operations: products.
    moved, products = {"BPR": (3 * 4, 8), "soft": (2 * 6, 6 * 800), "FM e": (2 * 4, 6)}, 64 * x.nnz / 1e9
    for name, epoch in epochs(x, batch).items():
        rows_of, per_pair = moved[name[:4].strip()]
        yield Row(name, held_once(epoch), 4 * rows_of * products, per_pair * products)
    n_items_of_pairs, n_pairs, part_of_pairs, block = PAIRS[size]
    first, second = planted(int(n_pairs * part_of_pairs), n_items_of_pairs)
    yield Row(
        f"pair MF epoch, {n_pairs:,} pairs x 32, blocks of {block:,} (one in {1 / part_of_pairs:.0f} run)",
        held_once(partial(pairs_epoch, items=first, next_items=second, n_items=n_items_of_pairs, block=block)),
        4 * 32 * 3 * 6 * n_pairs / 1e9,  # three rows with two states each, read and written
        12 * 32 * n_pairs / 1e9,  # two scores, and four sums of rows
        part_of_pairs,
    )
    entry = 4 * 65 * x.nnz / 1e9
    sweep = held_once(partial(machine_sweep, x=x, factors=64))
    yield Row("FM sweep of users by Gibbs sampling, 64 factors, 60 features", sweep, entry, entry)
    few = x if n_items < 8_000 else cf.datasets.synthetic(40_000, 8_000, 4_000_000, seed=0)
    yield Row(
        f"SLIM on {few.n_items:,} items (a sixteenth of the columns run)",
        held_once(partial(slim, x=few, n_columns=few.n_items // 16)),
        4 * few.n_items**2 / 1e9,
        2 * 128**2 * few.n_items / 1e9,  # one sweep over first working sets
        1 / 16,
    )
    yield Row(
        f"inverse of {n_items:,} x {n_items:,} (EASE)",
        lambda kernels: kernels.invert(kernels.hold(np.eye(n_items, dtype=np.float32) * 2)),
        8 * n_items**2 / 1e9,
        n_items**3 / 1e9,
    )

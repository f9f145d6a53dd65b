"""One factorization in training: its table of parameters, and what an epoch does to it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.checks import warn
from cofactor.errors import CofactorError
from cofactor.kernels.arguments import Table
from cofactor.kernels.arrays import width_of
from cofactor.kernels.csr import CSR
from cofactor.kernels.filters import Filters
from cofactor.models.base.epochs import Plan, is_part_of_more, require_finite, run_epochs
from cofactor.models.base.held_out import mean_ndcg
from cofactor.models.sampled.rows import composed, unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from cofactor.kernels.arrays import Float
    from cofactor.kernels.cpu import Kernels
    from cofactor.models.base.epochs import Course, Rate
    from cofactor.models.sampled.rows import Rows

__all__ = ["Training", "fold_in", "tables"]

_log = logging.getLogger(__name__)
_SOME = 3  # epochs after which something should be learned
_PLACES = 10  # of the lists that training is stopped by


class Training:
    """A factorization in training.

    Parameters
    ----------
    kernels : Kernels
    matrix : CSR (n_users, n_items)
        Pairs and their weights.
    rows : Rows
    tables : Table, and Table or None
        Vectors and biases, with a row for each of ``rows``; changed in place.
    settled : dict
        Parameters of the model, see :func:`cofactor.models.sampled.losses.settled`.
    """

    def __init__(
        self, kernels: Kernels, matrix: CSR, rows: Rows, tables: tuple[Table, Table | None], settled: dict[str, Any]
    ) -> None:
        vectors, biases = tables
        self._kernels = kernels
        mean = float(matrix.values.mean(dtype=np.float64)) if matrix.nnz else 1.0
        self._pairs = matrix
        self._matrix = kernels.hold(matrix.with_values(matrix.values / np.float32(mean)))
        self._rows = rows
        self._parts = rows.of_users(), rows.of_items()
        self._vectors = kernels.hold(vectors)
        self._biases = None if biases is None else kernels.hold(biases)
        self._shared, self._factors, self._cosine = settled["shared"], settled["factors"], settled["score"] == "cosine"
        self._threads = settled.get("threads")
        self._options = _options(kernels, matrix, settled, described=self._parts[1] is not None)
        self._start = None if self._shared else _loss_of_nothing(settled, matrix.n_columns)
        self._least = _loss_of_hardly_anything(settled)
        _tell_of_full_users(matrix, settled)
        self._quantile = min(settled["k"], matrix.n_columns) if settled["loss"] == "softmax@k" else None

    def epoch(self, number: int, rate: Rate) -> float:
        """Pass once over the pairs; the mean loss."""
        options = self._options | {"epoch": number, "rate": rate.first}
        if self._quantile is not None:
            options["quantiles"] = self._quantiles(self._quantile)
        users, items = (None if part is None else self._kernels.hold(part) for part in self._parts)
        given = (self._matrix, self._vectors, self._biases, users, items)
        if self._shared:
            return self._kernels.shared_negatives_epoch(*given, **options)
        return self._kernels.pairwise_epoch(*given, last_rate=rate.last, **options)[0]

    def forget_strangers(self) -> None:
        """Put zeros in the rows of users and items without interactions: they were negatives at most."""
        kernels, (vectors, biases) = self._kernels, self.tables()
        counts = np.bincount(self._pairs.indices, minlength=self._pairs.n_columns)
        strangers = np.flatnonzero(np.concatenate([np.diff(self._pairs.indptr), counts]) == 0)
        for table in (vectors, biases):
            if table is not None:
                table.values[strangers] = 0
        self._vectors = kernels.hold(vectors)
        self._biases = None if biases is None else kernels.hold(biases)

    def run(self, plan: Plan, held_out: CSR | None, *, progress: bool | None) -> Course:
        """Train as planned, with ``held_out`` pairs (n_users, n_items) to stop by; see :func:`run_epochs`."""
        plan = plan._replace(start=self._start)
        if held_out is None or not held_out.nnz:
            course = run_epochs("SampledMF", plan, self.epoch, self.snapshot, progress=progress)
            _require_finite(self.tables())  # the last epoch's, which may be none that a snapshot was taken of
            return course
        users = np.flatnonzero(np.diff(held_out.indptr)).astype(np.int32)
        wanted, seen = held_out.take(users), Filters(self._pairs.take(users))

        def score() -> float:
            of_users, of_items = self.factors()
            top = self._kernels.top_k(of_users[users], of_items, _PLACES, filters=seen, threads=self._threads)
            return mean_ndcg(top, wanted)

        return run_epochs("SampledMF", plan, self.epoch, self.snapshot, score, progress=progress)

    def repeat(self, course: Course, *, progress: bool | None) -> bool:
        """Go through a course again, up to what was kept of it; False, with a warning, where it came to no end."""
        try:
            self.run(Plan(course.kept, rates=course.rates), None, progress=progress)
        except (KeyboardInterrupt, CofactorError) as error:
            stopped = isinstance(error, KeyboardInterrupt)
            if stopped and is_part_of_more():
                raise
            why = "stopped by Ctrl-C" if stopped else str(error)
            warn(f"SampledMF, again with the pairs held out: {why}; what was trained without them is kept")
            return False
        return True

    def tell_if_idle(self, course: Course) -> None:
        """Warn if some epochs taught next to nothing, as where large steps have thrown cosines' vectors far away."""
        if course.interrupted:  # whoever ended it early knows
            return
        loss = float(course.epochs.filter("kept")["loss"][0])
        if self._least is not None and loss > self._least and len(course.epochs) >= _SOME:
            warn(
                f"SampledMF: the loss is {loss:.4g} after {course.kept} epochs, and vectors that know nothing have "
                "little more; give it more epochs, or another learning_rate"
            )

    def snapshot(self) -> Callable[[], None]:
        """Keep the present values; the result brings them back."""
        kernels, (vectors, biases) = self._kernels, self.tables()
        _require_finite((vectors, biases))
        vectors = vectors._replace(values=vectors.values.copy())
        biases = None if biases is None else biases._replace(values=biases.values.copy())

        def bring_back() -> None:
            self._vectors = kernels.hold(vectors)
            self._biases = None if biases is None else kernels.hold(biases)

        return bring_back

    def tables(self) -> tuple[Table, Table | None]:
        """The tables as they are now."""
        fetch = self._kernels.fetch
        return fetch(self._vectors), None if self._biases is None else fetch(self._biases)

    def composed(self) -> tuple[tuple[Float, Float], tuple[Float, Float] | None]:
        """Vectors (n, factors) of all users and all items, and their biases (n, 1) if there are any."""
        vectors, biases = self.tables()
        rows = self._rows
        first = (0, rows.n_users), (rows.n_users, rows.n_items)

        def both(values: Float) -> tuple[Float, Float]:
            users, items = (composed(values, *side) for side in zip(self._parts, first, strict=True))
            return users, items

        return both(vectors.values[:, : self._factors]), None if biases is None else both(biases.values)

    def factors(self) -> tuple[Float, Float]:
        """Vectors of all users and of all items whose inner products are the scores.

        With biases there are two more columns: 1 and the user's bias, the item's bias and 1.
        """
        (users, items), biases = self.composed()
        if self._cosine:
            users, items = unit(users), unit(items)
        if biases is None:
            return users, items
        of_users, of_items = biases
        users = np.hstack([users, np.ones_like(of_users), of_users])
        return users, np.hstack([items, of_items, np.ones_like(of_items)])

    def _quantiles(self, k: int) -> Float:
        """Score of every user's k-th best item."""
        users, items = self.factors()
        top = self._kernels.top_k(users, items, k, threads=self._threads)
        return np.ascontiguousarray(top.scores[:, -1])


def tables(rows: Rows, settled: dict[str, Any]) -> tuple[Table, Table | None]:
    """Tables to start from: vectors of normal numbers, those of features and all biases of zeros."""
    factors = settled["factors"]
    values = np.zeros((rows.n, width_of(factors)), np.float32)
    own = rows.n_users + rows.n_items
    values[:own, :factors] = np.random.default_rng(settled["seed"]).standard_normal((own, factors), np.float32)
    values *= np.float32(settled["init_std"] / np.sqrt(factors))
    vectors = Table.new(values, settled["optimizer"], settled["learning_rate"])
    if not settled["biases"]:
        return vectors, None
    biases = np.zeros((rows.n, 1), np.float32)
    return vectors, Table.new(biases, settled["bias_optimizer"], settled["bias_learning_rate"])


def _require_finite(tables: tuple[Table, Table | None]) -> None:
    values = (table.values for table in tables if table is not None)
    require_finite("SampledMF", *values, way_out="lower regularization, learning_rate or init_std")


def _loss_of_hardly_anything(settled: dict[str, Any]) -> float | None:
    """What the loss of cosines falls below once anything is learned, a twentieth of the way that it could go."""
    if not settled["shared"] or settled["score"] != "cosine" or settled["loss"] == "softmax@k":
        return None
    nothing = _loss_of_nothing(settled, 0)
    return nothing - 0.05 * (nothing if settled["loss"] == "ccl" else min(nothing, 1 / settled["temperature"]))


def _loss_of_nothing(settled: dict[str, Any], n_items: int) -> float:
    """The loss of scores of zeros, about that of vectors to start from."""
    n, margin = settled["negatives"], settled["margin"] or 1.0
    losses: dict[str, float] = {
        "softmax": np.log(1 + n),
        "bsl": np.log(n),
        "ccl": 1.0,
        "bpr": n * np.log(2),
        "logistic": (n + 1) * np.log(2),
        "hinge": n * margin,
        "adaptive_hinge": margin,
        "warp": margin * (1 + np.log(max(n_items, 1))),
    }
    return losses[settled["loss"]]


def _tell_of_full_users(matrix: CSR, settled: dict[str, Any]) -> None:
    full = int((np.diff(matrix.indptr) == matrix.n_columns).sum()) if matrix.n_columns else 0
    if full and settled["sampler"] == "exact" and settled["loss"] != "ccl":  # which learns from the pairs themselves
        what = f"{full:,} of {matrix.n_rows:,} users have every item"
        _log.info("SampledMF: %s, so that none is left as a negative; their pairs are skipped", what)


_SHARED = ("score", "temperature", "positive_temperature", "negative_weight")
_FEW = ("max_trials", "deterministic")
_ALL = (
    "loss",
    "sampler",
    "negatives",
    "regularization",
    "bias_regularization",
    "batch_size",
    "seed",
    "threads",
    "margin",
)


def _options(kernels: Kernels, matrix: CSR, settled: dict[str, Any], *, described: bool) -> dict[str, Any]:
    """What a kernel is told for every epoch alike.

    Where features describe items those without a pair are no negatives: nobody could have liked them yet, and what
    would be learned against them is learned against all that share their features.
    """
    names = (*_ALL, *(_SHARED if settled["shared"] else _FEW))
    options = {name: settled[name] for name in names if settled.get(name) is not None}
    if "groups" in settled:
        options["groups"] = settled["groups"]
        options["group_discounts"] = np.array([settled["category_discount"]], np.float32)
    if "dislikes" in settled:
        options |= {name: settled[name] for name in ("dislikes", "dislike_share")}
    counts = np.bincount(matrix.indices, minlength=matrix.n_columns).astype(np.float64)
    if settled["sampler"] not in ("popularity", "in_batch"):
        if described and (counts == 0).any() and counts.any():
            options["alias"] = kernels.alias_table((counts > 0).astype(np.float64))
        return options
    drawn = counts if settled["sampler"] == "in_batch" else counts ** settled["popularity_power"]
    if settled["sampler"] == "popularity":
        options["alias"] = kernels.alias_table(drawn)
    if settled["shared"] and settled["loss"] != "ccl":  # as if they were drawn uniformly
        share = drawn * matrix.n_columns / max(drawn.sum(), 1e-30)
        options["log_q"] = np.log(np.maximum(share, 1e-12)).astype(np.float32)
    return options


_STEPS, _STRIDE, _FEW_USERS = 12, 0.4, 1024
_FOR_FEW = {"temperature": 2.0, "regularization": 0.05}  # lists as good as those of users who were trained with few


def fold_in(
    kernels: Kernels, histories: CSR, items: tuple[Float, Float | None], scale: float, use: dict[str, Any]
) -> Float:
    """Vectors (n, factors) of users known by their histories alone, with ``items``, vectors and biases, held.

    A dozen steps of Adam against the same sample of the catalogue for all, from the mean of the history's vectors, each
    in units of ``scale``, the root mean square of the numbers in users' vectors. A user's vector does not depend on who
    else is asked for. The loss is that of the model, or where that has few negatives the sampled softmax.
    """
    vectors, item_biases = items
    (n_items, factors), n = vectors.shape, min(histories.n_rows, _FEW_USERS)
    values = np.zeros((n + n_items, width_of(factors)), np.float32)
    values[n:, :factors] = vectors
    biases = None
    if item_biases is not None:
        own = np.concatenate([np.zeros(n, np.float32), item_biases])[:, None]
        biases = kernels.hold(Table.new(own, "sgd", 0.0))
    loss = use if use["shared"] else use | {"loss": "softmax", "score": "dot"} | _FOR_FEW
    names = (*_SHARED, "loss", "threads", "margin", "regularization")
    options = {name: loss[name] for name in names if loss.get(name) is not None}
    if options["loss"] == "softmax@k":
        options["loss"] = "softmax"
    options |= {"sampler": "exact", "negatives": min(2048, n_items), "seed": use["seed"], "update_items": False}
    out = np.zeros((histories.n_rows, factors), np.float32)
    for begin in range(0, histories.n_rows, max(n, 1)):
        end = min(begin + n, histories.n_rows)
        some = histories.take(np.arange(begin, end))
        if end - begin < n:
            some = CSR(np.pad(some.indptr, (0, n - end + begin), "edge"), some.indices, some.values, n_items)
        values[:n, :factors] = unit(some.to_scipy() @ vectors) * np.float32(scale * np.sqrt(factors))
        table = kernels.hold(Table.new(values, "adam", _STRIDE * scale))
        for _ in range(_STEPS):
            kernels.shared_negatives_epoch(kernels.hold(some), table, biases, batch_size=max(some.nnz, 1), **options)
        out[begin:end] = kernels.fetch(table).values[: end - begin, :factors]
    return out

"""Item-item factorization, trained on pairs of items that follow each other in sessions.

With the vectors ``v`` of items, and ``o`` of next items (the same where they are shared), a pair (i, j) of weight w
loses w times, against its negatives k,

    log(1 + exp(-v_i . o_j)) + sum_k log(1 + exp(v_i . o_k))                                              "logistic"
    -log(exp(t_ij) / (exp(t_ij) + sum_k exp(t_ik))),  t_ij = v_i . o_j - log q_j                           "softmax"

with ``q`` the probability of being drawn. A session is where its last events are: with the place p of an item's last
event from the end (the newest 0), and the sum of the weights of its events,

    u = sum_i recency^p(i) weight(i) v_i / sum_i recency^p(i) weight(i),      score(j) = u . o_j

Sources: Mikolov, Sutskever, Chen, Corrado, Dean: Distributed Representations of Words and Phrases (NIPS 2013): negative
sampling, and the power of popularity. Yi et al.: Sampling-Bias-Corrected Neural Modeling (RecSys 2019): in-batch
negatives and ``log q``. Shared vectors with in-batch negatives by shuffling are the matrix factorization of the public
notebooks of the OTTO competition (Kaggle 2022). Departures: Adam counts the steps of each row, and a pair that equals
its negative loses nothing by it.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - the command line reads the types of parameters
from typing import TYPE_CHECKING, Literal

import numpy as np

from cofactor.checks import check_at_least, check_choice, check_flag, check_type, warn
from cofactor.data.histories import Histories
from cofactor.data.session_pairs import Pairs
from cofactor.data.sessions import Sessions
from cofactor.data.timelines import Timelines, histories_of, read_timelines, timelines_of
from cofactor.errors import DataError, ParameterError
from cofactor.kernels.arguments import Table
from cofactor.kernels.arrays import width_of
from cofactor.models.base.epochs import Plan, run_epochs
from cofactor.models.base.factor import FactorModel
from cofactor.models.base.fitting import in_one_step
from cofactor.models.sampled.held_table import HeldTable
from cofactor.models.sampled.parted import parted
from cofactor.system.memory import require_memory
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from typing import Any, Self

    import polars as pl
    from numpy.typing import NDArray

    from cofactor.data.interactions import Interactions
    from cofactor.data.tables import TableLike
    from cofactor.kernels.arrays import Float
    from cofactor.kernels.csr import CSR
    from cofactor.models.base.epochs import Rate

__all__ = ["ItemPairsMF"]

_WAY_OUT = "lower regularization, learning_rate or init_std"
_RATES = {"adam": 0.01, "adagrad": 0.1}
_NEGATIVES = {"logistic": 1, "softmax": 128}
_LEAST_HELD_OUT, _MOST_HELD_OUT = 20, 100_000  # pairs: of fewer nothing can be told


class ItemPairsMF(FactorModel):
    """Rank the items whose vectors are near those of the last events of a session.

    ``fit`` wants interactions made of events, or Events: each item of a session makes a pair with the next one. Without
    events the items of a user follow each other in the order of their rows. Histories are tables with a row for each
    event, the oldest first or with a ``time``, and perhaps ``event_type`` and ``weight``.

    Parameters
    ----------
    factors : int
    loss : {"softmax", "logistic"}
        Both are on top of this file. The first makes the better lists, the second the shorter epochs.
    negatives : int, optional
        Of a pair: 128 for "softmax", 1 for "logistic"; fewer than ``batch_size``.
    sampler : {"in_batch", "popularity", "uniform"}
        The next items of other pairs, shuffled; drawn as likely as the number of their pairs to the power of
        ``popularity_power`` says; or each as likely.
    popularity_power : float
    shared : bool
        Whether next items have the vectors of items, or others of their own.
    window, direction, repeats, last_events
        Of the pairs, see ``Sessions.pairs``: how many events a second item is behind the first, whether the reverse is
        a pair, too, and pairs of an item with itself; at most so many events of a session take part.
    recency : float
        How much an event of a history counts for each that came after it, above 0 and at most 1.
    type_weights : mapping, optional
        Weight of every event type in histories. Says nothing where these have no types.
    regularization : float
    optimizer : {"adam", "adagrad"}
    learning_rate : float, optional
        0.01 for Adam, 0.1 for Adagrad.
    batch_size : int
        Pairs whose steps begin at the same vectors, 2 to 8,192. More only takes longer: they leave the cache.
    epochs : int
        At most.
    patience : int
        Epochs without a lower loss of the held-out pairs after which training stops; the best epoch is kept.
    held_out : float
        Share of the pairs that is not trained on, at most 100,000; 0 trains on all, for ``epochs``.
    init_std : float
        Vectors start normal with standard deviation ``init_std / sqrt(factors)``.
    deterministic : bool
        Train on one thread. False lets threads share vectors without locks: about as many times faster, and equal runs
        differ a little.
    seed : int
    threads : int, optional
    device : {"cpu", "torch", "cuda"}

    Attributes
    ----------
    item_factors_ : (n_items, factors) float32
        Of items as next ones. Items without a pair have zeros.
    query_factors_ : (n_items, factors) float32
        Of items in histories; (0, factors) where they are shared.
    user_factors_ : (n_users, factors) float32
    loss_history_, held_out_loss_, accuracy_ : (epochs,) float64
        Mean loss of the pairs trained on; of those held out; and how many of these score above their first negative.
    epoch_ : int
        Which of them is kept, from 1; 0 if there was no pair.

    Examples
    --------
    >>> import cofactor as cf
    >>> import polars as pl
    >>> log = pl.DataFrame({"visit": [1, 1, 2, 2, 3, 3], "page": ["tea", "cup", "cup", "tea", "hat", "tie"]})
    >>> x = cf.read_events(log, user=None, session="visit", item="page").interactions()
    >>> model = cf.ItemPairsMF(4, epochs=30, negatives=2).fit(x)
    >>> model.recommend_for({"user_id": [9], "item_id": ["hat"]}, k=1)["item_id"].to_list()
    ['tie']
    """

    query_factors_: Float
    loss_history_: NDArray[np.float64]
    held_out_loss_: NDArray[np.float64]
    accuracy_: NDArray[np.float64]
    epoch_: int

    def __init__(
        self,
        factors: int = 64,
        *,
        loss: Literal["softmax", "logistic"] = "softmax",
        negatives: int | None = None,
        sampler: Literal["in_batch", "popularity", "uniform"] = "in_batch",
        popularity_power: float = 0.75,
        shared: bool = True,
        window: int = 1,
        direction: Literal["forward", "both"] = "forward",
        repeats: bool = False,
        last_events: int | None = 500,
        recency: float = 0.7,
        type_weights: Mapping[str, float] | None = None,
        regularization: float = 0.0,
        optimizer: Literal["adam", "adagrad"] = "adam",
        learning_rate: float | None = None,
        batch_size: int = 256,
        epochs: int = 20,
        patience: int = 2,
        held_out: float = 0.02,
        init_std: float = 1.0,
        deterministic: bool = True,
        seed: int = 0,
        threads: int | None = None,
        device: str = "cpu",
    ) -> None:
        self.factors = factors
        self.loss = loss
        self.negatives = negatives
        self.sampler = sampler
        self.popularity_power = popularity_power
        self.shared = shared
        self.window = window
        self.direction = direction
        self.repeats = repeats
        self.last_events = last_events
        self.recency = recency
        self.type_weights = type_weights
        self.regularization = regularization
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.epochs = epochs
        self.patience = patience
        self.held_out = held_out
        self.init_std = init_std
        self.deterministic = deterministic
        self.seed = seed
        self.threads = threads
        self.device = device

    @property
    def ordered(self) -> bool:
        """Whether the order of a history matters: it does."""
        return True

    @in_one_step
    def fit(self, interactions: Interactions, *, pairs: Pairs | None = None, progress: bool | None = None) -> Self:
        """Train.

        Parameters
        ----------
        interactions : Interactions
        pairs : Pairs, optional
            To train on instead of those that the parameters say: weighted by type or distance, of some types only ...
            Over the same items: ``Sessions.of(interactions).pairs(...)``.
        progress : bool, optional

        Raises
        ------
        ParameterError
            A parameter is out of its range, the model does not fit into memory, or ``pairs`` are of other items.
        DataError
            A type of event has no weight.
        """
        self._check()
        x = interactions
        if pairs is None:
            pairs = Sessions.of(x).pairs(
                self.window,
                direction=self.direction,
                repeats=self.repeats,
                last_events=self.last_events,
                threads=self.threads,
            )
            if pairs.n_capped:
                warn(
                    f"{pairs.n_capped:,} sessions have more than last_events={self.last_events} events (the longest "
                    f"{pairs.longest:,}); {pairs.n_cut:,} earlier ones of theirs left out"
                )
        check_type("pairs", pairs, Pairs, "Pairs, as Sessions.pairs gives them")
        if pairs.n_items != x.n_items or (pairs.item_ids is not None and pairs.item_ids != x.items):
            raise ParameterError("pairs are of other items; make them by Sessions.of(interactions).pairs(...)")
        n_rows = x.n_items if self.shared else 2 * x.n_items
        require_memory(
            16 * n_rows * (self.factors + 16) + 12 * len(pairs),
            f"ItemPairsMF(factors={self.factors}) on {x.n_items:,} items and {len(pairs):,} pairs",
            "fewer factors, or a later part of the log",
        )
        self._train(pairs, n_rows, progress)
        self.user_factors_, end = np.empty((x.n_users, self.factors), np.float32), 0
        for piece in timelines_of(x, x.items).pieces():
            begin, end = end, end + len(piece.users)
            self.user_factors_[begin:end] = self._fold_in(self._histories(piece, x.n_items))
        return self

    def _train(self, pairs: Pairs, n_rows: int, progress: bool | None) -> None:
        kernels, rng, n_items = self._kernels(), np.random.default_rng(self.seed), pairs.n_items
        values = np.zeros((n_rows, width_of(self.factors)), np.float32)
        values[:, : self.factors] = rng.standard_normal((n_rows, self.factors), np.float32)
        values *= np.float32(self.init_std / np.sqrt(self.factors))
        rate = _RATES[self.optimizer] if self.learning_rate is None else self.learning_rate
        table = HeldTable(kernels, Table.new(values, self.optimizer, rate), "ItemPairsMF", _WAY_OUT)
        weights = None if pairs.weights is None else pairs.weights.copy()
        n_out = min(int(len(pairs) * self.held_out), _MOST_HELD_OUT)
        trained, held_out = parted((pairs.items.copy(), pairs.next_items.copy(), weights), n_out, rng)
        counts = np.bincount(pairs.next_items, minlength=n_items)
        options = self._options(counts, n_items)
        losses: list[float] = []
        accuracies: list[float] = []

        def one_epoch(epoch: int, rate: Rate) -> float:
            return kernels.item_pairs_epoch(*trained, table.held, epoch=epoch, rate=rate.first, **options)[0]

        def score() -> float:
            loss, accuracy = kernels.item_pairs_epoch(*held_out, table.held, learn=False, **options)
            losses.append(loss)
            accuracies.append(accuracy)
            return -loss

        self.epoch_, self.loss_history_ = 0, np.empty(0)
        if len(trained[0]):
            known = len(held_out[0]) >= _LEAST_HELD_OUT
            plan = Plan(self.epochs, self.patience)
            course = run_epochs(
                "ItemPairsMF", plan, one_epoch, table.snapshot, score if known else None, progress=progress
            )
            self.loss_history_, self.epoch_ = course.epochs["loss"].to_numpy(), course.kept
        values = table.values()
        self.held_out_loss_, self.accuracy_ = np.array(losses), np.array(accuracies)
        values[:n_items][(counts + np.bincount(pairs.items, minlength=n_items)) == 0] = 0
        if not self.shared:
            values[n_items:][counts == 0] = 0
        self.query_factors_ = values[: 0 if self.shared else n_items, : self.factors].copy()
        self.item_factors_ = values[n_rows - n_items :, : self.factors].copy()

    def _options(self, counts: NDArray[np.int64], n_items: int) -> dict[str, Any]:
        """What a kernel is told for every epoch alike; ``counts`` (n_items,) pairs by their next items."""
        negatives = _NEGATIVES[self.loss] if self.negatives is None else self.negatives
        drawn = counts.astype(np.float64) + (self.sampler == "uniform")
        drawn = drawn ** {"in_batch": 1.0, "popularity": self.popularity_power, "uniform": 0.0}[self.sampler]
        share = np.maximum(drawn / max(drawn.sum(), 1e-30) * n_items, 1e-12)
        return {
            "n_items": n_items,
            "loss": self.loss,
            "sampler": self.sampler,
            "negatives": min(negatives, self.batch_size - 1),
            "alias": self._kernels().alias_table(drawn) if self.sampler == "popularity" and drawn.any() else None,
            "log_q": np.log(share).astype(np.float32) if self.loss == "softmax" else None,
            "shared": self.shared,
            "regularization": self.regularization,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "threads": 1 if self.deterministic else self.threads,
        }

    # Row numbers from here on.

    def _read_histories(self, histories: TableLike | Interactions) -> tuple[pl.Series, CSR]:
        read = read_timelines(histories, self.interactions_.items)
        return read.users, self._histories(read, self.interactions_.n_items)

    def _histories(self, events: Timelines, n_items: int) -> Histories:
        """Histories of the weights of events and their types."""
        weights = events.weights
        if events.types is not None and self.type_weights is not None:
            weights = weights * self._type_table(events.type_names)[events.types]
        return histories_of(events, weights, n_items)

    def _type_table(self, names: tuple[str, ...]) -> NDArray[np.float64]:
        given = self.type_weights or {}
        if missing := [name for name in names if name not in given]:
            raise DataError(
                f"type_weights={dict(given)!r} has no weight for events of {', '.join(missing)}; add it, or filter "
                "such events out first"
            )
        return np.array([float(given[name]) for name in names])

    def _fold_in(self, histories: CSR) -> Float:
        assert isinstance(histories, Histories)
        lengths = np.diff(histories.indptr)
        starts = histories.indptr[:-1][lengths > 0]
        last = np.maximum.reduceat(histories.positions, starts) if len(starts) else np.empty(0, np.int32)
        age = np.repeat(last, lengths[lengths > 0]) - histories.positions
        weights = histories.values * np.maximum(self.recency ** np.minimum(age, 1e4), 1e-30)  # a history has a vector
        shares = weights / np.repeat(histories.row_sums(weights), lengths)
        vectors = self.item_factors_ if self.shared else self.query_factors_
        found: Float = histories.with_values(shares).to_scipy() @ vectors
        return found

    def _learned(self) -> dict[str, str]:
        return super()._learned() | {
            "query_factors_": f"float32 {'0' if self.shared else 'items'} f",
            "loss_history_": "float64 epochs",
            "held_out_loss_": "float64 scored",
            "accuracy_": "float64 scored",
            "epoch_": "number",
        }

    def _check(self) -> None:
        for name in ("factors", "window", "epochs", "patience"):
            check_at_least(name, getattr(self, name), 1, whole=True)
        for name in ("popularity_power", "regularization", "init_std"):
            check_at_least(name, getattr(self, name), 0)
        check_at_least("recency", self.recency, 0, above=True)
        check_at_least("held_out", self.held_out, 0)
        check_at_least("batch_size", self.batch_size, 2, whole=True)
        check_at_least("seed", self.seed, 0, whole=True)
        for name, most in (("recency", 1), ("held_out", 0.5), ("batch_size", 8192)):
            if getattr(self, name) > most:
                raise ParameterError(f"{name}={getattr(self, name)!r}; it must be at most {most}")
        if self.negatives is not None:
            check_at_least("negatives", self.negatives, 1, whole=True)
            if self.negatives >= self.batch_size:
                raise ParameterError(f"negatives={self.negatives!r} must be fewer than batch_size={self.batch_size}")
        if self.last_events is not None:
            check_at_least("last_events", self.last_events, 2, whole=True)
        if self.learning_rate is not None:
            check_at_least("learning_rate", self.learning_rate, 0, above=True)
        check_choice("loss", self.loss, _NEGATIVES)
        check_choice("sampler", self.sampler, ("in_batch", "popularity", "uniform"))
        check_choice("optimizer", self.optimizer, _RATES)
        check_choice("direction", self.direction, ("forward", "both"))
        for name in ("shared", "repeats", "deterministic"):
            check_flag(name, getattr(self, name))
        if self.type_weights is not None:
            check_type("type_weights", self.type_weights, dict, "a mapping such as {'clicks': 1, 'carts': 6}")
            for name, weight in self.type_weights.items():
                check_at_least(f"type_weights[{name!r}]", weight, 0, above=True)
        resolve_threads(self.threads)
        self._kernels()

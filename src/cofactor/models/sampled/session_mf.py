"""Item vectors trained on whole sessions: the next item against the direction of the last ones.

With the vectors ``v`` of items, and of a session's last events the age a(i) of each item's newest one (the newest event
has 0), a session points to, and an item scores

    u = sum_i recency^a(i) v_i,        score(j) = cos(u, v_j)

A session of n events gives n - 1 beginnings with a next item each. Against N negatives k, which a batch shares, a
beginning loses the sampled softmax of cosines divided by a temperature t,

    -log(exp(cos(u, v_j) / t) / (exp(cos(u, v_j) / t) + sum_k exp(cos(u, v_k) / t)))

Sources: Hou, Hu, Zhang, Zhao: CORE (SIGIR 2022), whose CORE-ave is the mean of a session's vectors and cosines over a
temperature; Gupta, Garg, Malhotra, Vig, Shroff: NISER (2019): vectors of length 1 against the bias to popular items;
Yi et al. (RecSys 2019) for the sampled softmax. Departures: recent items count for more; the softmax is sampled; there
is no dropout, which gave nothing on held-out sessions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cofactor.checks import check_at_least
from cofactor.data.histories import Histories
from cofactor.data.sessions import Sessions
from cofactor.data.timelines import histories_of, timelines_of
from cofactor.errors import ParameterError
from cofactor.kernels.arguments import Table
from cofactor.kernels.arrays import width_of
from cofactor.kernels.csr import CSR, offsets
from cofactor.models.base.epochs import Plan, run_epochs
from cofactor.models.base.factor import FactorModel
from cofactor.models.base.fitting import in_one_step
from cofactor.models.sampled.held_table import HeldTable
from cofactor.models.sampled.rows import unit
from cofactor.system.memory import require_memory
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.data.interactions import Interactions
    from cofactor.kernels.arrays import Float, Rows
    from cofactor.models.base.epochs import Rate

__all__ = ["SessionMF"]

_CHUNK = 1 << 14  # beginnings that a kernel gets at a time


class SessionMF(FactorModel):
    """Rank the items whose vectors lie in the direction of a session's last ones.

    ``fit`` wants interactions made of events, or Events. Without events the items of a user follow each other in the
    order of their rows. Histories are tables with a row for each event, the oldest first or with a ``time``; weights
    say nothing here. What was seen may come again: ``recommend_for(sessions, exclude_seen=False)``.

    Parameters
    ----------
    factors : int
    recency : float
        How much an item counts for each event that came after it, above 0 and at most 1.
    last_events : int
        Of a session, its last ones, that make its vector.
    temperature : float
        The smaller, the more the best scored negatives count.
    negatives : int
        Items drawn for each batch, each as likely.
    learning_rate : float
        Of Adam; it falls to zero over the epochs as half a cosine wave.
    batch_size : int
        Beginnings.
    epochs : int
    init_std : float
        Vectors start normal with standard deviation ``init_std / sqrt(factors)``.
    seed : int
    threads : int, optional
        Results are the same for every number.
    device : {"cpu", "torch", "cuda"}

    Attributes
    ----------
    item_factors_ : (n_items, factors) float32
        Of length 1. Items of sessions of one event alone have zeros.
    item_norms_ : (n_items,) float32
        The lengths that they had: a session's vector is a sum of such.
    user_factors_ : (n_users, factors) float32
        Of length 1, or zeros.
    loss_history_ : (epochs,) float64

    Examples
    --------
    >>> import cofactor as cf
    >>> import polars as pl
    >>> log = pl.DataFrame({"visit": [1, 1, 2, 2, 3, 3], "page": ["tea", "cup", "cup", "tea", "hat", "tie"]})
    >>> x = cf.read_events(log, user=None, session="visit", item="page").interactions()
    >>> model = cf.SessionMF(4, epochs=30, batch_size=2, learning_rate=0.05).fit(x)
    >>> model.recommend_for({"user_id": [9], "item_id": ["hat"]}, k=1)["item_id"].to_list()
    ['tie']
    """

    item_norms_: Float
    loss_history_: NDArray[np.float64]

    def __init__(
        self,
        factors: int = 64,
        *,
        recency: float = 0.5,
        last_events: int = 10,
        temperature: float = 0.07,
        negatives: int = 1024,
        learning_rate: float = 0.005,
        batch_size: int = 512,
        epochs: int = 4,
        init_std: float = 0.1,
        seed: int = 0,
        threads: int | None = None,
        device: str = "cpu",
    ) -> None:
        self.factors = factors
        self.recency = recency
        self.last_events = last_events
        self.temperature = temperature
        self.negatives = negatives
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.epochs = epochs
        self.init_std = init_std
        self.seed = seed
        self.threads = threads
        self.device = device

    @property
    def ordered(self) -> bool:
        """Whether the order of a history matters: it does."""
        return True

    @in_one_step
    def fit(self, interactions: Interactions, *, progress: bool | None = None) -> Self:
        """Train; O(events x (negatives + last_events)) an epoch.

        Raises
        ------
        ParameterError
            A parameter is out of its range, or the model does not fit into memory.
        """
        self._check()
        x = interactions
        begun = _Beginnings.of(Sessions.of(x))
        require_memory(
            16 * (x.n_items + _CHUNK) * (self.factors + 16) + 24 * len(begun.targets),
            f"SessionMF(factors={self.factors}) on {x.n_items:,} items and {len(begun.targets):,} next items",
            "fewer factors, or a later part of the log",
        )
        vectors = self._trained(begun, x.n_items, progress)
        self.item_norms_ = np.linalg.norm(vectors, axis=1)
        self.item_factors_ = unit(vectors)
        self.user_factors_, end = np.empty((x.n_users, self.factors), np.float32), 0
        for piece in timelines_of(x, x.items).pieces():
            begin, end = end, end + len(piece.users)
            self.user_factors_[begin:end] = self._fold_in(histories_of(piece, piece.weights, x.n_items))
        return self

    def _trained(self, begun: _Beginnings, n_items: int, progress: bool | None) -> Float:
        """The vectors of items, zeros for those that nothing was learned of."""
        kernels, rng = self._kernels(), np.random.default_rng(self.seed)
        chunk = max(min(_CHUNK, len(begun.targets)), 1)
        values = np.zeros((chunk + n_items, width_of(self.factors)), np.float32)  # the rows of sessions stay zeros
        values[chunk:, : self.factors] = rng.standard_normal((n_items, self.factors), np.float32)
        values *= np.float32(self.init_std / np.sqrt(self.factors))
        begin = Table.new(values, "adam", self.learning_rate)
        table = HeldTable(kernels, begin, "SessionMF", "lower learning_rate or init_std")
        self.loss_history_ = np.empty(0)

        def one_epoch(epoch: int, rate: Rate) -> float:
            order, loss = np.random.default_rng((self.seed, epoch)).permutation(len(begun.targets)), 0.0
            for part, at in enumerate(range(0, len(order), chunk)):
                some = order[at : at + chunk]
                sessions, next_items = begun.matrices(some, chunk, n_items, self.last_events, self.recency)
                loss += len(some) * kernels.shared_negatives_epoch(
                    kernels.hold(next_items),
                    table.held,
                    None,
                    kernels.hold(sessions),
                    loss="softmax",
                    score="cosine",
                    sampler="uniform",
                    temperature=self.temperature,
                    negatives=self.negatives,
                    batch_size=self.batch_size,
                    seed=self.seed,
                    epoch=epoch << 32 | part,
                    rate=rate.first,
                    threads=self.threads,
                )
            return loss / len(order)

        if len(begun.targets):
            course = run_epochs(
                "SessionMF", Plan(self.epochs, cosine=True), one_epoch, table.snapshot, progress=progress
            )
            self.loss_history_ = course.epochs["loss"].to_numpy()
        vectors = table.values()[chunk:, : self.factors].copy()
        vectors[~begun.taking_part(n_items)] = 0
        return vectors

    # Row numbers from here on.

    def _fold_in(self, histories: CSR) -> Float:
        assert isinstance(histories, Histories)
        h, row = histories, histories.row_index()
        newest = np.zeros(h.n_rows, np.int64)
        np.maximum.at(newest, row, h.positions)
        age = newest[row] - h.positions
        weights = np.where(age < self.last_events, self.recency ** np.minimum(age, self.last_events), 0)
        sums = h.with_values((weights * self.item_norms_[h.indices]).astype(np.float32)).to_scipy() @ self.item_factors_
        return unit(sums)

    def _learned(self) -> dict[str, str]:
        return super()._learned() | {"item_norms_": "float32 items", "loss_history_": "float64 epochs"}

    def _check(self) -> None:
        for name in ("factors", "last_events", "negatives", "batch_size", "epochs"):
            check_at_least(name, getattr(self, name), 1, whole=True)
        for name in ("recency", "temperature", "learning_rate", "init_std"):
            check_at_least(name, getattr(self, name), 0, above=True)
        check_at_least("seed", self.seed, 0, whole=True)
        if self.recency > 1:
            raise ParameterError(f"recency={self.recency!r}; it must be at most 1")
        resolve_threads(self.threads)
        self._kernels()


class _Beginnings(NamedTuple):
    """Every beginning of every session, and what came next."""

    items: Rows  # (n_events,)
    ends: NDArray[np.int64]  # (n,): the place in items of the next one
    sizes: NDArray[np.int64]  # (n,): how many came before, in the session
    targets: Rows  # (n,)

    @classmethod
    def of(cls, sessions: Sessions) -> _Beginnings:
        """Those of some sessions."""
        place = np.arange(sessions.n_events) - np.repeat(sessions.indptr[:-1], np.diff(sessions.indptr))
        ends = np.flatnonzero(place)
        return cls(sessions.items, ends, place[ends], sessions.items[ends])

    def matrices(
        self, some: NDArray[np.int64], n_rows: int, n_items: int, last_events: int, recency: float
    ) -> tuple[CSR, CSR]:
        """What makes the vectors of some, (n_rows, n_rows + n_items), items after the rows; and their next items."""
        n = len(some)
        size = np.minimum(self.sizes[some], last_events)
        row = np.repeat(np.arange(n), size)
        age = np.arange(len(row)) - np.repeat(offsets(size)[:-1], size)
        items = self.items[self.ends[some][row] - 1 - age]
        keys = row * np.int64(n_items) + items
        order = np.argsort(keys, kind="stable")  # of an item's events the newest is the first
        first = order[np.append(True, np.diff(keys[order]) > 0)]
        weights = (recency ** age[first].astype(np.float64)).astype(np.float32)
        indptr = offsets(np.bincount(row[first], minlength=n_rows))
        sessions = CSR(indptr, items[first] + np.int32(n_rows), weights, n_rows + n_items)
        ends = np.minimum(np.arange(n_rows + 1), n)
        return sessions, CSR(ends, self.targets[some], np.ones(n, np.float32), n_items)

    def taking_part(self, n_items: int) -> NDArray[np.bool_]:
        """Which items are in a session of two events or more."""
        found = np.zeros(n_items, np.bool_)
        found[self.targets] = found[self.items[self.ends - 1]] = True
        return found

"""Kinds of metrics: what each kind needs, how its names are read and written, and how it is computed.

An evaluation goes by what the wanted metrics need and knows none of them: it makes a :class:`Trial`, and lists as long
as the longest that any of them needs; :func:`read_all` does the rest. What several metrics are computed from is read
once for all of them, by the :class:`Reader` that their kinds name; lists pass through it in batches, so that those of
all users need not be held at once.

A new kind is a class derived from :class:`Kind` (or from :class:`AtK`, for names with ``@k``). One that is not computed
from hits brings its own reader, which takes what it wants from the trial (ratings of ``test``, scores and training data
of the model) and from the lists.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from cofactor.errors import ParameterError
from cofactor.metrics.context import NOTHING, Context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from cofactor.data.tables import TableLike
    from cofactor.metrics.hits import Hits, Relevance

__all__ = [
    "MOST_PLACES",
    "NO_NEEDS",
    "AtK",
    "Kind",
    "Metric",
    "Needs",
    "Reader",
    "Readings",
    "Trial",
    "Values",
    "WithoutK",
    "compute_all",
    "needs_of",
    "read_all",
]

Values: TypeAlias = "NDArray[np.float64] | float"
"""One number for every evaluated user, (n_users,), or one for all together."""

MOST_PLACES = 2**31 - 1
"""No catalogue holds more items: row numbers have 32 bits."""

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Needs:
    """What metrics need of an evaluation; ``|`` gives what two need together.

    Parameters
    ----------
    places : int
        How many places of the lists count, from the top; 0 if ``complete``, or if no lists are needed.
    complete : bool
        Whether lists must hold every item that can be listed, or every candidate.
    ties : bool
        Whether equal scores in the lists must be known as such.
    n_items : bool
        Whether the size of the catalogue must be known.
    train, categories, vectors, gains : bool
        Whether training data, a column of categories of items, vectors of items, and numbers that say how relevant a
        test pair is must be known.
    """

    places: int = 0
    complete: bool = False
    ties: bool = False
    n_items: bool = False
    train: bool = False
    categories: bool = False
    vectors: bool = False
    gains: bool = False

    def __or__(self, other: Needs) -> Needs:
        return Needs(
            max(self.places, other.places),
            self.complete or other.complete,
            self.ties or other.ties,
            self.n_items or other.n_items,
            self.train or other.train,
            self.categories or other.categories,
            self.vectors or other.vectors,
            self.gains or other.gains,
        )

    @property
    def lists(self) -> bool:
        """Whether any lists are needed."""
        return self.complete or self.places > 0

    @property
    def k(self) -> int | None:
        """Length of the lists; None for complete ones."""
        return None if self.complete else self.places


NO_NEEDS = Needs()


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """What an evaluation measures, and against what: all that a kind can take from it.

    Parameters
    ----------
    relevance : Relevance
        The test pairs of the evaluated users.
    test : TableLike
        The test as it was handed in, with all its columns and users.
    subject : fitted model, or table
        What is measured. A model holds its training data as ``interactions_``.
    n_items : int, optional
        Size of the catalogue, where it is known.
    n_complete : (n_users,) int64, optional
        How long the complete list of each evaluated user is; left out where every list is complete.
    hits : Hits, optional
        Where the relevant items stand in complete lists, if the subject told without making any: then the metrics
        ``of_ranks`` need no lists.
    context : Context
        Training data, features of items and what else may be known.
    """

    relevance: Relevance
    test: TableLike = None
    subject: Any = None
    n_items: int | None = None
    n_complete: NDArray[np.int64] | None = None
    hits: Hits | None = None
    context: Context = NOTHING


class Reader(Protocol[R_co]):
    """Gathers what metrics are computed from; made from a trial and the metrics that will be computed."""

    def add(self, lists: pl.DataFrame) -> None:
        """Take a batch of lists of whole users (``user_id``, ``item_id``, ``rank``, perhaps ``score``).

        Called only if one of the metrics needs lists, beside the hits of the trial. They are as long as any wanted
        metric needs, so perhaps longer than these do, and may be of users who are not evaluated.
        """

    def finish(self) -> R_co:
        """What was gathered, after the last batch."""


class Kind(ABC, Generic[R]):
    """A kind of metric; an object of it is one metric without its k.

    Attributes
    ----------
    per_user : bool
        Whether there is a value for every user, the mean of which is the value of the metric.
    reader : callable
        Makes the reader from the trial and the wanted metrics of all kinds that name the same one.
    higher_is_better : bool
        Whether the best value is the highest.
    of_ranks : bool
        Whether it is known as soon as the ranks of the relevant items in complete lists are; the reader takes the hits
        of the trial then, where there are any, in the place of lists.
    k_optional : bool
        Whether names may come without their k, which means all places.
    """

    per_user: bool
    reader: Callable[[Trial, Sequence[Metric]], Reader[R]]
    higher_is_better: bool = True
    of_ranks: bool = False
    k_optional: bool = False

    @abstractmethod
    def written(self, family: str) -> str:
        """How names of the family are written."""

    @abstractmethod
    def read_k(self, name: str) -> int | None:
        """The k in a name, None where the kind has none; ParameterError if it is missing, not wanted or no number."""

    @abstractmethod
    def needs(self, k: int | None) -> Needs:
        """What the metric needs."""

    @abstractmethod
    def compute(self, reading: R, k: int | None) -> Values:
        """The values, from what the reader gathered."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric and the places it looks at.

    Parameters
    ----------
    name : str
        As it was asked for, such as ``recall@10``.
    family : str
        The name before the ``@``.
    k : int or None
        Places that count; None for a metric without them.
    kind : Kind
        The entry of the family in the table of metrics.
    """

    name: str
    family: str
    k: int | None
    kind: Kind[Any] = field(repr=False)

    @property
    def per_user(self) -> bool:
        """Whether there is a value for every user, the mean of which is the value of the metric."""
        return self.kind.per_user

    @property
    def needs(self) -> Needs:
        """What the metric needs of an evaluation."""
        return self.kind.needs(self.k)

    def compute(self, reading: object) -> Values:
        """Value of every user, (n_users,) float64, or of all together; of ``Hits``, or what the kind's reader gives."""
        return self.kind.compute(reading, self.k)


def needs_of(metrics: Iterable[Metric], *, ranked: bool = False) -> Needs:
    """What metrics need together; ``ranked``: beside the ranks of the relevant items in complete lists."""
    of_lists = (metric.needs for metric in metrics if not (ranked and metric.kind.of_ranks))
    return reduce(Needs.__or__, of_lists, Needs())


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """What metrics are computed from, by what read it."""

    metrics: Sequence[Metric]
    of: dict[Callable[..., Reader[Any]], Any]

    def values(self) -> dict[str, Values]:
        """The metrics by name."""
        return {metric.name: metric.compute(self.of[metric.kind.reader]) for metric in self.metrics}


def read_all(metrics: Sequence[Metric], trial: Trial, tables: Iterable[pl.DataFrame]) -> Readings:
    """Read what metrics need; ``tables`` are gone through once, and not at all if no metric needs lists.

    Parameters
    ----------
    metrics : sequence of Metric
    trial : Trial
    tables : iterable of DataFrame
        Lists in batches of whole users, as long as ``needs_of(metrics)`` says, beside the trial's hits if it has any.
    """
    groups: dict[Callable[..., Reader[Any]], list[Metric]] = {}
    for metric in metrics:
        groups.setdefault(metric.kind.reader, []).append(metric)
    readers = {make: make(trial, group) for make, group in groups.items()}
    of_lists = [readers[make] for make, group in groups.items() if needs_of(group, ranked=trial.hits is not None).lists]
    if of_lists:
        for table in tables:
            for reader in of_lists:
                reader.add(table)
    return Readings(metrics, {make: reader.finish() for make, reader in readers.items()})


def compute_all(metrics: Sequence[Metric], trial: Trial, tables: Iterable[pl.DataFrame]) -> dict[str, Values]:
    """Compute metrics by name from what :func:`read_all` reads."""
    return read_all(metrics, trial, tables).values()


class AtK(Kind[R]):
    """A kind that looks at the first k places and has k in its names: ``recall@10``.

    With ``k_optional`` names without it are of all places, however many a list has.
    """

    def __init__(self, function: Callable[[R, int], Values], *, k_optional: bool = False) -> None:
        self._function = function
        self.k_optional = k_optional

    def written(self, family: str) -> str:
        """``family@k``."""
        return f"{family}@k"

    def read_k(self, name: str) -> int | None:
        """The whole number after the ``@``; None where it is left out and may be."""
        family, at, k = name.partition("@")
        if self.k_optional and not at:
            return None
        if not (k.isascii() and k.isdigit() and k.strip("0")):
            raise ParameterError(f"metrics: {name!r} needs a whole number k >= 1 after @, such as '{family}@10'")
        if len(k) > len(str(MOST_PLACES)) or int(k) > MOST_PLACES:
            raise ParameterError(f"metrics: {name!r} has a k above {MOST_PLACES:,}, more than any catalogue has items")
        return int(k)

    def compute(self, reading: R, k: int | None) -> Values:
        """What the function gives for the first k places."""
        return self._function(reading, MOST_PLACES if k is None else k)


class WithoutK(Kind[R]):
    """Computed by a function of the reading alone; the names have no k.

    Attributes
    ----------
    told : str
        What such a metric is of, for those who give a k.
    """

    told: str

    def __init__(self, function: Callable[[R], Values]) -> None:
        self._function = function

    def written(self, family: str) -> str:
        """The family alone."""
        return family

    def read_k(self, name: str) -> None:
        """None; ParameterError if there is an ``@``."""
        family, at, _ = name.partition("@")
        if at:
            raise ParameterError(f"metrics: {name!r}: {family} is of {self.told} write {family!r}")

    def compute(self, reading: R, k: int | None) -> Values:
        """What the function gives."""
        return self._function(reading)

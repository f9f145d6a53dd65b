"""Indexes that models of factors rank by: made when they are first asked, saved with the model, mapped when it is read.

A base imports no index. Kinds of indexes make themselves known here by name, as models do in their registry.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from cofactor.checks import warn
from cofactor.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cofactor.kernels.arrays import Float, TopK
    from cofactor.kernels.filters import Filters
    from cofactor.system.arrays import Arrays

__all__ = ["KINDS", "Index", "Indexes", "known_kind"]


class Index(Protocol):
    """What a model asks of an index of vectors."""

    def search(self, queries: Float, k: int, *, filters: Filters) -> TopK:
        """The k best items of every query within the filters."""


KINDS: dict[str, Any] = {}
"""Indexes that can be saved with a model, by the name that files have. Besides ``search`` they have

``params()``
    what they were made with besides vectors, metric and threads, for JSON; None where that cannot be told,
``saved()``
    what is slow to find again: facts for JSON, and arrays,
``restored(vectors, facts, arrays, *, metric, threads, every_entry, **params)``
    an index of these vectors out of all that; DataError where it is of others, or damaged.
"""

Kind = TypeVar("Kind", bound=type)


def known_kind(kind: Kind) -> Kind:
    """Class decorator: models that rank by such an index are saved with it."""
    KINDS[kind.__name__] = kind
    return kind


class Indexes:
    """Indexes of one model's item vectors, by metric."""

    def __init__(self, of: Float, make: Callable[..., Index]) -> None:
        self._of, self._make = of, make
        self._made: dict[str, Index] = {}

    def are_of(self, factors: Float) -> bool:
        """Whether a model still has the vectors that these are indexes of."""
        return factors is self._of

    def get(self, vectors: Float, metric: str) -> Index:
        """The index of the vectors as they are compared by a metric."""
        if metric not in self._made:
            self._made[metric] = self._make(vectors, metric=metric)
        return self._made[metric]

    def saved(self, vectors: dict[str, Float]) -> tuple[dict[str, Any], Arrays]:
        """Facts and arrays of those made so far, or of all; none, and a warning, where they cannot be saved.

        Parameters
        ----------
        vectors : dict
            By every metric that the model may ask for.
        """
        for metric, compared in vectors.items() if not self._made else ():
            self.get(compared, metric)
        kinds = {type(index) for index in self._made.values()}
        kind = kinds.pop() if len(kinds) == 1 else None
        first: Any = next(iter(self._made.values()))
        params = None if kind not in KINDS.values() else first.params()
        if kind is None or params is None:
            warn(f"the model is saved without its index, {first!r}; after loading, give it to indexed() again")
            return {}, {}
        made: dict[str, Any] = {}
        arrays: Arrays = {}
        for metric, index in self._made.items():
            made[metric], parts = index.saved()  # type: ignore[attr-defined]
            arrays |= {f"{metric}.{part}": array for part, array in parts.items()}
        return {"class": kind.__name__, "params": params, "made": made}, arrays

    @classmethod
    def restored(
        cls,
        vectors: dict[str, Float],
        facts: dict[str, Any],
        arrays: Arrays,
        *,
        threads: int | None,
        every_entry: bool,
    ) -> Indexes:
        """Those of some vectors, by metric, that were saved; the vectors that rank are those of inner products.

        Raises
        ------
        DataError
            They are of other vectors, of a kind or metric that is not known, or damaged.
        """
        name, params = facts["class"], facts["params"]
        if name not in KINDS:
            raise DataError(f"its index is a {name}, which is not known here; import the module that defines it first")
        kind = KINDS[name]
        found = cls(vectors["inner_product"], partial(kind, threads=threads, **params))
        for metric, told in facts["made"].items():
            if metric not in vectors:
                raise DataError(f"its index is by {metric!r}; those of models are by {', '.join(vectors)}")
            parts = {n.removeprefix(f"{metric}."): a for n, a in arrays.items() if n.startswith(f"{metric}.")}
            found._made[metric] = kind.restored(
                vectors[metric], told, parts, metric=metric, threads=threads, every_entry=every_entry, **params
            )
        return found

"""Item-to-item neighbours: what was had together with what a user had.

Scores are ``sum_h weight(user, h) s(h, i)`` over the items h of the history (Deshpande & Karypis 2004; Aiolli 2013 for
the asymmetric cosine), s being one of the similarities of
:mod:`cofactor.models.neighbours.similarity`, kept for the nearest
neighbours only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from cofactor.checks import check_at_least, check_choice
from cofactor.models.base.fitting import in_one_step
from cofactor.models.base.item_weights import ItemWeightModel, most_similar_items
from cofactor.models.neighbours.similarity import Columns, Compared, Kind, Measure, formula
from cofactor.system.memory import require_memory
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from typing import Self

    from cofactor.data.interactions import Interactions
    from cofactor.kernels.arrays import Rows, TopK
    from cofactor.kernels.csr import CSR

__all__ = ["ItemKNN"]


class ItemKNN(ItemWeightModel):
    """Rank items by how similar they are to those of the history.

    Only items that are neighbours of the history's come back: lists may be shorter than k, and an item whose users had
    nothing else is never recommended. An item is not its own neighbour.

    Similar items are the most similar of all items, whatever ``neighbours`` are kept for scores; with the asymmetric
    cosine, those that an item alone would recommend.

    Parameters
    ----------
    similarity : {"cosine", "asymmetric", "jaccard", "tfidf", "bm25"}
        Between the items' rows of weights by user; see :mod:`cofactor.models.neighbours.similarity`.
    neighbours : int
        How many are kept of every item; all that are similar where it has fewer.
    shrinkage : float
        Added to the denominator, so that similarities that rest on few users count less; not for "bm25".
    neighbours_of : {"scored", "history"}
        Keep the neighbours of every item that may be scored, so that all items have the same chance, or of every item
        of a history, where an item that is nobody's near neighbour is never recommended.
    alpha : float
        Of "asymmetric", 0 to 1: how much the scored item's popularity divides; 0.5 is the cosine.
    k1, b : float
        Of "bm25": how much of large weights counts, and how far popular items are marked down (0 to 1).
    threads : int, optional
    device : {"cpu", "torch", "cuda"}

    Attributes
    ----------
    item_weights_ : CSR (n_items, n_items)
        Row: item of the history, column: scored item.
    """

    item_weights_: CSR

    def __init__(
        self,
        similarity: Kind = "cosine",
        neighbours: int = 100,
        *,
        shrinkage: float = 0.0,
        neighbours_of: Literal["scored", "history"] = "scored",
        alpha: float = 0.5,
        k1: float = 1.2,
        b: float = 0.75,
        threads: int | None = None,
        device: str = "cpu",
    ) -> None:
        self.similarity = similarity
        self.neighbours = neighbours
        self.shrinkage = shrinkage
        self.neighbours_of = neighbours_of
        self.alpha = alpha
        self.k1 = k1
        self.b = b
        self.threads = threads
        self.device = device

    @in_one_step
    def fit(self, interactions: Interactions, *, progress: bool | None = None) -> Self:
        """Find every item's neighbours; ``progress`` changes nothing.

        Takes ``sum_u n_u^2 / 2`` additions, n_u being the items of user u, and memory for ``n_items * neighbours``
        entries.

        Raises
        ------
        ParameterError
            A parameter is out of range, or the neighbours do not fit into memory.
        """
        self._check()
        measure = self._measure()
        n = interactions.n_items
        require_memory(
            24 * n * min(self.neighbours, n), f"ItemKNN with {self.neighbours} neighbours of {n:,} items",
            "fewer neighbours, or filter rare items",
        )  # fmt: skip
        item_users = interactions.item_users
        columns = Columns.of(item_users, measure.kind)
        rows = Compared.of(item_users, columns, measure)
        of_scored = self.neighbours_of == "scored"
        near = self._kernels().neighbours(
            rows.matrix, self.neighbours, formula(measure, rows, rows, scored="choosing" if of_scored else "chosen"),
            weights=columns.weights, binary=rows.binary, threads=self.threads,
        )  # fmt: skip
        self.item_weights_ = near.transposed() if of_scored else near
        return self

    def _measure(self) -> Measure:
        return Measure(self.similarity, self.shrinkage, self.alpha, self.k1, self.b)

    def _check(self) -> None:
        self._measure().check()
        check_at_least("neighbours", self.neighbours, 1, whole=True)
        check_choice("neighbours_of", self.neighbours_of, ("scored", "history"))
        resolve_threads(self.threads)

    def _similar_items(self, items: Rows, k: int) -> TopK:
        measure, item_users = self._measure(), self.interactions_.item_users
        columns = Columns.of(item_users, measure.kind)
        every = Compared.of(item_users, columns, measure)
        values = every.matrix.binary() if every.binary else every.matrix
        asked = Compared(values.take(items), every.binary, every.own[items])
        return most_similar_items(
            self._kernels(), items, asked.matrix.scaled(columns=columns.weights), values,
            formula(measure, asked, every, scored="chosen"), k=k, threads=self.threads,
        )  # fmt: skip

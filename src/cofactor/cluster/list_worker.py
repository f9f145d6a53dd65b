"""Workers that have a model and make its lists: for files, and for an evaluation."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from uuid import uuid4

from cofactor.checks import check_at_least, check_path, check_type
from cofactor.cluster.engine import shared
from cofactor.cluster.pool import Pool, Worker, placed
from cofactor.models.base.recommender import Recommender, load

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from cofactor.kernels.arrays import Rows
    from cofactor.kernels.csr import CSR

__all__ = ["ListWorker", "Wanted", "check_sizes", "fitted_model", "listing"]


class Wanted(NamedTuple):
    """Which lists: the k best items of users, or the k items that are most similar to items."""

    what: Literal["items", "similar items"]
    k: int
    exclude_seen: bool | None = None

    def ids(self, model: Recommender) -> pl.Series:
        """Of whom there are lists."""
        x = model._fitted()
        return (x.users if self.what == "items" else x.items).ids

    def of(self, model: Any, ids: pl.Series) -> pl.DataFrame:  # noqa: ANN401
        """The lists of some ids."""
        if self.what == "items":
            lists: pl.DataFrame = model.recommend(ids, self.k, exclude_seen=self.exclude_seen)
            return lists
        similar: pl.DataFrame = model.similar_items(ids, self.k)
        return similar


class ListWorker(Worker):
    """A worker with a model: mapped from a folder, or in its node's object store."""

    def __init__(self, model: Recommender | str, threads: int) -> None:
        super().__init__(threads)
        self.given = model

    def load(self) -> bool:
        """Have the model at hand."""
        fitted = load(self.given, verify=False) if isinstance(self.given, str) else self.given
        if getattr(fitted, "threads", None) is not None:
            vars(fitted)["threads"] = self.threads
        self.model: Any = fitted.answering()
        return True

    def write(self, path: str, begin: int, end: int, wanted: Wanted) -> int:
        """Write the lists of users (or items) ``begin`` to ``end``; the file is there as a whole or not at all."""
        lists = wanted.of(self.model, wanted.ids(self.model).slice(begin, end - begin))
        beside = Path(path).with_name(f".{Path(path).name}-{uuid4().hex[:8]}")
        try:
            lists.write_parquet(beside)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        return lists.height

    def lists(self, ids: pl.Series, wanted: Wanted) -> pl.DataFrame:
        """The lists of some ids."""
        return wanted.of(self.model, ids)

    def ranks(self, users: Rows, wanted: CSR, exclude_seen: bool) -> Any:  # noqa: ANN401
        """Where wanted items stand in the complete lists of users, as ``FactorModel.ranks`` tells it."""
        return self.model.ranks(users, wanted, exclude_seen=exclude_seen)


def check_sizes(workers: int | None, threads: int | None) -> None:
    """Raise ParameterError where a number of workers or threads is none."""
    for name, value in (("workers", workers), ("threads", threads)):
        if value is not None:
            check_at_least(name, value, 1, whole=True)


def fitted_model(model: Recommender | str | Path) -> Recommender:
    """A model as it is, or that of a folder, mapped here too."""
    check_type("model", model, Recommender | str | Path, "a fitted model, or the folder of a saved one")
    return model if isinstance(model, Recommender) else load(model, verify=False)


@contextmanager
def listing(
    model: Recommender | str | Path,
    fitted: Recommender,
    workers: int | None,
    threads: int | None,
    most: int | None = None,
) -> Iterator[Pool]:
    """Workers that have the model while the block runs, at most ``most``."""
    size, each = placed(workers, threads)
    size = size if most is None else min(size, most)
    given = shared("model", fitted) if isinstance(model, Recommender) else str(check_path("model", model).absolute())
    pool = Pool(ListWorker, size, each, lambda _: (given, each))
    try:
        pool.start()
        yield pool
    finally:
        pool.end()

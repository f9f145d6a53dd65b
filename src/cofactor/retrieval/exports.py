"""Models for those who serve elsewhere: tables of vectors, index files, and ONNX graphs.

Whatever was written is read again by the library it was written for, and its lists are compared with the model's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import polars as pl

from cofactor.checks import check_choice, check_path, check_type, warn
from cofactor.errors import CofactorError, MissingExtraError, ParameterError
from cofactor.models.base.factor import FactorModel
from cofactor.models.base.item_weights import ItemWeightModel
from cofactor.models.base.recommender import Recommender
from cofactor.retrieval.onnx_graphs import as_dense, dot_product, fold_in
from cofactor.system.files import replacing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from cofactor.kernels.arrays import Float, Rows

__all__ = ["Export", "ExportKind", "export"]

ExportKind: TypeAlias = Literal["parquet", "faiss", "usearch", "onnx"]

_K = 10  # length of the lists that are compared
_TRIED = 1000  # users whose lists are compared
_EXACT = 0.999  # share of their items that exact search must find: sums in another order may turn near ties around
_EFFORT = 256  # candidates that a graph's search keeps
_GOOD = 0.95  # below which approximate search is warned of


@dataclass(frozen=True)
class Export:
    """What was written, and how well it agrees with the model.

    Attributes
    ----------
    to : str
    files : tuple of Path
    recall : float
        Share of the items of the model's own lists of 10 that those made from the files have, over ``users`` users.
    users : int
    """

    to: ExportKind
    files: tuple[Path, ...]
    recall: float
    users: int


def export(model: Recommender, folder: str | Path, to: ExportKind = "parquet") -> Export:
    """Write a model for other libraries, and check that they give its lists.

    Parameters
    ----------
    model : FactorModel; or, for "onnx", a model of item-to-item weights such as EASE and SLIM
        Fitted.
    folder : path
        Made unless it is there; files of the same names are replaced. ``items.parquet`` always tells the ids by row.
    to : {"parquet", "faiss", "usearch", "onnx"}
        "parquet": ``users.parquet`` (``user_id``, ``vector``) and ``items.parquet`` (``item_id``, ``vector``), scores
        being inner products.
        "faiss": ``items.faiss``, a flat index (exact) of inner products over the rows of ``items.parquet``.
        "usearch": ``items.usearch``, a graph (approximate); its keys are the rows.
        "onnx": ``model.onnx``: of factors, from rows of ``users.parquet`` to rows of items and scores; of item-to-item
        weights, from histories (n, n_items) of weights, 0 where an item is not in one, whose own items never come
        back. Its input ``k`` is the length of the lists.

    Returns
    -------
    Export

    Raises
    ------
    ParameterError
        The model has no vectors (and no item-to-item weights, for "onnx"), or the graph would be over 2 GB.
    MissingExtraError
        A library is not installed: extras ``ann`` (faiss) and ``export`` (usearch, onnx).
    CofactorError
        The lists from the files are not the model's.
    """
    check_type("model", model, Recommender, "a fitted model")
    check_choice("to", to, get_args(ExportKind))
    where = check_path("folder", folder)
    x = model._fitted()
    if not isinstance(model, FactorModel) and not (to == "onnx" and isinstance(model, ItemWeightModel)):
        also = " or of item-to-item weights, as EASE," if to == "onnx" else ""
        raise ParameterError(f"to={to!r} is for models of factors, as ImplicitALS,{also} got {type(model).__name__}")
    write: Callable[[Any, Path], tuple[list[Path], _Lists]] = {
        "parquet": _parquet,
        "faiss": _faiss,
        "usearch": _usearch,
        "onnx": _onnx,
    }[to]
    try:
        where.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ParameterError(f"folder: {where} is no folder, and none can be made there ({error.strerror})") from error
    vectors = (model.user_factors_, model.item_factors_) if isinstance(model, FactorModel) else (None, None)
    files = [
        _table(where / f"{what}s.parquet", f"{what}_id", ids.ids, vector)
        for what, ids, vector in (("user", x.users, vectors[0]), ("item", x.items, vectors[1]))
    ]
    written, lists = write(model, where)
    users = np.flatnonzero(np.diff(x.user_items.indptr) > 0)
    some = users[np.unique(np.linspace(0, len(users) - 1, min(_TRIED, len(users))).astype(np.int64))]
    recall = _recall(model, some.astype(np.int32), lists, exclude_seen=isinstance(model, ItemWeightModel))
    if to == "usearch" and recall < _GOOD:
        warn(f"lists from the graph have {recall:.1%} of the items of exact search; give it more connectivity")
    elif to != "usearch" and recall < _EXACT:
        raise CofactorError(f"lists from the files have only {recall:.2%} of the items of the model's own lists")
    return Export(to, (*files, *written), recall, len(some))


_Lists: TypeAlias = "Callable[[Rows, int], NDArray[np.int64]]"


def _recall(model: Recommender, users: Rows, lists: _Lists, *, exclude_seen: bool) -> float:
    k = min(_K, model.interactions_.n_items)
    own = model.top_k(users, k, exclude_seen=exclude_seen).rows
    found = lists(users, k)
    there = own >= 0
    hits = (own[:, :, None] == found[:, None, :]).any(axis=2) & there
    return float(hits.sum() / max(1, there.sum()))


def _table(path: Path, name: str, ids: pl.Series, vectors: Float | None) -> Path:
    table = pl.DataFrame({name: ids})
    if vectors is not None:
        table = table.with_columns(vector=pl.Series(np.ascontiguousarray(vectors)))
    with replacing(path) as beside:
        table.write_parquet(beside)
    return path


def _parquet(model: FactorModel, folder: Path) -> tuple[list[Path], _Lists]:
    """Nothing beyond the tables; lists by NumPy from what was read."""
    users, items = (pl.read_parquet(folder / f"{what}.parquet")["vector"].to_numpy() for what in ("users", "items"))

    def lists(rows: Rows, k: int) -> NDArray[np.int64]:
        scores = users[rows] @ items.T
        return np.argsort(-scores, axis=1, kind="stable")[:, :k]

    return [], lists


def _faiss(model: FactorModel, folder: Path) -> tuple[list[Path], _Lists]:
    try:
        import faiss
    except ImportError as error:
        raise _missing("faiss", "ann") from error
    index: Any = faiss.IndexFlatIP(model.item_factors_.shape[1])
    index.add(np.ascontiguousarray(model.item_factors_))
    path = folder / "items.faiss"
    with replacing(path) as beside:
        faiss.write_index(index, str(beside))
    read: Any = faiss.read_index(str(path))
    return [path], lambda rows, k: read.search(np.ascontiguousarray(model.user_factors_[rows]), k)[1]


def _usearch(model: FactorModel, folder: Path) -> tuple[list[Path], _Lists]:
    try:
        from usearch.index import Index
    except ImportError as error:
        raise _missing("usearch", "export") from error
    vectors = np.ascontiguousarray(model.item_factors_)

    def made() -> Any:  # noqa: ANN401
        return Index(ndim=vectors.shape[1], metric="ip", dtype="f32", connectivity=32, expansion_search=_EFFORT)

    index = made()
    index.add(np.arange(len(vectors), dtype=np.uint64), vectors)
    path = folder / "items.usearch"
    with replacing(path) as beside:
        index.save(str(beside))
    read = made()  # a file does not hold how hard a search tries
    read.load(str(path))

    def lists(rows: Rows, k: int) -> NDArray[np.int64]:
        keys = read.search(np.ascontiguousarray(model.user_factors_[rows]), k).keys
        return np.asarray(keys).reshape(len(rows), -1).astype(np.int64)

    return [path], lists


def _onnx(model: FactorModel | ItemWeightModel, folder: Path) -> tuple[list[Path], _Lists]:
    try:
        import onnxruntime
    except ImportError as error:
        raise _missing("onnxruntime", "export") from error
    path = folder / "model.onnx"
    graph = dot_product(model) if isinstance(model, FactorModel) else fold_in(model)
    with replacing(path) as beside:
        beside.write_bytes(graph)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def ask(rows: Rows, k: int) -> NDArray[np.int64]:
        if isinstance(model, FactorModel):
            given: dict[str, Any] = {"users": rows.astype(np.int64)}
        else:
            given = {"history": as_dense(model.interactions_.user_items.take(rows))}
        items: NDArray[np.int64] = session.run(["items"], given | {"k": np.array([k], np.int64)})[0]
        return items

    def lists(rows: Rows, k: int) -> NDArray[np.int64]:
        return np.concatenate([ask(rows[at : at + 64], k) for at in range(0, len(rows), 64)])

    return [path], lists


def _missing(what: str, extra: str) -> MissingExtraError:
    return MissingExtraError(f"this export needs {what}, which is not installed; run: pip install 'cofactor[{extra}]'")

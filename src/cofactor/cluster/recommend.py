"""Lists for every user of a model, in shards of users that become Parquet files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.checks import check_at_least, check_flag, check_path
from cofactor.cluster.engine import translated
from cofactor.cluster.list_worker import Wanted, check_sizes, fitted_model, listing
from cofactor.cluster.storage import read_json, write_json
from cofactor.errors import ArtifactError
from cofactor.system.progress import progress_bar

if TYPE_CHECKING:
    from pathlib import Path

    from cofactor.models.base.recommender import Recommender

__all__ = ["recommend", "similar_items"]

_HEADER = "lists.json"
_ROWS = 20_000  # of a shard


def recommend(
    model: Recommender | str | Path,
    output: str | Path,
    k: int,
    *,
    exclude_seen: bool,
    **how: Any,  # noqa: ANN401
) -> list[Path]:
    """See ``Cluster.recommend``; ``how``: shards, workers, threads and progress."""
    check_flag("exclude_seen", exclude_seen)
    return _written(model, output, Wanted("items", k, exclude_seen), **how)


def similar_items(model: Recommender | str | Path, output: str | Path, k: int, **how: Any) -> list[Path]:  # noqa: ANN401
    """See ``Cluster.similar_items``."""
    return _written(model, output, Wanted("similar items", k), **how)


def _written(
    model: Recommender | str | Path,
    output: str | Path,
    wanted: Wanted,
    *,
    shards: int | None,
    workers: int | None,
    threads: int | None,
    progress: bool | None,
) -> list[Path]:
    """Write what is missing in a folder of lists."""
    check_at_least("k", wanted.k, 1, whole=True)
    if shards is not None:
        check_at_least("shards", shards, 1, whole=True)
    if progress is not None:
        check_flag("progress", progress)
    check_sizes(workers, threads)
    fitted = fitted_model(model)
    ids = wanted.ids(fitted)
    if wanted.what == "similar items":
        wanted._replace(k=1).of(fitted, ids.head(1))  # whether the model has any, before workers are started
    n_rows = len(ids)
    folder = check_path("output", output).absolute()
    n = min(n_rows, shards or -(-n_rows // _ROWS))
    facts = {"model": repr(fitted), "data": _digest(fitted), "kind": wanted.what, "k": wanted.k}
    _claim(folder, {**facts, "exclude_seen": wanted.exclude_seen, "shards": n})
    cuts = np.arange(n + 1) * n_rows // n
    paths = [folder / f"part-{i:05}.parquet" for i in range(n)]
    todo = [i for i in range(n) if not paths[i].exists()]
    if not todo:
        return paths
    calls = [("write", (str(paths[i]), int(cuts[i]), int(cuts[i + 1]), wanted)) for i in todo]
    with (
        translated("the lists could not be made"),
        progress_bar("recommend", progress, total=n) as bar,
        listing(model, fitted, workers, threads, most=len(todo)) as pool,
    ):
        bar.update(n - len(todo))
        for _ in pool.deal(calls):
            bar.update()
    if missing := [path for path in paths if not path.exists()]:
        raise ArtifactError(
            f"output={str(folder)!r}: a worker wrote {missing[0].name}, but the driver does not see it; give a folder "
            "that all nodes share"
        )
    return paths


def _claim(folder: Path, facts: dict[str, Any]) -> None:
    """Make the folder these lists', or find that it is."""
    header = folder / _HEADER
    if header.is_file():
        there = read_json(str(header))
        for name, value in facts.items():
            if there.get(name) != value:
                raise ArtifactError(
                    f"output={str(folder)!r} holds lists of {name}={there.get(name)!r}, not {value!r}; give another "
                    "folder, or delete it"
                )
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ArtifactError(f"output={str(folder)!r} exists and holds something else; give another folder")
    write_json(str(header), facts)


def _digest(model: Recommender) -> str:
    """What tells a model from others with the same parameters: its users and items, and its first numbers."""
    import hashlib

    x = model._fitted()
    digest = hashlib.sha256(repr((x.n_users, x.n_items, x.nnz)).encode())
    for ids in (x.users.ids, x.items.ids):
        some = ids.gather_every(max(1, len(ids) // 4096))
        digest.update("\0".join(map(str, some.to_list())).encode())
    for name in sorted(vars(model)):
        array = getattr(model, name)
        if name.endswith("_") and isinstance(array, np.ndarray):
            digest.update(np.ascontiguousarray(array[:: max(1, len(array) // 4096)]).data)
    return digest.hexdigest()

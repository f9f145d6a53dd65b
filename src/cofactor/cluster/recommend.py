"""Lists for every user of a model, in shards of users that become Parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from cofactor.checks import check_at_least, check_flag, check_path, check_type
from cofactor.cluster.engine import died, require_ray, translated
from cofactor.cluster.pool import Pool, Worker, placed
from cofactor.cluster.storage import read_json, write_json
from cofactor.errors import ArtifactError, ParameterError
from cofactor.models.base.recommender import Recommender, load
from cofactor.system.progress import progress_bar

__all__ = ["ListWorker", "recommend"]

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tqdm import tqdm

_HEADER = "lists.json"
_ROWS = 20_000  # of a shard


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
        self.model = fitted.answering()
        return True

    def write(self, path: str, begin: int, end: int, k: int, exclude_seen: bool | None) -> int:
        """Write the lists of users (or, where ``exclude_seen`` is None, items) ``begin`` to ``end``.

        The file is there as a whole or not at all.
        """
        x = self.model.interactions_
        ids = (x.items if exclude_seen is None else x.users).ids.slice(begin, end - begin)
        if exclude_seen is None:
            lists = self.model.similar_items(ids, k)
        else:
            lists = self.model.recommend(ids, k, exclude_seen=exclude_seen)
        beside = Path(path).with_name(f".{Path(path).name}-{uuid4().hex[:8]}")
        try:
            lists.write_parquet(beside)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        return lists.height


def recommend(
    model: Recommender | str | Path,
    output: str | Path,
    k: int,
    *,
    exclude_seen: bool | None,
    shards: int | None,
    workers: int | None,
    threads: int | None,
    progress: bool | None,
) -> list[Path]:
    """See ``Cluster.recommend``; with ``exclude_seen=None``, ``Cluster.similar_items``."""
    check_at_least("k", k, 1, whole=True)
    if exclude_seen is not None:
        check_flag("exclude_seen", exclude_seen)
    for name, value in (("shards", shards), ("workers", workers), ("threads", threads)):
        if value is not None:
            check_at_least(name, value, 1, whole=True)
    check_type("model", model, Recommender | str | Path, "a fitted model, or the folder of a saved one")
    fitted = model if isinstance(model, Recommender) else load(model, verify=False)
    if exclude_seen is None and not hasattr(fitted, "similar_items"):
        raise ParameterError(f"model: a {type(fitted).__name__} knows no similar items")
    n_rows = len(fitted._fitted().items if exclude_seen is None else fitted._fitted().users)
    folder = check_path("output", output).absolute()
    n = min(n_rows, shards or -(-n_rows // _ROWS))
    facts = {"model": repr(fitted), "data": _digest(fitted), "k": k, "exclude_seen": exclude_seen, "shards": n}
    _claim(folder, facts)
    cuts = np.arange(n + 1) * n_rows // n
    paths = [folder / f"part-{i:05}.parquet" for i in range(n)]
    todo = [i for i in range(n) if not paths[i].exists()]
    if not todo:
        return paths
    ray = require_ray()
    size, each = placed(workers, threads)
    size = min(size, len(todo))
    given = ray.put(fitted) if isinstance(model, Recommender) else str(check_path("model", model).absolute())
    pool = Pool(ListWorker, size, each, lambda _: (given, each))
    try:
        with translated("the lists could not be made"), progress_bar("recommend", progress, total=n) as bar:
            bar.update(n - len(todo))
            pool.start()
            _deal(pool, todo, paths, cuts, how=(k, exclude_seen), bar=bar)
    finally:
        pool.end()
    if missing := [path for path in paths if not path.exists()]:
        raise ArtifactError(
            f"output={str(folder)!r}: a worker wrote {missing[0].name}, but the driver does not see it; give a folder "
            "that all nodes share"
        )
    return paths


def _deal(
    pool: Pool,
    todo: list[int],
    paths: list[Path],
    cuts: NDArray[Any],
    *,
    how: tuple[int, bool | None],
    bar: tqdm[Any],
) -> None:
    """Give every free worker the next shard; that of a worker that died goes to another."""
    ray = require_ray()
    waiting = todo[::-1]
    running: dict[Any, tuple[int, int]] = {}
    free = list(range(pool.n))
    while waiting or running:
        while waiting and free:
            worker, i = free.pop(), waiting.pop()
            call = pool.handles[worker].write.remote(str(paths[i]), int(cuts[i]), int(cuts[i + 1]), *how)
            running[call] = worker, i
        (done,), _ = ray.wait(list(running), num_returns=1)
        worker, i = running.pop(done)
        try:
            ray.get(done)
            bar.update()
        except died():
            waiting.append(i)
            pool.steadily(lambda: pool.all("where"))
        free.append(worker)


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

"""A cluster of Ray: where it is, whether its nodes fit together, and what it reads and ranks."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING, Any

from cofactor.checks import check_at_least
from cofactor.cluster.engine import answering, nodes, require_ray, translated
from cofactor.cluster.evaluate import evaluate
from cofactor.cluster.events import ClusterEvents, read
from cofactor.cluster.recommend import recommend, similar_items
from cofactor.cluster.tune import tune
from cofactor.errors import CofactorError, ParameterError
from cofactor.evaluation.measure import DEFAULT_METRICS
from cofactor.system.memory import parse_bytes
from cofactor.system.threads import available_threads
from cofactor.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    import polars as pl

    from cofactor.data.events import Events
    from cofactor.data.interactions import Interactions
    from cofactor.data.ratings import Ratings
    from cofactor.data.tables import TableLike
    from cofactor.evaluation.study import Study
    from cofactor.models.base.recommender import Recommender

__all__ = ["Cluster", "connect"]

_LEAST_STORE = 75 * 2**20


def connect(
    address: str | None = None, *, threads: int | None = None, object_store: int | str | None = None
) -> Cluster:
    """Connect to a cluster of Ray, or start one of this machine alone.

    Parameters
    ----------
    address : str, optional
        ``host:port`` of the head node, or ``"auto"`` on a machine of the cluster. By default a cluster of this machine
        is started, which ends with :meth:`Cluster.close` or with the process.
    threads : int, optional
        Of a cluster of this machine: how many it has to give. By default what affinity and container limits grant.
    object_store : int or str, optional
        Of a cluster of this machine: bytes, or text such as ``"4GB"``, of shared memory for vectors.

    Raises
    ------
    MissingExtraError
        Ray is not installed: the extra ``ray``.
    ParameterError
        The address is none.
    CofactorError
        Nobody answers there, or a node has another version of Python, Ray, polars or cofactor.

    Examples
    --------
    >>> import cofactor as cf
    >>> with cf.cluster.connect() as cluster:  # doctest: +SKIP
    ...     x = cluster.read_events("events/", user="user_id", item="item_id").interactions()
    ...     model = cf.ImplicitALS(factors=64).fit(x)
    """
    if threads is not None:
        check_at_least("threads", threads, 1, whole=True)
    store = None if object_store is None else parse_bytes("object_store", object_store)
    if store is not None and store < _LEAST_STORE:
        raise ParameterError(f"object_store={object_store!r}: Ray wants {_LEAST_STORE:,} bytes at least")
    ray = require_ray()
    where = answering(address)
    if ray.is_initialized():
        raise CofactorError("this process is connected to a cluster of Ray already; close it first: cluster.close()")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "include_dashboard": False}
    if where == "local":
        options |= {"num_cpus": threads or available_threads(), "object_store_memory": store}
    else:
        options.pop("include_dashboard")
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # of several workers with an error, one is raised
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        ray.init(address=where, **options)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise CofactorError(f"address={address!r}: Ray could not connect: {error}") from error
    cluster = Cluster()
    try:
        cluster.check_versions()
    except BaseException:
        cluster.close()
        raise
    return cluster


class Cluster:
    """A connection to a cluster; :func:`connect` makes it. It is a context that closes it."""

    def nodes(self) -> list[dict[str, Any]]:
        """The living nodes: ``id``, ``address``, ``threads`` ``object_store`` (bytes); in the order of ids."""
        return nodes()

    def check_versions(self) -> None:
        """Raise CofactorError unless every node has the versions of this process."""
        ray = require_ray()

        def versions() -> dict[str, str]:  # goes to the nodes by value: cofactor may be missing there
            import importlib.metadata
            import platform

            def version(name: str) -> str:
                try:
                    return importlib.metadata.version(name)
                except importlib.metadata.PackageNotFoundError:
                    return "none"

            found = {"Python": platform.python_version()} | {name: version(name) for name in ("polars", "numpy")}
            try:
                from cofactor.version import __version__ as own
            except ImportError:
                own = "none"
            return found | {"cofactor": own}

        at = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        there_are = nodes()
        with translated("the nodes could not be asked for their versions"):
            asked = [
                ray.remote(versions).options(num_cpus=0, scheduling_strategy=at(node["id"], soft=False)).remote()
                for node in there_are
            ]
            told = ray.get(asked, timeout=120)
        here = versions() | {"cofactor": __version__, "Python": platform.python_version()}
        for node, there in zip(there_are, told, strict=True):
            for name, version in here.items():
                if there[name] != version:
                    raise CofactorError(
                        f"node {node['address']} has {name} {there[name]}, this process {version}; install the same on "
                        "every node: what workers send each other is read by the same code"
                    )

    def read_events(self, source: str | Path | list[str], **options: Any) -> ClusterEvents:  # noqa: ANN401
        """Read an event log in Parquet, every file by some worker.

        Parameters
        ----------
        source : str, Path or list
            Files, a folder or a glob, which every node sees under the same names.
        options
            The columns and their meaning, as in ``cofactor.read_events``.

        Raises
        ------
        DataError
            As ``cofactor.read_events``; a node does not see a file; the files differ in their columns.
        """
        return read(source, options)

    def recommend(
        self,
        model: Recommender | str | Path,
        output: str | Path,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        shards: int | None = None,
        workers: int | None = None,
        threads: int | None = None,
        progress: bool | None = None,
    ) -> list[Path]:
        """Rank items for every user of a model, in shards of users that become Parquet files.

        What a former call with the same model and parameters has left in the folder stays as it is: a run that was
        killed goes on where it was.

        Parameters
        ----------
        model : Recommender, or the folder of a saved one that every node sees
            A folder is mapped by every node, and nothing travels.
        output : folder
            ``part-00000.parquet`` and so on, with ``user_id``, ``item_id``, ``score`` and ``rank``. Every node sees it.
        k : int
        exclude_seen : bool
            Leave out what a user has had.
        shards : int, optional
            By default one for 20,000 users.
        workers, threads : int, optional
            By default a worker for each node, with all of its threads.
        progress : bool, optional

        Raises
        ------
        ArtifactError
            The folder holds lists of another model or other parameters, or something else.
        """
        return recommend(
            model, output, k, exclude_seen=exclude_seen, shards=shards, workers=workers, threads=threads,
            progress=progress,
        )  # fmt: skip

    def similar_items(
        self,
        model: Recommender | str | Path,
        output: str | Path,
        k: int = 10,
        *,
        shards: int | None = None,
        workers: int | None = None,
        threads: int | None = None,
        progress: bool | None = None,
    ) -> list[Path]:
        """The k most similar items of every item, in shards of items; as :meth:`recommend`.

        The files have ``item_id``, ``similar_item_id``, ``score`` and ``rank``.
        """
        return similar_items(model, output, k, shards=shards, workers=workers, threads=threads, progress=progress)

    def evaluate(
        self,
        model: Recommender | str | Path,
        test: TableLike,
        metrics: str | Sequence[str] = DEFAULT_METRICS,
        *,
        workers: int | None = None,
        threads: int | None = None,
        **options: Any,  # noqa: ANN401
    ) -> pl.DataFrame:
        """Measure a model by lists, or ranks, that the workers make; the numbers are those of ``cofactor.evaluate``.

        Parameters
        ----------
        model : Recommender, or the folder of a saved one that every node sees
        test, metrics
            As in ``cofactor.evaluate``.
        workers, threads : int, optional
            By default a worker for each node, with all of its threads.
        **options
            All others of ``cofactor.evaluate``. Of ``candidates=`` and of ratings nothing is ranked, and the driver
            scores them itself.

        Raises
        ------
        ParameterError, DataError
            As ``cofactor.evaluate``.
        """
        return evaluate(model, test, metrics, workers=workers, threads=threads, options=options)

    def tune(
        self,
        model: Any,  # noqa: ANN401
        train: Events | Interactions | Ratings,
        *,
        workers: int | None = None,
        threads: int | None = None,
        **options: Any,  # noqa: ANN401
    ) -> Study:
        """Search for the parameters of a model, with a trial on every worker at once.

        Every worker has all of the data; a model must fit into a node. A trial whose worker dies has failed, and the
        search goes on with another worker.

        Parameters
        ----------
        model, train
            As in ``cofactor.tune``.
        workers, threads : int, optional
            By default a worker for each node, with all of its threads. Grids and searches at random try the same points
            whatever the number; TPE proposes a trial without knowing what those have found that run at that time.
        **options
            All others of ``cofactor.tune``.

        Returns
        -------
        Study
            As of ``cofactor.tune``, trials in the order in which they were proposed.

        Raises
        ------
        ParameterError, ArtifactError, CofactorError
            As ``cofactor.tune``; workers died ten times in a row.
        """
        return tune(model, train, workers=workers, threads=threads, options=options)

    def close(self) -> None:
        """Leave the cluster; one of this machine alone ends, and so do all workers."""
        require_ray().shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        found = nodes() if require_ray().is_initialized() else []
        return f"Cluster({len(found)} nodes, {sum(node['threads'] for node in found)} threads)"

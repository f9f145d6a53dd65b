"""A cluster of this machine that all tests of a process share, and a log for it."""

import os
import signal

import polars as pl
import pytest

import cofactor as cf

pytest.importorskip("ray", reason="needs the extra ray")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    os.environ["RAY_DISABLE_IMPORT_WARNING"] = "1"
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # every worker imports anew, some forty of them
    with cf.cluster.connect(threads=4, object_store="100MB") as connected:
        yield connected


@pytest.fixture(scope="session")
def table():
    """Text ids, times and types; in no order."""
    events = cf.datasets.synthetic_events(n_users=300, n_items=80, n_events=6000, seed=3)
    return events.collect().with_columns(pl.col("user_id").cast(pl.String)).sample(fraction=1, shuffle=True, seed=1)


@pytest.fixture(scope="session")
def log(table, tmp_path_factory):
    """A folder of four files."""
    folder = tmp_path_factory.mktemp("log")
    for i in range(4):
        table.filter(pl.int_range(pl.len()) % 4 == i).write_parquet(folder / f"part-{i}.parquet")
    return folder


COLUMNS = {"user": "user_id", "item": "item_id", "time": "time", "event_type": "event_type"}


@pytest.fixture(scope="session")
def columns():
    return COLUMNS


@pytest.fixture(scope="session")
def events(cluster, log):
    return cluster.read_events(log, **COLUMNS)


@pytest.fixture(scope="session")
def local(log):
    """The same log on one machine."""
    return cf.read_events(log, **COLUMNS)


@pytest.fixture
def kill():
    """Ends the process of a worker as the kernel would: it says nothing to anybody."""

    def kill(pool, i):
        import ray

        os.kill(ray.get(pool.handles[i].process.remote(), timeout=30), signal.SIGKILL)

    return kill

"""What a cluster refuses, in words."""

import socket
import sys
import time

import polars as pl
import pytest

import cofactor as cf
from cofactor.cluster import engine


def test_ray_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(cf.MissingExtraError, match=r"cofactor\[ray\]"):
        cf.cluster.connect()


@pytest.mark.parametrize("address", ["nowhere", "ray://head:10001", "head:port", "head:0", "", ":6379"])
def test_addresses_that_are_none(address):
    with pytest.raises(cf.ParameterError, match="address must be host:port"):
        cf.cluster.connect(address)


def test_an_address_where_nobody_answers():
    started = time.monotonic()
    with pytest.raises(cf.CofactorError, match=r"address='127\.0\.0\.1:1': nobody answers"):
        cf.cluster.connect("127.0.0.1:1")
    assert time.monotonic() - started < 10


def test_an_address_where_somebody_else_listens(monkeypatch):
    monkeypatch.setattr(engine, "_HEALTHY", 2.0)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(cf.CofactorError, match="does not answer as the head node"):
            cf.cluster.connect(f"127.0.0.1:{other.getsockname()[1]}")


def test_auto_where_nobody_answers(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    started = time.monotonic()
    with pytest.raises(cf.CofactorError, match=r"address='auto' is '[0-9.]+:1' here .*nobody answers.*ray start"):
        cf.cluster.connect("auto")
    assert time.monotonic() - started < 10


def test_auto_of_a_cluster_that_is_gone_or_was_never_there(monkeypatch):
    services = pytest.importorskip("ray._private.services")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(services, "find_gcs_addresses", set)  # whatever else runs on this machine
    monkeypatch.setattr(services, "find_bootstrap_address", lambda folder: None)
    with pytest.raises(
        cf.CofactorError, match=r"address='auto': no cluster of Ray is found .*start one with ray start"
    ):
        cf.cluster.connect("auto")
    monkeypatch.setattr(services, "find_bootstrap_address", lambda folder: "127.0.0.1:1")  # ray_current_cluster
    with pytest.raises(cf.CofactorError, match=r"'[0-9.]+:1' here .*nobody answers"):
        cf.cluster.connect("auto")


def test_auto_finds_a_cluster(cluster, monkeypatch):
    import ray

    address = ray.get_runtime_context().gcs_address
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert engine.answering("auto") == address


def test_nodes_of_other_versions(cluster, monkeypatch):
    monkeypatch.setattr("cofactor.cluster.connection.__version__", "9.9")
    with pytest.raises(cf.CofactorError, match=r"node .* has cofactor .*, this process 9\.9; install the same"):
        cluster.check_versions()


def test_a_second_connection(cluster):
    with pytest.raises(cf.CofactorError, match="connected to a cluster of Ray already"):
        cf.cluster.connect()
    assert repr(cluster) == "Cluster(1 nodes, 4 threads)"


def test_more_workers_than_there_is_room_for(events):
    with pytest.raises(cf.ParameterError, match="workers=5 of threads=1 each: the cluster has room for 4"):
        events.interactions(workers=5, threads=1)
    with pytest.raises(cf.ParameterError, match="every"):
        events.interactions(every=0)


def test_files_of_another_kind_or_schema(cluster, table, columns, tmp_path):
    table.write_csv(tmp_path / "log.csv")
    with pytest.raises(cf.ParameterError, match="reads Parquet"):
        cluster.read_events(tmp_path / "log.csv", **columns)
    table.write_parquet(tmp_path / "a.parquet")
    table.with_columns(pl.col("item_id").cast(pl.String)).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(cf.DataError, match=r"column 'item_id' is Int32 in .*a.parquet and String in .*b.parquet"):
        cluster.read_events(tmp_path / "*.parquet", **columns)


def test_files_without_events(cluster, table, columns, tmp_path, local):
    for i, part in enumerate([table[:0], table, table[:0]]):
        part.write_parquet(tmp_path / f"{i}.parquet")
    assert cluster.read_events(tmp_path, **columns).n_events == local.n_events
    with pytest.raises(cf.DataError, match="the log is empty"):
        cluster.read_events(tmp_path / "0.parquet", **columns)


def test_options_that_there_are_not(cluster, log, columns):
    with pytest.raises(TypeError, match="usr"):
        cluster.read_events(log, usr="user_id", **columns)


def test_a_cluster_that_was_closed(events, log, columns, monkeypatch, tmp_path):
    import ray

    x = events.interactions(workers=1, threads=1)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    closed = cf.cluster.Cluster()
    model = cf.Popular().fit(cf.datasets.synthetic(20, 10, 50))
    for call in (
        closed.nodes,
        lambda: closed.read_events(log, **columns),
        lambda: closed.recommend(model, tmp_path / "lists"),
        lambda: closed.evaluate(model, log),
        lambda: cf.ImplicitALS(4).fit(x),
    ):
        with pytest.raises(cf.CofactorError, match=r"no connection to a cluster, or it was closed; .*connect"):
            call()


def test_a_store_that_is_too_small():
    with pytest.raises(cf.ParameterError, match=r"object_store='1MB': Ray wants 78,643,200 bytes at least"):
        cf.cluster.connect(object_store="1MB")


def test_a_schema_that_differs_among_files_of_one_worker(cluster, table, columns, tmp_path):
    for i in range(40):  # more files than groups of them
        part = table.slice(i * 100, 100)
        part = part if i != 21 else part.with_columns(pl.col("item_id").cast(pl.Int64))
        part.write_parquet(tmp_path / f"{i:02}.parquet")
    with pytest.raises(cf.DataError, match=r"column 'item_id' is Int.. in .*\.parquet and Int.. in .*\.parquet"):
        cluster.read_events(tmp_path, **columns)


def test_a_fault_of_the_log_is_told_as_on_one_machine(cluster, log, columns):
    with pytest.raises(cf.DataError, match="user='who': there is no such column"):
        cluster.read_events(log, **columns | {"user": "who"})


def test_a_file_that_a_node_does_not_see(cluster, log, columns, monkeypatch):
    monkeypatch.setattr("cofactor.cluster.events.files_of", lambda names: ["/not/here.parquet"])
    with pytest.raises(cf.DataError, match=r"/not/here.parquet: the driver sees this file, node .* does not"):
        cluster.read_events(log, **columns)


def test_what_the_first_pass_finds(events, local):
    x = local.interactions()
    assert events.n_events == local.n_events
    assert events.users == x.users
    assert events.items == x.items
    assert events.item_counts.sum() == local.n_events
    assert repr(events) == f"ClusterEvents({local.n_events:,} events, {x.n_users:,} users, {x.n_items:,} items)"

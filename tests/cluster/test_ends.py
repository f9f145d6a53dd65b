"""How a cluster ends work that cannot go on, seen from processes of their own: Ctrl-C, a full store, an odd node."""

import os
import signal
import subprocess
import sys
import time

import pytest

import cofactor as cf

ENDLESS = """
import sys, ray
import cofactor as cf
with cf.cluster.connect(sys.argv[1]) as cluster:
    x = cluster.read_events(sys.argv[2], user="user_id", item="item_id").interactions(workers=2, threads=1)
    print(*ray.get([handle.process.remote() for handle in x.pool().handles]), flush=True)
    model = cf.ImplicitALS(4, regularization=0.1, iterations=10**6)
    model.fit(x, progress=False, on_iteration=lambda n, loss: n == 2 and print("two", flush=True))
"""

FULL = """
import sys, time, numpy as np
import cofactor as cf
with cf.cluster.connect(threads=1, object_store="80MB") as cluster:
    time.sleep(1)  # the node looks at its disk ten times a second
    x = cf.datasets.synthetic(100, 20, 500, seed=0)
    vectors = [np.ones((n, 200_000), np.float32) for n in (x.n_users, x.n_items)]  # more than the store holds
    try:
        cluster.recommend(cf.FactorModel.from_vectors(*vectors, interactions=x), sys.argv[1], 5)
    except cf.CofactorError as error:
        print(error)
"""


def address():
    import ray

    return ray.get_runtime_context().gcs_address


def process(script, *arguments, **env):
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **env}
    )


def gone(pid, patience=15.0):
    until = time.monotonic() + patience
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_ctrl_c_in_the_driver_ends_the_workers(cluster, log):
    driver = process(ENDLESS, address(), log / "part-0.parquet")
    workers = [int(pid) for pid in driver.stdout.readline().split()]
    assert len(workers) == 2
    assert driver.stdout.readline() == "two\n"
    driver.send_signal(signal.SIGINT)
    _, told = driver.communicate(timeout=60)
    assert driver.returncode != 0
    assert told.rstrip().endswith("KeyboardInterrupt")
    assert all(gone(pid) for pid in workers)
    assert "2 nodes" not in repr(cluster)


def test_a_full_object_store_is_told(tmp_path):
    driver = process(FULL, tmp_path / "lists", RAY_local_fs_capacity_threshold="0.0001")  # nor is there a disk
    told, errors = driver.communicate(timeout=120)
    assert "the object store of a node is full" in told, errors
    assert "--object-store-memory" in told


def test_a_node_with_another_cofactor(cluster, tmp_path):
    (tmp_path / "cofactor").mkdir()
    (tmp_path / "cofactor" / "__init__.py").touch()
    (tmp_path / "cofactor" / "version.py").write_text('__version__ = "9.9"\n')
    start = ["-m", "ray.scripts.scripts", "start", "--address", address(), "--num-cpus", "0", "--block"]
    store = ["--object-store-memory", str(80 * 2**20)]
    node = subprocess.Popen(
        [sys.executable, *start, *store], stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    try:
        until = time.monotonic() + 60
        while len(cluster.nodes()) < 2:
            assert time.monotonic() < until, "the node did not come"
            time.sleep(0.1)
        with pytest.raises(cf.CofactorError, match=r"node .* has cofactor 9\.9, this process .*; install the same"):
            cluster.check_versions()
    finally:
        node.terminate()
        node.wait(30)
        while len(cluster.nodes()) > 1:
            time.sleep(0.1)

"""Threads: Ctrl-C, forks, two callers at once."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cofactor.kernels import native
from cofactor.kernels.csr import CSR
from device import kernels

POSIX = sys.platform != "win32"


def sweep(history, fixed, threads=2):
    solved = np.zeros((history.n_rows, fixed.shape[1]), np.float32)
    loss, _ = kernels.als_sweep(
        history, solved, fixed, kernels.gramian(fixed, threads=threads), alpha=1.0, unobserved_weight=1.0,
        regularization=0.1, regularization_exponent=0.0, solver="cholesky", threads=threads,
    )  # fmt: skip
    return solved, loss


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    dense = rng.random((400, 100)) < 0.2
    rows, columns = np.nonzero(dense)
    history = CSR.from_pairs(rows, columns, rng.random(len(rows)) + 0.5, dense.shape)
    return history, rng.standard_normal((100, 24), np.float32)


LONG_WORK = """
    import time
    import numpy as np
    from cofactor.kernels.csr import CSR
    from cofactor.kernels import on
    from cofactor.kernels.arguments import Table

    kernels = on("cpu")
    rows, factors = 2_000_000, 128  # some minutes of work
    history = CSR(
        np.arange(rows + 1, dtype=np.int64), np.zeros(rows, np.int32), np.ones(rows, np.float32), 4000
    )
    fixed = np.ones((4000, factors), np.float32)
    solved = np.zeros((rows, factors), np.float32)
    options = {"alpha": 1.0, "unobserved_weight": 1.0, "regularization": 1.0, "regularization_exponent": 0.0}
    print("ready", flush=True)
    try:
        if KERNEL == "als":
            gramian = kernels.gramian(fixed)
            kernels.als_sweep(history, solved, fixed, gramian, **options, solver="cholesky", threads=THREADS)
        elif KERNEL == "top_k":
            kernels.top_k(solved, fixed, 10, threads=THREADS)
        elif KERNEL == "ranks":
            kernels.ranks(solved, fixed, history, threads=THREADS)
        else:
            history = CSR(history.indptr[:200_001], history.indices[:200_000], history.values[:200_000], 4000)
            vectors = Table.new(np.ones((204_000, 16), np.float32), "sgd", 0.01)
            options = {"loss": "bpr", "sampler": "exact", "negatives": 20_000, "batch_size": 64}
            deterministic = KERNEL == "pairwise, deterministic"
            kernels.pairwise_epoch(history, vectors, **options, deterministic=deterministic, threads=THREADS)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        kernels.gramian(fixed, threads=THREADS)  # the pool works on
        print("alive", flush=True)
"""


@pytest.mark.cpu_only
@pytest.mark.skipif(not POSIX, reason="SIGINT cannot be sent to one process on Windows")
@pytest.mark.parametrize("kernel", ["als", "top_k", "ranks", "pairwise", "pairwise, deterministic"])
@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_ends_a_long_kernel_early(kernel, threads):
    program = f"KERNEL, THREADS = {kernel!r}, {threads}\n" + textwrap.dedent(LONG_WORK)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            sent = time.perf_counter()
            assert process.stdout.readline() == "interrupted\n"
            assert time.perf_counter() - sent < 10  # done to the end, the work takes minutes
            assert process.stdout.readline() == "alive\n"
        finally:
            process.kill()


def _in_child(history, fixed, results):
    results.put(sweep(history, fixed)[1])


@pytest.mark.skipif(not POSIX, reason="there is no fork on Windows")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own(problem):
    loss = sweep(*problem)[1]  # the parent's pool has threads now
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    children = [context.Process(target=_in_child, args=(*problem, results)) for _ in range(2)]
    for child in children:
        child.start()
    assert [results.get(timeout=20) for _ in children] == [loss, loss]
    for child in children:
        child.join(timeout=20)
        assert child.exitcode == 0
    assert sweep(*problem)[1] == loss


def test_python_threads_may_call_kernels_at_the_same_time(problem):
    wanted, loss = sweep(*problem)
    with ThreadPoolExecutor(4) as pool:
        for solved, found in pool.map(lambda _: sweep(*problem), range(24)):
            assert found == loss
            assert np.array_equal(solved, wanted)


def test_other_python_threads_run_while_a_kernel_does(problem):
    """The kernels release the interpreter's lock."""
    history, fixed = problem
    history = history.take(np.tile(np.arange(400), 50))
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(sweep, history, fixed, 1)
        turns = 0
        while not work.done():
            turns += 1
            time.sleep(0.001)
    assert turns > 3


@pytest.mark.parametrize("threads", [1, 3, 64])
def test_more_threads_than_rows(problem, threads):
    history, fixed = problem
    few = history.take([0, 1])
    assert np.array_equal(sweep(few, fixed, threads)[0], sweep(history, fixed, 1)[0][:2])
    assert kernels.top_k(fixed[:2], fixed, 3, threads=threads)[0].shape == (2, 3)


def test_at_least_one_thread():
    with pytest.raises(ValueError, match="threads must be a whole number of at least 1, got 0"):
        kernels.gramian(np.ones((2, 2), np.float32), threads=0)


def test_levels_are_named(cpu_level):
    assert native.level == cpu_level
    with pytest.raises(ValueError, match="CPU level 'vax' cannot be used here; this machine runs baseline"):
        native.use_level("vax")
    assert native.level == cpu_level


@pytest.mark.cpu_only
def test_a_level_that_is_not_there_is_told_at_the_first_use():
    """Importing works, so that the command line can say it in one line."""
    program = """
import cofactor as cf
from cofactor.cli.diagnosis import examine
print(examine().warnings[0])
try:
    cf.ImplicitALS(4).fit({"user_id": [1], "item_id": [2]})
except cf.ParameterError as error:
    print(error)
"""
    environment = {**os.environ, "COFACTOR_CPU": "vax"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    doctor, use = done.stdout.splitlines()
    assert doctor == "COFACTOR_CPU='vax' is no level of this CPU, so that no kernel can run; unset it"
    assert use.startswith("COFACTOR_CPU: CPU level 'vax' cannot be used here; this machine runs baseline")

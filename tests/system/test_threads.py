import math
import os

import numpy as np
import pytest

from cofactor import ImplicitALS, Interactions
from cofactor.errors import ParameterError
from cofactor.system import threads


@pytest.fixture
def cgroup(tmp_path, monkeypatch):
    """The root of the control groups, in a folder; the process is in ``inner/most``."""
    monkeypatch.setattr(threads, "Path", lambda path: tmp_path / path.removeprefix("/sys/fs/cgroup/"))
    monkeypatch.setattr(threads, "groups", lambda: iter([tmp_path / "inner/most", tmp_path / "inner", tmp_path]))
    (tmp_path / "inner" / "most").mkdir(parents=True)
    return tmp_path


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    monkeypatch.delenv("COFACTOR_NUM_THREADS", raising=False)


@pytest.mark.parametrize(
    ("text", "quota"), [("max 100000\n", math.inf), ("150000 100000\n", 1.5), ("nonsense", math.inf)]
)
def test_quota_of_cgroup_2(cgroup, text, quota):
    (cgroup / "cpu.max").write_text(text)
    assert threads.cgroup_quota() == quota


def test_the_tightest_quota_of_nested_groups(cgroup):
    for group, text in (("", "max 100000"), ("inner", "150000 100000"), ("inner/most", "400000 100000")):
        (cgroup / group / "cpu.max").write_text(text)
    assert threads.cgroup_quota() == 1.5


@pytest.mark.parametrize(("quota", "cpus"), [("-1", math.inf), ("50000", 0.5), ("400000", 4.0)])
def test_quota_of_cgroup_1(cgroup, quota, cpus):
    (cgroup / "cpu").mkdir()
    (cgroup / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (cgroup / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert threads.cgroup_quota() == cpus


def test_no_quota_without_cgroups(cgroup):
    assert threads.cgroup_quota() == math.inf


@pytest.mark.parametrize(("quota", "wanted"), [(0.5, 1), (1.5, 2), (3.0, 3), (100.0, 8), (math.inf, 8)])
def test_a_container_limits_the_threads_but_leaves_one(monkeypatch, quota, wanted):
    monkeypatch.setattr(threads, "affinity", lambda: 8)
    monkeypatch.setattr(threads, "cgroup_quota", lambda: quota)
    assert threads.available_threads() == wanted
    assert threads.resolve_threads(None) == wanted


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no CPU affinity")
def test_affinity_limits_the_threads(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 6})
    assert threads.affinity() == 3


def test_a_number_beats_the_environment_beats_the_machine(monkeypatch):
    monkeypatch.setenv("COFACTOR_NUM_THREADS", "7")
    assert threads.resolve_threads(3) == 3
    assert threads.resolve_threads(None) == 7
    monkeypatch.setenv("COFACTOR_NUM_THREADS", "")
    assert threads.resolve_threads(None) == threads.available_threads()


@pytest.mark.parametrize("value", [0, -1, 1.5, 2.0, True, "two", "-1", [], math.inf, math.nan])
def test_anything_else_is_an_error(value):
    with pytest.raises(ParameterError, match="threads must be a whole number of at least 1, got"):
        threads.resolve_threads(value)


@pytest.mark.parametrize("value", ["0", "many", "1.5", "-2"])
def test_a_bad_environment_is_an_error_naming_the_variable(monkeypatch, value):
    monkeypatch.setenv("COFACTOR_NUM_THREADS", value)
    with pytest.raises(ParameterError, match=f"COFACTOR_NUM_THREADS must be a whole number.* got '?{value}'?"):
        threads.resolve_threads(None)


MOST = max(1024, 64 * (os.cpu_count() or 1))


@pytest.mark.parametrize("value", [MOST + 1, 2**30, 2**31, 2**63, 10**30])
def test_more_than_the_system_could_start_is_an_error(monkeypatch, value):
    there = threads.available_threads()
    with pytest.raises(ParameterError, match=f"threads must be at most {MOST}, got {value}; {there} are available to"):
        threads.resolve_threads(value)
    monkeypatch.setenv("COFACTOR_NUM_THREADS", str(value))
    with pytest.raises(ParameterError, match=f"COFACTOR_NUM_THREADS must be at most {MOST}, got {value}"):
        threads.resolve_threads(None)


def test_the_most_is_64_a_cpu_or_1024(monkeypatch):
    for cpus, most in ((2, 1024), (None, 1024), (128, 8192)):
        monkeypatch.setattr(os, "cpu_count", lambda cpus=cpus: cpus)
        assert threads.resolve_threads(most) == most
        with pytest.raises(ParameterError, match=f"at most {most},"):
            threads.resolve_threads(most + 1)


def test_the_most_can_be_started():
    x = Interactions.from_csr(np.ones((3000, 30), np.float32) * (np.arange(30) % 7 > 0))
    many, few = (ImplicitALS(4, iterations=1, threads=n).fit(x).recommend(exclude_seen=False) for n in (1024, 2))
    assert many.equals(few)

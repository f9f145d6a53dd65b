import re
import tomllib
from pathlib import Path

import pytest

from cofactor.cli import diagnosis as doctor
from cofactor.kernels import native


@pytest.fixture
def machine(monkeypatch):
    """A machine with eight CPUs, all of them ours."""
    for name in ("COFACTOR_CPU", "COFACTOR_NUM_THREADS", *doctor._THREAD_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"affinity": 8, "available_threads": 8, "cgroup_quota": float("inf")}.items():
        monkeypatch.setattr(doctor, name, lambda value=value: value)
    monkeypatch.setattr("cofactor.system.threads.available_threads", lambda: 8)
    monkeypatch.setattr(doctor.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(doctor, "available_memory", lambda: 16 * 2**30)
    monkeypatch.setattr(native, "supported_levels", lambda: ("baseline", "avx2"))
    monkeypatch.setattr(native, "level", "avx2")
    return monkeypatch


def test_a_good_machine(machine):
    found = doctor.examine()
    assert found.warnings == ()
    assert found.facts["cpu"]["level"] == "avx2"
    assert found.facts["threads"]["used"] == 8
    assert found.facts["threads"]["container_limit"] is None
    assert found.facts["versions"]["polars"]


def test_versions_are_those_of_all_dependencies():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.match(r"[\w-]+", line)[0] for line in project["dependencies"]]
    assert list(doctor.examine().facts["versions"]) == ["cofactor", "python", "system", *names]


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("COFACTOR_NUM_THREADS", "2", "leaves 6 of 8 available CPUs idle"),
        ("COFACTOR_NUM_THREADS", "20", "more than the 8 available"),
        ("OMP_NUM_THREADS", "lots", "is not a number of threads"),
        ("OPENBLAS_NUM_THREADS", "64", "more than the 8 available"),
        ("POLARS_MAX_THREADS", "1", "slows reading"),
    ],
)
def test_variables(machine, variable, value, message):
    machine.setenv(variable, value)
    [warning] = doctor.examine().warnings
    assert warning.startswith(variable)
    assert message in warning


def test_level(machine):
    machine.setattr(native, "level", "baseline")
    machine.setenv("COFACTOR_CPU", "baseline")
    assert "although this CPU runs avx2; unset COFACTOR_CPU" in doctor.examine().warnings[0]
    machine.setattr(native, "supported_levels", lambda: ("baseline",))
    machine.setattr(doctor.platform, "machine", lambda: "x86_64")
    assert "no AVX2" in doctor.examine().warnings[0]


def test_threads_and_memory(machine):
    machine.setattr(doctor, "cgroup_quota", lambda: 2.0)
    machine.setattr(doctor, "available_memory", lambda: 2**30)
    container, memory = doctor.examine().warnings
    assert "grants 2 of 8 CPUs" in container
    assert "1.0 GiB" in memory
    machine.setattr(doctor, "cgroup_quota", lambda: float("inf"))
    machine.setattr(doctor, "affinity", lambda: 1)
    machine.setattr(doctor, "available_threads", lambda: 1)
    machine.setattr("cofactor.system.threads.available_threads", lambda: 1)
    assert [w[:30] for w in doctor.examine().warnings[:2]] == [
        "this process may run on 1 of 8",
        "only one CPU is available; tra",
    ]


def test_extras(machine):
    machine.setattr(
        doctor,
        "requires",
        lambda name: [
            'nope-a>=1; extra == "plots"',
            'nope-b[binary]>=1; extra == "postgres"',
            'cofactor[plots,postgres]; extra == "demo"',
            'numpy; extra == "demo"',
            "polars",
        ],
    )
    assert doctor.examine().facts["extras"] == {
        "plots": "nope-a",
        "postgres": "nope-b",
        "demo": "nope-a, nope-b",
    }
    machine.setattr(doctor, "requires", _not_installed)
    assert doctor.examine().facts["extras"] == {}


def _not_installed(name):
    raise doctor.PackageNotFoundError(name)

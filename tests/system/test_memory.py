import platform
import subprocess
import sys

import numpy as np
import pytest

from cofactor.errors import ParameterError
from cofactor.system import memory

GIB = 2**30


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Let the system's files be read from a folder, which starts empty."""
    monkeypatch.setattr(memory, "Path", lambda path: tmp_path / path.lstrip("/"))
    monkeypatch.setattr(memory, "groups", lambda: iter([tmp_path / "sys/fs/cgroup"]))

    def write(**contents):
        for name, text in contents.items():
            path = tmp_path / {"meminfo": "proc/meminfo"}.get(name, f"sys/fs/cgroup/memory.{name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


MEMINFO = f"MemTotal: {16 * GIB // 1024} kB\nMemFree: 1 kB\nMemAvailable: {8 * GIB // 1024} kB\n"


def test_unknown_where_the_system_does_not_tell(files):
    assert memory.available_memory() is None
    memory.require_memory(10**30, "a model", "less")


def test_the_machine_counts_what_it_can_give(files):
    files(meminfo=MEMINFO, max="max\n", current="5", stat="")
    assert memory.available_memory() == 8 * GIB


def test_a_container_may_grant_less(files):
    files(meminfo=MEMINFO, max=f"{2 * GIB}\n", current=f"{GIB}\n", stat="anon 7\ninactive_file 0\n")
    assert memory.available_memory() == GIB


def test_cached_files_of_a_container_do_not_count_as_used(files):
    stat = f"anon {GIB}\ninactive_anon 5\ninactive_file {GIB}\nactive_file {GIB // 2}\n"
    files(meminfo=MEMINFO, max=f"{4 * GIB}", current=f"{4 * GIB}", stat=stat)
    assert memory.available_memory() == 3 * GIB // 2


def test_too_much_is_an_error_with_both_numbers_and_the_way_out(files):
    files(meminfo=MEMINFO)
    memory.require_memory(8 * GIB, "this model", "fewer factors")
    with pytest.raises(
        ParameterError, match=r"this model needs 1,000\.5 GiB of memory, 8\.0 GiB are available; use fewer factors"
    ):
        memory.require_memory(1000 * GIB + GIB // 2, "this model", "fewer factors")


def test_this_machine_tells():
    available = memory.available_memory()
    assert available is None or available > 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells the peak of a part of the work")
def test_the_growth_of_a_block():
    with memory.peak_growth() as found:
        held = np.ones(20_000_000)
        assert held[-1]
        del held
    assert 150e6 < found[0] < 250e6
    with memory.peak_growth() as found:
        pass
    assert found[0] < 50e6


def test_where_the_system_does_not_tell_a_peak(files):
    with memory.peak_growth() as found:
        pass
    assert found == []


glibc = pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="glibc alone does so")


@glibc
def test_what_was_freed_is_given_back():
    blocks = [bytes(60_000) for _ in range(2_000)]  # from the heap, not from pages of their own
    kept = blocks[1_999::2_000]  # on top of them, so that the heap cannot shrink
    before = memory._status("VmRSS")
    del blocks
    assert kept
    memory.give_back()
    assert before - memory._status("VmRSS") > 60_000 * 1_500


ARRAYS = """
import numpy as np
from cofactor.system import memory
memory.give_back_arrays()
np.ones(24 << 17)  # glibc would keep all up to this size from now on
array = np.ones(16 << 17)
above = [bytes(60_000) for _ in range(20)]
before = memory._status("VmRSS")
del array
print(before - memory._status("VmRSS"))
"""


@glibc
def test_large_arrays_are_given_back_at_once():
    told = subprocess.run([sys.executable, "-c", ARRAYS], capture_output=True, text=True, check=True).stdout
    assert int(told) > 15 << 20

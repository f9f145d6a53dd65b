"""Every kernel test runs on every device, and on every level of the CPU where it asks for ``cpu_level``.

Those marked ``cpu_only`` say nothing of other devices, whatever they are: they would be the same test again.
"""

import pytest

from cofactor.kernels import DEVICES, native
from device import kernels


def pytest_generate_tests(metafunc):
    if "where" in metafunc.fixturenames:
        levels = native.LEVELS if "cpu_level" in metafunc.fixturenames else ("cpu",)
        others = () if metafunc.definition.get_closest_marker("cpu_only") else (d for d in DEVICES if d != "cpu")
        metafunc.parametrize("where", [*levels, *others], indirect=True)


@pytest.fixture(autouse=True)
def where(request):
    """The device, or the level of the CPU, that the test is about."""
    name, before = request.param, native.level
    if name in native.LEVELS and name not in native.supported_levels():
        pytest.skip(f"this CPU cannot run the {name} kernels")
    if name in native.LEVELS:
        native.use_level(name)
    kernels.device = name if name in DEVICES else "cpu"
    yield name
    kernels.device = "cpu"
    native.use_level(before)


@pytest.fixture
def cpu_level(where):
    """The level of the CPU; on other devices the one that is in use anyway."""
    return native.level

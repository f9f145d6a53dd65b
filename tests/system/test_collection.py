"""Garbage is collected after the import as it was before."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("was_on", [True, False])
def test_importing_the_library_leaves_the_collector_as_it_was(was_on):
    code = f"import gc; {'gc.enable' if was_on else 'gc.disable'}(); import cofactor; print(gc.isenabled())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.strip() == str(was_on)

"""The benchmark of devices runs: it is for machines on which nothing else of this project has run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from device import in_torch

GPU = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


def run(options, *how):
    """What the script prints."""
    done = subprocess.run([sys.executable, *how, GPU, *options.split()], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_installs_needs_nothing_installed():
    done = run("--help", "-S", "-E")  # without the folder of installed packages, and variables that name others
    assert "--device {cuda,torch}" in done


@pytest.mark.slow
@pytest.mark.skipif("torch" not in in_torch(), reason="PyTorch is missing")
def test_parity_holds_and_every_row_is_measured():
    parity, table = run("--device=torch --small --seconds=3000").split("\n\n| what |")
    assert "pair MF epoch: losses differ from the CPU's by" in parity
    rows = [line.split(" | ") for line in table.splitlines()[2:]]
    assert {len(row) for row in rows} == {6}
    assert all(re.fullmatch(r"\d+\.\d{3}", row[1]) for row in rows)
    for name in (
        "ALS",
        "top 10",
        "20 neighbours",
        "BPR",
        "softmax",
        "FM epoch",
        "pair MF",
        "FM sweep",
        "SLIM",
        "inverse",
    ):
        assert any(row[0].startswith(f"| {name}") for row in rows), name

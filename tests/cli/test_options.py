"""How a log is written, told on the command line: the options of read_events."""

import inspect
import subprocess
import sys
from dataclasses import fields

import polars as pl

import cofactor as cf
from cofactor.cli.options import Columns

LINES = (
    "u;i;day;name\n1;007;31.01.2024;\n2;7;01.02.2024;\n-;7;01.02.2024;\nNA;9;01.02.2024;\n3;8;01.02.2024;caf\u00e9\n"
)
OPTIONS = [
    *("--user", "u", "--item", "i", "--time", "day", "--time-format", "%d.%m.%Y"),
    *("--null-value", "NA", "--null-value", "-", "--anonymous", "drop", "--encoding", "latin-1"),
]


def test_every_parameter_of_read_events_is_an_option():
    assert [f.name for f in fields(Columns)] == list(inspect.signature(cf.read_events).parameters)[1:]


def test_options_reach_the_reader(run, tmp_path):
    (tmp_path / "log.txt").write_bytes(LINES.encode("latin-1"))
    options = [*OPTIONS, "--format", "csv", "--separator", ";", "-m", "popular"]
    told = run("train", tmp_path / "log.txt", "-o", tmp_path / "m", *options).stderr
    assert "i: ids stay text, as '007'" in told
    assert "dropped 2 of 5 events" in told
    model = cf.load(tmp_path / "m")
    assert model.interactions_.items.ids.to_list() == ["007", "7", "8"]
    assert model.interactions_.users.ids.to_list() == [1, 2, 3]


def test_implausible_times(run, tmp_path):
    pl.DataFrame({"u": [1], "i": [2], "t": [20230101]}).write_csv(tmp_path / "log.csv")
    roles = ["--user", "u", "--item", "i", "--time", "t", "-m", "popular"]
    told = run("train", tmp_path / "log.csv", "-o", tmp_path / "m", *roles, expect=1).stderr
    assert "--time-format %Y%m%d" in " ".join(told.split())
    run("train", tmp_path / "log.csv", "-o", tmp_path / "m", *roles, "--implausible-times", "allow")


def test_a_log_from_standard_input(tmp_path):
    program = "from cofactor.cli import main; main()"
    options = ["--user", "u", "--item", "i", "--format", "csv", "-m", "popular"]
    command = [sys.executable, "-c", program, "train", "-", "-o", str(tmp_path / "m"), *options]
    subprocess.run(command, input=b"u,i\n1,2\n1,3\n2,2\n", check=True, capture_output=True)
    assert cf.load(tmp_path / "m").interactions_.nnz == 3

import os
import subprocess
import sys

import pytest

import cofactor as cf
from cofactor.system import files

COMMANDS = ["demo", "train", "recommend", "similar", "evaluate", "compare", "inspect", "doctor"]


def test_version(run):
    assert run("--version").stdout == f"cofactor {cf.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_and_json_everywhere(run, command):
    shown = run(command, "--help").stdout
    assert "--json" in shown
    assert ("--anonymous" in shown) == (command in ("train", "recommend", "evaluate", "compare"))


def test_usage_errors(run):
    run("fly", expect=2)
    run("train", expect=2)
    run("doctor", "--fast", expect=2)


def test_interrupted(log, run, monkeypatch, tmp_path):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cf.Popular, "fit", interrupt)
    result = run("train", log, "-o", tmp_path / "m", "-m", "popular", expect=130)
    assert result.stderr.startswith("error: interrupted")
    assert not any(tmp_path.iterdir())


def test_an_interrupted_write_leaves_the_old_file(model, run, monkeypatch, tmp_path):
    def interrupt(table, path):
        path.write_text("half")
        raise KeyboardInterrupt

    (tmp_path / "lists.csv").write_text("old")
    monkeypatch.setitem(files._WRITERS, ".csv", interrupt)
    run("recommend", model, "-o", tmp_path / "lists.csv", expect=130)
    assert (tmp_path / "lists.csv").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "lists.csv"]


def test_as_a_program(tmp_path):
    code = "import sys; from cofactor.cli import main; sys.argv = ['cofactor', 'inspect', 'none.csv']; main()"
    environment = {**os.environ, "COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: none.csv: no such file or folder\n"

"""A small log, a model trained on it, and a way to run commands."""

import json

import polars as pl
import pytest
from typer.testing import CliRunner

from cofactor.cli import app


@pytest.fixture(scope="session")
def log(tmp_path_factory, shop):
    """An event log of 90 days as Parquet, with the columns user_id, item_id, time and event_type."""
    path = tmp_path_factory.mktemp("log") / "log.parquet"
    shop.collect().write_parquet(path)
    return path


@pytest.fixture(scope="session")
def later(log):
    """The last tenth of the log as CSV."""
    path = log.with_name("later.csv")
    pl.read_parquet(log).tail(150).write_csv(path)
    return path


@pytest.fixture(scope="session")
def run():
    """Run a command with arguments of any type; with ``expect``, the exit code that it must have."""

    def call(*arguments, expect=0, env=None):
        result = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "300", **(env or {})})
        assert result.exit_code == expect, (result.output, result.exception)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return call


@pytest.fixture(scope="session")
def run_json(run):
    """Run a command with --json and give what stdout holds."""
    return lambda *arguments: json.loads(run(*arguments, "--json").stdout)


@pytest.fixture(scope="session")
def model(log, run):
    """A saved ALS model of the whole log."""
    folder = log.with_name("model")
    run("train", log, "-o", folder, "-p", "factors=4", "-p", "iterations=3")
    return folder

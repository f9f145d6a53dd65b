"""``cofactor train --cluster``."""

import importlib
import json
from contextlib import nullcontext

import pytest
from typer.testing import CliRunner

import cofactor as cf
from cofactor.cli import app


def run(*words):
    return CliRunner().invoke(app, ["train", *map(str, words)])


@pytest.fixture
def connected(cluster, monkeypatch):
    """The addresses that the command connects to; it gets the cluster of the tests."""
    addresses = []
    module = importlib.import_module("cofactor.cli.train")
    monkeypatch.setattr(module, "connect", lambda address: addresses.append(address) or nullcontext(cluster))
    return addresses


def test_a_model_is_trained_on_a_cluster(connected, log, local, tmp_path):
    options = ["-p", "factors=4", "-p", "iterations=2", "-p", "regularization=0.1", "--workers", 1, "--json"]
    done = run(log, "-o", tmp_path / "model", "--time", "time", "--cluster", "local", *options)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    other = cf.ImplicitALS(4, iterations=2, regularization=0.1).fit(local)
    assert connected == [None]
    assert told["events"] == local.n_events
    assert told["loss"] == pytest.approx(list(other.loss_history_), rel=1e-5)
    assert cf.load(tmp_path / "model").interactions_.nnz == other.interactions_.nnz


def test_all_that_a_cluster_is_told_is_passed_on(connected, log, tmp_path, monkeypatch):
    given, made = {}, cf.cluster.ClusterEvents.interactions
    monkeypatch.setattr(
        cf.cluster.ClusterEvents,
        "interactions",
        lambda self, weight, **options: given.update(options) or made(self, weight, **options),
    )
    options = ["-p", "factors=4", "-p", "iterations=2", "-p", "regularization=0.1", "--workers", 2, "--threads", 1]
    options += ["--checkpoint", tmp_path / "kept", "--every", 2, "--wire", "float16"]
    done = run(log, "-o", tmp_path / "model", "--cluster", "local", *options)
    assert done.exit_code == 0, done.output
    kept = str(tmp_path / "kept")
    assert given == {"workers": 2, "threads": 1, "checkpoint": kept, "every": 2, "wire": "float16"}
    wrong = run(log, "-o", tmp_path / "other", "--cluster", "local", "--wire", "int8")
    assert "wire" in str(wrong.exception or "") + wrong.output
    assert wrong.exit_code != 0


def test_options_that_do_not_go_together(connected, log, tmp_path):
    for options, why in (
        (["--workers", 2], "--workers is for --cluster"),
        (["--checkpoint", "kept"], "--checkpoint is for --cluster"),
        (["--wire", "float16"], "--wire is for --cluster"),
        (["--cluster", "head:6379", "--every", 3], "--every is for --checkpoint"),
        (["--cluster", "head:6379", "--min-item-count", 3], "filter the log before"),
    ):
        done = run(log, "-o", tmp_path / "model", *options)
        assert done.exit_code != 0
        assert why in str(done.exception or done.output) + done.output
    assert connected == []

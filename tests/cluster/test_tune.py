"""Trials on workers: the same study as on one machine, and a trial that dies is a row of it."""

import os
import signal
import threading

import pytest

import cofactor as cf

GRID = {"regularization": [1.0, 10.0, 100.0]}


def told(study):
    return study.trials.drop("seconds")


def test_a_grid_is_that_of_one_machine(cluster, local, tmp_path):
    here = cf.tune(cf.EASE, local, space=GRID, method="grid")
    there = cluster.tune(cf.EASE, local, space=GRID, method="grid", folder=tmp_path / "study", workers=2, threads=1)
    assert told(there).equals(told(here))
    assert there.best_params == here.best_params
    again = cluster.tune(cf.EASE, local, space=GRID, method="grid", folder=tmp_path / "study", workers=2)
    assert told(again).equals(told(here))


def test_tpe_tries_the_same_points_however_long_trials_take(cluster, local):
    space, seen = {"regularization": (0.1, 1000.0)}, []
    for workers in (2, 1):
        study = cluster.tune(cf.EASE, local, space=space, trials=5, seed=3, workers=workers, threads=1)
        seen.append(study.trials["regularization"].to_list())
    here = cf.tune(cf.EASE, local, space=space, trials=5, seed=3)
    assert seen[1] == here.trials["regularization"].to_list()
    assert seen[0] != seen[1]  # it knows less when it proposes


def test_a_trial_whose_worker_dies_is_a_row(cluster, local):
    here, driver = cf.tune(cf.EASE, local, space=GRID, method="grid"), os.getpid()

    def make(regularization):
        if regularization == 10 and os.getpid() != driver:
            os.kill(os.getpid(), signal.SIGKILL)
        return cf.EASE(regularization)

    study = cluster.tune(make, local, space=GRID, method="grid", workers=2, threads=1)
    assert study.trials["state"].to_list() == ["complete", "failed", "complete"]
    assert study.trials["error"][1].startswith("its worker died")
    for i in (0, 2):
        assert study.trials["value"][i] == here.trials["value"][i]


def test_what_cannot_be_sent_or_is_in_parts(cluster, local, events):
    lock = threading.Lock()

    def make(regularization):
        with lock:
            return cf.EASE(regularization)

    with pytest.raises(cf.ParameterError, match="model: it cannot be sent to workers"):
        cluster.tune(make, local, space=GRID, method="grid")
    for parts in (events, events.interactions(workers=1)):
        with pytest.raises(cf.ParameterError, match=r"train: every worker has all of the data.*in parts"):
            cluster.tune(cf.EASE, parts, space=GRID)


def test_wrong_parameters(cluster, local):
    for wrong, options in (("workers", {"workers": 0}), ("method", {"method": "guess"}), ("threads", {"threads": 99})):
        with pytest.raises(cf.ParameterError, match=wrong):
            cluster.tune(cf.EASE, local, space=GRID, **options)

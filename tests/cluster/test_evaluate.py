"""Metrics of lists that workers make are those of one machine."""

import polars as pl
import pytest

import cofactor as cf


@pytest.fixture(scope="module")
def model(local):
    return cf.ImplicitALS(8, regularization=0.1, iterations=2).fit(local)


@pytest.fixture(scope="module")
def test():
    events = cf.datasets.synthetic_events(n_users=320, n_items=90, n_events=1500, seed=5).collect()
    return events.select(pl.col("user_id").cast(pl.String), "item_id")


def test_metrics_are_those_of_one_machine(cluster, model, test, tmp_path, monkeypatch):
    monkeypatch.setattr("cofactor.cluster.evaluate._ROWS", 700)  # so that both workers have lists to make
    model.save(tmp_path / "model")
    metrics = ["ndcg@10", "recall@5", "coverage@10", "novelty@5"]
    with pytest.warns(cf.CofactorWarning, match="test pairs were in the training data"):
        wanted = cf.evaluate(model, test, metrics)
    for given, workers in ((model, 2), (tmp_path / "model", 1)):
        with pytest.warns(cf.CofactorWarning, match="test pairs were in the training data"):
            assert cluster.evaluate(given, test, metrics, workers=workers, threads=1).equals(wanted)


def test_ranks_users_and_slices_are_those_of_one_machine(cluster, model, test, monkeypatch):
    monkeypatch.setattr("cofactor.cluster.evaluate._USERS", 50)
    for metrics, options in (("auc", {"per_user": True}), ("recall@10", {"by": "activity", "unknown_users": "zero"})):
        options |= {"exclude_seen": False}
        here = cf.evaluate(model, test, metrics, **options)
        assert cluster.evaluate(model, test, metrics, workers=1, threads=1, **options).equals(here)


def test_what_evaluate_refuses(cluster, model, test):
    with pytest.raises(cf.ParameterError, match="metrics"):
        cluster.evaluate(model, test, "charm@10", workers=1)
    with pytest.raises(cf.ParameterError, match="model must be a fitted model, or the folder of a saved one"):
        cluster.evaluate(test, test)
    with pytest.raises(cf.NotFittedError):
        cluster.evaluate(cf.Popular(), test)
    with pytest.raises(cf.ParameterError, match="workers"):
        cluster.evaluate(model, test, workers=0)

"""Synthetic session logs: what was planted is there, and files hold the same."""

import errno
import os
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.datasets import _synthetic_sessions, planted_clusters, synthetic_sessions
from cofactor.errors import ParameterError


@pytest.fixture(scope="module")
def log():
    return synthetic_sessions(20_000, 1000, seed=3).collect()


def test_the_shape_of_a_log(log):
    assert log.columns == ["session", "item_id", "time", "event_type"]
    assert log["session"].is_sorted()
    assert log["session"].n_unique() == 20_000
    lengths = log.group_by("session").len()["len"]
    assert 14 < lengths.mean() < 19
    assert 1 == lengths.min() < lengths.median() < 0.7 * lengths.mean() < 100 < lengths.max() <= 500
    assert log["item_id"].is_between(0, 999).all()


def test_times_ascend_in_a_session_and_sessions_by_their_ids(log):
    same = log["session"].to_numpy()[1:] == log["session"].to_numpy()[:-1]
    assert (np.diff(log["time"].to_numpy())[same] >= np.timedelta64(0)).all()
    first = log.group_by("session", maintain_order=True).first()["time"]
    assert first.is_sorted()
    assert datetime(2024, 1, 1) <= first[0] < datetime(2024, 1, 2)
    assert datetime(2024, 1, 28) < first[-1] <= datetime(2024, 1, 1) + timedelta(days=28)


def test_shares_of_types(log):
    shares = dict(log["event_type"].value_counts(normalize=True).rows())
    assert shares == pytest.approx({"clicks": 0.9, "carts": 0.075, "orders": 0.025}, abs=0.005)


def test_popular_items_have_a_long_tail(log):
    counts = log["item_id"].value_counts(sort=True)["count"].to_numpy()
    assert counts[:100].sum() > 0.4 * counts.sum()
    assert counts[500:].sum() > 0.05 * counts.sum()


def test_next_items_are_of_the_cluster_or_come_again(log):
    clusters = planted_clusters(1000, seed=3)
    assert np.bincount(clusters).tolist() == [20] * 50
    items, session = log["item_id"].to_numpy(), log["session"].to_numpy()
    same = session[1:] == session[:-1]
    stays = clusters[items[1:]] == clusters[items[:-1]]
    assert 0.7 < stays[same].mean() < 0.9
    again = ~log.select(pl.struct("session", "item_id").is_first_distinct()).to_series().to_numpy()
    assert again[1:][same].mean() > 0.25  # some come again by chance


def test_without_revisits_and_without_leaving():
    log = synthetic_sessions(300, 400, revisit=0, leave=0).collect()
    clusters = planted_clusters(400)
    log = log.with_columns(cluster=pl.Series(clusters[log["item_id"].to_numpy()]))
    assert (log.group_by("session").agg(pl.col("cluster").n_unique())["cluster"] == 1).all()


def test_files_hold_the_same_and_seeds_differ(tmp_path, monkeypatch):
    monkeypatch.setattr(_synthetic_sessions, "_CHUNK", 2000)  # some chunks
    held = synthetic_sessions(500, 100, seed=1)
    filed = synthetic_sessions(500, 100, seed=1, path=tmp_path / "log.parquet")
    assert filed.collect().equals(held.collect())
    assert list(tmp_path.iterdir()) == [tmp_path / "log.parquet"]
    assert not synthetic_sessions(500, 100, seed=2).collect().equals(held.collect())
    assert filed.sessions().n_sessions == 500


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(_synthetic_sessions, "_items", full)
    with pytest.raises(ParameterError, match="No space left"):
        synthetic_sessions(500, 100, path=tmp_path / "log.parquet")
    assert not list(tmp_path.iterdir())


def test_a_model_finds_what_was_planted():
    events = synthetic_sessions(3000, 400, seed=0, leave=0.02)
    model = cf.ItemPairsMF(16, epochs=8, negatives=32).fit(events)
    table = model.similar_items(k=5)
    clusters = planted_clusters(400)
    same = clusters[table["item_id"].to_numpy()] == clusters[table["similar_item_id"].to_numpy()]
    assert same.mean() > 0.8


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"n_sessions": 0}, "n_sessions must be"),
        ({"n_items": 0}, "n_items must be"),
        ({"mean_length": 0.5}, "mean_length must be"),
        ({"revisit": 1.5}, "revisit=1.5: it must be a probability"),
        ({"leave": -1}, "leave must be"),
        ({"days": 0}, "days must be"),
        ({"days": 1e9}, "days=1000000000.0; it must be at most 36,500"),
        ({"n_items": 2**31}, "n_items=2,147,483,648; it must be at most 2,147,483,647"),
        ({"n_sessions": 2**31}, "n_sessions=2,147,483,648; it must be at most"),
        ({"event_types": {}}, "at least one name"),
        ({"path": "log.csv"}, "must end in one of"),
    ],
)
def test_what_cannot_be_asked(asked, told):
    with pytest.raises(ParameterError, match=told):
        synthetic_sessions(**{"n_sessions": 10, "n_items": 50} | asked)

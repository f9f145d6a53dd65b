"""CoVisitation on a cluster has the bits of one machine."""

import warnings

import numpy as np
import polars as pl
import pytest

import cofactor as cf

WEIGHTS = {"view": 1, "cart": 6, "order": 3}
MODELS = {
    "all": lambda: cf.CoVisitation(5, last_events=4),
    "weighted": lambda: cf.CoVisitation.type_weighted(WEIGHTS, recency=2.0, pairs="all"),
    "some types": lambda: cf.CoVisitation(3, types=["cart", "order"], half_life="9d", last_events=2),
    "sum": lambda: cf.CoVisitationSum(MODELS["all"](), MODELS["some types"](), MODELS["weighted"](), weights=[1, 9, 2]),
}
TOLD = {"all": 2, "weighted": 1, "some types": 2, "sum": 3}  # events without a session, and long sessions, by matrix


@pytest.fixture(scope="module")
def visits(table, tmp_path_factory):
    """Sessions that cross the files, with equal times, and events without a session."""
    n = table["user_id"].len()
    numbers = np.random.default_rng(4).integers(0, n // 6, n)
    log = table.with_columns(
        pl.Series("visit", numbers), pl.col("time").dt.truncate("1d"), pl.col("event_type").cast(pl.String)
    ).with_columns(pl.when(pl.col("visit") > 7).then("visit"))
    folder = tmp_path_factory.mktemp("visits")
    for i in range(3):
        log.filter(pl.int_range(pl.len()) % 3 == i).write_parquet(folder / f"part-{i}.parquet")
    return folder


@pytest.fixture(scope="module")
def both(cluster, visits, columns):
    given = {**columns, "session": "visit"}
    with cluster.read_events(visits, **given).interactions(workers=3, threads=1) as there:
        yield cf.read_events(visits, **given), there


def fitted(model, data):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(data)
    return model, sorted(str(one.message) for one in caught)


@pytest.mark.parametrize("name", MODELS)
def test_it_is_that_of_one_machine(both, name, kill):
    if name == "weighted":
        kill(both[1].pool(), 1)
    (here, told_here), (there, told_there) = (
        fitted(MODELS[name](), data) for data in (both[0].interactions(), both[1])
    )
    for part in ("indptr", "indices", "values"):
        assert np.array_equal(getattr(there.item_weights_, part), getattr(here.item_weights_, part))
    assert here.item_weights_.nnz > 100
    assert told_there == told_here
    assert len(told_here) == TOLD[name]
    assert there.recommend(k=3).equals(here.recommend(k=3))
    assert all(part.interactions_ is there.interactions_ for part in getattr(there, "matrices", ()))  # saved once


def test_what_one_machine_refuses(both):
    with pytest.raises(cf.ParameterError, match=r"types: there are no events of \['gift'\]"):
        cf.CoVisitation(types=["gift"]).fit(both[1])
    with pytest.raises(cf.ParameterError, match=r"weights must be one number for each of 1 matrices, got \[1, 2\]"):
        cf.CoVisitationSum(cf.CoVisitation(), weights=[1, 2]).fit(both[1])

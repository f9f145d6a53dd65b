import subprocess
import sys
import textwrap
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from cofactor.data import split, weights
from cofactor.data.events import read_events
from cofactor.errors import DataError, ParameterError

START = datetime(2024, 1, 1)


@pytest.fixture
def run_apart():
    """Run code in a process of its own and give what it printed."""
    return lambda code: (
        subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, text=True).stdout
    )


@pytest.fixture
def events():
    frame = pl.DataFrame(
        {
            "u": [1, 1, 1, 2],
            "i": [5, 5, 6, 6],
            "kind": ["view", "cart", "view", "buy"],
            "t": [START, START + timedelta(days=1), START + timedelta(days=2), START + timedelta(days=2)],
            "n": [1.0, 2.0, 3.0, 4.0],
        }
    )
    return read_events(frame, user="u", item="i", time="t", event_type="kind")


def pair_weights(events, weight):
    return events.interactions(weight).user_items.values.tolist()


TYPES = {"view": 1, "cart": 3, "buy": 10}


def test_by_type_sums_over_the_pair(events):
    assert pair_weights(events, weights.by_type(TYPES)) == [4, 1, 10]


def test_by_type_of_another_column_and_of_integers(events):
    numbered = events.with_frame(events.frame.with_columns(code=pl.Series([0, 1, 0, 2])))
    assert pair_weights(numbered, weights.by_type({0: 1, 1: 3, 2: 10}, column="code")) == [4, 1, 10]


def test_by_type_of_categories(events):
    frame = events.frame.with_columns(pl.col("kind").cast(pl.Categorical))
    assert pair_weights(events.with_frame(frame), weights.by_type(TYPES)) == [4, 1, 10]


def test_as_many_types_as_there_are(events):
    many = {f"t{n}": n + 1 for n in range(3000)} | TYPES
    assert pair_weights(events, weights.by_type(many)) == [4, 1, 10]
    del many["buy"]
    with pytest.raises(DataError, match=r"events of a type without a weight: \[\"buy\".*; add it to the weights"):
        events.interactions(weights.by_type(many))
    missing = events.with_frame(events.frame.with_columns(kind=pl.when(pl.col("n") > 1).then("kind")))
    with pytest.raises(DataError, match="events of a type without a weight"):
        missing.interactions(weights.by_type(many))
    assert pair_weights(missing, weights.by_type(TYPES | many | {"null": 0.5})) == [3.5, 1, 10]


def test_the_memory_of_weights_does_not_grow_with_the_number_of_types(run_apart):
    """3,000 types took 2.3 GB as a mask each."""
    code = """
        import resource
        import numpy as np, polars as pl
        import cofactor as cf

        n, n_types = 200_000, {n_types}
        at = np.arange(n)
        log = pl.DataFrame(dict(u=at % 1000, i=at % 777, kind=at % n_types)).cast(dict(kind=pl.String))
        events = cf.read_events(log, user="u", item="i", event_type="kind")
        x = events.interactions(cf.weights.by_type({{str(t): 1.0 for t in range(n_types)}}))
        assert x.user_items.values.sum() == n
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    """
    few, many = (int(run_apart(code.format(n_types=n))) for n in (3, 3000))
    assert many - few < 150  # MB


@pytest.mark.parametrize("types", [{"a": "2"}, {"a": True}, {"a": None}, {1: 1, "1": 2}])
def test_weights_of_types_are_numbers_given_once(types):
    with pytest.raises(ParameterError, match="weights"):
        weights.by_type(types)


def test_half_life_from_the_newest_event(events):
    assert pair_weights(events, weights.half_life("1d")) == [0.75, 1, 1]
    assert pair_weights(events, weights.half_life(timedelta(hours=24))) == [0.75, 1, 1]


@pytest.mark.parametrize(
    "reference",
    [date(2024, 1, 4), "2024-01-04", datetime(2024, 1, 4), datetime(2024, 1, 4, tzinfo=UTC), "2024-01-04T01:00+01:00"],
    ids=str,
)
def test_half_life_from_a_reference(events, reference):
    assert pair_weights(events, weights.half_life("1d", reference=reference)) == [0.375, 0.5, 0.5]


def test_half_life_refers_to_the_newest_event_of_a_part(events):
    early = events.filter(pl.col("t") < START + timedelta(days=2))
    assert pair_weights(early, weights.half_life("1d")) == [1.5]


def test_capped(events):
    assert pair_weights(events, weights.capped(pl.len(), 1)) == [1, 1, 1]
    assert pair_weights(events, weights.capped(weights.by_type(TYPES), 2)) == [3, 1, 2]
    assert pair_weights(events, weights.capped(weights.by_type(TYPES).sum(), 2)) == [2, 1, 2]


def test_they_compose(events):
    product = weights.by_type(TYPES) * weights.half_life("1d")
    assert pair_weights(events, product) == [1.75, 1, 10]
    assert pair_weights(events, 1 + product.sum()) == [2.75, 2, 11]
    assert pair_weights(events, product * pl.col("n")) == [3.25, 3, 40]
    assert pair_weights(events, product.max() + pl.len()) == [3.5, 2, 11]


def test_unknown_event_type_is_named(events):
    with pytest.raises(DataError, match=r"events of a type without a weight: \[\"buy\".*; add it to the weights"):
        events.interactions(weights.by_type({"view": 1, "cart": 3}))


def test_missing_event_type_is_an_error(events):
    frame = events.frame.with_columns(kind=pl.when(pl.col("n") > 1).then("kind"))
    with pytest.raises(DataError, match="events of a type without a weight"):
        events.with_frame(frame).interactions(weights.by_type(TYPES))


def test_missing_roles_are_named():
    events = read_events(pl.DataFrame({"u": [1], "i": [1], "when": [START]}), user="u", item="i")
    with pytest.raises(ParameterError, match="event_type="):
        events.interactions(weights.by_type({"a": 1}))
    with pytest.raises(ParameterError, match="time="):
        events.interactions(weights.half_life("1d"))
    with pytest.raises(ParameterError, match="reference="):
        events.interactions(weights.half_life("1d", time="when"))
    assert pair_weights(events, weights.half_life("1d", time="when", reference="2024-01-02")) == [0.5]


@pytest.mark.parametrize("life", ["30 days", "0d", "d", "-1d", 30, timedelta(0), "9999999999d"])
def test_unreadable_half_life(life):
    with pytest.raises(ParameterError, match="life="):
        weights.half_life(life)


def test_unreadable_reference():
    with pytest.raises(ParameterError, match="reference='tomorrow'"):
        weights.half_life("1d", reference="tomorrow")
    with pytest.raises(ParameterError, match="reference=5"):
        weights.half_life("1d", reference=5)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90s", timedelta(seconds=90)),
        ("5m", timedelta(minutes=5)),
        ("1.5h", timedelta(minutes=90)),
        ("2w", timedelta(14)),
    ],
)
def test_durations(text, span):
    assert weights.duration("life", text) == span


def test_recent_events_are_those_that_by_time_puts_into_test():
    frame = pl.DataFrame(
        {
            "u": [1] * 4,
            "i": [1, 2, 3, 4],
            "t": [datetime(2024, 5, 1), *(datetime(2024, 4, day) for day in (30, 24, 23))],
        }
    )
    events = read_events(frame, user="u", item="i", time="t")
    x = events.interactions(1 + weights.recent("7d"))
    assert x.user_items.values.tolist() == [2, 2, 2, 1]
    assert split.by_time(events, "7d").test.n_events == 3
    x = events.interactions(1 + weights.recent("1d", time="t", reference="2024-04-24"))
    assert x.user_items.values.tolist() == [2, 2, 2, 2]
    with pytest.raises(ParameterError, match="window='soon'"):
        weights.recent("soon")


def test_parameters_out_of_range():
    with pytest.raises(ParameterError, match="empty"):
        weights.by_type({})
    with pytest.raises(ParameterError, match=r"weights\['a'\] is nan"):
        weights.by_type({"a": float("nan")})
    for maximum in (0, -1, float("inf"), float("nan")):
        with pytest.raises(ParameterError, match="maximum"):
            weights.capped(pl.len(), maximum)

"""How often the events of a log are read: counted at the source, where every pass asks for its batches."""

from datetime import datetime, timedelta

import polars as pl
import pytest
from polars.io.plugins import register_io_source

import cofactor as cf
from cofactor.data.sessions import Sessions

N = 300
KINDS = {
    "integers": lambda c: c,
    "wide integers": lambda c: c * 2**40,
    "text": lambda c: pl.format("id{}", c),
    "categories": lambda c: pl.format("id{}", c).cast(pl.Categorical),
    "binary": lambda c: pl.format("id{}", c).cast(pl.Binary),
}


class Counted:
    """A lazy table that counts how often it is read."""

    def __init__(self, table):
        self.passes = 0
        self.table = table
        self.frame = register_io_source(self.read, schema=table.schema)

    def read(self, columns, predicate, n_rows, batch_size):
        self.passes += 1
        table = self.table if columns is None else self.table.select(columns)
        table = table if predicate is None else table.filter(predicate)
        yield table if n_rows is None else table.head(n_rows)

    def since(self):
        """Passes since the last time it was asked."""
        passes, self.passes = self.passes, 0
        return passes


@pytest.fixture(params=KINDS)
def log(request):
    """A log with ids of every kind."""
    i, kind = pl.int_range(N), KINDS[request.param]
    table = pl.select(user=kind(i * 7 % 23), item=kind(i * 11 % 17), visit=kind(i * 7 % 23 * 3 + i % 3))
    times = [datetime(2024, 1, 1) + timedelta(minutes=n) for n in range(N)]
    return Counted(table.with_columns(time=pl.Series(times), kind=pl.Series(["view", "cart", "buy"] * (N // 3))))


def read(log, **roles):
    return cf.read_events(log.frame, user="user", item="item", **roles)


ROLES = {"time": "time", "session": "visit", "event_type": "kind"}


def test_reading_is_one_pass_and_making_interactions_another(log):
    events = read(log, **ROLES)
    assert log.since() == 1
    assert events.n_events == N
    assert log.since() == 0
    x = events.interactions(cf.weights.by_type({"view": 1, "cart": 2, "buy": 3}) * cf.weights.half_life("1d"))
    assert log.since() == 1
    assert (x.n_users, x.n_items, x.nnz) == (23, 17, 300)


def test_a_part_of_a_log_is_not_read_to_find_out_its_ranges(log):
    train, _ = cf.split.by_time(read(log, **ROLES), test="1h")
    log.since()
    train.interactions()
    assert log.since() == 1


def test_sessions_are_one_pass(log):
    events = read(log, **ROLES)
    log.since()
    sessions = events.sessions()
    assert log.since() == 1
    assert (sessions.n_events, sessions.n_sessions, sessions.type_names) == (N, 69, ("buy", "cart", "view"))


@pytest.mark.parametrize("roles", [ROLES, {"time": "time"}, {}], ids=["sessions and types", "users", "no times"])
def test_session_knn_is_one_pass(log, roles):
    x = read(log, **roles).interactions()
    log.since()
    model = cf.SessionKNN().fit(x)
    assert log.since() == 1
    model.recommend(k=3)
    cf.CoVisitation(last_events=None).fit(x)  # what was read is kept beside the interactions
    assert log.since() == 0


@pytest.mark.parametrize(
    "model",
    [cf.CoVisitation(), cf.NextBasket(), cf.Popular(half_life="1h"), cf.PersonalPopular("1h")],
    ids=lambda model: type(model).__name__,
)
def test_models_of_events_read_them_once(log, model):
    x = read(log, **ROLES).interactions()
    log.since()
    model.fit(x)
    assert log.since() == 1


def test_ids_are_the_same_whatever_way_they_take(log):
    x = read(log, **ROLES).interactions()
    sessions, table = Sessions.of(x), log.table
    assert x.users.ids.equals(table["user"].unique().cast(_key(table)).sort().cast(table["user"].dtype))
    rows = table.select("visit", "time", "item").sort(pl.col("visit").cast(_key(table)), "time")
    assert x.items.take(sessions.items).equals(rows["item"].rename("id"))
    assert sessions.session_ids.dtype == table["visit"].dtype
    counts = x.to_frame().sort(pl.all().cast(_key(table)))
    wanted = table.group_by(user_id="user", item_id="item").agg(weight=pl.len().cast(pl.Float32))
    assert counts.equals(wanted.sort(pl.all().cast(_key(table))))


def _key(table):
    return pl.String if table["user"].dtype == pl.Categorical else table["user"].dtype

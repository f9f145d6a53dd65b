"""Events as clients send them: taken as they are meant, or refused by the name of what is wrong."""

from datetime import UTC, datetime

import pytest

from cofactor.serve.events import check_event
from cofactor.serve.request_error import RequestError

AT = int(datetime(2026, 5, 1, tzinfo=UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    "time",
    [
        "2026-05-01T00:00:00Z",
        "2026-05-01T02:00:00+02:00",
        "2026-05-01",
        "2026-05-01 00:00:00",
        AT // 1_000_000,
        AT / 1_000_000,
        AT // 1000,
        AT,
        AT * 1000,
        None,
    ],
)
def test_times_however_they_are_written(time):
    assert check_event("ann", 1, time, at=AT).time == AT


@pytest.mark.parametrize(
    ("time", "code"),
    [
        ("yesterday", "bad_time"),
        ("1989-12-31", "implausible_time"),
        ("2026-05-03", "implausible_time"),  # tomorrow is the first of the days that cannot be
        ("9999-12-31T23:59:59-23:59", "implausible_time"),
        (0, "implausible_time"),
        (-AT, "implausible_time"),
        (10**30, "implausible_time"),
        (float("nan"), "bad_time"),
        (float("inf"), "bad_time"),
        (True, "bad_time"),
        ([], "bad_time"),
        ("2026-05-01T00:00:00\r\nX: y", "bad_time"),
    ],
)
def test_times_that_cannot_be(time, code):
    with pytest.raises(RequestError, match=r"^events\[3\].time must be") as caught:
        check_event("ann", 1, time, at=AT, field="events[3]")
    assert (caught.value.status, caught.value.code, caught.value.field) == (422, code, "events[3].time")


@pytest.mark.parametrize("value", ["", "x" * 1025, "a\0b", "\ud800", 2**63, -(2**63) - 1, 1.0, True, None, [], {}])
@pytest.mark.parametrize("field", ["user", "item"])
def test_ids_that_cannot_be(value, field):
    with pytest.raises(RequestError) as caught:
        check_event(**{"user": 1, "item": 1, field: value})
    assert (caught.value.code, caught.value.field) == ("bad_id", f"events[0].{field}")


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("weight", 0, "bad_weight"),
        ("weight", -1.0, "bad_weight"),
        ("weight", float("nan"), "bad_weight"),
        ("weight", 10**400, "bad_weight"),
        ("weight", True, "bad_weight"),
        ("weight", "1", "bad_weight"),
        ("rating", float("inf"), "bad_rating"),
        ("event_type", "", "bad_event_type"),
        ("event_type", "x" * 65, "bad_event_type"),
        ("event_type", 1, "bad_event_type"),
        ("event_type", "\0", "bad_event_type"),
    ],
)
def test_values_that_cannot_be(field, value, code):
    with pytest.raises(RequestError) as caught:
        check_event("ann", 1, **{field: value})
    assert (caught.value.code, caught.value.field) == (code, f"events[0].{field}")


def test_a_whole_event():
    event = check_event("ann", 1, "2026-05-01", event_type="cart", weight=2, rating=-1, at=AT)
    assert (event.event_type, event.weight, event.rating) == ("cart", 2.0, -1.0)
    assert type(event.weight) is float

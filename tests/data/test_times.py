"""Times: the forms they are read in, and those that are refused."""

import logging
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cofactor.data.events import read_events
from cofactor.errors import DataError, ParameterError


def with_times(values, **options):
    frame = pl.DataFrame({"u": range(len(values)), "i": 1, "t": values})
    return read_events(frame, user="u", item="i", time="t", **options)


@pytest.mark.parametrize(("unit", "scale"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
@pytest.mark.parametrize("dtype", [pl.Int64, pl.UInt64, pl.Float64])
def test_epoch_units_are_inferred_and_told(unit, scale, dtype, caplog):
    caplog.set_level(logging.INFO, logger="cofactor")
    events = with_times(pl.Series([1_600_000_000 * scale, 1_700_000_000 * scale]).cast(dtype))
    assert events.collect()["t"].to_list() == [datetime(2020, 9, 13, 12, 26, 40), datetime(2023, 11, 14, 22, 13, 20)]
    assert f"t: read as {unit} since 1970 (inferred" in events.notes[0]
    assert events.notes[0] in caplog.text


@given(st.datetimes(datetime(1990, 1, 1), datetime(2026, 1, 1)), st.sampled_from(["s", "ms", "us", "ns"]))
@settings(max_examples=50)
def test_epoch_round_trip(moment, unit):
    micros = (moment - datetime(1970, 1, 1)) // timedelta(microseconds=1)
    per_unit = {"s": 10**6, "ms": 10**3, "us": 1}
    value = micros * 1000 if unit == "ns" else micros // per_unit[unit]
    events = with_times([value])
    lost = timedelta(microseconds=per_unit.get(unit, 1))
    assert timedelta(0) <= moment - events.collect()["t"][0] < lost
    assert f"read as {unit}" in events.notes[0]


def test_time_unit_overrides():
    events = with_times([0, 86_400], time_unit="ms", implausible_times="allow")
    assert events.collect()["t"][1] == datetime(1970, 1, 1, 0, 1, 26, 400_000)
    with pytest.raises(DataError, match=r"smallest value 1600000000 looks like s .* 1600000000000 like ms"):
        with_times([1_600_000_000, 1_600_000_000_000])
    with pytest.raises(DataError, match="beyond the year 9999"):
        with_times([1_600_000_000_000], time_unit="s")
    with pytest.raises(ParameterError, match=r"time_unit must be one of .*, got 'm'"):
        with_times([1], time_unit="m")


@pytest.mark.parametrize(
    "values",
    [
        [date(2024, 5, 31)],
        [datetime(2024, 5, 31, tzinfo=UTC)],
        pl.Series([datetime(2024, 5, 31)], dtype=pl.Datetime("ns")),
        pl.Series([datetime(2024, 5, 31)], dtype=pl.Datetime("ms")),
        pl.Series([datetime(2024, 5, 31, 2)]).dt.replace_time_zone("Europe/Berlin"),
        ["2024-05-31"],
        ["2024-05-31 00:00"],
        ["2024-05-31T00:00:00Z"],
        ["2024-05-31T02:00:00.000+02:00"],
    ],
    ids=str,
)
def test_times_become_utc_microseconds(values):
    times = with_times(values).collect()["t"]
    assert times.dtype == pl.Datetime("us")
    assert times.to_list() == [datetime(2024, 5, 31)]


def test_text_that_is_no_iso_time():
    with pytest.raises(DataError, match=r"'t': 1 of 2 values are null or not ISO 8601 .*rows \(from 0\): 1\."):
        with_times(["2024-05-31", "31/05/2024"])


def test_null_times():
    with pytest.raises(DataError, match=r"'t': 1 of 2 values are null or not ISO 8601 .*: 1\. Leave such events"):
        with_times(["2024-01-01", None])
    with pytest.raises(DataError, match="'t': 1 of 2 values are null"):
        with_times([datetime(2024, 1, 1), None])
    for bad in ("nan", "inf", "-inf"):
        with pytest.raises(DataError, match="'t': 1 of 2 values are null, NaN or infinite"):
            with_times([1.6e9, float(bad)])


def test_times_of_another_type():
    with pytest.raises(DataError, match="time='t' has type Decimal"):
        with_times([Decimal(1_600_000_000), Decimal(1_600_000_001)])


def test_times_of_other_types():
    with pytest.raises(DataError, match="'t' has type Duration"):
        with_times([timedelta(1)])


@pytest.mark.parametrize(
    ("values", "time_format", "wanted"),
    [
        ([20230101], "%Y%m%d", datetime(2023, 1, 1)),
        ([20230101.0], "%Y%m%d", datetime(2023, 1, 1)),
        (["20230101"], "%Y%m%d", datetime(2023, 1, 1)),
        ([202301010930], "%Y%m%d%H%M", datetime(2023, 1, 1, 9, 30)),
        ([20230101093000], "%Y%m%d%H%M%S", datetime(2023, 1, 1, 9, 30)),
        (["2019-10-01 00:00:00 UTC"], "%Y-%m-%d %H:%M:%S UTC", datetime(2019, 10, 1)),
        (["12/01/2010 08:26"], "%m/%d/%Y %H:%M", datetime(2010, 12, 1, 8, 26)),
        (["12/01/2010 08:26"], "%d/%m/%Y %H:%M", datetime(2010, 1, 12, 8, 26)),
        (["2019-10-01T02:00:00+0200"], "%Y-%m-%dT%H:%M:%S%z", datetime(2019, 10, 1)),
    ],
)
def test_time_format(values, time_format, wanted):
    times = with_times(values, time_format=time_format).collect()["t"]
    assert times.dtype == pl.Datetime("us")
    assert times.to_list() == [wanted]


@given(st.datetimes(datetime(1990, 1, 2), datetime(2026, 1, 1)))
@settings(max_examples=50)
def test_time_format_round_trip(moment):
    text = moment.strftime("%d.%m.%Y %H:%M:%S")
    assert with_times([text], time_format="%d.%m.%Y %H:%M:%S").facts.oldest == moment.replace(microsecond=0)
    number = int(moment.strftime("%Y%m%d"))
    assert with_times([number], time_format="%Y%m%d").facts.newest.date() == moment.date()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([20230101, 20240101], r"20230101, read as s since 1970, is 1970-08-23 .* before 1990; .*time_format='%Y%m%d'"),
        ([202301010930], r"is 1976-.* before 1990; .*time_format='%Y%m%d%H%M'"),
        ([20230101093000], r"is 2611-.* after tomorrow; .*time_format='%Y%m%d%H%M%S'"),
        ([4_102_444_800], r"is 2100-01-01 00:00:00, after tomorrow; .*time_unit= or time_format="),
        ([5.0], r"5.0, read as s since 1970, is 1970-01-01 .*'allow'"),
        (["1969-12-31"], r"time='t': 1969-12-31 00:00:00, before 1990; .*implausible_times='allow'"),
        ([datetime(2300, 1, 1)], r"time='t': 2300-01-01 00:00:00, after tomorrow"),
        (["2019-10-01 00:00:00 UTC"], r"all 1 values .*The first is '2019-.*time_format='%Y-%m-%d %H:%M:%S UTC'"),
        (["12/01/2010 08:26", "2024-01-01"], r"1 of 2 values .*'%m/%d/%Y %H:%M' or '%d/%m/%Y %H:%M'"),
        (["20230101"], r"The first is '20230101'; it looks like time_format='%Y%m%d'"),
        (["12345678"], r"The first is '12345678'\.$"),
        (["soon"], r"The first is 'soon'; pass time_format="),
    ],
)
def test_what_is_no_time_is_told_with_the_way_out(values, said):
    with pytest.raises(DataError, match=said):
        with_times(values)


def test_implausible_times_are_allowed_when_asked():
    assert with_times([20230101], implausible_times="allow").facts.oldest == datetime(1970, 8, 23, 3, 28, 21)
    tomorrow = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=23)
    assert with_times([tomorrow]).facts.newest == tomorrow
    with pytest.raises(ParameterError, match=r"implausible_times must be one of 'error', 'allow', got 'no'"):
        with_times([1], implausible_times="no")


def test_a_time_that_is_not_of_the_format():
    with pytest.raises(DataError, match=r"1 of 2 values are null or not of time_format='%Y%m%d'; .*: 1\."):
        with_times(["20230101", "x"], time_format="%Y%m%d")
    with pytest.raises(DataError, match="all 1 values are null or not of time_format"):
        with_times([2023.5], time_format="%Y")


def test_time_formats_that_say_nothing():
    with pytest.raises(ParameterError, match="time_format='day'; it must be a strptime format"):
        with_times(["x"], time_format="day")
    with pytest.raises(ParameterError, match="time_format='%Y' and time_unit='s': give one of them"):
        with_times([2023], time_format="%Y", time_unit="s")
    with pytest.raises(ParameterError, match="is for text and numbers, but time='t' has type Date"):
        with_times([date(2024, 1, 1)], time_format="%Y")


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_a_datetime_that_holds_another_unit(unit):
    values = pl.Series([1_700_000_000_000_000_000 // (1000 if unit == "ms" else 1)]).cast(pl.Datetime(unit))
    if unit == "ns":
        assert with_times(values).facts.oldest.year == 2023
        return
    with pytest.raises(DataError, match=r"beyond the year 9999.*pl\.col\('t'\)\.to_physical\(\) with time_unit="):
        with_times(values)


def test_zeros_at_the_beginning_of_times_in_files(tmp_path):
    (tmp_path / "log.csv").write_text("u,i,t\n1,2,010203\n")
    events = read_events(tmp_path / "log.csv", user="u", item="i", time="t", time_format="%d%m%y")
    assert events.facts.oldest == datetime(2003, 2, 1)

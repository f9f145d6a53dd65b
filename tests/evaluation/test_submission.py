"""Submissions: rows, exactly k labels, streaming, whole files or none; read back and scored."""

import errno

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import cofactor as cf
from cofactor import submission

LISTS = pl.DataFrame(
    {"user_id": [5, 5, 5, 3, 3], "item_id": [9, 8, 7, 1, 2], "rank": [1, 2, 3, 1, 2], "score": [3.0, 2, 1, 2, 1]}
)


def lines(path):
    return path.read_text().splitlines()


def test_three_rows_a_session(tmp_path):
    path = tmp_path / "out.csv"
    assert submission.write(LISTS, path, k=2) == 2
    assert lines(path) == [
        "session_type,labels",
        "5_clicks,9 8",
        "5_carts,9 8",
        "5_orders,9 8",
        "3_clicks,1 2",
        "3_carts,1 2",
        "3_orders,1 2",
    ]


def test_lists_of_each_type_and_what_fills_them(tmp_path):
    table = pl.DataFrame({"user_id": [1, 1, 2], "item_id": [4, 5, 4], "rank": [2, 1, 1], "event_type": ["a", "a", "b"]})
    submission.write(table, tmp_path / "out.csv", k=3, types=["a", "b"], fill=[4, 6, 7, 8])
    assert lines(tmp_path / "out.csv")[1:] == ["1_a,5 4 6", "1_b,4 6 7", "2_a,4 6 7", "2_b,4 6 7"]


def test_tables_one_after_the_other_and_sessions_without_a_list(tmp_path):
    """All of it is asked for once, and never held together."""
    parts = [LISTS.filter(user_id=5), LISTS.filter(user_id=3)]
    fill, sessions = [1, 2, 3, 4], [3, 11, 5, 12]
    n = submission.write(iter(parts), tmp_path / "out.csv", k=3, fill=fill, sessions=sessions)
    assert n == 4
    rows = [line for line in lines(tmp_path / "out.csv") if "clicks" in line]
    assert rows == ["5_clicks,9 8 7", "3_clicks,1 2 3", "11_clicks,1 2 3", "12_clicks,1 2 3"]
    assert len(lines(tmp_path / "out.csv")) == 1 + 3 * 4


def test_no_session_has_an_event(tmp_path):
    model = cf.Popular().fit({"user_id": [1, 1, 2], "item_id": [5, 6, 6]})
    nothing = pl.DataFrame(schema={"user_id": pl.Int64, "item_id": pl.Int64})
    lists = cf.submission.lists_for(model, nothing, 2)
    assert cf.submission.write(lists, tmp_path / "s.csv", k=2, types=["clicks"], sessions=[8, 7], fill=[6, 5]) == 2
    assert (tmp_path / "s.csv").read_text() == "session_type,labels\n8_clicks,6 5\n7_clicks,6 5\n"
    with pytest.raises(cf.DataError, match="lists: a table with user_id, item_id, rank is expected, or several"):
        cf.submission.write(cf.submission.lists_for(model, nothing, 2), tmp_path / "s.csv", k=2)


def test_what_is_written_is_read_back(tmp_path, monkeypatch):
    monkeypatch.setattr("cofactor.evaluation.submission._ROWS", 2)
    submission.write(LISTS, tmp_path / "out.csv", k=2)
    table = pl.concat(submission.read(tmp_path / "out.csv"))
    wanted = LISTS.filter(pl.col("rank") <= 2).select("user_id", "item_id", "rank")
    for kind in ("clicks", "carts", "orders"):
        mine = table.filter(event_type=kind).select("user_id", "item_id", pl.col("rank").cast(pl.Int64))
        assert_frame_equal(mine, wanted)


def test_from_the_log_to_the_score(tmp_path):
    """The way of the competition, on synthetic sessions: cut, fit, list part by part, write, read, score."""
    rng = np.random.default_rng(0)
    rows = [
        (visit, int(begin + at * step) % 400, 1000 * visit + at, str(rng.choice(["clicks", "carts", "orders"])))
        for visit, begin in enumerate(rng.integers(0, 400, 1500))
        for at, step in enumerate(rng.integers(1, 3, rng.integers(1, 9)))
    ]
    log = pl.DataFrame(rows, schema=["visit", "item", "at", "type"], orient="row")
    roles = {"user": None, "session": "visit", "item": "item", "time": "at", "event_type": "type"}
    events = cf.read_events(log, **roles, time_unit="s", implausible_times="allow")
    train, test, labels = cf.split.cut_sessions(events, "3d")
    model = cf.HistoryRerank(cf.CoVisitation.type_weighted()).fit(train)
    whole = model.recommend_for(test, k=20, exclude_seen=False)
    parts = list(submission.lists_for(model, test, 20, part=100))
    assert len(parts) > 2
    assert_frame_equal(pl.concat(parts), whole.sort("user_id", "rank"))
    submission.write(submission.lists_for(model, test, 20, part=100), tmp_path / "out.csv")
    scored = cf.evaluate_by_type(submission.read(tmp_path / "out.csv"), labels)
    assert scored.equals(cf.evaluate_by_type(whole, labels))
    popular = cf.Popular().fit(train).recommend_for(test, k=20, exclude_seen=False)
    assert scored["recall"][-1] > cf.evaluate_by_type(popular, labels)["recall"][-1] > 0


# Bad input


def test_short_lists_are_an_error_that_names_the_first(tmp_path):
    with pytest.raises(cf.DataError, match="1 sessions have fewer than k=3 different labels, the first is 3 with 2"):
        submission.write(LISTS, tmp_path / "out.csv", k=3)
    with pytest.raises(cf.DataError, match="2 sessions have fewer than k=6"):
        submission.write(LISTS, tmp_path / "out.csv", k=6, fill=[1, 2])
    with pytest.raises(cf.DataError, match=r"1 sessions have fewer than k=2 .* 77 with 0"):
        submission.write(LISTS, tmp_path / "out.csv", k=2, sessions=[77])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ([LISTS, LISTS], "lists: session 5 is in two of the tables"),
        (pl.concat([LISTS, LISTS]), "occur more than once"),
        (LISTS.with_columns(event_type=pl.lit("views")), "lists: there are rows of type views"),
        (LISTS.drop("rank"), "lists: no column rank"),
        (LISTS.with_columns(item_id=pl.lit("a b") + pl.col("item_id").cast(pl.String)), "'a b9' holds a space"),
        (LISTS.with_columns(user_id=pl.lit("a,b") + pl.col("user_id").cast(pl.String)), "user_id 'a,b5' holds a space"),
    ],
)
def test_bad_lists_leave_no_file(tmp_path, lists, message):
    with pytest.raises(cf.DataError, match=message):
        submission.write(lists, tmp_path / "out.csv", k=2)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "out.csv"
    submission.write(LISTS, path, k=2)
    before = path.read_bytes()

    def full(self, file=None, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_csv", full)
    with pytest.raises(cf.ParameterError, match=r"out\.csv could not be written: .*No space left on device"):
        submission.write(LISTS, path, k=2)
    assert [p.name for p in tmp_path.iterdir()] == ["out.csv"]
    assert path.read_bytes() == before


def test_bad_parameters(tmp_path):
    for given, message in (
        ({"k": 0}, "k must be"),
        ({"types": "clicks"}, "types="),
        ({"types": ["clicks", "clicks"]}, "name it once"),
        ({"types": ["add,cart"]}, "types: 'add,cart' holds a space, a comma, a quote or a _"),
        ({"types": ["add_cart"]}, "types: 'add_cart' holds"),
        ({"fill": 3}, "fill must be ids"),
        ({"sessions": [1.5]}, "sessions must be ids"),
        ({"sessions": [1, None, None]}, r"sessions holds 2 null\(s\), the first at place 1; leave them out"),
    ):
        with pytest.raises(cf.ParameterError, match=message):
            submission.write(LISTS, tmp_path / "out.csv", **given)
    with pytest.raises(cf.ParameterError, match=r"must end in one of \.csv"):
        submission.write(LISTS, tmp_path / "out.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "the columns are a, b, and should be session_type, labels"),
        ("session_type,labels\n12,1 2\n", "1 rows name no session and type, such as 12_clicks; the first is '12'"),
        ("session_type,labels\n12_clicks,1 x\n", "ids are not of type Int64"),
        ("", "cannot be read as a submission"),
    ],
)
def test_files_that_are_none(tmp_path, text, message):
    (tmp_path / "in.csv").write_text(text)
    with pytest.raises(cf.DataError, match=message):
        list(submission.read(tmp_path / "in.csv"))
    with pytest.raises(cf.DataError, match="cannot be read as a submission"):
        submission.read(tmp_path / "none.csv")


def test_rows_without_labels_are_empty_lists(tmp_path):
    (tmp_path / "in.csv").write_text("session_type,labels\n1_clicks,\n2_clicks,5\n")
    assert pl.concat(submission.read(tmp_path / "in.csv"))["user_id"].to_list() == [2]

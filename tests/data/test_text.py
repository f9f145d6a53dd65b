"""CSV and JSON lines: no row is lost and no id changes, whatever people write into them."""

import csv
import gzip
import io
import json

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cofactor.data.events import read_events
from cofactor.data.quotes import ambiguous_quote, byte_chunks, count_lines, quoting
from cofactor.errors import CofactorWarning, DataError, ParameterError


def read(source, **roles):
    return read_events(source, user="u", item="i", **roles)


def write(folder, text, name="log.csv"):
    content = text if isinstance(text, bytes) else text.encode()
    (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return folder / name


def many(n_lines, name="abc", **others):
    """A log of which some lines (from 0) have another name."""
    names = (others.get(f"at_{n}", name) for n in range(n_lines))
    return "u,i,name\n" + "".join(f"{n % 100},{n % 70},{text}\n" for n, text in enumerate(names))


# ---------------------------------------------------------------- rows


@pytest.mark.parametrize("at", [(100, 40_000), (100, 101), (100,), (49_999,), (0, 1, 2)])
def test_quotes_inside_of_fields_lose_no_row(tmp_path, at):
    path = write(tmp_path, many(50_000, **{f"at_{n}": 'TV 24" LED' for n in at}))
    events = read(path)
    assert events.n_events == 50_000
    table = events.collect()
    assert table["name"].to_list() == ['TV 24" LED' if n in at else "abc" for n in range(50_000)]
    assert events.interactions().user_items.values.sum() == 50_000


@pytest.mark.parametrize("at", [(100, 40_000), (100, 101), (100,), (49_999,)])
@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
def test_quotes_that_leave_rows_open_are_an_error_with_the_line(tmp_path, at, name):
    text = many(50_000, at_7='"a, b"', **{f"at_{n}": 'TV 24" LED' for n in at})
    with pytest.raises(DataError, match=rf"{name}: line {at[0] + 2} holds a quote .*TV 24.*quote_char=None"):
        read(write(tmp_path, text, name))


def test_a_quote_that_is_never_closed(tmp_path):
    with pytest.raises(DataError, match=r"log\.csv: line 3 holds a quote .*never closed"):
        read(write(tmp_path, many(3, at_1='"abc')))


def test_quotes_of_packed_files_are_counted_beside_the_pass(tmp_path):
    path = write(tmp_path, many(20_000, at_5='"two\nlines"', at_9='"so ""called"""'), "log.csv.gz")
    assert read(path).collect()["name"][5] == "two\nlines"
    assert read(write(tmp_path, many(20_000), "log.csv.gz")).n_events == 20_000
    with pytest.raises(DataError, match=r"log\.csv\.gz: line 102 holds a quote"):
        read(write(tmp_path, many(50_000, at_100='TV 24" LED', at_40000='TV 24" LED'), "log.csv.gz"))
    (tmp_path / "log.csv.gz").write_bytes((tmp_path / "log.csv.gz").read_bytes()[:-3000])
    with pytest.raises(DataError, match=r"log\.csv\.gz: not readable as csv"):
        read(tmp_path / "log.csv.gz")


@pytest.mark.parametrize("above", ["", "\n", "\r\n\n", "\ufeff"])
@pytest.mark.parametrize("below", ["", "\n", "\n\n"])
def test_lines_of_packed_files_are_those_of_the_plain_ones(tmp_path, above, below):
    text = f'{above}u,i\n1,"a\nb"\n2,c{below}'
    plain, packed = (str(write(tmp_path, text, name)) for name in ("log.csv", "log[1].csv.gz"))
    assert count_lines(packed) == count_lines(plain) == 4 + (below == "\n\n")


def test_a_packed_file_is_unpacked_by_the_reader_alone(tmp_path, monkeypatch):
    """Python unpacks at half the speed, which made the check dear: it looks at the beginning only."""
    read_at = []

    def chunks(file):
        for at, chunk in enumerate(byte_chunks(file)):
            read_at.append(at)
            yield chunk

    for module in ("quotes", "text", "sources"):
        monkeypatch.setattr(f"cofactor.data.{module}.byte_chunks", chunks)
    assert read(write(tmp_path, many(100_000, at_5='"a, b"'), "log.csv.gz")).n_events == 100_000
    assert set(read_at) == {0}


SEPARATORS = st.sampled_from([",", ";", "\t", "|"])
FIELD = st.text(st.sampled_from(' ab,;\t|"\n\u00e9\u4e2d0+-7.'), max_size=6)
IDS = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(str),
    st.sampled_from(["7", "007", "0", "00", "-0", "+7", "1e5", "1.0", " 7", "7 ", "true", "NaN", "9" * 20]),
    st.text(st.sampled_from(' ab,;"\n0\u00e9'), min_size=1, max_size=4).filter(lambda t: t.strip("\r\n")),
)


@given(
    st.lists(st.tuples(IDS, IDS, FIELD), min_size=1, max_size=12),
    SEPARATORS,
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
@example([("1", "2", 'TV 24" LED'), ("1", "2", "x")], ",", csv.QUOTE_MINIMAL, "\n", False)
@settings(max_examples=150, deadline=None)
def test_what_python_writes_is_read_as_it_is(tmp_path_factory, rows, separator, quoting_style, end, packed):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, quoting=quoting_style, lineterminator=end)
    writer.writerows([("u", "i", "name"), *((user, item, "n" + name) for user, item, name in rows)])
    folder = tmp_path_factory.mktemp("csv")
    events = read(write(folder, text.getvalue(), "log.csv.gz" if packed else "log.csv"), separator=separator)
    table = events.collect()
    assert events.n_events == len(rows)
    for at, column in enumerate(("u", "i")):
        assert [str(v) for v in table[column].to_list()] == [row[at] for row in rows]
    assert table["name"].to_list() == ["n" + name for _, _, name in rows]


@given(st.lists(st.sampled_from(['"', ",", "\n", "a", "\r", '""', '"a"']), max_size=30).map("".join))
@settings(max_examples=300)
def test_the_look_at_quotes_agrees_with_the_csv_module(tmp_path_factory, body):
    path = write(tmp_path_factory.mktemp("quotes"), "u,i\n" + body)
    kind = quoting(str(path), ",")
    assert (kind == "none") == ('"' not in body)
    starts = any(row.startswith('"') for row in body.replace("\r", "\n").replace("\n", ",").split(","))
    assert kind != "fields" or starts or '"' in body
    assert count_lines(str(path)) == len(("u,i\n" + body).removesuffix("\n").split("\n"))
    assert count_lines(str(write(path.parent, path.read_bytes(), "log.csv.gz"))) == count_lines(str(path))
    if ambiguous_quote(str(path), ",") is None:  # then parity of quotes tells lines from rows, as strict CSV does
        assert body.count('"') % 2 == 0
        list(csv.reader(io.StringIO(body, newline=""), strict=True))


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_quotes_at_the_ends_of_chunks(tmp_path, monkeypatch, size):
    monkeypatch.setattr("cofactor.data.quotes._CHUNK", size)
    path = str(write(tmp_path, 'u,i\n"a","b ""x"", y"\n"c\nd",e\n'))
    assert quoting(path, ",") == "fields"
    assert count_lines(path) == 4
    assert ambiguous_quote(path, ",") is None
    path = str(write(tmp_path, 'u,i\n"a",b\nc,d"e\n'))
    assert ambiguous_quote(path, ",") == 3
    assert quoting(str(write(tmp_path, 'u,i\na,b"c\nd"e,f\n')), ",") == "literal"


# ---------------------------------------------------------------- ids


@pytest.mark.parametrize(
    ("items", "first"),
    [
        (["007", "7", "0012"], "007"),
        (["7", "1e5"], "1e5"),
        (["1.0", "2.0"], "1.0"),
        (["-0", "0"], "-0"),
        (["5", "-07"], "-07"),
        (["12345678901234567890", "1"], "12345678901234567890"),
        (["true", "false"], "true"),
        (["7"] * 12_000 + ["007"], "007"),
        (["7"] * 12_000 + ["x"], "x"),
    ],
    ids=lambda v: str(v)[:30],
)
@pytest.mark.parametrize("role", ["user", "item", "session"])
def test_ids_that_inference_would_change_stay_text(tmp_path, items, first, role):
    columns = {"user": "u", "item": "i", "session": "s"}
    others = [c for c in columns.values() if c != columns[role]]
    text = f"{columns[role]},{','.join(others)}\n" + "".join(f"{item},{n},{n}\n" for n, item in enumerate(items))
    events = read(write(tmp_path, text), session="s")
    ids = events.collect()
    assert ids[columns[role]].to_list() == items
    assert [ids[c].dtype for c in others] == [pl.Int64, pl.Int64]
    assert events.notes == (f"{columns[role]}: ids stay text, as {first!r} is not how a whole number is written",)


def test_whole_numbers_become_integers_with_their_bounds(tmp_path):
    text = 'u,i\n-5,9223372036854775807\n0,-9223372036854775808\n"3",0\n'
    events = read(write(tmp_path, text))
    assert events.collect().rows() == [(-5, 2**63 - 1), (0, -(2**63)), (3, 0)]
    assert events.bounds == {"u": (-5, 3), "i": (-(2**63), 2**63 - 1)}
    assert events.notes == ()
    assert events.interactions().users.ids.to_list() == [-5, 0, 3]


def test_text_ids_need_no_note(tmp_path):
    events = read(write(tmp_path, "u,i\n+7,b7\n 7,7\n7 ,0\n"))
    assert events.notes == ()
    assert events.collect().rows() == [("+7", "b7"), (" 7", "7"), ("7 ", "0")]


def test_json_texts_are_no_numbers_and_numbers_do_not_change(tmp_path):
    def of(*values):
        lines = "".join(json.dumps({"u": 1, "i": v}) + "\n" for v in values)
        return read(write(tmp_path, lines, "log.jsonl"))

    assert of("7", "007").collect()["i"].to_list() == ["7", "007"]
    assert of("7", "8").collect()["i"].dtype == pl.String
    assert of(7, 8.0).collect()["i"].to_list() == [7, 8]
    events = of(*[7] * 12_000, "007")
    assert events.collect()["i"].to_list()[-2:] == ["7", "007"]
    assert events.notes == ("i: ids stay text, as '007' is not how a whole number is written",)
    assert of(12345678901234567890, 1).collect()["i"].to_list() == ["12345678901234567890", "1"]


@given(st.lists(st.integers(-(2**70), 2**70), min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_whole_numbers_of_any_size_in_json_lines(tmp_path_factory, values):
    lines = "".join(json.dumps({"u": 1, "i": v}) + "\n" for v in values)
    items = read(write(tmp_path_factory.mktemp("json"), lines, "log.jsonl")).collect()["i"]
    assert [int(v) for v in items.to_list()] == values


# ---------------------------------------------------------------- missing values


def test_empty_and_named_missing_values(tmp_path):
    path = write(tmp_path, 'u,i,n\n"1","2",3\n"","3",NA\nNA,4,5\n,5,1\n"6",7,NA\n')
    with pytest.raises(DataError, match=r"'u': 2 of 5 values are null or empty; the first rows \(from 0\): 1, 3\."):
        read(path)
    with pytest.warns(CofactorWarning, match="u: dropped 3 of 5"):
        events = read(path, null_values="NA", anonymous="drop")
    assert events.collect().rows() == [(1, 2, 3), (6, 7, None)]
    assert "u: 1 empty ids count as missing" in events.notes
    with pytest.warns(CofactorWarning, match="u: dropped 3 of 5"):
        events = read(path, null_values={"u": "NA", "other": "x"}, anonymous="drop")
    assert events.collect()["n"].to_list() == ["3", "NA"]


def test_missing_values_of_json_lines(tmp_path):
    path = write(tmp_path, '{"u":"a","i":"b"}\n{"u":"-","i":"c"}\n{"u":"","i":"d"}\n{"i":"e"}\n', "log.jsonl")
    with pytest.warns(CofactorWarning, match="u: dropped 3 of 4"):
        assert read(path, null_values=["-"], anonymous="drop").pairs().rows() == [("a", "b")]


# ---------------------------------------------------------------- separators and headers


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["log.csv", "log.tsv", "log.csv.gz"])
def test_separators_are_told_by_the_header(tmp_path, separator, name):
    path = write(tmp_path, f'\n"u"{separator}i{separator}"a,b"\n1{separator}2{separator}x\n', name)
    events = read(path)
    assert events.collect().rows() == [(1, 2, "x")]
    default = separator == ("\t" if name.endswith("tsv") else ",")
    assert events.notes == (() if default else (f"fields are separated by {separator!r} (separator= overrides it)",))
    assert read(path, separator=separator).notes == ()


@pytest.mark.parametrize("separator", ["", ";;", '"', "\n", "\u00e9", 5])
def test_what_separates_nothing(tmp_path, separator):
    with pytest.raises(ParameterError, match=r"separator=.*one ASCII character"):
        read(write(tmp_path, "u,i\n1,2\n"), separator=separator)


def test_headers_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match=r"log\.csv: the header has 'i' more than once"):
        read(write(tmp_path, "u,i,i\n1,2,3\n"))
    with pytest.raises(DataError, match=r"log\.csv: the first lines are not CSV .*carriage return alone"):
        read(write(tmp_path, "u,i\r1,2\r3,4\r"))
    with pytest.raises(DataError, match=r"log\.csv: line 1 is not UTF-8: b'u,i,caf.*encoding='latin-1'"):
        read(write(tmp_path, b"u,i,caf\xe9\n1,2,3\n"))
    with pytest.raises(DataError, match=r"log\.csv: line 1 is not UTF-8: .*'utf-16'"):
        read(write(tmp_path, "u,i\n1,2\n".encode("utf-16")))


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz", "log.jsonl"])
def test_text_that_is_not_utf8_in_a_column_without_a_role(tmp_path, name):
    lines = (b"u,i,name\n" + b"1,2,abc\n" * 20_000 + b"3,4,caf\xe9\n", b'{"u":1,"i":2,"name":"caf\xe9"}\n')
    path = write(tmp_path, lines[name == "log.jsonl"], name)
    where = "line 1" if name == "log.jsonl" else "line 20002, column 'name'"
    with pytest.raises(DataError, match=rf"{name}: {where} is not UTF-8: b'.*caf.*encoding='latin-1'"):
        read(path)
    assert read(path, encoding="latin-1").collect()["name"][-1] == "caf\u00e9"


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_a_byte_order_mark(tmp_path, name):
    text = '"u",i\n1,2\n' if name == "log.csv" else '{"u":1,"i":2}\n'
    assert read(write(tmp_path, b"\xef\xbb\xbf" + text.encode(), name)).pairs().rows() == [(1, 2)]


@pytest.mark.parametrize("number", ["9007199254740993.0", "9.007199254740993e15", "-9007199254740993.0"])
def test_json_floats_that_were_rounded_are_no_ids(tmp_path, number):
    lines = f'{{"u": 1, "i": 1.0}}\n{{"u": 2, "i": {number}}}\n'
    with pytest.raises(DataError, match=r"column 'i' holds JSON numbers with a point .* below 2\^53"):
        read(write(tmp_path, lines, "log.jsonl"))
    whole = '{"u": 1, "i": 1}\n{"u": 2, "i": 9007199254740993}\n'
    assert read(write(tmp_path, whole, "log.jsonl")).pairs()["item_id"].to_list() == [1, 9007199254740993]

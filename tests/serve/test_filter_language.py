"""What a filter says is read as it is written, and what is wrong is told with its position."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofactor.errors import ParameterError
from cofactor.serve.filter_language import Combined, Comparison, Negated, parse_filter


def one(column, operator, *values):
    return (column, operator, values)


def read(text):
    def plain(part):
        match part:
            case Comparison():
                return one(part.column, part.operator, *(value.text for value in part.values))
            case Negated(inner):
                return ("not", plain(inner))
            case Combined(word, parts):
                return (word, *map(plain, parts))

    return plain(parse_filter(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("category = dairy", one("category", "=", "dairy")),
        ("category=dairy", one("category", "=", "dairy")),
        ("category == 'dairy'", one("category", "=", "dairy")),
        ("price <> 5", one("price", "!=", "5")),
        ("price<=-4.5e3", one("price", "<=", "-4.5e3")),
        ("day >= 2024-05-31T12:30:00+02:00", one("day", ">=", "2024-05-31T12:30:00+02:00")),
        ('brand in (a, \'b c\', "d""e", `f`)', one("brand", "in", "a", "b c", 'd"e', "f")),
        ("brand NOT IN (a)", one("brand", "not in", "a")),
        ("'unit price' < 5", one("unit price", "<", "5")),
        ("`in` = 'and'", one("in", "=", "and")),
        ("a = ''", one("a", "=", "")),
        ("a = 'it''s'", one("a", "=", "it's")),
        ("a = null", one("a", "=", None)),
        ("a = 'null'", one("a", "=", "null")),
        ("größe = naïve", one("größe", "=", "naïve")),
        ("a=1 or b=2 and c=3", ("or", one("a", "=", "1"), ("and", one("b", "=", "2"), one("c", "=", "3")))),
        ("(a=1 or b=2) and c=3", ("and", ("or", one("a", "=", "1"), one("b", "=", "2")), one("c", "=", "3"))),
        ("not a=1 and b=2", ("and", ("not", one("a", "=", "1")), one("b", "=", "2"))),
        ("not not (a=1)", ("not", ("not", one("a", "=", "1")))),
        ("  a = 1\n\tand b = 2  ", ("and", one("a", "=", "1"), one("b", "=", "2"))),
    ],
)
def test_what_is_written_is_read(text, expected):
    assert read(text) == expected


@pytest.mark.parametrize(
    ("text", "position", "told"),
    [
        ("", 1, "the name of a column"),
        ("   ", 4, "the name of a column"),
        ("category", 9, "in or not in after column category is expected, got the end"),
        ("category =", 11, "a value after = is expected, got the end"),
        ("price < and b = 2", 9, "a value after < is expected, got 'and'"),
        ("a = 1 and", 10, "the name of a column, not or ( is expected"),
        ("a = 1 b = 2", 7, "and, or, or the end is expected after 1"),
        ("a = hello world", 11, "'hello world'"),
        ("a = 1 )", 7, "and, or, or the end is expected, got ')'"),
        ("(a = 1", 7, "the ) of the ( at position 1"),
        ("a in 1", 6, "( and the values after in"),
        ("a in ()", 7, "a value after ( is expected"),
        ("a in (1,)", 9, "a value after , is expected"),
        ("a in (1 2)", 9, "a value of several words"),
        ("a in (1", 8, ", or ) after a value"),
        ("a not = 1", 7, "in is expected, got '='"),
        ("a ! 1", 3, "'!' means nothing here"),
        ("a = 'open", 5, "the quote is not closed"),
        ("or = 1", 1, "goes into quotes"),
        ("a < 1 < 2", 7, "and, or, or the end is expected, got '<'"),
        ("a = 1; drop table items", 8, "a value of several words"),
    ],
)
def test_what_is_wrong_has_its_position(text, position, told):
    with pytest.raises(ParameterError) as caught:
        parse_filter(text)
    assert f"position {position}:" in str(caught.value)
    assert told in str(caught.value)


def test_there_are_limits():
    assert read("(" * 32 + "a=1" + ")" * 32) == one("a", "=", "1")
    with pytest.raises(ParameterError, match="position 33: more than 32 parts inside each other"):
        parse_filter("(" * 33 + "a=1" + ")" * 33)
    with pytest.raises(ParameterError, match="more than 32 parts"):
        parse_filter("not " * 900 + "a=1")
    with pytest.raises(ParameterError, match="more than 1000 values"):
        parse_filter(f"a in ({','.join('1' * 1001)})")
    with pytest.raises(ParameterError, match="4001 letters are more than the 4000"):
        parse_filter("a" * 4001)
    with pytest.raises(ParameterError, match="filter must be a text"):
        parse_filter(5)
    assert len(read(" or ".join(["a=1"] * 400))) == 401  # width is no depth


@given(st.text("ab=<>!()'\"`, andorti\n", max_size=60))
def test_no_text_breaks_it(text):
    wrong = None
    try:
        parse_filter(text)
    except ParameterError as error:
        wrong = error
    assert wrong is None or "filter: position" in str(wrong)


@given(st.text(max_size=20), st.text(max_size=20), st.sampled_from("'\"`"))
def test_quotes_hold_any_text(column, value, quote):
    def quoted(text):
        return quote + text.replace(quote, quote * 2) + quote

    assert read(f"{quoted(column)}={quoted(value)}") == one(column, "=", value)

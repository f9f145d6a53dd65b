"""Features of items and users: what a table's columns become, the same for new rows, and what is refused."""

import json
import re
from datetime import date, datetime, time, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import cofactor as cf
from cofactor.models.base.recommender import Recommender

MOVIES = pl.DataFrame(
    {
        "item_id": [7, 9, 8, 3],
        "genres": [["drama"], [], ["war", "drama", "war"], None],
        "country": ["fr", None, "us", "fr"],
        "colour": [True, True, False, True],
        "year": [1972, 2014, 1986, 1990],
    }
)
IDS = cf.IdMap([3, 7, 8, 9])


def learn(columns, n=3):
    return cf.Features.from_frame(pl.DataFrame({"item_id": range(n), **columns}))


def dense(features, frame, ids=IDS):
    return features.encode(frame, ids).to_scipy().toarray()


def restored(features):
    return cf.Features.restored(json.loads(json.dumps(features.description())), features.arrays())


# Kinds of columns


def test_the_table_of_names():
    names = cf.Features.from_frame(MOVIES).names
    assert names.schema == {"feature": pl.String, "column": pl.String, "value": pl.String, "n": pl.Int64}
    assert names.rows() == [
        ("genres=drama", "genres", "drama", 2),
        ("genres=war", "genres", "war", 1),
        ("country=fr", "country", "fr", 2),
        ("country=us", "country", "us", 1),
        ("colour=false", "colour", "false", 1),
        ("colour=true", "colour", "true", 3),
        ("year", "year", None, 4),
    ]


def test_an_encoded_table():
    """By hand; rows in the order of the ids, not of the table."""
    z = (np.array([1990, 1972, 1986, 2014]) - 1990.5) / np.std([1990, 1972, 1986, 2014])
    wanted = [
        [0, 0, 1, 0, 0, 1, z[0]],
        [1, 0, 1, 0, 0, 1, z[1]],
        [0.5**0.5, 0.5**0.5, 0, 1, 1, 0, z[2]],
        [0, 0, 0, 0, 0, 1, z[3]],
    ]
    matrix = cf.Features.from_frame(MOVIES).encode(MOVIES, IDS)
    matrix.check()
    np.testing.assert_allclose(matrix.to_scipy().toarray(), wanted, rtol=1e-6)


@pytest.mark.parametrize("other", [pl.Categorical, pl.Enum(["fr", "us", "de"])])
def test_categories_of_any_type_are_their_text(other):
    one, two = (cf.Features.from_frame(t) for t in (MOVIES, MOVIES.with_columns(pl.col("country").cast(other))))
    assert one == two
    assert np.array_equal(dense(one, MOVIES.with_columns(pl.col("country").cast(other))), dense(one, MOVIES))


def test_lists_of_categories_and_arrays_are_lists():
    one = learn({"tags": [["a", "b"], ["b", "c"], ["c", "c"]]})
    frame = pl.DataFrame({"item_id": range(3), "tags": [["a", "b"], ["b", "c"], ["c", "c"]]})
    for dtype in (pl.List(pl.Categorical), pl.Array(pl.String, 2), pl.List(pl.Enum(["c", "b", "a"]))):
        cast = frame.with_columns(pl.col("tags").cast(dtype))
        assert cf.Features.from_frame(cast) == one
        assert np.array_equal(dense(one, cast, cf.IdMap([0, 1, 2])), dense(one, frame, cf.IdMap([0, 1, 2])))


def test_tables_of_other_libraries_and_missing_values_of_theirs():
    wanted = cf.Features.from_frame(MOVIES)
    for other in (MOVIES.to_pandas(), MOVIES.lazy(), MOVIES.to_arrow()):
        assert cf.Features.from_frame(other) == wanted
        assert np.array_equal(dense(wanted, other), dense(wanted, MOVIES))
    floats = MOVIES.with_columns(pl.col("item_id").cast(pl.Float64)).to_pandas()
    assert np.array_equal(dense(wanted, floats), dense(wanted, MOVIES))


def test_users_have_features_too():
    people = MOVIES.rename({"item_id": "user_id"})
    features = cf.Features.from_frame(people, of="user")
    assert np.array_equal(dense(features, people), dense(cf.Features.from_frame(MOVIES), MOVIES))
    assert repr(features).startswith("Features of users: 7 features of 4 columns\n  note: genres: lists of text, 2 fea")


def test_notes_tell_how_columns_were_read():
    notes = "\n".join(cf.Features.from_frame(MOVIES).notes)
    for told in (
        "genres: null in 1 of 4 rows, which have none of its features",
        "country: text, 2 features",
        "year: numbers, standardized as (year - 1990.5) / 15.1245; if they stand for categories, cast them to pl.Stri",
    ):
        assert told in notes
    assert "no value occurs in two rows" in "\n".join(learn({"title": ["a", "b", "c"], "x": [1, 2, 3]}).notes)


CONSTANT = {
    "numbers": ([3, 3, 3], "every row has 3"),
    "rounded numbers": ([0.1, 0.1, 0.1], "every row has 0.1"),
    "text": (["x", "x", "x"], "every row has 'x'"),
    "flags": ([True] * 3, "every row has 'true'"),
    "lists": ([["b", "a"], ["a", "b"], ["a", "b", "b"]], "every row has 'a', 'b'"),
    "nulls": ([None] * 3, "no row has a value"),
    "empty lists": ([[], None, []], "no row has a value"),
}


@pytest.mark.parametrize("kind", CONSTANT)
def test_a_column_that_tells_nothing_is_dropped_and_told(kind):
    values, why = CONSTANT[kind]
    with pytest.warns(cf.CofactorWarning, match=re.escape(f"item_features: flat: dropped, {why}")) as caught:
        features = learn({"flat": values, "x": [1, 2, 3]})
    assert caught[0].filename == __file__
    assert features.names["column"].to_list() == ["x"]
    assert f"flat: dropped, {why}" in features.notes
    frame = pl.DataFrame({"item_id": range(3), "flat": values, "x": [1, 2, 3]})
    assert dense(features, frame, cf.IdMap([0, 1, 2])).shape == (3, 1)  # and no second warning
    with pytest.raises(
        cf.DataError, match=f"no column tells one item from another: flat: dropped, {re.escape(why)}. Ad"
    ):
        learn({"flat": values})


def test_a_value_with_gaps_is_no_constant():
    assert learn({"award": ["oscar", None, "oscar"]}).names["n"].to_list() == [2]


# The same encoding for others

ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "tags": st.none() | st.lists(st.sampled_from(["a", "b", "c", "", "ü"]), max_size=5),
            "shop": st.none() | st.sampled_from(["x", "y", "z"]),
            "flag": st.none() | st.booleans(),
            "price": st.integers(-(10**6), 10**6).map(lambda cents: cents / 100),
        }
    ),
    min_size=1,
    max_size=12,
)
SCHEMA = {"item_id": pl.Int64, "tags": pl.List(pl.String), "shop": pl.String, "flag": pl.Boolean, "price": pl.Float64}


def table(rows, ids):
    return pl.DataFrame([{"item_id": i, **row} for i, row in zip(ids, rows, strict=True)], schema=SCHEMA)


def brute(features, rows):
    """An encoding value by value."""
    names, learned = features.names, {c.name: c for c in features.columns}
    out = np.zeros((len(rows), features.n_features))
    for i, row in enumerate(rows):
        for j, (_, column, value, _) in enumerate(names.iter_rows()):
            given, known = row[column], set(names.filter(pl.col("column") == column)["value"])
            if column == "price":
                out[i, j] = (given - learned[column].mean) / learned[column].spread
            elif column == "tags":
                kept = set(given or []) & known
                out[i, j] = len(kept) ** -0.5 if value in kept else 0
            else:
                out[i, j] = given is not None and str(given).lower() == value
    return out


@pytest.mark.filterwarnings("ignore::cofactor.CofactorWarning")
@settings(max_examples=60)
@given(ROWS, ROWS, st.randoms())
def test_any_table_is_encoded_as_value_by_value(rows, others, random):
    ids = random.sample(range(100), len(rows))
    try:
        features = cf.Features.from_frame(table(rows, ids))
    except cf.DataError as error:
        assert re.search("no column tells one item|cannot be standardized", str(error))  # noqa: PT017
        return
    assert features == restored(features)
    for asked in (rows, others):
        numbers = random.sample(range(100), len(asked))
        found = restored(features).encode(table(asked, numbers), cf.IdMap.from_values(numbers))
        found.check()
        wanted = brute(features, [row for _, row in sorted(zip(numbers, asked, strict=True), key=lambda pair: pair[0])])
        np.testing.assert_allclose(found.to_scipy().toarray(), wanted, rtol=1e-5, atol=1e-6)
        assert (np.square(wanted).sum(axis=1) <= 3 + np.square(wanted[:, -1]) + 1e-6).all()


def test_new_values_columns_and_ids_without_a_row_are_counted_once():
    features = cf.Features.from_frame(MOVIES)
    new = pl.DataFrame(
        {
            "item_id": [20, 21],
            "genres": [["drama", "opera"], ["opera", "noir"]],
            "country": ["de", "us"],
            "colour": [None, True],
            "year": [1990.5, 1990.5],
            "studio": ["a", "b"],
        }
    )
    with pytest.warns(cf.CofactorWarning) as caught:
        found = dense(features, new, cf.IdMap([20, 21, 22]))
    assert len(caught) == 1
    assert str(caught[0].message) == (
        "item_features: 1 of 3 items have no row in the table, and no features; values that were not there when "
        "features were learned are none: 3 of genres, 1 of country; columns of which nothing was learned are passed "
        "over: studio"
    )
    assert found.tolist() == [[1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 1, 0], [0] * 7]


def test_ids_that_interactions_do_not_know_are_there_as_new_ones():
    features = cf.Features.from_frame(MOVIES)
    new = features.new_ids(MOVIES, cf.IdMap(pl.Series([7, 8, 100], dtype=pl.UInt32)))
    assert new.ids.to_list() == [3, 9]
    assert new.dtype == pl.UInt32
    np.testing.assert_array_equal(dense(features, MOVIES, new), dense(features, MOVIES)[[0, 3]])
    assert len(features.new_ids(MOVIES, IDS)) == 0
    assert features.encode(MOVIES, features.new_ids(MOVIES, IDS)).shape == (0, 7)


@pytest.mark.parametrize("dtype", [pl.Int8, pl.Enum(["7", "8"])])
def test_new_ids_that_do_not_fit_are_an_error(dtype):
    text = pl.col("item_id").cast(pl.String) if dtype != pl.Int8 else pl.col("item_id") + 1000
    frame = MOVIES.with_columns(text)
    with pytest.raises(cf.DataError, match=r"ids such as .* do not fit into .*, the type of the known ids; cast"):
        cf.Features.from_frame(frame).new_ids(frame, cf.IdMap(pl.Series(["7", "8"]).cast(dtype)))


def test_interactions_are_widened_by_new_ids():
    x = cf.Interactions.from_frame({"user_id": [2, 2, 5], "item_id": [7, 8, 8]})
    wide = x.widened(items=cf.Features.from_frame(MOVIES).new_ids(MOVIES, x.items), users=cf.IdMap([1, 5, 9]))
    assert wide.items.ids.to_list() == [3, 7, 8, 9]
    assert wide.users.ids.to_list() == [1, 2, 5, 9]
    assert_frame_equal(wide.to_frame(), x.to_frame())
    assert x.widened().users == x.users
    with pytest.raises(cf.DataError, match=r"items: ids of String are added to ids of Int64; cast them"):
        x.widened(items=cf.IdMap(["a"]))


# What is refused

NUMBER = r"column 'x' is not a finite number in 1 of 3 rows, the first is {} in that of 1; replace such values"
REFUSED = {
    "no id": ({"x": [1, 2]}, r"no column item_id; the columns are x"),
    "users": (
        {"user_id": [1, 2], "x": [1, 2]},
        "no column item_id, but user_id: a table of users is given as user_fea",
    ),
    "a log": (
        {"user_id": [1, 2], "item_id": [1, 2]},
        "the table has item_id and user_id, as interactions have; featur",
    ),
    "ids twice": (
        {"item_id": [1, 2, 1], "x": [1, 2, 3]},
        r"2 rows share their item_id with others, the first is 1; each item has one row: bring its values together",
    ),
    "null ids": ({"item_id": [1, None], "x": [1, 2]}, r"1 null\(s\) in item_id, the first in row 1; drop or fill them"),
    "ids that are dates": (
        {"item_id": [date(2024, 1, 1)], "x": [1]},
        "item_id is a column of Date; ids are integer, te",
    ),
    "ids that are fractions": ({"item_id": [0.5, 1.0], "x": [1, 2]}, "item_id is a column of Float64; ids are"),
    "no columns": (
        {"item_id": [1, 2]},
        "no column tells one item from another: there is only item_id. Add columns, or l",
    ),
    "no rows": ({"item_id": pl.Series([], dtype=pl.Int64), "x": []}, "x: dropped, no row has a value. Add columns"),
    "null numbers": (
        {"item_id": range(3), "x": [1, None, 3]},
        r"column 'x' is null in 1 of 3 rows, the first is that of 1; fill it, such as table\.with_columns\(pl\.col",
    ),
    "NaN": ({"item_id": range(3), "x": [1.0, float("nan"), 3.0]}, NUMBER.format("nan")),
    "infinite": ({"item_id": range(3), "x": [1.0, -float("inf"), 3.0]}, NUMBER.format("-inf")),
    "giants": ({"item_id": range(2), "x": [1e308, -1e308]}, r"go from -1e\+308 to 1e\+308 and cannot be standardized"),
    "dates": ({"item_id": [1], "x": [date(2024, 1, 1)]}, r"'x' is Date; features are .*: .* pl\.col\('x'\)\.dt\.year"),
    "times": ({"item_id": [1], "x": [datetime(2024, 1, 1)]}, r"'x' is Datetime.*: .* pl\.col\('x'\)\.dt\.year"),
    "spans": ({"item_id": [1], "x": [timedelta(1)]}, r"'x' is Duration.*pl\.col\('x'\)\.dt\.total_seconds\(\)"),
    "clocks": ({"item_id": [1], "x": [time(3)]}, r"'x' is Time;.*pl\.col\('x'\)\.dt\.hour"),
    "structs": ({"item_id": [1], "x": [{"a": 1}]}, r"'x' is Struct.*table\.unnest\('x'\)"),
    "bytes": (
        {"item_id": [1], "x": [b"a"]},
        r"'x' is Binary; .*: cast it to text, or leave it out: table\.drop\('x'\)",
    ),
    "vectors": ({"item_id": [1], "x": [[0.5, 2.0]]}, r"'x' is List\(Float64\).* of a vector a column a number"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_features_is_an_error_that_tells_the_way_out(kind):
    columns, message = REFUSED[kind]
    with pytest.raises(cf.DataError, match=f"^item_features: .*{message}"):
        cf.Features.from_frame(pl.DataFrame(columns))


@pytest.mark.parametrize("frame", [None, 3, "items.csv", np.zeros(3), [1, 2]])
def test_what_is_no_table_is_an_error(frame):
    with pytest.raises(cf.DataError, match=r"^item_features: "):
        cf.Features.from_frame(frame)
    with pytest.raises(cf.DataError, match=r"^item_features: "):
        cf.Features.from_frame(MOVIES).encode(frame, IDS)


def test_a_table_of_other_columns_or_kinds_is_an_error():
    features = cf.Features.from_frame(MOVIES)
    for frame, message in (
        (MOVIES.drop("year", "colour"), "no column colour, year, of which features were learned; the columns are item"),
        (
            MOVIES.with_columns(year=pl.lit("old")),
            r"column 'year' holds text \(String\), and held numbers when its feat",
        ),
        (MOVIES.with_columns(country=pl.lit(3)), r"column 'country' holds numbers \(Int32\), and held text when"),
        (MOVIES.with_columns(year=pl.lit(None)), "column 'year' is null in 4 of 4 rows"),
        (MOVIES.with_columns(year=1e300), "column 'year' is 1e[+]300 in the row of 7, beyond all measure .*same unit"),
        (
            MOVIES.with_columns(pl.col("item_id") + 100),
            "none of the 4 items, such as 3, has a row in the table, whose fi",
        ),
        (MOVIES.with_columns(pl.col("item_id").cast(pl.String)), "item_id: ids of type String such as '7' were looked"),
    ):
        with pytest.raises(cf.DataError, match=f"^item_features: .*{message}"):
            features.encode(frame, IDS)
    nothing = MOVIES.with_columns(country=pl.lit(None), genres=pl.lit(None), colour=pl.lit(None))
    assert (dense(features, nothing)[:, :-1] == 0).all()


# Saved with a model


def test_a_model_keeps_its_features(interactions, tmp_path):
    class Featured(cf.Popular):
        def fit(self, interactions, *, progress=None):
            super().fit(interactions)
            self.item_features_, self.user_features_ = cf.Features.from_frame(MOVIES), None
            self.vectors_ = np.zeros((7, 2), np.float32)
            return self

        def _learned(self):
            told = {"item_features_": "features g or nothing", "user_features_": "features h or nothing"}
            return {**super()._learned(), **told, "vectors_": "float32 g f"}

    try:
        model = Featured().fit(interactions)
        model.save(tmp_path / "model")
        loaded = cf.load(tmp_path / "model")
        assert loaded.item_features_ == model.item_features_
        assert loaded.user_features_ is None
        assert np.array_equal(dense(loaded.item_features_, MOVIES), dense(model.item_features_, MOVIES))
        assert loaded.item_features_.notes == model.item_features_.notes
        model.vectors_ = np.zeros((6, 2), np.float32)
        model.save(tmp_path / "model")
        with pytest.raises(cf.ArtifactError, match=r"is damaged: DataError vectors_ is float32 of shape \(6, 2\)"):
            cf.load(tmp_path / "model")
    finally:
        del Recommender.registry["Featured"]


def damaged(description, arrays, kind, value):
    column = description["columns"][0]
    if kind in column:
        column[kind] = value
    elif kind in description:
        description[kind] = value
    else:
        arrays[kind] = value(arrays[kind])


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("kind", "colour"),
        ("kind", "number"),
        ("n_features", 3),
        ("n_features", 1),
        ("n_features", -1),
        ("n_features", True),
        ("mean", float("nan")),
        ("spread", 0),
        ("name", 3),
        ("of", "shop"),
        ("columns", []),
        ("text", lambda a: a[:-1]),
        ("text", lambda a: np.tile(a[:1], len(a))),
        ("text", lambda a: np.full_like(a, 255)),
        ("offsets", lambda a: a[:-1]),
        ("offsets", lambda a: a.astype(np.int32)),
        ("offsets", lambda a: a[[0, 2, 1, *range(3, len(a))]]),
        ("offsets", lambda a: a[:0]),
        ("counts", lambda a: a[:-1]),
        ("counts", lambda a: -a),
        ("counts", lambda a: np.append(a, 1)),
    ],
)
def test_damaged_features_are_an_error(kind, value):
    features = cf.Features.from_frame(MOVIES)
    description, arrays = features.description(), dict(features.arrays())
    damaged(description, arrays, kind, value)
    with pytest.raises(ValueError):  # noqa: PT011 - of any kind, which whoever loads tells as damage
        cf.Features.restored(description, arrays)

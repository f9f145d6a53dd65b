"""Saved interactions: the same ids and weights come back, whatever else is there is left alone, damage is told."""

import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import cofactor as cf
from cofactor.data.saved import INTERACTIONS
from cofactor.kernels.csr import CSR
from cofactor.system import saved_folder
from cofactor.system.arrays import mapped_arrays, write_arrays
from cofactor.system.folders import sha256

X = cf.Interactions.from_frame({"user_id": ["ann", "ann", "bo", "cy"], "item_id": [7, 8, 8, 2**60]})
TEST = pl.DataFrame({"user_id": ["bo", "cy"], "item_id": [7, 7], "stars": [5, 1], "tags": [["a"], None]})


@pytest.fixture
def folder(tmp_path):
    X.save(tmp_path / "shop", test=TEST)
    return tmp_path / "shop"


def file(folder, kind):
    return folder / INTERACTIONS.file_names(INTERACTIONS.read_header(folder))[kind]


def assert_same(found, wanted):
    for one, other in ((found.users, wanted.users), (found.items, wanted.items)):
        assert one == other
        assert one.dtype == other.dtype
    for part in ("indptr", "indices", "values"):
        one, other = (getattr(x.user_items, part) for x in (found, wanted))
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes()
    assert found.user_items.shape == wanted.user_items.shape


# The way there and back


def test_ratings_may_be_held_out(tmp_path):
    rated = cf.Ratings.from_frame({"user_id": ["bo", "cy"], "item_id": [7, 7], "rating": [0.0, -1.5]})
    X.save(tmp_path / "shop", test=rated)
    assert_frame_equal(cf.load_interactions(tmp_path / "shop").test, rated.to_frame())


IDS = st.one_of(
    *(
        st.lists(elements, min_size=1, max_size=8, unique=True).map(lambda ids, t=dtype: pl.Series(ids, dtype=t))
        for elements, dtype in (
            (st.integers(-(2**63), 2**63 - 1), pl.Int64),
            (st.integers(0, 2**64 - 1), pl.UInt64),
            (st.integers(-128, 127), pl.Int8),
            (st.text(st.characters(exclude_categories=["Cs"])), pl.String),
            (st.text("abc", max_size=3), pl.Categorical),
            (st.binary(max_size=9), pl.Binary),
        )
    )
)


@st.composite
def interactions(draw):
    """Any ids, empty rows and columns, weights of any size."""
    users, items = draw(IDS), draw(IDS)
    pairs = st.tuples(st.integers(0, len(users) - 1), st.integers(0, len(items) - 1))
    chosen = draw(st.lists(pairs, max_size=20, unique=True))
    weights = draw(
        st.lists(st.floats(2.0**-149, width=32, allow_infinity=False), min_size=len(chosen), max_size=len(chosen))
    )
    rows, columns = zip(*chosen, strict=True) if chosen else ((), ())
    return cf.Interactions(users, items, CSR.from_pairs(rows, columns, weights, (len(users), len(items))))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(x=interactions(), with_test=st.booleans(), verify=st.booleans())
def test_what_was_saved_comes_back(tmp_path, x, with_test, verify):
    test = x.to_frame().reverse() if with_test else None
    x.save(tmp_path / "shop", test=test)
    train, held_out = cf.load_interactions(tmp_path / "shop", verify=verify)
    assert_same(train, x)
    assert (held_out is None) == (test is None)
    if with_test:
        assert_frame_equal(held_out, test)


def test_enum_ids_keep_their_categories(tmp_path):
    ids = pl.Series(["b", "a"], dtype=pl.Enum(["b", "a", "c"]))
    x = cf.Interactions(ids, ids, CSR.from_pairs([0], [1], [2.0], (2, 2)))
    x.save(tmp_path / "shop")
    assert_same(cf.load_interactions(tmp_path / "shop").train, x)


def test_a_second_script_goes_on_where_the_first_ended(tmp_path):
    times = [datetime(2024, 1, 1) + timedelta(days=i % 9) for i in range(200)]
    rng = np.random.default_rng(0)
    log = pl.DataFrame({"who": rng.integers(0, 30, 200), "what": rng.integers(0, 20, 200), "at": times, "user_id": 1})
    train, test = cf.split.by_time(cf.read_events(log, user="who", item="what", time="at"), "3d")
    train.interactions().save(tmp_path / "shop", test=test)
    x, held_out = cf.load_interactions(tmp_path / "shop")
    assert held_out.columns == ["user_id", "item_id", "time"]
    assert_frame_equal(held_out, test.collect().select(user_id="who", item_id="what", time="at"))
    wanted = cf.evaluate(cf.Popular().fit(train), test, exclude_seen=False)
    assert_frame_equal(cf.evaluate(cf.Popular().fit(x), held_out, exclude_seen=False), wanted)


def test_what_was_held_out_may_be_a_table_of_any_library_or_interactions(tmp_path):
    for test, wanted in (
        (TEST, TEST),
        (TEST.lazy(), TEST),
        (TEST.drop("tags").to_pandas(), TEST.drop("tags")),
        ({"user_id": [1], "item_id": [2]}, pl.DataFrame({"user_id": [1], "item_id": [2]})),
        (X, X.to_frame()),
    ):
        X.save(tmp_path / "shop", test=test)
        assert_frame_equal(cf.load_interactions(tmp_path / "shop").test, wanted)
    X.save(tmp_path / "shop")
    assert cf.load_interactions(tmp_path / "shop").test is None
    assert len(list((tmp_path / "shop").iterdir())) == 4


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ({"user_id": [1]}, "test: no column item_id"),
        ({"user_id": [1, None], "item_id": [1, 2]}, r"test: 1 null\(s\) in user_id"),
        (3, "test: a table with user_id, item_id is expected, got int"),
        (
            pl.DataFrame({"user_id": [1], "item_id": [1], "o": pl.Series([object()], dtype=pl.Object)}),
            "test: column 'o' holds objects of Python, which no file can",
        ),
    ],
)
def test_what_cannot_be_held_out_is_an_error_and_leaves_nothing(tmp_path, test, message):
    with pytest.raises(cf.DataError, match=message):
        X.save(tmp_path / "shop", test=test)
    assert list(tmp_path.iterdir()) == []


def test_the_matrix_is_mapped_and_saved_over_itself(folder):
    x, test = cf.load_interactions(folder)
    assert not x.user_items.values.flags.writeable
    x.save(folder, test=test)
    assert_same(x, X)
    assert_same(cf.load_interactions(folder).train, X)
    assert len(list(folder.iterdir())) == 5


def test_the_header_and_the_files_tell_a_person_what_they_are(folder):
    header = json.loads((folder / "interactions.json").read_text())
    assert header["counts"] == {"users": 3, "items": 3, "interactions": 4, "test": 2}
    assert (header["format"], header["cofactor"]) == (1, cf.__version__)
    assert pl.read_parquet(file(folder, "users"))["id"].to_list() == ["ann", "bo", "cy"]
    assert_frame_equal(pl.read_parquet(file(folder, "test")), TEST)


# Whose folder it is


def test_a_model_and_interactions_do_not_take_each_other_for_their_own(folder, tmp_path):
    model = cf.Popular().fit(X)
    model.save(tmp_path / "model")
    told = "is not saved interactions: it has no interactions.json; it holds a saved model, which cofactor.load reads"
    with pytest.raises(cf.ArtifactError, match=told):
        cf.load_interactions(tmp_path / "model")
    told = "is not a saved model: it has no model.json; it holds saved interactions, which cofactor.load_interactions"
    with pytest.raises(cf.ArtifactError, match=told):
        cf.load(folder)
    with pytest.raises(
        cf.ArtifactError, match="exists and is not just saved interactions; choose another folder, noth"
    ):
        X.save(tmp_path / "model")
    with pytest.raises(cf.ArtifactError, match="exists and is not just a saved model; choose another folder, nothing"):
        model.save(folder)
    assert cf.load(tmp_path / "model").recommend().equals(model.recommend())
    assert_same(cf.load_interactions(folder).train, X)


OCCUPIED = {
    "a file": lambda at: at.write_text("precious"),
    "other things": lambda at: (at.mkdir(), (at / "notes.txt").write_text("precious")),
    "another tool's header": lambda at: (at.mkdir(), (at / "interactions.json").write_text('{"rows": "precious"}')),
    "tables of a user": lambda at: (at.mkdir(), TEST.write_parquet(at / "test.parquet")),
    "notes beside interactions": lambda at: (X.save(at), (at / "notes.txt").write_text("precious")),
    "a table beside damaged interactions": lambda at: (
        X.save(at),
        TEST.write_parquet(at / "users.parquet"),
        (at / "interactions.json").write_text('{"cofactor": '),
    ),
}


@pytest.mark.parametrize("kind", OCCUPIED)
def test_what_is_not_just_saved_interactions_is_never_replaced(tmp_path, kind):
    OCCUPIED[kind](tmp_path / "shop")
    before = {path: path.is_dir() or path.read_bytes() for path in tmp_path.rglob("*")}
    with pytest.raises(cf.ArtifactError, match="exists and is not just saved interactions; choose another folder"):
        X.save(tmp_path / "shop")
    assert {path: path.is_dir() or path.read_bytes() for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("step", [(saved_folder, "sha256"), (Path, "replace"), (pl.DataFrame, "write_parquet")])
def test_a_crash_leaves_what_was_there(folder, tmp_path, monkeypatch, step):
    def crash(*args, **kwargs):
        raise OSError("disk full")

    other = cf.Interactions.from_frame({"user_id": [1], "item_id": [1]})
    with monkeypatch.context() as patch:
        patch.setattr(*step, crash)
        for target in (folder, tmp_path / "new"):
            with pytest.raises(cf.ArtifactError, match=f"the interactions could not be written to {target}: disk full"):
                other.save(target)
    assert_same(cf.load_interactions(folder).train, X)
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]
    assert len(list(folder.iterdir())) == 5


# Damage


def edit_header(folder, **changes):
    header = json.loads((folder / "interactions.json").read_text())
    (folder / "interactions.json").write_text(json.dumps({**header, **changes}))


def rehash(folder):
    """Put the right hashes beside whatever the files hold now."""
    names = INTERACTIONS.file_names(INTERACTIONS.read_header(folder)).values()
    edit_header(folder, sha256={name: sha256(folder / name) for name in names})


@pytest.mark.parametrize("path", ["", "nowhere"])
def test_what_is_nothing_of_ours_is_refused(tmp_path, path):
    with pytest.raises(cf.ArtifactError, match=r"is not saved interactions: it has no interactions\.json$"):
        cf.load_interactions(tmp_path / path)


@pytest.mark.parametrize("kind", ["arrays", "users", "items", "test"])
def test_a_missing_or_changed_file_is_named(folder, kind):
    path = file(folder, kind)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(cf.ArtifactError, match=f"{path.name} is damaged: its sha256 is not the one in interactions.js"):
        cf.load_interactions(folder)
    path.unlink()
    with pytest.raises(cf.ArtifactError, match=f"incomplete: {path.name} is missing; save the interactions again"):
        cf.load_interactions(folder, verify=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "has format 2, this cofactor reads 1; upgrade cofactor or save the interactions again"),
        ({"sha256": {}}, "is damaged: sha256 names no file of arrays; save the interactions again"),
        ({"counts": {"users": 3, "items": 3}}, "is damaged: counts: interactions is None, not a whole number"),
        ({"counts": {"users": 4, "items": 3, "interactions": 4}}, r"users-\w+\.parquet holds 3 ids, .* counts 4"),
        ({"counts": {"users": 3, "items": 3, "interactions": 5}}, "there are 4 interactions, but the header counts 5"),
        (
            {"counts": {"users": 3, "items": 3, "interactions": 4, "test": 9}},
            "test has 2 rows, but the header counts 9",
        ),
    ],
)
@pytest.mark.parametrize("verify", [True, False])
def test_a_header_that_says_something_else_is_an_error(folder, change, message, verify):
    edit_header(folder, **change)
    with pytest.raises(cf.ArtifactError, match=message):
        cf.load_interactions(folder, verify=verify)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"format": 1}'])
def test_a_broken_header_is_an_error(folder, text):
    (folder / "interactions.json").write_text(text)
    with pytest.raises(cf.ArtifactError, match=r"is damaged: .*; save the interactions again"):
        cf.load_interactions(folder)


ARRAYS = {
    "offsets that descend": ("indptr", lambda a: a[[0, 2, 1, 3]]),
    "offsets of fewer users": ("indptr", lambda a: a[[0, 1, 3]]),
    "offsets of another type": ("indptr", lambda a: a.astype(np.int32)),
    "an item that there is not": ("indices", lambda a: a + 1),
    "items out of order": ("indices", lambda a: a[::-1].copy()),
    "a weight of 0": ("values", lambda a: a * 0),
    "a weight that is no number": ("values", lambda a: a * np.float32("nan")),
    "no weights": ("values", lambda a: None),
    "two axes": ("values", lambda a: a.reshape(-1, 1)),
}


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("verify", [True, False])
def test_a_matrix_that_is_not_what_it_must_be_is_an_error(folder, kind, verify):
    name, change = ARRAYS[kind]
    path = file(folder, "arrays")
    with path.open("rb") as opened:
        arrays = {n: a.copy() for n, a in mapped_arrays(opened).items()}
    arrays[name] = change(arrays[name])
    path.unlink()
    with path.open("wb") as opened:
        write_arrays(opened, {n: a for n, a in arrays.items() if a is not None})
    rehash(folder)
    with pytest.raises(cf.ArtifactError, match=r"is damaged: \w+ .*; save the interactions again"):
        cf.load_interactions(folder, verify=verify)


def test_a_held_out_table_without_its_columns_is_an_error(folder):
    TEST.drop("item_id").write_parquet(file(folder, "test"))
    rehash(folder)
    with pytest.raises(cf.ArtifactError, match="is damaged: DataError test: no column item_id"):
        cf.load_interactions(folder)


def test_saved_interactions_are_there_for_any_path(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in ("shop", Path("shop"), "~/shop"):
        assert_same(cf.load_interactions(path).train, X)
    shutil.rmtree(folder)
    X.save("~/shop")
    assert_same(cf.load_interactions(folder).train, X)

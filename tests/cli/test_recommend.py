import polars as pl
import pytest

import cofactor as cf

READERS = {
    ".parquet": pl.read_parquet,
    ".csv": pl.read_csv,
    ".jsonl": pl.read_ndjson,
    ".ndjson": pl.read_ndjson,
    ".arrow": pl.read_ipc,
    ".feather": pl.read_ipc,
}


@pytest.mark.parametrize("ending", READERS)
def test_writes_the_lists_in_the_format_of_the_name(model, run, tmp_path, ending):
    path = tmp_path / "new" / f"lists{ending}"
    expected = cf.load(model).recommend(k=3)
    shown = run("recommend", model, "-o", path, "-k", 3).stdout
    assert f"{expected.height // 3} lists, {expected.height} rows" in shown
    found = READERS[ending](path)
    assert (
        found.select("user_id", "item_id", "rank")
        .cast(pl.Int64)
        .equals(expected.select("user_id", "item_id", "rank").cast(pl.Int64))
    )
    assert list(path.parent.iterdir()) == [path]


def test_shows_the_first_rows(model, run):
    result = run("recommend", model, "-k", 5)
    assert f"{cf.load(model).interactions_.n_users * 5 - 20} more rows" in result.stdout


def test_users_items_and_repeats(model, run_json, tmp_path):
    (tmp_path / "users.txt").write_text("3\n\n1\n")
    pl.DataFrame({"item_id": [4, 5], "name": ["a", "b"]}).write_csv(tmp_path / "items.csv")
    found = run_json(
        "recommend", model, "--users", tmp_path / "users.txt", "--items", tmp_path / "items.csv", "--repeats"
    )
    rows = pl.DataFrame(found["rows"])
    assert rows["user_id"].to_list() == [3, 3, 1, 1]
    assert set(rows["item_id"]) == {4, 5}


def test_users_from_a_table_with_one_column(model, run_json, tmp_path):
    pl.DataFrame({"who": [7, 2]}).write_parquet(tmp_path / "users.parquet")
    rows = run_json("recommend", model, "--users", tmp_path / "users.parquet", "-k", 1)["rows"]
    assert [row["user_id"] for row in rows] == [7, 2]


def test_more_users_than_the_name_of_a_file_can_hold(model, run_json):
    rows = run_json("recommend", model, "--users", ",".join(["7"] * 300), "-k", 1)["rows"]
    assert len(rows) == 300


def test_text_ids_stay_texts(log, run, run_json, tmp_path):
    table = pl.read_parquet(log).with_columns(pl.col("user_id", "item_id").cast(pl.String))
    table.write_parquet(tmp_path / "log.parquet")
    run("train", tmp_path / "log.parquet", "-o", tmp_path / "m", "-m", "popular")
    assert run_json("recommend", tmp_path / "m", "--users", "7, 11", "-k", 1)["rows"][1]["user_id"] == "11"


@pytest.fixture
def text_model(tmp_path):
    """A model whose ids are texts that look like numbers."""
    table = pl.DataFrame(
        {"user_id": ["7", "007", "12"] * 3, "item_id": ["1", "01", "2", "2", "1", "01", "3", "3", "3"]}
    )
    cf.Popular().fit(table).save(tmp_path / "text")
    return tmp_path / "text"


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".txt", ".jsonl", ".parquet"])
def test_ids_in_files_take_the_type_of_the_model(text_model, model, run_json, tmp_path, ending):
    users = tmp_path / f"users{ending}"
    if ending in (".jsonl", ".parquet"):  # which say whether they are numbers
        table, wanted = pl.DataFrame({"user_id": [12, 7]}), ["12", "7"]
        table.write_ndjson(users) if ending == ".jsonl" else table.write_parquet(users)
    else:
        wanted = ["007", "12", "7"]
        users.write_text("\n".join([*([] if ending == ".txt" else ["user_id"]), *wanted, ""]))
    rows = run_json("recommend", text_model, "--users", users, "-k", 1, "--repeats")["rows"]
    assert [row["user_id"] for row in rows] == wanted
    pl.DataFrame({"user_id": ["7", "2"]}).write_parquet(tmp_path / "texts.parquet")
    rows = run_json("recommend", model, "--users", tmp_path / "texts.parquet", "-k", 1)["rows"]
    assert [row["user_id"] for row in rows] == [7, 2]


def test_items_of_options_take_the_type_of_the_model(text_model, run_json):
    rows = run_json("recommend", text_model, "--users", "007", "--items", "01,3", "--repeats")["rows"]
    assert {row["item_id"] for row in rows} == {"01", "3"}


def test_items_of_a_history_take_the_type_of_the_model(text_model, model, run, run_json, tmp_path):
    pl.DataFrame({"user_id": [100, 100], "item_id": [3, 2]}).write_csv(tmp_path / "new.csv")
    rows = run_json("recommend", text_model, "--history", tmp_path / "new.csv")["rows"]
    assert [row["item_id"] for row in rows] == ["01", "1"]
    pl.DataFrame({"user_id": ["a", "a"], "item_id": ["3", "2"]}).write_parquet(tmp_path / "new.parquet")
    rows = run_json("recommend", model, "--history", tmp_path / "new.parquet", "-k", 5)["rows"]
    assert len(rows) == 5
    assert not {row["item_id"] for row in rows} & {2, 3}
    pl.DataFrame({"user_id": ["a", "a"], "item_id": ["3", "x"]}).write_parquet(tmp_path / "bad.parquet")
    refused = run("recommend", model, "--history", tmp_path / "bad.parquet", expect=1).stderr
    assert "item 'x' is no whole number" in refused


@pytest.mark.parametrize("written", ["07", "+7", "-0"])
def test_ids_that_are_written_otherwise_are_other_ids(model, run, tmp_path, written):
    (tmp_path / "u.csv").write_text(f"user_id\n{written}\n")
    for users in (written, tmp_path / "u.csv"):
        refused = run("recommend", model, f"--users={users}", expect=1).stderr
        assert f"{written!r} is not how a whole number is written" in refused
        assert f"write {int(written)} if" in refused
    pl.DataFrame({"user_id": ["a"], "item_id": [written]}).write_parquet(tmp_path / "h.parquet")
    refused = run("recommend", model, "--history", tmp_path / "h.parquet", expect=1).stderr
    assert f"item {written!r} is no whole number in its usual form" in refused


def test_a_file_of_ids_without_a_header_loses_none(model, run, run_json, tmp_path):
    (tmp_path / "u.csv").write_text("7\n2\n")
    assert (
        "'7' is a user id; write user_id above"
        in run("recommend", model, "--users", tmp_path / "u.csv", expect=1).stderr
    )
    (tmp_path / "u.txt").write_bytes(b"\xef\xbb\xbf7\n2\n")
    rows = run_json("recommend", model, "--users", tmp_path / "u.txt", "-k", 1)["rows"]
    assert [row["user_id"] for row in rows] == [7, 2]
    (tmp_path / "u.txt").write_bytes(b"caf\xe9\n")
    assert "u.txt: not UTF-8" in run("recommend", model, "--users", tmp_path / "u.txt", expect=1).stderr


def test_quotes_in_a_file_of_ids_lose_no_rows(model, run_json, tmp_path):
    (tmp_path / "u.csv").write_text('user_id;name\n7;TV 24" LED\n2;x\n5;TV 28" LED\n3;y\n')
    rows = run_json("recommend", model, "--users", tmp_path / "u.csv", "-k", 1)["rows"]
    assert [row["user_id"] for row in rows] == [7, 2, 5, 3]


@pytest.mark.parametrize("option", ["--users", "--items"])
def test_no_ids_are_an_error(model, run, tmp_path, option):
    for nothing in ("", " , "):
        assert "holds no ids" in run("recommend", model, option, nothing, expect=2).stderr
    (tmp_path / "none.csv").write_text("user_id\n")
    (tmp_path / "none.txt").write_text("\n")
    for file in ("none.csv", "none.txt"):
        assert f"there are no {option[2:-1]} ids" in run("recommend", model, option, tmp_path / file, expect=1).stderr
    assert "holds no ids" in run("similar", model, "--items", "", expect=2).stderr


def test_unknown_users(model, run):
    assert "the first: 999" in run("recommend", model, "--users", "1,999", expect=1).stderr
    result = run("recommend", model, "--users", "1,999", "--unknown", "skip")
    assert result.stderr == "note: 1 of 2 user ids are not in the training data; skipped\n"
    assert "neither a file nor a whole number" in run("recommend", model, "--users", "ann", expect=1).stderr


def test_history_of_new_users(model, run_json, later):
    found = pl.DataFrame(run_json("recommend", model, "--history", later, "-k", 2)["rows"])
    events = cf.read_events(later, user="user_id", item="item_id")
    expected = cf.load(model).recommend_for(events.interactions(), k=2)
    assert found.select("user_id", "item_id").equals(expected.select("user_id", "item_id").cast(pl.Int64))


def test_history_brings_its_own_users(model, run, later):
    assert "leave out --users" in run("recommend", model, "--history", later, "--users", "1", expect=2).stderr


def test_similar(model, run, run_json, tmp_path):
    found = pl.DataFrame(run_json("similar", model, "--items", "5", "-k", 3)["rows"])
    expected = cf.load(model).similar_items([5], k=3)
    assert found["similar_item_id"].to_list() == expected["similar_item_id"].to_list()
    run("similar", model, "-k", 2, "-o", tmp_path / "s.csv")
    assert pl.read_csv(tmp_path / "s.csv").columns == ["item_id", "similar_item_id", "score", "rank"]
    assert "999" in run("similar", model, "--items", "999", expect=1).stderr


def test_a_model_without_similar_items(log, run, tmp_path):
    run("train", log, "-o", tmp_path / "m", "-m", "random")
    assert "no notion of similar items" in run("similar", tmp_path / "m", expect=1).stderr


@pytest.mark.parametrize("command", ["recommend", "similar"])
@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("lists.xlsx", "must end in one of .parquet"),
        ("file/lists.csv", "cannot be written"),
        ("folder.csv", "is a folder"),
    ],
)
def test_outputs_are_checked_before_the_model_is_read(run, tmp_path, command, output, message):
    (tmp_path / "file").touch()
    (tmp_path / "folder.csv").mkdir()
    assert message in run(command, tmp_path / "no-model", "-o", tmp_path / output, expect=1).stderr


def test_bad_parameters(model, run, tmp_path):
    assert "k must be a whole number of at least 1" in run("recommend", model, "-k", 0, expect=1).stderr
    (tmp_path / "two.csv").write_text("a,b\n1,2\n")
    assert "no column 'user_id'" in run("recommend", model, "--users", tmp_path / "two.csv", expect=1).stderr
    assert "not a saved model" in run("recommend", tmp_path, expect=1).stderr

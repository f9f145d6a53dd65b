"""A session competition on the command line: cut, train, submit, score; and pairs for a model of one's own."""

import json

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import cofactor as cf
from cofactor.retrieval.models import is_indexed

ROLES = ["--time", "time", "--event-type", "event_type"]
SESSIONS = ["--user", "session", "--session", "session", *ROLES]
MODEL = "history-rerank:item-pairs-mf:co-visitation"
PARAMS = ["-p", "item-pairs-mf.factors=8", "-p", "item-pairs-mf.epochs=2", "-p", "recent=3", "-p", "threads=1"]


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    path = tmp_path_factory.mktemp("sessions") / "log.parquet"
    return cf.datasets.synthetic_sessions(400, 120, path=path), path


@pytest.fixture(scope="module")
def folder(sessions, run):
    """Where train, test, labels, the model and the submission are."""
    folder = sessions[1].parent / "cut"
    run("cut", sessions[1], *SESSIONS, "-o", folder, "--seed", 3)
    run(
        "train", folder / "train.parquet", folder / "test.parquet", *ROLES, "-m", MODEL, *PARAMS, "-o", folder / "model"
    )
    run("submit", folder / "model", folder / "test.parquet", *ROLES, "-o", folder / "submission.csv")
    return folder


def test_cut_is_cut_sessions(sessions, folder):
    train, test, labels = cf.split.cut_sessions(sessions[0], "7d", seed=3)
    assert_frame_equal(pl.read_parquet(folder / "labels.parquet"), labels)
    for part, name in ((train, "train"), (test, "test")):
        found = pl.read_parquet(folder / f"{name}.parquet")
        wanted = part.collect().select(
            user_id="session", item_id="item_id", time="time", event_type=pl.col("event_type").cast(pl.String)
        )
        assert_frame_equal(found, wanted)


@pytest.mark.filterwarnings("ignore:.* sessions have more than last_events=100 events")
def test_the_model_is_that_of_the_library(folder):
    files = [folder / "train.parquet", folder / "test.parquet"]
    x = cf.read_events(files, user="user_id", item="item_id", time="time", event_type="event_type").interactions()
    parts = cf.ItemPairsMF(8, epochs=2, threads=1), cf.CoVisitation(threads=1)
    wanted = cf.HistoryRerank(*parts, recent=3).fit(x)
    found = cf.load(folder / "model")
    assert [repr(part) for part in found.models] == [repr(part) for part in parts]
    assert found.recent == 3
    table = pl.read_parquet(files[1])
    assert_frame_equal(found.recommend_for(table, k=5), wanted.recommend_for(table, k=5))


def test_submit_and_score_are_those_of_the_library(folder, run_json, tmp_path):
    model = cf.load(folder / "model")
    table = pl.read_parquet(folder / "test.parquet")
    cf.submission.write(cf.submission.lists_for(model, table), tmp_path / "wanted.csv")
    assert (folder / "submission.csv").read_bytes() == (tmp_path / "wanted.csv").read_bytes()
    labels = pl.read_parquet(folder / "labels.parquet")
    board = run_json("score", folder / "submission.csv", folder / "labels.parquet", "-k", "5,20")["scores"]
    wanted = cf.evaluate_by_type(cf.submission.read(folder / "submission.csv", dtype=pl.Int32), labels, (5, 20))
    assert_frame_equal(pl.DataFrame(board), wanted)
    assert board[-1]["recall"] > 0.2


def test_lists_in_a_table_are_scored_too(folder, run, run_json, tmp_path):
    lists = cf.load(folder / "model").recommend_for(pl.read_parquet(folder / "test.parquet"), 20, exclude_seen=False)
    submitted = run_json("score", folder / "submission.csv", folder / "labels.parquet")
    for ending in ("parquet", "csv"):
        path = tmp_path / f"lists.{ending}"
        lists.write_parquet(path) if ending == "parquet" else lists.write_csv(path)
        assert run_json("score", path, folder / "labels.parquet") == submitted
    weights = "clicks=1,carts=2,orders=3"
    told = run("score", tmp_path / "lists.csv", folder / "labels.parquet", "--weights", weights).stdout
    assert "total" in told


def test_an_index_is_saved_with_the_model(folder, run, tmp_path):
    files = [folder / "train.parquet", folder / "test.parquet"]
    run("train", *files, *ROLES, "-m", MODEL, *PARAMS, "--index", "-o", tmp_path / "model")
    assert is_indexed(cf.load(tmp_path / "model"))
    assert not is_indexed(cf.load(folder / "model"))
    run("submit", tmp_path / "model", files[1], *ROLES, "-o", tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_bytes() == (folder / "submission.csv").read_bytes()
    told = run("train", files[0], "-m", "item-knn", "--index", "-o", tmp_path / "other", expect=1).stderr
    assert "--index is for models of factors, and those made of such; item-knn has none" in told


def test_sessions_that_no_model_knows_have_popular_items(folder, run, tmp_path):
    """Of two types alone; their only item is one that training never saw."""
    pl.DataFrame({"user_id": [7], "item_id": [-5]}).write_parquet(tmp_path / "new.parquet")
    run("train", folder / "train.parquet", "-m", "item-knn", "-o", tmp_path / "m")
    options = ["-k", 3, "--types", "clicks,orders", "-o", tmp_path / "s.csv"]
    told = run("submit", tmp_path / "m", tmp_path / "new.parquet", *options)
    assert "1 of 1 rows have items that are not in the training data" in told.stderr
    rows = pl.read_csv(tmp_path / "s.csv")
    popular = pl.read_parquet(folder / "train.parquet").unique(["user_id", "item_id"])["item_id"].value_counts()
    popular = popular.sort(["count", "item_id"], descending=[True, False])["item_id"].head(3)
    assert rows["session_type"].to_list() == ["7_clicks", "7_orders"]
    assert rows["labels"].unique().to_list() == [" ".join(map(str, popular))]


def test_sessions_without_a_list_are_in_order(folder, run, tmp_path):
    ids = pl.int_range(5000, eager=True).shuffle(seed=1)
    pl.DataFrame({"user_id": ids, "item_id": [-5] * 5000}).write_parquet(tmp_path / "new.parquet")
    run("train", folder / "train.parquet", "-m", "item-knn", "-o", tmp_path / "m")
    run("submit", tmp_path / "m", tmp_path / "new.parquet", "-k", 3, "--types", "x", "-o", tmp_path / "s.csv")
    assert pl.read_csv(tmp_path / "s.csv")["session_type"].to_list() == [f"{id}_x" for id in range(5000)]


def test_events_without_a_session_are_left_out_of_a_submission(folder, run, tmp_path):
    table = pl.read_parquet(folder / "test.parquet")
    extra = table.head(3).with_columns(user_id=pl.lit(None, table.schema["user_id"]))
    both = pl.concat([extra, table]).rename({"user_id": "visit"}).with_columns(person=pl.lit(1))
    both.write_parquet(tmp_path / "events.parquet")
    told = run(
        "submit", folder / "model", tmp_path / "events.parquet", "--user", "person", "--session", "visit",
        *ROLES, "-o", tmp_path / "s.csv",
    )  # fmt: skip
    assert "3 events have no session, null in visit; left out" in told.stderr
    assert (tmp_path / "s.csv").read_bytes() == (folder / "submission.csv").read_bytes()


@pytest.mark.parametrize("header", ["session_type,labels\n", "user_id,item_id,rank\n"])
def test_lists_that_are_no_text_are_told_with_their_path(folder, run, tmp_path, header):
    (tmp_path / "lists.csv").write_bytes(header.encode() + b"1_clicks,\xff\xfe,1\n")
    told = run("score", tmp_path / "lists.csv", folder / "labels.parquet", expect=1).stderr
    assert str(tmp_path / "lists.csv") in told


def test_pairs_are_those_of_the_library(sessions, run_json, tmp_path):
    out = tmp_path / "pairs.parquet"
    options = ["--window", 2, "--max-gap", "10m", "--both", "--types", "clicks,carts", "--last-events", 50]
    told = run_json("pairs", sessions[1], *SESSIONS, *options, "--type-weights", "clicks=1,carts=6", "-o", out)
    wanted = sessions[0].sessions().pairs(
        2, max_gap="10m", direction="both", types=["clicks", "carts"], type_weights={"clicks": 1, "carts": 6},
        repeats=False, last_events=50,
    )  # fmt: skip
    found = pl.read_parquet(out)
    assert told["pairs"] == found.height == wanted.n_pairs
    assert found["item"].to_list() == wanted.items.tolist()
    assert found["next_item"].to_list() == wanted.next_items.tolist()
    assert found["weight"].to_list() == wanted.weights.tolist()
    ids = pl.read_parquet(told["items_output"])["item_id"]
    assert ids.to_list() == wanted.item_ids.ids.to_list()
    assert cf.PairLoader(out, columns=("item", "next_item")).n_pairs == wanted.n_pairs
    weights = ["--type-weights", "clicks=1,carts=6", "--memory-limit", "1MB"]
    run_json("pairs", sessions[1], *SESSIONS, *options, *weights, "-o", tmp_path / "again.parquet")
    assert pl.read_parquet(tmp_path / "again.parquet").equals(found)


def test_the_log_of_otto(run, tmp_path):
    lines = []
    for session in range(40):
        events = [{"aid": (session + at) % 7, "ts": 1_700_000_000_000 + 20_000_000 * session + at, "type": "clicks"}
                  for at in range(4)]  # fmt: skip
        lines.append(json.dumps({"session": session, "events": events}))
    (tmp_path / "log.txt").write_text("\n".join(lines))
    run("cut", tmp_path / "log.txt", "--format", "otto", "--test", "2d", "-o", tmp_path / "cut")
    assert pl.read_parquet(tmp_path / "cut" / "labels.parquet").columns == ["user_id", "item_id", "event_type"]


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (["cut", "LOG", "--user", "session", "-o", "OUT", "--time", "time"], 1, "name their column: --event-type"),
        (["cut", "LOG", *SESSIONS, "-o", "OUT", "--next-only", "views"], 1, "there are no events of ['views']"),
        (["cut", "LOG", *SESSIONS, "-o", "OUT", "--test", "900d"], 1, "train would be empty"),
        (["pairs", "LOG", *SESSIONS, "-o", "OUT.csv"], 1, "must end in one of .parquet"),
        (["pairs", "LOG", *SESSIONS, "-o", "OUT.parquet", "--window", "0"], 1, "window must be a whole number"),
        (["pairs", "LOG", *SESSIONS, "-o", "OUT.parquet", "--type-weights", "x"], 2, "give a number for every type"),
        (["submit", "MODEL", "TEST", *ROLES, "-o", "OUT.txt"], 1, "must end in one of .csv"),
        (
            ["submit", "MODEL", "TEST", *ROLES, "-o", "OUT.csv", "-k", "500"],
            1,
            "-k 500: the model knows 120 items; take",
        ),
        (["score", "MISSING.csv", "LABELS"], 1, "MISSING.csv"),
        (["score", "SUBMISSION", "MISSING.csv"], 1, "MISSING.csv"),
        (
            ["cut", "LOG", "--format", "otto", "-o", "OUT", "--item", "aid", "--null-value", "NA"],
            2,
            "--format otto has columns of its own; leave out --item, --null-value",
        ),
        (["submit", "LOG", "TEST", *ROLES, "-o", "OUT.csv"], 1, "LOG"),
        (["score", "SUBMISSION", "LOG"], 1, "there is no column user_id"),
        (["score", "LOG", "LABELS"], 1, "user_id"),
        (["score", "SUBMISSION", "LABELS", "-k", "many"], 1, "-k many: give a number of places"),
        (["score", "SUBMISSION", "LABELS", "--weights", "clicks"], 2, "--weights clicks: give a number for every type"),
        (["score", "SUBMISSION", "LABELS", "--weights", "clicks=1"], 1, "there are rows of type"),
        (["train", "LOG", *SESSIONS, "-o", "OUT", "-m", "history-rerank"], 2, "history-rerank needs models"),
        (["train", "LOG", *SESSIONS, "-o", "OUT", "-m", "history-rerank:als", "-p", "x=1"], 2, "recent, neighbours"),
        (["train", "LOG", *SESSIONS, "-o", "OUT", "-m", "history-rerank:popular"], 1, "has none"),
    ],
)
def test_what_goes_wrong_is_told(sessions, folder, run, tmp_path, command, code, message):
    names = {"LOG": sessions[1], "OUT": tmp_path / "out", "OUT.csv": tmp_path / "o.csv", "OUT.txt": tmp_path / "o.txt"}
    names |= {"OUT.parquet": tmp_path / "o.parquet", "MODEL": folder / "model", "TEST": folder / "test.parquet"}
    names |= {"MISSING.csv": tmp_path / "missing.csv"}
    names |= {"SUBMISSION": folder / "submission.csv", "LABELS": folder / "labels.parquet"}
    told = run(*(names.get(word, word) for word in command), expect=code).stderr
    assert str(names.get(message, message)) in " ".join(told.split())
    assert not list(tmp_path.iterdir())

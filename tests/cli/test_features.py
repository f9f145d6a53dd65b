"""Files of features, as options of the commands that fit models."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import cofactor as cf

MF = ["-p", "factors=4", "-p", "epochs=2", "-p", "loss=bpr", "-p", "score=dot", "-p", "learning_rate=0.05"]


@pytest.fixture(scope="module")
def films(log):
    items = pl.read_parquet(log)["item_id"].unique().sort()
    path = log.with_name("films.csv")
    pl.DataFrame({"item_id": items, "genre": [f"g{n % 3}" for n in range(len(items))]}).write_csv(path)
    return path


def test_a_model_is_trained_with_features(log, films, run, tmp_path):
    run("train", log, "-o", tmp_path / "m", "-m", "popular+sampled-mf", *MF, "--item-features", films)
    model = cf.load(tmp_path / "m")
    wanted = cf.Fallback(cf.Popular(), cf.SampledMF(4, epochs=2, loss="bpr", score="dot", learning_rate=0.05))
    wanted.fit(pl.read_parquet(log), item_features=pl.read_csv(films))
    assert model.models[1].item_features_.n_features == 3
    assert_frame_equal(model.recommend(k=9), wanted.recommend(k=9))


def test_a_comparison_gives_them_to_whom_they_say_something(log, films, run_json):
    options = ["--test", "9d", "--time", "time", "--repeats", *MF]
    with_them, without = (
        {
            row["model"]: row["ndcg@10"]
            for row in run_json("compare", log, "--models", "popular,sampled-mf", *options, *more)["leaderboard"]
        }
        for more in (["--item-features", films], [])
    )
    assert with_them["popular"] == without["popular"]
    assert with_them["sampled-mf"] != without["sampled-mf"]


def test_a_search_and_the_whole_choice(log, films, run, run_json, tmp_path):
    options = ["--time", "time", "--item-features", films]
    space = ["--space", "factors=2,4", "--method", "grid", "--save", tmp_path / "m"]
    found = run_json("tune", log, "-m", "sampled-mf", *MF[2:], *space, *options, "--repeats")
    assert cf.load(tmp_path / "m").item_features_ is not None
    assert len(found["trials"]) == 2
    found = run_json("auto", log, *options, "--budget", "0.001s")
    assert "SampledMF with features" in [row["model"] for row in found["leaderboard"]]


def test_what_cannot_be(log, films, run, tmp_path):
    out = ["-o", tmp_path / "m"]
    for command, told in (
        (["train", log, *out, "-m", "als", "--item-features", films], "--item-features: als learns nothing from it"),
        (["train", log, *out, "-m", "sampled-mf", "--user-features", films], "user_features: no column user_id"),
        (["compare", log, "--models", "als,popular", "--item-features", films], "als and popular learn nothing"),
        (["train", log, *out, "-m", "sampled-mf", "--item-features", tmp_path / "none.csv"], "none.csv"),
    ):
        assert told in " ".join(run(*command, expect=1).stderr.split())

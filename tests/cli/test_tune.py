import polars as pl
import pytest

import cofactor as cf

SPACE = ["--space", "regularization=1,10,100", "--method", "grid"]


def test_tune_prints_the_best_and_saves_the_model(log, run, tmp_path):
    options = ["--time", "time", "--model", "ease", *SPACE, "--save", tmp_path / "m"]
    shown = run("tune", log, *options).stdout
    for text in ("The best trials", "best ndcg@10", "with", "regularization=", "the last tenth of the events by time"):
        assert text in shown
    model = cf.load(tmp_path / "m")
    assert isinstance(model, cf.EASE)
    assert model.interactions_.nnz == cf.read_events(log, user="user_id", item="item_id").interactions().nnz


def test_json_and_the_final_score(log, run_json, tmp_path):
    options = ["--time", "time", "--model", "ease", *SPACE, "--test", "9d", "--valid", "9d", "--repeats"]
    found = run_json("tune", log, *options, "--metric", "recall@5", "--folder", tmp_path / "s")
    train, test = cf.split.by_time(cf.read_events(log, user="user_id", item="item_id", time="time"), "9d")
    study = cf.tune(
        cf.EASE, train, metric="recall@5", space={"regularization": [1.0, 10.0, 100.0]}, method="grid",
        valid="9d", exclude_seen=False,
    )  # fmt: skip
    assert found["best"] == {"metric": "recall@5", "value": study.best_value, "parameters": study.best_params}
    assert found["test"] == study.score(test.pairs()).to_dicts()
    assert [row["value"] for row in found["trials"]] == study.trials["value"].to_list()
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == ["readings.jsonl", "study.json", "trials.jsonl"]


def test_names_of_models_and_spaces_of_their_own(log, run_json, tmp_path):
    found = run_json(
        "tune", log, "--model", "ials", "-p", "iterations=2", "--space", "factors=2..6", "--space",
        "regularization=none,0.1", "--trials", 3, "--method", "random", "--valid", "20%",
    )  # fmt: skip
    assert found["validation"].startswith("0.2 of every user's items")
    assert found["trials"][1]["factors"] in range(2, 7)
    (tmp_path / "space.toml").write_text("regularization = [5.0]\ndropout = {low = 0.0, high = 0.5}\n")
    found = run_json("tune", log, "--model", "ease", "--space", tmp_path / "space.toml", "--method", "grid")
    assert [row["dropout"] for row in found["trials"]] == [0.0, 0.25, 0.5]
    chain = ["--model", "personal-popular+popular", "--space", "popular.by=users,weight", "--method", "grid"]
    assert [row["Popular.by"] for row in run_json("tune", log, *chain)["trials"]] == ["users", "weight"]


@pytest.mark.parametrize(
    ("options", "message", "code"),
    [
        (["--model", "eaze"], "there is no model 'eaze'; did you mean ease?", 2),
        (["--space", "factor=3"], "there is no such parameter; did you mean factors?", 2),
        (["--space", "factors"], "--space factors: write NAME=VALUE", 2),
        (["--space", "factors=a,b"], "--space factors=a,b: a whole number is expected", 2),
        (["--space", "factors=0,5"], "0 is not allowed", 1),
        (["--space", "no.toml"], "--space no.toml", 2),
        (["--metric", "ndgc@3"], "did you mean ndcg@3?", 1),
        (["--budget", "soon"], "--budget soon; it must be a positive number with a unit", 1),
    ],
)
def test_bad_options(log, run, options, message, code):
    result = run("tune", log, *options, expect=code, env={"COLUMNS": "1000"})
    assert message in result.stderr


def test_a_full_folder_is_told_before_the_search(log, run, tmp_path):
    pl.DataFrame({"a": [1]}).write_csv(tmp_path / "a.csv")
    result = run("tune", log, "--save", tmp_path, expect=1)
    assert "The best trials" not in result.stdout


def test_a_share_may_be_written_as_a_number(log, run_json):
    found = run_json("tune", log, "--model", "ease", *SPACE, "--valid", "0.2")
    assert found["validation"].startswith("0.2 of every user's items")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--space", "ease.regularization=1,10", "--space", "regularization=5"],
            "--space ease.regularization is given",
        ),
        ([*SPACE, "-p", "dropout=0.1", "-p", "dropout=0.2"], "--param dropout is given twice, as 0.1 and as 0.2"),
    ],
)
def test_what_is_given_twice_is_refused(log, run, options, message):
    stderr = run("tune", log, "--model", "ease", *options, expect=2).stderr
    assert message in " ".join(stderr.split())


def test_both_names_of_a_model_go_before_its_parameters(log, run_json):
    found = run_json(
        "tune", log, "-m", "als", "-p", "ials.iterations=2", "--space", "ials.factors=2,3", "--method", "grid"
    )
    assert [row["factors"] for row in found["trials"]] == [2, 3]
    assert "iterations=2" in found["model"]


def test_a_typo_in_a_parameter_of_ials_is_told(log, run):
    stderr = run("tune", log, "--model", "ials", "-p", "factor=2", expect=2).stderr
    assert "there is no such parameter; als has factors" in " ".join(stderr.split())

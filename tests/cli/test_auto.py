import cofactor as cf


def test_auto_prints_a_leaderboard_and_saves_the_model(log, run, run_json, tmp_path):
    options = ["--time", "time", "--budget", "2s", "--test", "9d"]
    shown = run("auto", log, *options, "--save", tmp_path / "m", "--report", tmp_path / "r.html").stdout
    for text in (
        "Leaderboard (validation)",
        "history of late",
        "On the test (9d)",
        f"Model written to {tmp_path / 'm'}",
    ):
        assert text in shown
    model = cf.load(tmp_path / "m")
    page = (tmp_path / "r.html").read_text()
    for text in ("history of late", "On the test", "9d, fitted on all that is not in it", "Parameters", "half_life="):
        assert text in page
    train, _ = cf.split.by_time(cf.read_events(log, user="user_id", item="item_id", time="time"), "9d")
    assert model.interactions_.nnz == train.interactions().nnz
    found = run_json("auto", log, "--time", "time", "--budget", "1s", "--new", "--metric", "recall@5")
    assert not found["repeats"]
    assert found["leaderboard"][0]["recall@5"] > 0


def test_bad_options(log, run, tmp_path):
    assert "--budget soon; it must be" in run("auto", log, "--budget", "soon", expect=1).stderr
    (tmp_path / "a.txt").write_text("mine")
    assert "is not just a saved model" in run("auto", log, "--save", tmp_path, expect=1).stderr

import json

import polars as pl
import pytest

FILE = """\
seed = 1

[data]
path = "log.parquet"
time = "time"

[split]
kind = "by_time"
test = "28d"

[models.popular]
class = "Popular"

[models.als]
class = "ImplicitALS"
factors = 4
iterations = 2
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "shop.toml"
    path.write_text(FILE)
    return path


def test_run_prints_a_leaderboard_and_writes_the_results(file, log, run, tmp_path):
    result = run("run", file, "--data", log.parent)
    for name in ("shop", "popular", "als", "recall@10", "ndcg@10", "map@10", "fit s"):
        assert name in result.stdout
    folder = tmp_path / "shop-results"
    assert result.stdout.splitlines()[-1] == f"Results written to {folder}"
    assert pl.read_parquet(folder / "results.parquet")["model"].sort().to_list() == ["als", "popular"]
    assert "were in the training data and are left out" in result.stderr


def test_options_take_the_place_of_what_the_file_says(file, log, run_json, tmp_path):
    options = ["--data", log.parent, "--out", tmp_path / "o", "--models", "als, popular", "--seed", 7]
    found = run_json("run", file, *options)
    assert found["facts"]["seed"] == 7
    assert found["folder"] == str(tmp_path / "o")
    made = {row["model"]: row["made"] for row in found["results"]}
    assert "seed=7" in made["als"]
    assert list(run_json("run", file, *options[:4], "--models", "popular")["results"][0])[:2] == ["model", "recall@10"]
    page = pl.read_parquet_metadata(tmp_path / "o" / "results.parquet")["cofactor_run"]
    assert json.loads(page)["data sha256"].keys() == {"log.parquet"}


def test_check_runs_nothing(file, log, run, run_json, tmp_path):
    shown = run("run", file, "--check", "--data", log.parent).stdout
    assert "ImplicitALS(factors=4" in shown
    found = run_json("run", file, "--check", "--data", log.parent, "--models", "als", "--seed", 5)
    assert found["files"] == 1
    assert "seed=5" in found["models"]["als"]
    assert list(tmp_path.iterdir()) == [file]
    assert "line 4, [data]" in run("run", file, "--check", expect=1).stderr  # there is no log beside the file


def test_what_is_wrong_is_one_line(file, log, run, tmp_path):
    file.write_text(FILE.replace("factors", "factor"))
    for option in ([], ["--check"]):
        told = run("run", file, "--data", log.parent, *option, expect=1).stderr
        assert told.startswith(f"error: {file}, line 16, [models.als]: there is no key 'factor'; did you mean factors?")
        assert len(told.splitlines()) == 1
    file.write_text(FILE)
    assert "has no model 'al'; did you mean als?" in run("run", file, "--models", "al", expect=1).stderr
    assert "cannot be read" in run("run", tmp_path / "none.toml", expect=1).stderr


def test_a_model_that_fails_does_not_lose_the_others(file, log, run, tmp_path):
    file.write_text(FILE + '[models.broken]\nclass = "SampledMF"\ncategory = "colour"\n')
    result = run("run", file, "--data", log.parent, expect=1)
    assert "model 'broken' failed" in result.stderr
    assert "als" in result.stdout
    assert pl.read_parquet(tmp_path / "shop-results" / "results.parquet")["error"].null_count() == 2


def test_a_report_is_written_where_the_file_asks_for_it(file, log, run, tmp_path):
    file.write_text(FILE + "[output]\nreport = true\n")
    told = run("run", file, "--data", log.parent).stderr
    assert "no leaks found" in told
    page = (tmp_path / "shop-results" / "report.html").read_text()
    assert "<h1>shop</h1>" in page
    assert "Long tail" in page
    file.write_text(
        FILE.replace('kind = "by_time"\ntest = "28d"', 'kind = "k_fold"\nk = 2') + "[output]\nreport = true\n"
    )
    told = run("run", file, "--data", log.parent).stderr
    assert "fold 2: " in told
    page = (tmp_path / "shop-results" / "report.html").read_text()
    assert "popular" in page
    assert "Long tail" not in page
    assert "fold 2" in (tmp_path / "shop-results" / "results.md").read_text()


def test_a_report_is_written(file, log, run, tmp_path):
    file.write_text(FILE + '[models.broken]\nclass = "SampledMF"\ncategory = "colour"\n')
    run("run", file, "--data", log.parent, "--report", tmp_path / "r.html", expect=1)
    page = (tmp_path / "r.html").read_text()
    for told in ("against ", "Long tail", "For whom, and for what", "test_reads", "colour", "data sha256"):
        assert told in page
    assert "must end in" in run("run", file, "--report", "r.pdf", expect=1).stderr


def test_folds_have_a_report_too(file, log, run, tmp_path):
    file.write_text(FILE.replace('kind = "by_time"\ntest = "28d"', 'kind = "k_fold"\nk = 2'))
    run("run", file, "--data", log.parent, "--report", tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "ndcg@10_std" in page
    assert "For whom" not in page

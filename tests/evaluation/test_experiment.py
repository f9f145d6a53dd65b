"""A run from one file: what it finds, what it writes down, and what it says of a file that is wrong."""

import hashlib
import json
import shutil
from pathlib import Path

import polars as pl
import pytest

import cofactor as cf
from cofactor.errors import CofactorError, DataError, ParameterError
from cofactor.evaluation.experiment import Experiment
from cofactor.models.sampled.training import Training

# Pairs of test that were in training, and items that only test has, are told of in warnings.
pytestmark = pytest.mark.filterwarnings("ignore::cofactor.CofactorWarning")

FILE = """\
name = "A shop"
seed = 3
threads = 1

[data]
path = "log.parquet"
time = "time"
event_type = "event_type"
filter = "item_id > 2"
weight = {constant = 1, types = {view = 1, cart = 10, order = 10}, cap = 40}

[split]
kind = "by_time"
test = "28d"

[evaluate]
metrics = ["recall@5", "ndcg@5"]

[models.popular]
class = "Popular"

[models.als]
class = "ImplicitALS"
factors = 4
iterations = 2
chosen = "a guess"
test_reads = 2

[models.chain]
class = "Fallback"
models = [
  {class = "PersonalPopular"},
  {class = "Popular", window = "10d"},
]

[[published]]
name = "Someone"
values = [0.9, 0.8]
tuned_on_test = "yes"
source = "a paper"
"""


@pytest.fixture(scope="module")
def log(shop):
    return shop


@pytest.fixture
def file(log, tmp_path):
    """A way to write the file with some of its text replaced; the log is beside it."""
    log.collect().write_parquet(tmp_path / "log.parquet")

    def write(*changes, text=FILE):
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        path = tmp_path / "shop.toml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def run(file):
    def call(*changes, text=FILE, **options):
        return cf.run_experiment(file(*changes, text=text), progress=False, **options)

    return call


def test_a_run_is_what_compare_finds(run, log):
    """The file says the same as these lines of Python."""
    found = run().table
    train, test = cf.split.by_time(log.filter(pl.col("item_id") > 2), "28d")
    weight = cf.weights.capped(1 + cf.weights.by_type({"view": 1, "cart": 10, "order": 10}).sum(), 40)
    models = {
        "popular": cf.Popular(threads=1),
        "als": cf.ImplicitALS(4, iterations=2, seed=3, threads=1),
        "chain": cf.Fallback(cf.PersonalPopular(), cf.Popular(window="10d", threads=1)),
    }
    board = cf.compare(models, train, test, ["recall@5", "ndcg@5"], weight=weight, intervals=True)
    both = ["model", "recall@5", "ndcg@5", "recall@5_low", "ndcg@5_high"]
    assert found.select(both).equals(board.select(both))
    assert dict(found.select("model", "made").iter_rows()) == {name: repr(model) for name, model in models.items()}
    assert found["folds"].to_list() == [1, 1, 1]
    assert found["error"].null_count() == 3


def test_the_results_say_how_to_run_it_again(run, tmp_path):
    result = run()
    folder = tmp_path / "shop-results"
    assert {path.name for path in folder.iterdir()} == {
        "results.parquet", "results.md", "experiment.toml", "readings.jsonl",
    }  # fmt: skip
    assert (folder / "experiment.toml").read_text() == FILE
    assert pl.read_parquet(folder / "results.parquet").equals(result.table)
    facts = json.loads(pl.read_parquet_metadata(folder / "results.parquet")["cofactor_run"])
    assert (facts["seed"], facts["threads"], facts["cofactor"]) == (3, 1, cf.__version__)
    digest = hashlib.sha256((tmp_path / "log.parquet").read_bytes()).hexdigest()
    assert facts["data sha256"] == {"log.parquet": digest}
    assert facts["polars"] == pl.__version__
    page = (folder / "results.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("|")]
    assert rows[0] == [
        "model",
        "recall@5",
        "ndcg@5",
        "tuned on test",
        "parameters chosen on",
        "test read n times",
        "fit s",
    ]
    assert rows[2] == ["Someone", "0.9000", "0.8000", "yes", "", "", ""]
    als = next(row for row in rows if row[0] == "**als**")
    assert als[3:6] == ["no", "a guess", "3"]
    assert next(row for row in rows if row[0] == "**chain**")[4:6] == ["as given", "1"]
    assert digest in page
    assert "Someone: a paper" in page


def test_runs_are_equal_and_a_seed_changes_them(run, tmp_path):
    timeless = pl.exclude("^.*_seconds$")
    one, other = (run(out=tmp_path / name).table.select(timeless) for name in "ab")
    assert one.equals(other)
    seeded = run(out=tmp_path / "c", seed=4, models=["als"]).table
    assert seeded["model"].to_list() == ["als"]
    assert "seed=4" in seeded["made"][0]
    assert seeded["ndcg@5"][0] != one.filter(model="als")["ndcg@5"][0]


def test_what_a_model_says_of_its_seed_stays(run):
    made = run(("iterations = 2", "iterations = 2\nseed = 11"), models=["als"], seed=4).table["made"][0]
    assert "seed=11, threads=1" in made


def test_a_model_that_fails_is_a_row(run, tmp_path):
    model = 'class = "SampledMF"\ncategory = "colour"\n'
    result = run(("[[published]]", f"[models.broken]\n{model}\n[[published]]"))
    assert list(result.failed) == ["broken"]
    assert result.table["model"].to_list()[-1] == "broken"
    row = result.table.row(by_predicate=pl.col("model") == "broken", named=True)
    assert row["error"] == result.failed["broken"]
    assert row["recall@5"] is None
    assert row["test_reads"] == 0
    assert result.table["recall@5"].null_count() == 1
    assert row["error"] in (tmp_path / "shop-results" / "results.md").read_text()


@pytest.mark.parametrize(
    ("split", "n"),
    [
        ('kind = "by_time"\ntest = ["14d", "28d"]', 2),
        ('kind = "random"\nfraction = 0.2\nseed = [0, 1, 2]', 3),
        ('kind = "k_fold"\nk = 4', 4),
        ('kind = "leave_last"', 1),
        ('kind = "leave_last"\nn = 3', 1),
    ],
)
def test_splits(run, log, split, n):
    found = run(('kind = "by_time"\ntest = "28d"', split), models=["popular", "als"]).table
    assert found["folds"].to_list() == [n, n]
    assert ("recall@5_std" in found.columns) == (n > 1)
    if n == 3:
        folds = [cf.split.random(log.filter(pl.col("item_id") > 2), 0.2, seed) for seed in range(3)]
        mean = cf.cross_validate(cf.Popular(), None, folds, "recall@5", progress=False)["mean"][0]
        assert found.filter(model="popular")["recall@5"][0] == pytest.approx(mean, abs=1e-12)


def test_users_that_train_does_not_know_are_folded_in(run, log):
    split = 'kind = "cold_users"\nfraction = 0.3\nhistory_fraction = 0.5'
    found = run(('kind = "by_time"\ntest = "28d"', split), models=["als"]).table
    parts = cf.split.cold_users(log.filter(pl.col("item_id") > 2), 0.3, 3, 0.5)
    weight = cf.weights.capped(1 + cf.weights.by_type({"view": 1, "cart": 10, "order": 10}).sum(), 40)
    model = cf.ImplicitALS(4, iterations=2, seed=3).fit(parts.train.interactions(weight))
    lists = model.recommend_for(parts.history, k=5, exclude_seen=True)
    new = parts.test.pairs().join(parts.history.pairs(), on=["user_id", "item_id"], how="anti")
    assert new.height < parts.test.pairs().height
    assert found["recall@5"][0] == cf.evaluate(lists, new, "recall@5")["value"][0]


def test_a_test_file_takes_the_place_of_a_split(run, log, tmp_path):
    train, test = cf.split.by_time(log, "28d")
    train.collect().write_parquet(tmp_path / "train.parquet")
    test.collect().write_parquet(tmp_path / "test.parquet")
    files = ('path = "log.parquet"', 'path = "train.parquet"\ntest = "test.parquet"')
    whole = run(models=["popular"], out=tmp_path / "a").table
    assert (
        run(files, ('[split]\nkind = "by_time"\ntest = "28d"\n', ""), models=["popular"])
        .table["recall@5"]
        .equals(whole["recall@5"])
    )


def test_weights_in_words(run, tmp_path):
    """Counts, ones, a number, SQL, and a table that says the same as it."""
    one = "\"1 + SUM(CASE WHEN event_type = 'view' THEN 1 ELSE 10 END)\""
    kinds = {
        '"count"': None,
        '"one"': None,
        "2.5": None,
        one: "x",
        "{constant = 1, types = {view = 1, cart = 10, order = 10}}": "x",
    }
    kinds |= {"{half_life = '30d'}": None, "{column = 'item_id', constant = 2}": None}
    given = "{constant = 1, types = {view = 1, cart = 10, order = 10}, cap = 40}"
    found = {text: run((given, text), models=["als"], out=tmp_path / "o").table["ndcg@5"][0] for text in kinds}
    same = [found[text] for text, group in kinds.items() if group == "x"]
    assert same[0] == same[1] != found['"count"']


def test_outputs(run, log, tmp_path):
    asked = '[output]\nfolder = "out"\nrecommendations = 3\nmodel = true\nrefit = true\n'
    result = run(("[[published]]", f"{asked}[[published]]"))
    best = result.table["model"][0]
    lists = pl.read_parquet(tmp_path / "out" / "recommendations.parquet")
    model = cf.load(tmp_path / "out" / "model")
    assert lists["rank"].max() == 3
    assert model.recommend(k=3).equals(lists)
    assert repr(model) == result.table["made"][0]
    events = log.filter(pl.col("item_id") > 2)
    assert model.interactions_.nnz == events.interactions().nnz  # fitted again on all events
    assert best in result.table["model"]


def test_published_splits_have_readers(tmp_path):
    (tmp_path / "train.txt").write_text("0 1 2 3\n1 2 3 4\n2 1 4 5\n3 5 1 2\n")
    (tmp_path / "test.txt").write_text("0 4\n1 1\n2 2\n")
    path = tmp_path / "x.toml"
    path.write_text(
        '[data]\nreader = "user_item_lists"\ntrain = "train.txt"\ntest = "test.txt"\n'
        '[evaluate]\nmetrics = "recall@2"\nintervals = false\n[models.p]\nclass = "Popular"\n'
    )
    found = cf.run_experiment(path, progress=False)
    assert found.table.columns[:2] == ["model", "recall@2"]
    assert "recall@2_low" not in found.table.columns
    assert set(found.facts["data sha256"]) == {"train.txt", "test.txt"}
    (tmp_path / "u1.base").write_text(
        "".join(f"{u}\t{i}\t{(u + i) % 5 + 1}\t88{u}\n" for u in range(9) for i in range(u, 9))
    )
    (tmp_path / "u1.test").write_text("1\t2\t3\t89\n2\t5\t4\t89\n")
    path.write_text(
        f'[data]\nreader = "movielens_fold"\npath = "{tmp_path}"\nfold = 1\n'
        '[evaluate]\nmetrics = ["rmse", "mae"]\n[models.b]\nclass = "BiasOnly"\n[models.g]\nclass = "GlobalMean"\n'
    )
    found = cf.run_experiment(path, progress=False).table
    fold = cf.datasets.movielens_fold(tmp_path, 1)
    expected = cf.evaluate(cf.BiasOnly().fit(fold.train.ratings()), fold.test, "rmse")["value"][0]
    assert found.filter(model="b")["rmse"][0] == expected
    assert found["rmse"].is_sorted()  # the lower, the better


def test_next_items_of_sessions(tmp_path):
    pl.DataFrame({"items": [[s % 5, (s + 1) % 5, (s + 2) % 5] for s in range(60)]}).write_parquet(
        tmp_path / "a.parquet"
    )
    tests = {"prefix": [[s % 5, (s + 1) % 5] for s in range(9)], "target": [(s + 2) % 5 for s in range(9)]}
    pl.DataFrame(tests).write_parquet(tmp_path / "b.parquet")
    path = tmp_path / "x.toml"
    path.write_text(
        '[data]\nreader = "next_item"\ntrain = "a.parquet"\ntest = "b.parquet"\n'
        '[evaluate]\nmetrics = ["hit_rate@1", "coverage@2"]\n[models.knn]\nclass = "SessionKNN"\nlambda2 = "none"\n'
    )
    assert cf.run_experiment(path, progress=False).table["hit_rate@1"].to_list() == [1.0]
    path.write_text(path.read_text().replace('"coverage@2"', '"auc"'))
    assert "take metrics with @k" in cf.run_experiment(path, progress=False).failed["knn"]


TUNE = """\
[models.als.tune]
method = "grid"
metric = "recall@5"
valid = "14d"
space = {factors = [2, 8], regularization = [0.01, 0.1]}
"""


def test_tuning_is_that_of_tune(run, log, tmp_path):
    """Inside the train side of the split; the test is read once."""
    result = run(("[models.chain]", f"{TUNE}\n[models.chain]"), models=["als"])
    row = result.table.row(0, named=True)
    train = cf.split.by_time(log.filter(pl.col("item_id") > 2), "28d").train
    weight = cf.weights.capped(1 + cf.weights.by_type({"view": 1, "cart": 10, "order": 10}).sum(), 40)
    space = {"factors": [2, 8], "regularization": [0.01, 0.1]}
    model = cf.ImplicitALS(4, iterations=2, seed=3, threads=1)
    options = {"method": "grid", "metric": "recall@5", "valid": "14d", "weight": weight, "progress": False}
    study = cf.tune(model, train, space=space, **options)
    assert json.loads(row["parameters"]) == {"factors": 4, "iterations": 2} | study.best_params
    test = cf.split.by_time(log.filter(pl.col("item_id") > 2), "28d").test
    assert row["recall@5"] == cf.evaluate(study.refit(), test, "recall@5")["value"][0]
    assert row["chosen"] == f"4 trials, recall@5 on a part of training: {study.validation}"
    assert row["test_reads"] == 3
    assert row["tune_seconds"] > 0
    trials = pl.read_parquet(tmp_path / "shop-results" / "trials" / "als.parquet")
    assert trials["value"].to_list() == study.trials["value"].to_list()


def test_folds_are_tuned_each_for_itself(run, tmp_path):
    split = ('kind = "by_time"\ntest = "28d"', 'kind = "random"\nfraction = 0.3\nseed = [0, 1]')
    tune = TUNE.replace('"14d"', "0.2")
    found = run(split, ("[models.chain]", f"{tune}[models.chain]"), models=["als"]).table
    assert found["folds"][0] == 2
    trials = pl.read_parquet(tmp_path / "shop-results" / "trials" / "als.parquet")
    assert trials["fold"].to_list() == [1] * 4 + [2] * 4
    assert trials.filter(fold=1)["value"].to_list() != trials.filter(fold=2)["value"].to_list()


def test_trials_have_files_of_their_own(run, tmp_path):
    """Names may be equal but for what a file cannot be called."""
    named = [
        ("[models.als]", '[models."a/b"]'),
        (
            "[models.chain]",
            TUNE.replace("models.als", 'models."a/b"')
            + """
[models."A-B"]
class = "EASE"
[models."A-B".tune]
method = "grid"
space = {regularization = [1.0, 5.0]}
[models.chain]""",
        ),
    ]
    run(*named, models=["a/b", "A-B"])
    folder = tmp_path / "shop-results" / "trials"
    assert {path.name: len(pl.read_parquet(path)) for path in folder.iterdir()} == {
        "a-b.parquet": 4,
        "A-B-2.parquet": 2,
    }


def test_ctrl_c_in_a_search_ends_the_run(run, monkeypatch):
    fits = []

    def fit(self, *args, **kwargs):
        fits.append(self)
        if len(fits) > 2:
            raise KeyboardInterrupt
        return whole(self, *args, **kwargs)

    whole = cf.ImplicitALS.fit
    monkeypatch.setattr(cf.ImplicitALS, "fit", fit)
    with pytest.raises(KeyboardInterrupt):
        run(("[models.chain]", f"{TUNE}\n[models.chain]"))
    assert len(fits) == 3


def test_ctrl_c_in_a_fit_that_could_keep_something_ends_the_run(run, monkeypatch, tmp_path):
    """Nothing half trained is written down as a result, nor taken over by the run that goes on."""

    def stopped(self, number, rate):
        if number == 1:
            raise KeyboardInterrupt
        return 1.0

    monkeypatch.setattr(Training, "epoch", stopped)
    sampled = '[models.sampled]\nclass = "SampledMF"\nloss = "bpr"\nepochs = 3\n[models.als]'
    with pytest.raises(KeyboardInterrupt):
        run(("[models.als]", sampled), out=tmp_path / "o")
    assert len(list((tmp_path / "o" / "unfinished").glob("*.parquet"))) == 1  # that of the model before


@pytest.fixture
def fits(monkeypatch):
    """Numbers of factors with which ALS was fitted; ``stop`` names the fit that is interrupted."""

    class Fits(list):
        stop = 0

    def fit(self, *args, **kwargs):
        found.append(self.factors)
        if len(found) == found.stop:
            raise KeyboardInterrupt
        return whole(self, *args, **kwargs)

    found, whole = Fits(), cf.ImplicitALS.fit
    monkeypatch.setattr(cf.ImplicitALS, "fit", fit)
    return found


def test_a_run_that_was_stopped_goes_on(run, fits, tmp_path):
    """Of a search the trials that ended are kept as well."""
    tuned = TUNE.replace("[models.als.tune", "[models.other.tune") + "\n[models.chain]"
    other = ("[models.chain]", f'[models.other]\nclass = "ImplicitALS"\niterations = 1\n{tuned}')
    whole = run(other, out=tmp_path / "whole")
    assert not (tmp_path / "whole" / "unfinished").exists()
    n_fits = len(fits)
    fits.clear()
    fits.stop = 4
    with pytest.raises(KeyboardInterrupt):
        run(other, out=tmp_path / "o")
    assert len(list((tmp_path / "o" / "unfinished").glob("*.parquet"))) == 2
    fits.clear()
    fits.stop = 0
    again = run(other, out=tmp_path / "o", models=["popular", "als", "other"])
    assert len(fits) == n_fits - 3
    assert again.facts["taken over"] == "2 results of a run that was stopped"
    assert not (tmp_path / "o" / "unfinished").exists()
    seconds = pl.exclude("^.*seconds$")
    assert again.table.select(seconds).equals(whole.table.filter(pl.col("model") != "chain").select(seconds))
    assert (
        again.significance.equals(whole.significance.filter(pl.col("model_a") != "chain")) or again.best != whole.best
    )
    trials = [pl.read_parquet(tmp_path / name / "trials" / "other.parquet").select(seconds) for name in ("o", "whole")]
    assert trials[0].equals(trials[1])


def test_what_is_taken_over_is_of_the_same_run(run, fits, tmp_path):
    chain = ("[models.chain]", '[models.last]\nclass = "ImplicitALS"\nfactors = 4\n[models.chain]')

    def stopped(*changes):
        fits.clear()
        fits.stop = 2
        with pytest.raises(KeyboardInterrupt):
            run(chain, *changes, models=["als", "last"])
        fits.clear()
        fits.stop = 0

    stopped()
    run(chain, models=["als"], seed=9)
    assert fits == [4]
    stopped()
    run(chain, ("factors = 4", "factors = 5"), models=["als"])
    assert fits == [5]
    stopped()
    for path in (tmp_path / "shop-results" / "unfinished").glob("*.parquet"):
        path.write_bytes(path.read_bytes()[:-9])
    with pytest.warns(cf.CofactorWarning, match="cannot be read, and its model is fitted anew"):
        run(chain, models=["als"])
    assert fits == [4]


def test_features_of_items_are_for_metrics_and_models(run, log, tmp_path):
    rows = log.collect()["item_id"].unique().sort()
    films = pl.DataFrame({"item_id": rows, "genre": [f"g{n % 3}" for n in rows], "year": list(range(len(rows)))})
    films.write_csv(tmp_path / "films.csv")
    given = ('time = "time"', 'time = "time"\nitem_features = "films.csv"')
    asked = ('metrics = ["recall@5", "ndcg@5"]', 'metrics = ["calibration@5", "recall@5"]\ncategory = "genre"')
    model = '[models.mf]\nclass = "SampledMF"\nfactors = 4\nepochs = 2\nfeatures = true\n[models.chain]'
    found = run(given, asked, ("[models.chain]", model), models=["popular", "mf"])
    assert not found.failed
    assert found.facts["data sha256"].keys() == {"log.parquet", "films.csv"}
    train, test = cf.split.by_time(log.filter(pl.col("item_id") > 2), "28d")
    weight = cf.weights.capped(1 + cf.weights.by_type({"view": 1, "cart": 10, "order": 10}).sum(), 40)
    options = {"item_features": films, "category": "genre"}
    values = dict(found.table.select("model", "calibration@5").iter_rows())
    x = train.interactions(weight)
    assert values["popular"] == cf.evaluate(cf.Popular().fit(x), test, "calibration@5", **options)["value"].item()
    mf = cf.SampledMF(4, epochs=2, seed=3, threads=1).fit(x, item_features=films)
    assert values["mf"] == pytest.approx(cf.evaluate(mf, test, "calibration@5", **options)["value"].item())

    whole = model.replace("models.mf", "models.both").replace("SampledMF", "Fallback")
    whole = whole.replace("factors = 4\nepochs = 2", 'models = [{class = "PersonalPopular"}, MF]')
    whole = whole.replace("MF]", '{class = "SampledMF", factors = 4, epochs = 2}]')
    both = run(given, asked, ("[models.chain]", whole), models=["both"]).records[0].fitted
    assert both.models[1].recommend(k=5).equals(mf.recommend(k=5))

    search = '[models.mf.tune]\nmethod = "grid"\nvalid = "14d"\nspace = {factors = [2, 4]}\n[models.chain]'
    tuned = run(given, asked, ("[models.chain]", model.replace("[models.chain]", search)), models=["mf"])
    assert not tuned.failed
    chosen = cf.tune(
        cf.SampledMF(4, epochs=2, seed=3, threads=1), train, space={"factors": [2, 4]}, method="grid", valid="14d",
        weight=weight, fit_options={"item_features": films}, seed=3,
    )  # fmt: skip
    assert tuned.records[0].trials["value"].to_list() == chosen.trials["value"].to_list()
    films.rename({"item_id": "film"}).write_csv(tmp_path / "films.csv")
    with pytest.raises(DataError, match=r"line 8, \[data\]: item_features: no column item_id"):
        run(given, asked, models=["popular"])


def test_the_same_folder_counts_how_often_the_test_was_read(run, tmp_path):
    def reads():
        return dict(run(models=["als", "popular"]).table.select("model", "test_reads").iter_rows())

    first = reads()
    assert reads() == {name: n + 1 for name, n in first.items()}
    lines = (tmp_path / "shop-results" / "readings.jsonl").read_text().splitlines()
    told = [json.loads(line) for line in lines if line]
    assert [row["model"] for row in told].count("als") == 2
    assert all(row["chosen_on"] for row in told)
    shutil.rmtree(tmp_path / "shop-results")
    assert reads() == first


def test_outputs_of_several_folds_are_of_the_best_on_all(run, tmp_path):
    split = ('kind = "by_time"\ntest = "28d"', 'kind = "k_fold"\nk = 3')
    result = run(split, ("[[published]]", "[output]\nmodel = true\n[[published]]"))
    assert repr(cf.load(tmp_path / "shop-results" / "model")) == result.table["made"][0]


def test_models_are_tested_against_the_best(run, tmp_path):
    result = run()
    tests = result.significance
    assert set(tests["model_b"]) == {result.table["model"][0]}
    assert set(tests["model_a"]) == set(result.table["model"][1:])
    page = (tmp_path / "shop-results" / "results.md").read_text()
    assert f"minus that of {result.table['model'][0]}, over single users; p corrected for 2 tests" in page
    assert f"| {tests['model_a'][0]} | {tests['difference'][0]:.4f} |" in page
    assert run(("[evaluate]", "[evaluate]\nintervals = false")).significance is None
    assert run(models=["als"]).significance is None


WRONG = [
    ('"ndcg@5"]', '"ndcg@5"]\ncategory = "genre"', "line 18, [evaluate]: category is a column of item_features, and"),
    ("factors = 4", "factors = 4\nfeatures = true", "line 25, [models.als]: features is true, and ImplicitALS takes"),
    (
        '{class = "Popular", window = "10d"}',
        '{class = "Popular", features = true}',
        "line 33, [models.chain.models]: features is for the model as a whole; write it above its models",
    ),
    (
        '{class = "PersonalPopular"},\n',
        '{class = "PersonalPopular"},\n  {class = "SampledMF", chosen = "x"},\n',
        "line 33, [models.chain.models]: chosen is for the model as a whole; write it above its models",
    ),
    (
        'class = "Fallback"',
        'class = "Fallback"\nfeatures = true',
        "line 31, [models.chain]: features is true, and Fallback takes none; leave it out",
    ),
    (
        '"ndcg@5"]',
        '"calibration@5"]',
        "line 17, [evaluate]: calibration@5 needs categories of items, and [data] names no item_features",
    ),
    (
        '"ndcg@5"]',
        '"rmse"]',
        "line 17, [evaluate]: rmse is of predicted ratings, and popular, als, chain gives scores to rank by",
    ),
    ('class = "Popular"', 'clas = "Popular"', "line 20, [models.popular]: there is no key 'clas'; did you mean class?"),
    ("seed = 3", "sed = 3", "line 2: there is no key 'sed'; did you mean seed?"),
    ("seed = 3", 'seed = "3"', "line 2: seed must be a whole number, got '3'"),
    ("seed = 3", "seed = -3", "line 2: seed must be a whole number of at least 0"),
    ("threads = 1", "threads = 0", "line 3: threads must be a whole number of at least 1"),
    ("[data]", "[date]", "line 5: there is no key 'date'; did you mean data?"),
    ('time = "time"', 'tiem = "time"', "line 7, [data]: there is no key 'tiem'; did you mean time?"),
    ('path = "log.parquet"', "path = 3", "line 6, [data]: path must be text"),
    ('path = "log.parquet"', "", "line 5, [data]: path is missing"),
    (
        'path = "log.parquet"',
        'reader = "movielenz"',
        "line 6, [data]: reader is 'movielenz'; did you mean movielens?",
    ),
    ("item_id > 2", "item_id >", "line 9, [data]: filter 'item_id >' is no SQL expression"),
    ("constant = 1", "constnt = 1", "line 10, [data.weight]: there is no key 'constnt'; did you mean constant?"),
    ("cart = 10", 'cart = "x"', "line 10, [data.weight]: weights['cart'] is 'x'"),
    ("cap = 40", "cap = -1", "line 10, [data.weight]: maximum=-1"),
    ("cap = 40", 'column = "item_id"', "line 10, [data.weight]: an event weighs what its type says, or what a column"),
    ('kind = "by_time"', 'kind = "bytime"', "line 13, [split]: kind is 'bytime'; did you mean by_time?"),
    ('test = "28d"', 'tset = "28d"', "line 14, [split]: there is no key 'tset'; did you mean test?"),
    ('test = "28d"', "", "line 12, [split]: test is missing"),
    ('"ndcg@5"', '"ndgc@5"', "line 17, [evaluate]: metrics: 'ndgc@5' is unknown; did you mean ndcg"),
    (
        'class = "Popular"',
        'class = "Populer"',
        "line 20, [models.popular]: class is 'Populer'; did you mean Popular?",
    ),
    ('class = "Popular"', "", "line 19, [models.popular]: class is missing"),
    ("factors = 4", "factor = 4", "line 24, [models.als]: there is no key 'factor'; did you mean factors?"),
    ("[models.als]", '[models.""]', "line 22, [models]: a model has no name"),
    (
        "[[published]]",
        "[output]\nrecommendations = 0\n\n[[published]]",
        "line 37, [output]: recommendations must be a whole number of at least 1, got 0",
    ),
    ("factors = 4", 'factors = "4"', "line 24, [models.als]: factors must be a whole number or \"none\", got '4'"),
    ("factors = 4", "factors = true", "line 24, [models.als]: factors must be a whole number"),
    ("factors = 4", "factors = 0", "line 24, [models.als]: factors must be a whole number of at least 1, got 0"),
    ("factors = 4", 'solver = "ccg"', "line 24, [models.als]: solver must be 'auto' or 'cholesky' or 'cg'"),
    ('window = "10d"', "windw = 3", "line 33, [models.chain.models]: there is no key 'windw'; did you mean window?"),
    (
        "values = [0.9, 0.8]",
        "values = [1, 2, 3]",
        "line 38, [published]: values has 3 numbers, but there are 2 metrics",
    ),
    ("test_reads = 2", "[models.als.tune]\nmetod = 1", "line 28, [models.als.tune]: there is no key 'metod'; did you"),
    (
        "test_reads = 2",
        '[models.als.tune]\nmethod = "tpo"',
        "line 28, [models.als.tune]: method is 'tpo'; did you mean",
    ),
    ("test_reads = 2", "[models.als.tune]\ntrials = 0", "line 28, [models.als.tune]: trials must be a whole number of"),
    ("test_reads = 2", '[models.als.tune]\nmetric = "x@1"', "line 28, [models.als.tune]: "),
    ("test_reads = 2", '[models.als.tune]\nbudget = "soon"', "line 28, [models.als.tune]: budget='soon'"),
    ("test_reads = 2", "[models.als.tune]\nvalid = true", "line 28, [models.als.tune]: valid must be a time"),
    (
        "test_reads = 2",
        "[models.als.tune.space]\nfactors = [4, 8]\nregularisation = [0.1]",
        "line 29, [models.als.tune.space]: there is no key 'regularisation'; did you mean regularization?",
    ),
    (
        "test_reads = 2",
        "[models.als.tune.space]\niterations = [4]\nfactors = [4, 0]",
        "line 29, [models.als.tune.space]: space['factors']: 0 is not allowed",
    ),
    (
        "test_reads = 2",
        "[models.als.tune.space]\niterations = [4]\nregularization = {low = 1, hgih = 2}",
        "line 29, [models.als.tune.space]: space['regularization']",
    ),
]


@pytest.mark.parametrize(("old", "new", "message"), WRONG)
def test_what_is_wrong_is_told_with_its_line(file, old, new, message):
    path = file((old, new))
    with pytest.raises(ParameterError) as error:
        Experiment.read(path)
    assert str(error.value).startswith(f"{path}, {message}")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('path = "log.parquet"', 'path = "lag.parquet"', r"line 6, \[data\]: .*lag\.parquet"),
        ('time = "time"', 'time = "tiem"', r"line 7, \[data\]: .*'tiem'"),
        ('test = "28d"', 'test = "9000d"', r"line 14, \[split\]: .*"),
        ('test = "28d"', 'test = "soon"', r"line 14, \[split\]: .*soon"),
    ],
)
def test_data_that_are_not_as_the_file_says(file, old, new, message):
    path = file((old, new))
    with pytest.raises(CofactorError, match=rf"shop\.toml, {message}"):
        cf.run_experiment(path, progress=False)
    assert not (path.parent / "shop-results").exists()


def test_models_are_named(file, tmp_path):
    with pytest.raises(ParameterError, match=r"has no model 'alss'; did you mean als\? It has popular, als, chain"):
        cf.run_experiment(file(), models=["alss"])
    with pytest.raises(ParameterError, match=r"no name is given; .* has popular, als, chain"):
        cf.run_experiment(file(), models=[])
    with pytest.raises(ParameterError, match="there is no model"):
        Experiment.read(file(text=FILE[: FILE.index("[models.popular]")] + "[models]\n"))
    with pytest.raises(DataError, match="cannot be read"):
        cf.run_experiment(tmp_path / "none.toml")


PUBLISHED = sorted((Path(__file__).parents[2] / "benchmarks" / "published").glob("*.toml"))


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_the_experiments_of_published_splits_are_right(path):
    """Their data are not here; all else is."""
    experiment = Experiment.read(path)
    assert all(row.table.get("tuned_on_test") for row in experiment.file.sections("published"))
    assert all("test_reads" in spec.section.table for spec in experiment.models.values())


def test_there_are_published_splits():
    assert len(PUBLISHED) >= 9

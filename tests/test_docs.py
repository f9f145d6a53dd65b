"""The examples of the pages on reading logs, ratings, sessions, experiments, tuning and comparing run as they stand."""

import json
import re
import shlex
from dataclasses import fields
from pathlib import Path

import polars as pl
import pytest
import typer
from typer.testing import CliRunner

import cofactor as cf
from cofactor.cli import app
from cofactor.evaluation.default_spaces import DEFAULT_SPACES
from cofactor.metrics import available

SESSIONS = (Path(__file__).parents[1] / "docs" / "sessions.md").read_text()
EXPERIMENTS = (Path(__file__).parents[1] / "docs" / "experiments.md").read_text()
PAGE = (Path(__file__).parents[1] / "docs" / "reading-logs.md").read_text()


@pytest.mark.filterwarnings("ignore::cofactor.CofactorWarning")
def test_examples_of_reading_logs_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("shop.csv").write_text("customer,sku,bought\n17,a,2024-01-31\n18,b,2024-02-01 12:00\n")
    Path("log.csv").write_text("user,item,day\n1,007,20230101\n2,7,20230102\n")
    Path("export.csv").write_bytes("Kunde;Artikel;Datum\n1;Käse;31.01.2024\n-;Brot;01.02.2024\n".encode("latin-1"))
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 3
    names = {"cf": cf}
    for block in blocks:
        exec(compile(block, "reading-logs.md", "exec"), names)
        names["of " + block[:20]] = names["events"]
    told = capsys.readouterr().out
    assert "Events: 2, 2024-01-31" in told
    assert "20230101, read as s since 1970" in told
    assert "ids stay text, as '007'" in told


def test_the_page_names_every_option():
    options = set(cf.read_events.__kwdefaults__) - {"session", "event_type", "rating", "time"}
    assert options == set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))


def test_the_page_of_metrics_has_them_all_and_its_example_runs(capsys):
    page = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text()
    assert [name for name in available() if f"`{name}`" not in page] == []
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(block, "metrics.md", "exec"), {})
    assert "2 items" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore::cofactor.CofactorWarning")
def test_examples_of_ratings_run():
    page = (Path(__file__).parents[1] / "docs" / "ratings.md").read_text()
    names = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, "ratings.md", "exec"), names)


@pytest.mark.filterwarnings("ignore::cofactor.CofactorWarning")
def test_examples_of_sessions_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", SESSIONS, re.DOTALL):
        exec(compile(block, "sessions.md", "exec"), names)
    assert list(names["of_type"]) == ["clicks", "carts", "orders"]
    assert pl.read_csv("submission.csv")["labels"].str.count_matches(" ").unique().to_list() == [19]
    Path("submission.csv").unlink()
    cf.datasets.synthetic_sessions(500, 150, path="log.parquet")
    commands = [line for line in SESSIONS.splitlines() if line.startswith("cofactor ")]
    assert len(commands) == 5
    for command in commands:
        result = CliRunner().invoke(app, shlex.split(command)[1:])
        assert result.exit_code == 0, result.output
    assert {"submission.csv", "pairs.parquet", "pairs.items.parquet"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.filterwarnings("ignore::cofactor.CofactorWarning")
def test_examples_of_trust_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[1] / "docs" / "trust.md").read_text()
    names = {}
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        exec(compile(block, "trust.md", "exec"), names)
    told = capsys.readouterr().out
    assert "no leaks found" in told
    assert re.search(r"^# (recall@10 .*)$", page, re.MULTILINE)[1] in told
    for name in cf.paired_tests({"a": names["models"]["als"], "b": names["models"]["random"]}, names["test"]).columns:
        assert name in ("model_a", "model_b", "metric") or f"`{name}`" in page
    for name in cf.check_leaks(names["train"], names["test"], cut="2024-01-01").table["check"]:
        assert f"`{name}`" in page
    names["models"]["popular"].save("model-in-use")
    names["models"]["als"].save("model-of-tonight")
    names["test"].pairs().write_parquet("yesterday.parquet")
    (command,) = re.findall(r"^(cofactor gate .*)$", page, re.MULTILINE)
    assert CliRunner().invoke(app, shlex.split(command)[1:]).exit_code in (0, 1)


TUNING, COMPARING = ((Path(__file__).parents[1] / "docs" / f"{n}.md").read_text() for n in ("tuning", "comparing"))


def test_the_page_on_tuning_has_every_default_space():
    rows = re.findall(r"^\| `(\w+)` \| (`.*) \|$", TUNING, re.MULTILINE)
    assert {name: re.findall(r"`(\w+)`", of) for name, of in rows} == {n: list(of) for n, of in DEFAULT_SPACES.items()}


@pytest.mark.filterwarnings("ignore::cofactor.CofactorWarning")
def test_examples_of_tuning_and_comparing_run(tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    monkeypatch.chdir(tmp_path)
    log = cf.datasets.synthetic_events(n_users=60, n_items=40, n_events=2500, seed=1)
    train, test = cf.split.by_time(log, "20d")
    lists = cf.Popular().fit(train).recommend()
    names = {"cf": cf, "events": log, "train": train, "test": test, "lists_of_another_library": lists}
    names["models"] = {"popular": cf.Popular()}
    blocks = re.findall(r"```python\n(.*?)```", TUNING + COMPARING.replace("\n  ", "\n"), re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        exec(compile(block.replace("10m", "1s"), "tuning.md", "exec"), names)
    assert names["board"].height == 4
    log.collect().rename({"time": "timestamp"}).write_parquet("events.parquet")
    commands = re.findall(r"^(cofactor (?:tune|auto) .*?)$", TUNING.replace("`", "\n"), re.MULTILINE)
    commands += re.findall(r"`(cofactor compare .*?)`", COMPARING)
    for command in commands[:1] + commands[-1:]:
        text = command.replace("10m", "1s").replace("28d", "20d").replace("--models", "--time timestamp --models")
        result = CliRunner().invoke(app, shlex.split(text)[1:])
        assert result.exit_code == 0, result.output


@pytest.mark.filterwarnings("ignore::cofactor.CofactorWarning")
def test_the_experiment_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (file,) = re.findall(r"```toml\n(.*?)```", EXPERIMENTS, re.DOTALL)
    Path("shop.toml").write_text(file)
    cf.datasets.synthetic_events(n_users=60, n_items=40, n_events=1500, seed=1).collect().write_parquet("log.parquet")
    commands = [line.partition("#")[0] for line in EXPERIMENTS.splitlines() if line.startswith("cofactor ")]
    assert len(commands) == 3
    for command in commands:
        result = CliRunner().invoke(app, shlex.split(command)[1:])
        assert result.exit_code == 0, result.output
    assert pl.read_parquet("shop-results/results.parquet")["model"].sort().to_list() == ["als", "popular", "usual"]
    assert {"model", "recommendations.parquet", "report.html"} <= {path.name for path in Path("shop-results").iterdir()}
    wrong, told = re.search(r"error: shop.toml, line (\d+), .*? no key '(\w+)'", EXPERIMENTS).groups()
    Path("shop.toml").write_text(file.replace("factors = ", f"{told} = "))
    assert f"shop.toml, line {wrong}, [models.als]" in CliRunner().invoke(app, ["run", "shop.toml"]).stderr


def test_the_page_on_experiments_names_every_key():
    """Of each section, of readers and of splits, but the options that have a page of their own."""
    from cofactor.evaluation import experiment, experiment_data, experiment_models, experiment_tune

    keys = {*experiment._TOP, *experiment._EVALUATE, *experiment._OUTPUT, *experiment._PUBLISHED, *experiment_tune.TUNE}
    keys |= {*experiment_models._OWN, *experiment_data._EVERY, *experiment_data._WEIGHT, *experiment_data._ROLES}
    for parts in (experiment_data._READERS, experiment_data._SPLITS):
        keys |= {*parts, *(key for _, known in parts.values() for key in known)}
    missing = {key for key in keys - set(experiment_data._OPTIONS) if not re.search(rf"\b{key}\b", EXPERIMENTS)}
    assert not missing


SERVING = (Path(__file__).parents[1] / "docs" / "serving.md").read_text()


def test_the_page_on_serving_names_what_there_is():
    pytest.importorskip("starlette", reason="serving needs pip install 'cofactor[serve]'")
    from cofactor.serve.limits import Limits
    from cofactor.serve.openapi import ROUTES

    missing = [
        f"{one.method.upper()} {one.path}" for one in ROUTES if f"`{one.method.upper()} {one.path}`" not in SERVING
    ]
    assert missing == []
    assert set(re.findall(r"^\| `(\w+)=`", SERVING, re.MULTILINE)) == {field.name for field in fields(Limits)}
    (error,) = re.findall(r"```json\n(.*?)```", SERVING, re.DOTALL)
    assert set(json.loads(error)["error"]) == {"code", "message", "field", "request_id"}
    for body in re.findall(r"-d '(\{.*?\})'", SERVING):
        json.loads(body)


def test_filters_of_the_page_on_serving_are_read():
    from cofactor.serve.filter_language import parse_filter

    (block,) = [one for one in re.findall(r"```text\n(.*?)```", SERVING, re.DOTALL) if "dairy" in one]
    for line in block.splitlines():
        parse_filter(line)


def test_options_of_serving_are_those_of_the_command():
    """In the page, the container, the compose file and the example."""
    commands = typer.main.get_command(app).commands
    options = {name: {opt for one in commands[name].params for opt in one.opts} for name in commands}
    known = options["serve"]
    root = Path(__file__).parents[1]
    told = {name: (root / name).read_text() for name in ("Dockerfile", "compose.yml", "examples/serve.py")}
    used = set(re.findall(r"- (--[a-z-]+)", told["compose.yml"])) | {"--host"}
    used |= set(re.findall(r"(?<!-)--[a-z][a-z-]*", SERVING)) - {"--profile"}
    assert '["cofactor", "serve", "--host", "0.0.0.0"]' in told["Dockerfile"]
    assert used <= known | options["train"] | options["export"]
    for option in re.findall(r'"(--[a-z]+)", (?:out|port)', told["examples/serve.py"]):
        assert option in known

"""``cofactor export``: the files, what is said of them, and what is refused."""

import json

import polars as pl
import pytest


@pytest.mark.parametrize("to", ["parquet", "faiss"])
def test_a_model_is_written_and_checked(run, model, tmp_path, to):
    if to == "faiss":
        pytest.importorskip("faiss", reason="faiss is not installed")
    told = json.loads(run("export", model, "-o", tmp_path / "out", "--to", to, "--json").stdout)
    assert told["recall"] == 1.0
    assert sorted(told["files"]) == sorted(str(path) for path in (tmp_path / "out").iterdir())
    assert pl.read_parquet(tmp_path / "out" / "items.parquet").columns == ["item_id", "vector"]
    assert "100.00% of the model's own lists" in run("export", model, "-o", tmp_path / "out", "--to", to).stdout


def test_what_is_refused(run, model, tmp_path):
    assert "no model.json" in run("export", tmp_path, "-o", tmp_path / "out", expect=1).stderr
    run("export", model, "-o", tmp_path / "out", "--to", "pickle", expect=2)

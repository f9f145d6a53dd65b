"""The README's Python blocks run as they stand, on a small shop."""

import gzip
import re
import shlex
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from cofactor.cli import app

README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A folder with the files that the README names, and the tables it takes for granted."""
    rng = np.random.default_rng(0)
    n = 4000
    log = pl.DataFrame(
        {
            "user_id": rng.integers(1, 60, n),
            "session_id": rng.integers(1, 900, n),
            "sku": [f"sku-{i}" for i in rng.integers(0, 40, n)],
            "product_id": rng.integers(0, 40, n),
            "timestamp": [
                datetime(2026, 1, 1) + timedelta(minutes=int(m)) for m in np.sort(rng.integers(0, 100_000, n))
            ],
            "action": rng.choice(["view", "cart", "order"], n),
        }
    ).with_columns(ts=pl.col("timestamp").dt.epoch("s"), in_cart=(pl.col("action") == "cart").cast(pl.Int32))
    (tmp_path / "events").mkdir()
    log.write_parquet(tmp_path / "events" / "1.parquet")
    log.write_parquet(tmp_path / "events.parquet")
    with_visitors = log.with_columns(user_id=pl.when(pl.col("user_id") > 5).then("user_id"))
    (tmp_path / "shop.csv.gz").write_bytes(gzip.compress(with_visitors.drop("timestamp").write_csv().encode()))
    monkeypatch.chdir(tmp_path)
    return {
        "in_stock": [1, 2, 3, 17],
        "already_mailed": pl.DataFrame({"user_id": [1], "item_id": [2]}),
        "new_histories": pl.DataFrame({"user_id": ["new", "new"], "item_id": [1, 2]}),
        "lists_of_another_library": pl.DataFrame({"user_id": [1, 1], "item_id": [2, 3], "rank": [1, 2]}),
    }


@pytest.mark.filterwarnings("ignore::cofactor.CofactorWarning")
def test_python_blocks_run(shop):
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 4
    for block in blocks:
        # The shop of the example sells numbers where the README's sells "sku-17".
        exec(compile(block.replace('"sku-17"', "17"), "README.md", "exec"), shop)
    assert Path("recommendations.parquet").exists()
    assert Path("model/model.json").exists()


@pytest.mark.filterwarnings("ignore::cofactor.CofactorWarning")
def test_command_lines_run(shop):
    block = next(b for b in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) if "cofactor train" in b)
    for line in block.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "cofactor"
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, (line, result.output)
    assert Path("recommendations.parquet").exists()
    assert Path("report.html").exists()

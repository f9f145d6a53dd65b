"""The examples of the page on reading logs run as they stand."""

import re
from pathlib import Path

import pytest

import cofactor as cf

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

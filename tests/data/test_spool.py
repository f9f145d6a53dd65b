"""Streams and other encodings: temporary copies that are named like their source and go at exit."""

import gzip
import subprocess
import sys

import pytest

from cofactor.data.events import read_events
from cofactor.errors import DataError, ParameterError


def read(source, **roles):
    return read_events(source, user="u", item="i", **roles)


def write(folder, name, text):
    content = text if isinstance(text, bytes) else text.encode()
    (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)


STREAM = """
import sys
from cofactor.data.events import read_events
events = read_events(sys.argv[1], user="u", item="i", **({"format": "csv"} if len(sys.argv) > 2 else {}))
print(events.pairs().rows(), events.interactions().nnz, *events.source.files)
"""


@pytest.mark.parametrize(
    "way", ["cat {0} | {1} - csv", "cat {0} | {1} /dev/stdin csv", "{1} <(cat {0}) csv", "{1} pipe.csv"]
)
@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
def test_streams(tmp_path, way, name):
    write(tmp_path, name, "u,i\n1,007\n2,b\n")
    (tmp_path / "run.py").write_text(STREAM)
    piped = f"mkfifo pipe.csv; cat {name} > pipe.csv & " if "pipe.csv" in way else ""
    command = piped + way.format(name, f"{sys.executable} run.py")
    ran = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
    told, copy = ran.stdout.strip().rsplit(" ", 1)
    assert told == "[(1, '007'), (2, 'b')] 2"
    assert not (tmp_path / copy).exists()  # deleted at exit


def test_streams_are_named_in_errors(tmp_path, monkeypatch):
    with (tmp_path / "in").open("w+b") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(ParameterError, match=r"^-: the format cannot be told"):
            read("-")
        stdin.write(b"u,i\n1,caf\xe9\n")
        stdin.seek(0)
        with pytest.raises(DataError, match=r"^-: line 2, column 'i' is not UTF-8"):
            read("-", format="csv")


def test_no_room_for_a_copy(tmp_path, monkeypatch):
    write(tmp_path, "log.csv", b"u,i\n1,caf\xe9\n")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", full)
    with pytest.raises(DataError, match=r"log\.csv: could not be copied to .*No space left.*TMPDIR"):
        read(tmp_path / "log.csv", encoding="latin-1")


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-8-sig"])
@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz", "log.jsonl"])
def test_encodings(tmp_path, name, encoding):
    rows = "u,i\n1,café\n2,ü\n" if "csv" in name else '{"u":1,"i":"café"}\n{"u":2,"i":"ü"}\n'
    write(tmp_path, name, rows.encode(encoding))
    assert read(tmp_path / name, encoding=encoding).pairs().rows() == [(1, "café"), (2, "ü")]


def test_a_byte_order_mark_before_json_lines(tmp_path):
    write(tmp_path, "log.jsonl", b'\xef\xbb\xbf{"u":1,"i":2}\n')
    assert read(tmp_path / "log.jsonl").pairs().rows() == [(1, 2)]


def test_text_that_is_not_of_the_encoding(tmp_path):
    write(tmp_path, "log.csv", "u,i\n1,a\n2,é\n")
    with pytest.raises(DataError, match=r"log\.csv: line 3 is not ascii \(.*\); pass another encoding="):
        read(tmp_path / "log.csv", encoding="ascii")


@pytest.mark.parametrize("encoding", ["martian", "base64", 5])
def test_what_is_no_encoding(tmp_path, encoding):
    write(tmp_path, "log.csv", "u,i\n1,a\n")
    with pytest.raises(ParameterError, match=r"encoding=.*such as 'latin-1'"):
        read(tmp_path / "log.csv", encoding=encoding)

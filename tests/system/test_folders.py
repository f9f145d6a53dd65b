"""One writer at a time in a folder, and files that have the mode and the content they should."""

import hashlib
import os
import subprocess
import sys
import threading
import time

import pytest

from cofactor.system import folders
from cofactor.system.folders import locked, sha256, sync_folder, written

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no locks on folders")


@posix
def test_writers_wait_for_each_other(tmp_path):
    inside, most = [], []

    def work():
        with locked(tmp_path / "a") as alone:
            assert alone
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.01)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8


@posix
def test_the_lock_of_a_killed_process_is_free(tmp_path):
    code = (
        "import pathlib, sys, time\nfrom cofactor.system.folders import locked\n"
        f"with locked(pathlib.Path({str(tmp_path)!r})):\n    print('in', flush=True)\n    time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"in\n"
        process.kill()
    with locked(tmp_path) as alone:
        assert alone


@posix
def test_an_error_inside_gives_the_lock_back(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    with locked(tmp_path) as alone:
        assert alone


@posix
def test_whoever_waited_for_a_folder_that_went_gets_the_new_one(tmp_path):
    folder, got = tmp_path / "a", []

    def wait():
        with locked(folder) as alone:
            got.append((alone, folder.is_dir()))

    with locked(folder):
        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(0.05)
        folder.rmdir()
    waiting.join()
    assert got == [(True, True)]


def test_without_locks_the_block_runs_and_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "_flock", lambda handle: False)
    with locked(tmp_path / "new" / "a") as alone:
        assert not alone
        assert (tmp_path / "new" / "a").is_dir()


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(FileExistsError), locked(tmp_path / "a"):
        raise AssertionError


def test_a_file_is_new_and_whole(tmp_path):
    with written(tmp_path / "a") as file:
        file.write(b"whole")
    assert (tmp_path / "a").read_bytes() == b"whole"
    with pytest.raises(FileExistsError), written(tmp_path / "a"):
        raise AssertionError


def test_files_reach_the_disk_before_the_block_ends(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_size))
    with written(tmp_path / "a") as file:
        file.write(b"12345")
    assert synced == [5]


def test_a_file_system_that_cannot_sync_folders_is_no_error_but_a_broken_disk_is(tmp_path, monkeypatch):
    sync_folder(tmp_path)
    for number, fails in ((22, False), (5, True)):

        def refuse(handle, number=number):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", refuse)
        if fails:
            with pytest.raises(OSError, match="Input/output"):
                sync_folder(tmp_path)
        else:
            sync_folder(tmp_path)


def test_sha256_of_paths_and_open_files(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    wanted = hashlib.sha256(b"abc").hexdigest()
    assert sha256(tmp_path / "a") == wanted
    with (tmp_path / "a").open("rb") as file:
        file.read(2)
        assert sha256(file) == wanted

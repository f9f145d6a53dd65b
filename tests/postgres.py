"""A real PostgreSQL server for tests, where there is one."""

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest


def postgres_tools():
    """The folder of initdb and postgres, None where there is none."""
    found = shutil.which("initdb")
    folders = [str(Path(found).parent)] if found else sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")))
    return Path(folders[-1]) if folders else None


@contextmanager
def postgres_server():
    """A server of its own, over a socket in a new folder; gives a function that makes the URL of a new database."""
    tools = postgres_tools()
    psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")
    if tools is None:
        pytest.skip("there is no PostgreSQL on this machine")
    # Paths of sockets are short, and the account below must be able to get there.
    folder = Path(tempfile.mkdtemp(prefix="cofactor-pg-", dir="/tmp" if Path("/tmp").is_dir() else None))
    # PostgreSQL refuses to run as root; in containers there is an account for it.
    user = "postgres" if os.getuid() == 0 else None
    try:
        if user is not None:
            shutil.chown(folder, user)
        data = folder / "data"
        initdb = [tools / "initdb", "-D", data, "-U", "cofactor", "-A", "trust", "--no-sync"]
        subprocess.run(initdb, check=True, user=user, capture_output=True, cwd=folder)
        # fsync is off for speed: a killed process loses nothing by it, only a machine without power would.
        options = ["-c", "listen_addresses=", "-c", "fsync=off", "-k", folder]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen([tools / "postgres", "-D", data, *options], user=user, stderr=log, cwd=folder)
        try:
            yield _databases(psycopg, folder, server)
        finally:
            server.terminate()
            server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _databases(psycopg, folder, server):
    def url(name):
        return f"postgresql://cofactor@/{name}?host={folder}"

    for _ in range(100):
        assert server.poll() is None, (folder / "log").read_text()
        try:
            psycopg.connect(url("postgres"), connect_timeout=1).close()
            break
        except psycopg.OperationalError:
            time.sleep(0.05)

    def make():
        name = f"t{uuid4().hex}"
        with psycopg.connect(url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return url(name)

    return make

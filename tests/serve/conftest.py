"""Stores of both kinds."""

import pytest

from postgres import postgres_server


@pytest.fixture(scope="session")
def postgres():
    """Makes the URL of a new database of a server that runs as long as the tests."""
    with postgres_server() as databases:
        yield databases


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    """Of a store that is not there yet, of either kind."""
    return str(tmp_path / "events.db") if request.param == "sqlite" else request.getfixturevalue("postgres")()

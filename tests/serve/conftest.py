"""Stores of both kinds."""

import pytest


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    """Of a store that is not there yet, of either kind."""
    return str(tmp_path / "events.db") if request.param == "sqlite" else request.getfixturevalue("postgres")()

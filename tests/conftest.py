"""Fixtures that several test files share."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from cofactor import Interactions
from cofactor.datasets import synthetic_events
from cofactor.kernels.csr import CSR

# Machines that test for others are slow and noisy, and must find the same examples every time.
settings.register_profile("cofactor", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("cofactor")

sys.path.insert(0, str(Path(__file__).parent))  # for the twins: from reference import als

from postgres import postgres_server  # noqa: E402


@pytest.fixture(scope="session")
def shop():
    """Events of 90 days with user_id, item_id, time and event_type."""
    return synthetic_events(n_users=60, n_items=40, n_events=1500, seed=1)


@pytest.fixture(scope="session")
def interactions():
    """60 users x 40 items, whole and fractional weights; every user and item has an entry."""
    rng = np.random.default_rng(0)
    dense = rng.random((60, 40)) < 0.2
    dense[np.arange(60), np.arange(60) % 40] = True
    rows, columns = np.nonzero(dense)
    weights = rng.choice([0.5, 1.0, 2.0, 5.0], len(rows))
    return Interactions.from_csr(CSR.from_pairs(rows, columns, weights, dense.shape))


@pytest.fixture(scope="session")
def postgres():
    """Makes the URL of a new database of a server that runs as long as the tests."""
    with postgres_server() as databases:
        yield databases

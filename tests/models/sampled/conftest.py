"""Pairs with a structure that is known: four kinds of items, and users who mostly like one of them."""

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from models.sampled.learning import N_ITEMS, N_KINDS, N_USERS, kind_of


@pytest.fixture(scope="session")
def log():
    """Distinct pairs; a user's items are of the own kind with a chance of nine in ten."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(N_USERS), 12)
    own = rng.random(len(users)) < 0.9
    kinds = np.where(own, kind_of(users), rng.integers(N_KINDS, size=len(users)))
    items = rng.integers(N_ITEMS // N_KINDS, size=len(users)) * N_KINDS + kinds
    return pl.DataFrame({"user_id": users, "item_id": items}).unique(maintain_order=True)


@pytest.fixture(scope="session")
def held_out(log):
    """Every fifth pair."""
    return log.gather_every(5)


@pytest.fixture(scope="session")
def pairs(log, held_out):
    return log.join(held_out, on=["user_id", "item_id"], how="anti", maintain_order="left")


@pytest.fixture(scope="session")
def x(pairs):
    return cf.Interactions.from_frame(pairs)


@pytest.fixture(scope="session")
def kinds():
    """A table of items, the last twelve of which are in no pair."""
    items = np.arange(N_ITEMS + 12)
    return pl.DataFrame({"item_id": items, "kind": [f"kind {k}" for k in kind_of(items)]})


@pytest.fixture(scope="session")
def groups():
    """A table of users, the last twelve of whom are in no pair."""
    users = np.arange(N_USERS + 12)
    return pl.DataFrame({"user_id": users, "group": [f"group {k}" for k in kind_of(users)]})


@pytest.fixture(scope="session")
def dislikes(pairs):
    """Every user dislikes four items of the kind that the user likes, and has none of them."""
    users = np.repeat(np.arange(N_USERS), 4)
    items = np.random.default_rng(5).integers(N_ITEMS // N_KINDS, size=len(users)) * N_KINDS + kind_of(users)
    table = pl.DataFrame({"user_id": users, "item_id": items}).unique(maintain_order=True)
    return table.join(pairs, on=["user_id", "item_id"], how="anti", maintain_order="left")

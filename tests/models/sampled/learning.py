"""What the tests of sampled factorizations share: parameters that suit small data, and how good lists are."""

import numpy as np
import polars as pl

import cofactor as cf

N_KINDS, N_USERS, N_ITEMS = 4, 240, 80

FEW = {"factors": 8, "epochs": 20, "learning_rate": 0.02, "regularization": 0.02, "batch_size": 64}
MANY = {"factors": 8, "epochs": 20, "learning_rate": 0.02, "negatives": 64, "batch_size": 256, "temperature": 0.2}
LOSSES = {
    "bpr": FEW,
    "hinge": FEW,
    "adaptive_hinge": FEW,
    "warp": FEW,
    "logistic": FEW,
    "softmax": MANY,
    "softmax@k": MANY,
    "bsl": MANY,
    "ccl": MANY | {"negative_weight": 3.0},
}


def kind_of(ids):
    """Of items; and of users, the one that they like."""
    return np.asarray(ids) % N_KINDS


def make(loss="softmax", **changed):
    return cf.SampledMF(**{**LOSSES[loss], "loss": loss, **changed})


def ndcg(lists, test):
    return cf.evaluate(lists, test, ["ndcg@10"], n_bootstrap=0)["value"].item()


def share_of_own_kind(lists):
    """How many of the listed items are of the kind that their users like."""
    kinds = pl.Series(kind_of(lists["user_id"])), pl.Series(kind_of(lists["item_id"]))
    return float((kinds[0] == kinds[1]).mean())

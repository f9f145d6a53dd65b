"""Twin of an epoch with features and context: the order-2 machine over all features of a rating, in float64."""

import numpy as np

from reference import fm


def design(targets, relations):
    """A row of features for every rating, as the table has them; and which of them it has, be it with a weight of 0."""
    n, user, item = targets.nnz, targets.row_index(), targets.indices
    ids = [np.eye(n_rows)[of] for n_rows, of in ((targets.n_rows, user), (targets.n_columns, item))]
    context = np.zeros((n, relations.n_categories))
    for own in relations.categories:
        context[np.arange(n), own] = 1
    sides = (relations.users, user), (relations.items, item)
    values = [matrix.to_scipy().toarray().astype(float)[of] for matrix, of in sides]
    there = [matrix.binary().to_scipy().toarray()[of] for matrix, of in sides]
    return np.hstack([*ids, context, *values]), np.hstack([*ids, context, *there]) != 0


def gradient(rows, design, targets, offset, weight_decay, *, logistic=False, span=0.0, has=None):
    """Of a batch's mean loss, for every row, a weight and a vector; and the loss of each rating.

    Of what is predicted the derivatives by w_j and v_j are x_j and ``x_j sum_l x_l v_l - x_j^2 v_j`` (Rendle 2010,
    equation 4). ``has`` says which rows each rating has: those of the batch have the penalty.
    """
    weights, vectors = rows[:, 0], rows[:, 1:]
    z = fm.predicted(design, weights, vectors, offset)
    losses, slopes = fm.losses(z, targets, logistic=logistic, span=span)
    slopes = slopes / len(targets)
    found = np.zeros_like(rows)
    found[:, 0] = design.T @ slopes
    found[:, 1:] = design.T @ (slopes[:, None] * (design @ vectors)) - (design.T**2 @ slopes)[:, None] * vectors
    touched = (design != 0 if has is None else has).any(axis=0)
    found[touched] += weight_decay * rows[touched]
    return found, losses


def slowed(before, after, relations):
    """Rows after a step, where vectors of categories and features go by rates of their own."""
    first = relations.users.n_rows + relations.items.n_rows
    found = after.copy()
    found[first:, 1:] = before[first:, 1:] + relations.rates[:, None] * (after[first:, 1:] - before[first:, 1:])
    return found

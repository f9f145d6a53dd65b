"""Means, covariances and squares of rows, one dense system each."""

import numpy as np


def conditional(ratings, row, fixed, offsets, prior, side, exponent):
    """Mean, and covariance in units of the variance of a rating, of one row's vector; float64."""
    columns, values = ratings.row(row)
    y = fixed[columns].astype(np.float64)
    scale = max(len(columns), 1) ** exponent
    covariance = np.linalg.inv(scale * prior.astype(np.float64) + y.T @ y)
    over = values - offsets[columns].astype(np.float64)
    return covariance @ (scale * side.astype(np.float64) + y.T @ over), covariance


def gaussian_rows(ratings, fixed, offsets, prior, side, *, exponent=0.0):
    """The mean of every row."""
    rows = range(ratings.n_rows)
    return np.array([conditional(ratings, row, fixed, offsets, prior, side, exponent)[0] for row in rows])


def squares(ratings, solved, fixed, offsets):
    """What such vectors leave."""
    rows, columns = ratings.row_index(), ratings.indices
    rated = np.einsum("ij,ij->i", solved[rows].astype(np.float64), fixed[columns].astype(np.float64))
    return float(np.sum((ratings.values - offsets[columns].astype(np.float64) - rated) ** 2))

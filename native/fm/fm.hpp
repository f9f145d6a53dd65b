// Factorization machines of order 2 over pairs of a user and an item, whose features stand in blocks of their own.
#pragma once

#include <cstdint>
#include <span>

#include "core/csr.hpp"
#include "core/parallel.hpp"
#include "sgd/table.hpp"

namespace cofactor {

// Users, or items. A row of parameters is a weight and a vector, `n_coordinates` numbers side by side, filled up with
// zeros to `width`. With x for the features of a row (its id, of weight 1, comes first) and w, v for their parameters,
// its total is sum_j x_j w_j + sum_{j < l} x_j x_l v_j . v_l and sum_j x_j v_j; a pair is predicted as
//     offset + bias_u + bias_i + total_u . total_i
// which is the order-2 machine over the features of both: what is within a side is a number of its row.
struct FmSide {
    float* totals;                         // n x width
    float* ids;                            // n x width
    float* parts;                          // n_features x width
    Csr features;                          // n x n_features
    Csr columns;                           // n_features x n, the same entries; no rows where features stay
    std::span<const std::int32_t> groups;  // of the features; ids are group 0
    std::span<const float> weights;        // n, of all ratings of a row; empty for 1
    std::int64_t n;
};

// The normal prior of every coordinate, n_groups x n_coordinates.
struct FmPrior {
    std::span<const float> means;
    std::span<const float> precisions;
};

struct FmOptions {
    std::int64_t n_coordinates, width;
    float offset;
    float noise_precision;
    std::uint64_t seed;
    bool sampled;  // draw each coordinate from its conditional; otherwise take the mean of that
    int passes;    // over the ids of a row, before the next one
};

// One coordinate after the other of one side, all else held. Residuals (target - predicted) of the entries of `targets`
// (own rows x other rows) are computed anew. Rows are independent given the rest but for features that they share:
// O(nnz n_coordinates), parallel over rows, and O(entries of features x n_coordinates) on one thread.
// A rating counts as often as both its row and its other row say (other_weights, empty for 1).
// row_sums: of every row the sum of its residuals and of their squares by the other rows' weights, n x 2.
void fm_sweep(const Csr& targets, const FmSide& own, std::span<const float> other_totals,
              std::span<const float> other_weights, const FmPrior& prior, const FmOptions& options,
              std::span<float> residuals, std::span<double> row_sums, int threads, Interrupt& interrupt);

struct FmEpoch {
    bool logistic;  // targets are 0 or 1, and the loss is the logarithmic one, of the sigmoid of what is predicted
    float span;     // above 0: targets are in [0, span], and the loss is the squared error of span sigmoid(predicted)
    float offset;
    float weight_decay;
    std::int64_t batch_size;
    std::uint64_t seed;
};

// One pass over the entries of `targets` by batches: users in random order, in groups whose rows fill 4 MB, and the
// entries of a group's users in random order. Every row that a batch touches takes one step against the gradient of the
// batch's mean loss (squared error, or logistic) plus weight_decay / 2 times its squared length. The table holds users,
// then items, a weight and a vector each; they have no other features. The mean loss, each as it was when its batch
// came. O(4 width) a rating, and an optimizer's step for each touched row.
double fm_epoch(const Csr& targets, const Table& rows, const FmEpoch& options, int threads, Interrupt& interrupt);

// What samples of the parameters say of pairs: totals n x n_samples x n_coordinates, and those of a row of -1.
struct FmSamples {
    std::span<const float> users, items, unknown_user, unknown_item;
    std::span<const double> offsets;    // n_samples
    std::span<const double> cutpoints;  // n_samples x (n_levels - 1), empty where the predicted is the rating
    std::span<const double> levels;     // n_levels
    std::int64_t n_coordinates;
};

// Mean and variance, over the samples, of the rating of each pair; O(n_samples n_coordinates) a pair. With cutpoints c
// the rating is levels[k] with probability Phi(c_k - z) - Phi(c_{k-1} - z), z being what is predicted, and the variance
// is that of the rating itself.
void fm_ratings(std::span<const std::int32_t> users, std::span<const std::int32_t> items, const FmSamples& samples,
                std::span<float> means, std::span<float> variances, int threads, Interrupt& interrupt);

}  // namespace cofactor

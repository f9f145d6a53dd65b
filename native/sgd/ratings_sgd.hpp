// Stochastic gradient descent on the squared error of ratings; kernels/cpu/ratings_sgd.py has the losses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/csr.hpp"
#include "core/parallel.hpp"

namespace cofactor {

// Vectors and biases of users or of items.
struct RatingSide {
    float* vectors;                        // n x width
    float* biases;                         // n
    const float* shrinkage;                // n: what regularization is multiplied by
    std::span<const std::int32_t> blocks;  // where each block of rows begins, and the end of the last
};

struct RatingStep {
    float learning_rate, bias_learning_rate, regularization, bias_regularization;
};

struct RatingsSgd {
    Csr ratings;  // users x items
    std::ptrdiff_t width;
    RatingSide users, items;  // with as many blocks
    RatingStep step;
    std::int64_t shift;  // the block of items that the first block of users begins with
    bool update_items;
};

// Every rating once. Blocks of users and of items cross in strata no two blocks of which share a user or an item
// (Gemulla et al. 2011): those are worked on side by side, and the result is that of one thread, in every bit. Without
// update_items users do not depend on each other. Sum of squared errors, each before its step.
double ratings_sgd_epoch(const RatingsSgd& problem, int threads, Interrupt& interrupt);

struct RatingsSets {
    RatingsSgd base;
    float* implicit;     // n_items x width: y
    std::int64_t batch;  // ratings of a batch of users
};

// The same with x_u = p_u + |N(u)|^-1/2 sum of y_j over N(u), the items that u rated, in place of p_u. Users of a batch
// read items as they were before it.
double ratings_sets_epoch(const RatingsSets& problem, int threads, Interrupt& interrupt);

}  // namespace cofactor

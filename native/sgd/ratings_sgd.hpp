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
    RatingSide users, items;  // with as many blocks each, an even number
    RatingStep step;
    std::int64_t shift;  // the block of items that the first block of users begins with
    bool update_items;
};

// Every rating once. Blocks of users and of items cross in strata no two blocks of which share a user or an item
// (Gemulla et al. 2011): those are worked on side by side, and the result is that of one thread, in every bit. Without
// update_items users do not depend on each other. Sum of squared errors, each before its step.
double ratings_sgd_epoch(const RatingsSgd& problem, int threads, Interrupt& interrupt);

}  // namespace cofactor

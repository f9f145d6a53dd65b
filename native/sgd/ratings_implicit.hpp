// Stochastic gradient descent on ratings of users who are told by what they rated, too; kernels/cpu/ratings_implicit.py
// has the loss.
#pragma once

#include <cstdint>

#include "sgd/ratings_sgd.hpp"

namespace cofactor {

struct RatingsImplicit {
    RatingsSgd base;     // of which the blocks of items, and neither shift nor update_items, are looked at
    float* implicit;     // n_items x width: y
    std::int64_t batch;  // ratings, at least, of a batch of users
};

// Every rating once, with x_u = p_u + |N(u)|^-1/2 sum of y_j over N(u), the items that u rated, in place of p_u. Users
// of a batch read items as they were before it; then each item takes its steps in the order of the users, so that no
// bit depends on the threads. Sum of squared errors, each before its step.
double ratings_implicit_epoch(const RatingsImplicit& problem, int threads, Interrupt& interrupt);

}  // namespace cofactor

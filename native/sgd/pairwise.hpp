// Stochastic gradient descent on positives, each against a few negatives of its own; kernels/cpu/pairwise.py has the
// losses.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "core/csr.hpp"
#include "sampling/negatives.hpp"
#include "sgd/table.hpp"

namespace cofactor {

enum class PairLoss { bpr, hinge, adaptive_hinge, warp, logistic };

struct Pairwise {
    PairLoss loss;
    std::int64_t n_negatives;  // of a positive; warp: how many are tried at most
    float margin;
    float regularization, bias_regularization;
    float falls_to;  // share of the learning rates at the end of the epoch, on a line from 1
    Negatives negatives;
    std::int64_t n_fields;
    std::span<const std::int32_t> groups;  // n_items x n_fields, or empty
    std::span<const float> group_discounts;
    std::span<const float> warp_weights;  // after how many trials a violation was found, from 1
    std::uint64_t seed;                   // of the epoch
    std::int64_t batch_size;
    bool update_users, update_items;

    // How much a negative counts: less where it is like the positive.
    [[gnu::always_inline]] float counts(std::int32_t positive, std::int32_t negative) const {
        float share = 1;
        for (std::int64_t f = 0; f < n_fields; ++f) {
            if (groups[negative * n_fields + f] == groups[positive * n_fields + f]) share -= group_discounts[f];
        }
        return std::max(0.0f, share);
    }
};

// The share of them for entries [begin, end) of n.
inline float rate_share(const Pairwise& options, std::int64_t begin, std::int64_t end, std::int64_t n) {
    const double done = 0.5 * static_cast<double>(begin + end) / static_cast<double>(n);
    return static_cast<float>(1 + (options.falls_to - 1) * done);
}

struct PairwiseEpoch {
    double loss;              // summed over positives
    std::int64_t skipped;     // positives whose user has no negatives
    std::int64_t violations;  // negatives that score too high
};

// Every entry of x once, in random order: user by user in blocks of users, and at random inside a block. Threads
// write to the same rows without locks (Hogwild, Niu et al. 2011). 3 rows of the table are read and written for
// every entry with one negative.
PairwiseEpoch pairwise_epoch(const Csr& x, const Table& vectors, const Table* biases, const Composition& users,
                             const Composition& items, const Pairwise& options, int threads, Interrupt& interrupt);

// The same in batches, every one from parameters that wait for its end: the same for every number of threads.
PairwiseEpoch pairwise_epoch_deterministic(const Csr& x, const Table& vectors, const Table* biases,
                                           const Composition& users, const Composition& items, const Pairwise& options,
                                           int threads, Interrupt& interrupt);

}  // namespace cofactor

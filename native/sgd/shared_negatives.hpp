// Stochastic gradient descent with negatives that all positives of a batch share.
#pragma once

#include <cstdint>
#include <span>

#include "core/csr.hpp"
#include "core/parallel.hpp"
#include "sampling/sampler.hpp"
#include "sgd/table.hpp"

namespace cofactor {

enum class SharedLoss { softmax, bsl, ccl, softmax_at_k };

struct SharedNegatives {
    SharedLoss loss;
    bool cosine;
    float temperature;
    float positive_temperature;        // bsl
    float margin, negative_weight;     // ccl
    std::span<const float> quantiles;  // softmax_at_k: n_users
    float quantile_temperature;        // softmax_at_k
    std::int64_t negatives;            // that a batch shares
    bool exact, in_batch;
    ItemSampler items;             // unless in_batch
    std::span<const float> log_q;  // n_items, or empty
    std::int64_t n_fields;
    std::span<const std::int32_t> groups;  // n_items x n_fields
    std::span<const float> discounts;      // n_fields
    float regularization, bias_regularization;
    std::int64_t batch_size;
    std::uint64_t seed, epoch;
    bool update_users, update_items;  // rows of the tables before x.n_rows(), and all others
};

// One pass over the entries of x (users x items; values: weights) in random order. Mean loss of the entries, as they
// were when their batch came. A batch of B entries with N negatives costs 6 B N width flop.
double shared_negatives_epoch(const Csr& x, const Table& vectors, const Table* biases, const Composition& users,
                              const Composition& items, const SharedNegatives& options, int threads,
                              Interrupt& interrupt);

}  // namespace cofactor

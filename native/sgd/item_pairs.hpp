// Stochastic gradient descent on pairs of items, one of which follows the other; kernels/cpu/item_pairs.py has the
// losses.
#pragma once

#include <cstdint>
#include <span>

#include "core/parallel.hpp"
#include "sampling/sampler.hpp"
#include "sgd/table.hpp"

namespace cofactor {

enum class ItemPairLoss { logistic, softmax };

struct ItemPairs {
    std::span<const std::int32_t> items, next_items;  // of the pairs
    std::span<const float> weights;                   // of the pairs, or empty: 1 each
    std::int64_t n_items;
    bool shared;  // whether next items have the vectors of items, or rows of their own after those
    ItemPairLoss loss;
    bool in_batch;        // negatives are next items of the other pairs of the block; else drawn, a pool for each block
    ItemSampler sampler;  // read only then
    std::int64_t n_negatives;
    std::span<const float> log_q;  // n_items, what the scores of softmax are corrected by, or empty
    float regularization;
    std::uint64_t seed;  // of the epoch
    std::int64_t block;  // pairs whose gradients are taken at the same parameters
    bool learn;          // else only the loss is looked at
};

struct ItemPairsEpoch {
    double loss, weight;           // summed over pairs
    std::int64_t above, compared;  // pairs that score above a negative of theirs, of how many
};

// Every pair once, in random order. Threads write to the same rows without locks (Hogwild, Niu et al. 2011). A pair
// reads and writes 2 rows of the table, 3 with drawn negatives, however many negatives it has.
ItemPairsEpoch item_pairs_epoch(const ItemPairs& pairs, const Table& vectors, int threads, Interrupt& interrupt);

}  // namespace cofactor

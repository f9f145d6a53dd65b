// Factorization machines by batches whose users and items have features, and whose ratings have context.
#pragma once

#include <cstdint>
#include <span>

#include "core/csr.hpp"
#include "core/parallel.hpp"
#include "fm/fm.hpp"
#include "sgd/table.hpp"

namespace cofactor {

// The table's rows are the ids of users, those of items, all categories of context, the features of users, and those of
// items; a weight and a vector each.
struct FmRelations {
    Csr users, items;  // n_users x features, n_items x features
    std::int64_t n_user_features, n_item_features;
    std::span<const std::int32_t> categories;  // n_columns x nnz: of every rating, counted over all columns
    std::int64_t n_columns, n_categories;
    std::span<const float> rates;  // of categories, then of features: what steps of their vectors are multiplied by
    std::int64_t batches;          // between steps of features

    std::int64_t n_features() const { return n_user_features + n_item_features; }
};

// One pass over the entries of `targets` in the batches of fm_epoch. Each row that a batch has takes one step; features
// one in a block of so many batches, against the gradient of the mean loss of its batches: their sums over the features
// of a user or an item ("relation blocks", Rendle 2013) stay as they are in the meantime. The mean loss, each as it was
// when its batch came. O(width) for each rating and each of its user, item and categories, and for each feature of
// everybody in a block.
double fm_relations_epoch(const Csr& targets, const FmRelations& relations, const Table& rows, const FmEpoch& options,
                          int threads, Interrupt& interrupt);

}  // namespace cofactor

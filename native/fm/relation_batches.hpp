// A batch of ratings by what each of them is of: users, items, and categories of every column of context.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/csr.hpp"
#include "fm/batches.hpp"
#include "fm/relations.hpp"

namespace cofactor {

// Rows of the table, side by side of ratings: those of users come first, then those of items and of each column.
class RelationBatch {
public:
    // entries: whose items are numbers of ratings. counts: zeros, as many as the largest side has rows; left so.
    // O(ratings x sides).
    void assign(std::span<const BatchEntry> entries, const Csr& targets, const FmRelations& relations,
                std::vector<std::int32_t>& counts) {
        entries_ = entries;
        const std::int64_t n = size(), nnz = static_cast<std::int64_t>(targets.indices.size());
        const std::int64_t n_users = targets.n_rows(), n_items = relations.items.n_rows();
        places_.resize(n * (2 + relations.n_columns));
        order_.resize(places_.size());
        rows_.clear();
        starts_.clear();
        side(0, 0, counts, [&](std::int64_t k) { return entries[k].user; });
        side(1, n_users, counts, [&](std::int64_t k) { return targets.indices[entries[k].item]; });
        n_described_ = std::ssize(rows_);
        for (std::int64_t c = 0; c < relations.n_columns; ++c) {
            const std::int32_t* const own = relations.categories.data() + c * nnz;
            side(2 + c, n_users + n_items, counts, [&](std::int64_t k) { return own[entries[k].item]; });
        }
        starts_.push_back(static_cast<std::int32_t>(order_.size()));
    }

    std::int64_t size() const { return std::ssize(entries_); }  // ratings
    std::span<const BatchEntry> entries() const { return entries_; }
    std::int64_t n_rows() const { return std::ssize(rows_); }
    std::int64_t n_described() const { return n_described_; }    // rows of users and items
    std::int32_t row(std::int64_t d) const { return rows_[d]; }  // of the table
    std::int32_t place(std::int64_t side, std::int64_t k) const { return places_[side * size() + k]; }  // d of rating k
    std::span<const std::int32_t> ratings(std::int64_t d) const {  // that have row d
        return std::span<const std::int32_t>(order_).subspan(starts_[d], starts_[d + 1] - starts_[d]);
    }

private:
    template <class Of>
    void side(std::int64_t number, std::int64_t first, std::vector<std::int32_t>& counts, Of&& of) {
        const std::int64_t n = size(), begin = std::ssize(rows_);
        for (std::int64_t k = 0; k < n; ++k) {
            if (counts[of(k)]++ == 0) rows_.push_back(static_cast<std::int32_t>(first + of(k)));
        }
        std::int32_t at = static_cast<std::int32_t>(number * n);
        ends_.clear();
        for (std::int64_t d = begin; d < std::ssize(rows_); ++d) {
            std::int32_t& count = counts[rows_[d] - first];
            starts_.push_back(at);
            ends_.push_back(at);
            at += count;
            count = static_cast<std::int32_t>(d);
        }
        for (std::int64_t k = 0; k < n; ++k) {
            const std::int32_t d = counts[of(k)];
            places_[number * n + k] = d;
            order_[ends_[d - begin]++] = static_cast<std::int32_t>(k);
        }
        for (std::int64_t d = begin; d < std::ssize(rows_); ++d) counts[rows_[d] - first] = 0;
    }

    std::span<const BatchEntry> entries_;
    std::int64_t n_described_ = 0;
    std::vector<std::int32_t> rows_, starts_, ends_, places_, order_;
};

}  // namespace cofactor

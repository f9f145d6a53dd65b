// Which rows of a table a batch touches, and which of its gradients go to each.
#pragma once

#include <cstdint>
#include <vector>

#include "sgd/table.hpp"

namespace cofactor {

class TouchedRows {
public:
    struct Share {
        std::int32_t source;  // number of a gradient
        float weight;
    };

    // Rows [0, first) of the table change only if `before`, all others only if `after`.
    TouchedRows(std::int64_t n_rows, std::int64_t first, bool before, bool after)
        : place_(n_rows, -1), first_(first), before_(before), after_(after) {}

    void clear() {
        for (const std::int32_t row : rows_) place_[row] = -1;
        rows_.clear();
        starts_.clear();
        flat_.clear();
    }

    // The gradient of the vector of user or item i goes to its parts.
    void add(const Composition& c, std::int64_t i, std::int32_t source) {
        if (c.parts == nullptr) {
            add(c.offset + i, {source, 1.0f});
            return;
        }
        for (std::int64_t k = c.parts->indptr[i]; k < c.parts->indptr[i + 1]; ++k) {
            add(c.parts->indices[k], {source, c.parts->values[k]});
        }
    }

    // After the last one: counting sort by row, so that shares keep their order. O(shares).
    void sort() {
        starts_.assign(rows_.size() + 1, 0);
        for (const Flat& f : flat_) ++starts_[f.place + 1];
        for (std::size_t p = 1; p < starts_.size(); ++p) starts_[p] += starts_[p - 1];
        shares_.resize(flat_.size());
        for (const Flat& f : flat_) shares_[starts_[f.place]++] = f.share;
        for (std::size_t p = starts_.size(); p-- > 1;) starts_[p] = starts_[p - 1];
        starts_[0] = 0;
    }

    std::int64_t size() const { return static_cast<std::int64_t>(rows_.size()); }
    std::int32_t row(std::int64_t p) const { return rows_[p]; }
    [[gnu::always_inline]] void prefetch(std::int64_t row) const { __builtin_prefetch(place_.data() + row); }
    std::span<const Share> shares(std::int64_t p) const {
        return std::span<const Share>(shares_).subspan(starts_[p], starts_[p + 1] - starts_[p]);
    }

private:
    struct Flat {
        std::int32_t place;
        Share share;
    };

    void add(std::int64_t row, Share share) {
        if (!(row < first_ ? before_ : after_)) return;
        if (place_[row] < 0) {
            place_[row] = static_cast<std::int32_t>(rows_.size());
            rows_.push_back(static_cast<std::int32_t>(row));
        }
        flat_.push_back({place_[row], share});
    }

    std::vector<std::int32_t> place_, rows_;
    std::vector<std::int64_t> starts_;
    std::vector<Flat> flat_;
    std::vector<Share> shares_;
    std::int64_t first_;
    bool before_, after_;
};

}  // namespace cofactor

// Negative items for a user.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "core/csr.hpp"
#include "core/random.hpp"

namespace cofactor {

// Draws items, uniformly or from an alias table (Walker 1977; Vose 1991): O(1) each.
struct ItemSampler {
    std::int32_t n_items;
    std::span<const float> keep;          // n_items, or empty: uniform
    std::span<const std::int32_t> alias;  // n_items, or empty

    std::int32_t operator()(Random& random) const {
        const auto at = static_cast<std::int32_t>(random.below(static_cast<std::uint32_t>(n_items)));
        return keep.empty() || random.uniform() < keep[at] ? at : alias[at];
    }
};

inline bool contains(std::span<const std::int32_t> ascending, std::int32_t item) {
    return std::binary_search(ascending.begin(), ascending.end(), item);
}

inline std::span<const std::int32_t> row_of(const Csr& a, std::int64_t row) {
    return a.indices.subspan(a.indptr[row], a.length(row));
}

// Item number `rank` of those that are not in `seen`: O(log seen).
inline std::int32_t unseen_item(std::span<const std::int32_t> seen, std::int32_t rank) {
    std::size_t low = 0, high = seen.size();  // seen[k] - k unseen items are before seen[k]
    while (low < high) {
        const std::size_t middle = (low + high) / 2;
        if (seen[middle] - static_cast<std::int32_t>(middle) <= rank)
            low = middle + 1;
        else
            high = middle;
    }
    return rank + static_cast<std::int32_t>(low);
}

// An item that is not in `seen` (ascending), or -1 where there is none. Uniform ones take one draw. With an alias table
// seen items are drawn again; after 64 times in vain the item is a uniform one.
inline std::int32_t draw_unseen(const ItemSampler& items, std::span<const std::int32_t> seen, Random& random) {
    const auto unseen = items.n_items - static_cast<std::int32_t>(seen.size());
    if (unseen <= 0) return -1;
    if (!items.keep.empty()) {
        for (int trial = 0; trial < 64; ++trial) {
            const std::int32_t item = items(random);
            if (!contains(seen, item)) return item;
        }
    }
    return unseen_item(seen, static_cast<std::int32_t>(random.below(static_cast<std::uint32_t>(unseen))));
}

}  // namespace cofactor

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

// Item number `rank` of those that are not in `seen`: O(log seen), without branches that depend on what is found.
inline std::int32_t unseen_item(std::span<const std::int32_t> seen, std::int32_t rank) {
    const std::int32_t* const at = seen.data();
    std::int32_t low = 0, left = static_cast<std::int32_t>(seen.size());  // at[k] - k unseen items are before at[k]
    while (left > 0) {
        const std::int32_t half = (left + 1) / 2, last = low + half - 1;
        low += half * (at[last] - last <= rank);
        left -= half;
    }
    return rank + low;
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

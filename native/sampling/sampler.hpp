// Negative items for a user.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

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

inline std::span<const std::int32_t> row_of(const Csr& a, std::int64_t row) {
    return a.indices.subspan(a.indptr[row], a.length(row));
}

// The items that a user has seen.
class Seen {
public:
    explicit Seen(std::span<const std::int32_t> ascending, const std::uint64_t* bits = nullptr)
        : items_(ascending), bits_(bits) {}

    std::int32_t size() const { return static_cast<std::int32_t>(items_.size()); }

    // O(1) at hand, else O(log size), without branches that depend on what is found.
    bool contains(std::int32_t item) const {
        if (bits_ != nullptr) return bits_[item / 64] >> (item % 64) & 1;
        const std::int32_t* at = items_.data();
        std::int32_t left = size();
        for (; left > 1; left -= left / 2) at += (at[left / 2 - 1] < item) * (left / 2);
        return left == 1 && *at == item;
    }

    // Item number `rank` of those that are not among them. O(log size).
    std::int32_t unseen(std::int32_t rank) const {
        const std::int32_t* const at = items_.data();
        std::int32_t low = 0, left = size();  // at[k] - k unseen items are before at[k]
        while (left > 0) {
            const std::int32_t half = (left + 1) / 2, last = low + half - 1;
            low += half * (at[last] - last <= rank);
            left -= half;
        }
        return rank + low;
    }

private:
    std::span<const std::int32_t> items_;
    const std::uint64_t* bits_ = nullptr;
};

// What one user after another has seen, each at hand while many negatives are drawn for him: a bit for every item.
class SeenAtHand {
public:
    explicit SeenAtHand(std::int64_t n_items) : bits_((n_items + 63) / 64) {}

    // The user before is forgotten. O(seen).
    Seen operator()(std::span<const std::int32_t> ascending) {
        for (const std::int32_t item : items_) bits_[item / 64] = 0;
        for (const std::int32_t item : ascending) bits_[item / 64] |= std::uint64_t{1} << (item % 64);
        items_ = ascending;
        return Seen(items_, bits_.data());
    }

private:
    std::vector<std::uint64_t> bits_;
    std::span<const std::int32_t> items_;
};

// An item that is not in `seen`, or -1 where there is none. Seen items are drawn again; who has seen more than half of
// the catalogue gets uniform ones by their rank, and so does everybody after 64 draws in vain.
inline std::int32_t draw_unseen(const ItemSampler& items, const Seen& seen, Random& random) {
    const std::int32_t unseen = items.n_items - seen.size();
    if (unseen <= 0) return -1;
    for (int left = unseen >= seen.size() || !items.keep.empty() ? 64 : 0; left > 0; --left) {
        const std::int32_t item = items(random);
        if (!seen.contains(item)) return item;
    }
    return seen.unseen(static_cast<std::int32_t>(random.below(static_cast<std::uint32_t>(unseen))));
}

}  // namespace cofactor

// Negative items for training: drawn beside the catalogue from what users dislike, and many at once.
#pragma once

#include <cstdint>

#include "core/csr.hpp"
#include "sampling/sampler.hpp"

namespace cofactor {

// What a user's negatives are drawn from.
struct Negatives {
    ItemSampler items;
    const Csr* seen;      // users x items that are never drawn; or null: unchecked
    const Csr* dislikes;  // users x items that are drawn with probability dislike_share where there are any; or null
    float dislike_share;

    std::span<const std::int32_t> history(std::int64_t user) const {
        return seen == nullptr ? std::span<const std::int32_t>{} : row_of(*seen, user);
    }
    Seen seen_by(std::int64_t user) const { return Seen(history(user)); }

    // A negative of the user who has seen `of_user`, or -1 where there is none. O(log seen); O(1) at hand.
    std::int32_t operator()(std::int64_t user, const Seen& of_user, Random& random) const {
        const bool exhausted = of_user.size() >= items.n_items;
        if (dislikes != nullptr) {
            const auto disliked = row_of(*dislikes, user);
            if (!disliked.empty() && (random.uniform() < dislike_share || exhausted)) {
                return disliked[random.below(static_cast<std::uint32_t>(disliked.size()))];
            }
        }
        if (exhausted) return -1;
        return seen == nullptr ? items(random) : draw_unseen(items, of_user, random);
    }
};

// out[k * n + d] = draw d of request k, for user users[k]: stream first + k of the seed.
void sample_negatives(const Negatives& negatives, std::span<const std::int32_t> users, std::int64_t n,
                      std::uint64_t seed, std::uint64_t first, std::int32_t* out, int threads, Interrupt& interrupt);

// The alias table of n weights, n > 0, sum > 0 (Vose 1991): item i is drawn with probability weights[i] / sum.
// O(n).
void alias_table(std::span<const double> weights, std::span<float> keep, std::span<std::int32_t> alias);

}  // namespace cofactor

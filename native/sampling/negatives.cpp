#include "sampling/negatives.hpp"

#include <numeric>
#include <vector>

namespace cofactor {

void sample_negatives(const Negatives& negatives, std::span<const std::int32_t> users, std::int64_t n,
                      std::uint64_t seed, std::uint64_t first, std::int32_t* out, int threads, Interrupt& interrupt) {
    const auto size = static_cast<std::int64_t>(users.size());
    const std::int64_t grain = 1 + (1 << 14) / (n + 1);
    parallel_for(size, grain, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t k = begin; k < end; ++k) {
            const auto seen = negatives.seen_by(users[k]);
            Random random(seed, first + k);
            for (std::int64_t d = 0; d < n; ++d) out[k * n + d] = negatives(users[k], seen, random);
        }
    });
}

void alias_table(std::span<const double> weights, std::span<float> keep, std::span<std::int32_t> alias) {
    const std::size_t n = weights.size();
    const double mean = std::accumulate(weights.begin(), weights.end(), 0.0) / static_cast<double>(n);
    std::vector<double> left(n);  // what is still to be given to an item, in units of a place
    std::vector<std::int32_t> less, more;
    for (std::size_t i = 0; i < n; ++i) {
        left[i] = weights[i] / mean;
        (left[i] < 1 ? less : more).push_back(static_cast<std::int32_t>(i));
        keep[i] = 1;
        alias[i] = static_cast<std::int32_t>(i);
    }
    while (!less.empty() && !more.empty()) {
        const std::int32_t small = less.back(), large = more.back();
        less.pop_back();
        keep[small] = static_cast<float>(left[small]);
        alias[small] = large;
        left[large] -= 1 - left[small];
        if (left[large] >= 1) continue;
        more.pop_back();
        less.push_back(large);
    }
}

}  // namespace cofactor

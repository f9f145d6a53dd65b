// The best k of scores that lie in memory: blocks of 64 columns, one bit for each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/simd.hpp"
#include "topk/best.hpp"
#include "topk/choice.hpp"

namespace cofactor {

// Bit i is set where scores[i] > threshold, i < kBlock.
inline std::uint64_t above(const float* scores, float threshold) {
    std::uint64_t bits = 0;
    const Vec least = broadcast(threshold);
    for (int i = 0; i < kBlock; i += kLanes) {
        bits |= static_cast<std::uint64_t>(greater(load(scores + i), least)) << i;
    }
    return bits;
}

// Passes the blocks of one row, in ascending order, to its best k: an equal score with a higher column never gets in.
class RowSelection {
public:
    RowSelection(const Choice& choice, Ranking& ranking, std::int64_t row, std::int64_t first_block)
        : choice_(choice), best_(ranking.best(row)), excluded_(choice.excluded(row, first_block)) {}

    float threshold() const { return best_.threshold(); }

    // scores: of kBlock columns, whatever stands past the last one; only those whose bit in `of` is set take part.
    void pass(std::int64_t block, const float* scores, std::uint64_t of = ~std::uint64_t{0}) {
        std::uint64_t hits = above(scores, best_.threshold()) & choice_.allowed(block) & of;
        if (hits == 0) return;
        const std::int64_t begin = block * kBlock;
        while (at_ < excluded_.size() && excluded_[at_] < begin) ++at_;
        for (std::size_t e = at_; e < excluded_.size() && excluded_[e] < begin + kBlock; ++e) {
            hits &= ~(std::uint64_t{1} << (excluded_[e] - begin));
        }
        for (; hits != 0; hits &= hits - 1) {
            const int i = __builtin_ctzll(hits);
            const auto column = static_cast<std::int32_t>(begin + i);
            if (best_.accepts(scores[i], column)) best_.push(scores[i], column);
        }
    }

private:
    const Choice& choice_;
    BestK best_;
    std::span<const std::int32_t> excluded_;
    std::size_t at_ = 0;
};

}  // namespace cofactor

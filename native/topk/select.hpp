// The best k of scores that lie in memory: blocks of 64 columns, one bit for each.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

#include "core/csr.hpp"
#include "core/parallel.hpp"
#include "core/simd.hpp"
#include "topk/best.hpp"

namespace cofactor {

inline constexpr std::int64_t kBlock = 64;  // columns whose filters are the bits of one word
constexpr std::int64_t n_blocks(std::int64_t n_columns) { return (n_columns + kBlock - 1) / kBlock; }

// Which columns may come back.
class Choice {
public:
    // excluded: n x n_columns, rows ascending, or null; allowed: ascending, read where restricted.
    Choice(std::int64_t n_columns, const Csr* excluded, std::span<const std::int32_t> allowed, bool restricted)
        : n_columns_(n_columns), excluded_(excluded), bits_(n_blocks(n_columns), restricted ? 0 : ~std::uint64_t{0}) {
        for (const std::int32_t column : allowed) bits_[column / kBlock] |= std::uint64_t{1} << column % kBlock;
        if (n_columns % kBlock != 0) bits_.back() &= (std::uint64_t{1} << n_columns % kBlock) - 1;
    }

    std::int64_t n_columns() const { return n_columns_; }
    std::uint64_t allowed(std::int64_t block) const { return bits_[block]; }

    // What of a row's excluded columns starts with this block.
    std::span<const std::int32_t> excluded(std::int64_t row, std::int64_t block) const {
        if (excluded_ == nullptr) return {};
        const std::int64_t begin = excluded_->indptr[row];
        const auto columns = excluded_->indices.subspan(begin, excluded_->indptr[row + 1] - begin);
        if (block == 0) return columns;
        const auto first = std::lower_bound(columns.begin(), columns.end(), block * kBlock);
        return columns.subspan(first - columns.begin());
    }

private:
    std::int64_t n_columns_;
    const Csr* excluded_;
    std::vector<std::uint64_t> bits_;
};

struct Ranking {
    std::int32_t* columns;  // n x k
    float* scores;
    std::int64_t k;
    std::vector<std::int64_t> size = {};  // found so far

    void clear(std::int64_t n) {
        std::fill_n(columns, n * k, -1);
        std::fill_n(scores, n * k, -std::numeric_limits<float>::infinity());
        size.assign(n, 0);
    }
    BestK best(std::int64_t row) { return {scores + row * k, columns + row * k, k, size[row]}; }
};

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

// The k best columns of every row of scores (n x n_columns), best first; NaN and minus infinity never come back.
inline void select_top_k(const float* scores, std::int64_t n, const Choice& choice, Ranking ranking, int threads,
                         Interrupt& interrupt) {
    ranking.clear(n);
    const std::int64_t n_columns = choice.n_columns(), whole = n_columns / kBlock;
    parallel_for(n, 16, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t row = begin; row < end; ++row) {
            RowSelection selection(choice, ranking, row, 0);
            const float* of_row = scores + row * n_columns;
            for (std::int64_t block = 0; block < whole; ++block) selection.pass(block, of_row + block * kBlock);
            if (whole < n_blocks(n_columns)) {
                float last[kBlock] = {};
                std::memcpy(last, of_row + whole * kBlock, (n_columns - whole * kBlock) * sizeof(float));
                selection.pass(whole, last);
            }
            ranking.best(row).sort();
        }
    });
}

}  // namespace cofactor

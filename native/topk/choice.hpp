// Which columns a row may choose from, and the best that it has chosen.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "core/csr.hpp"
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

}  // namespace cofactor

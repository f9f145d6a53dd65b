// Compressed sparse rows, as the kernels see them.
#pragma once

#include <cstdint>
#include <span>

#include "core/parallel.hpp"

namespace cofactor {

struct Csr {
    std::span<const std::int64_t> indptr;   // n_rows + 1
    std::span<const std::int32_t> indices;  // nnz
    std::span<const float> values;          // nnz, or empty where only the pattern matters

    std::int64_t n_rows() const { return static_cast<std::int64_t>(indptr.size()) - 1; }
    std::int64_t length(std::int64_t row) const { return indptr[row + 1] - indptr[row]; }
};

// Whether the columns of every row are ascending, unique and in [0, n_columns).
bool is_ascending(const Csr& a, std::int64_t n_columns, int threads, Interrupt& interrupt);

// Counting sort by column: O(nnz + n_columns). Rows come out ascending inside each column because they are read so.
void transpose(const Csr& a, std::span<std::int64_t> indptr, std::span<std::int32_t> indices, std::span<float> values);

}  // namespace cofactor

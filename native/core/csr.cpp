#include "core/csr.hpp"

#include <atomic>
#include <vector>

namespace cofactor {

bool is_ascending(const Csr& a, std::int64_t n_columns, int threads, Interrupt& interrupt) {
    std::atomic<bool> ascending{true};
    parallel_for(a.n_rows(), 4096, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
        bool fine = true;
        for (std::int64_t row = begin; row < end; ++row) {
            std::int64_t least = 0;
            for (std::int64_t e = a.indptr[row]; e < a.indptr[row + 1]; least = a.indices[e++] + 1ll) {
                fine = fine && a.indices[e] >= least && a.indices[e] < n_columns;
            }
        }
        if (!fine) ascending = false;
    });
    return ascending;
}

void transpose(const Csr& a, std::span<std::int64_t> indptr, std::span<std::int32_t> indices, std::span<float> values) {
    for (const std::int32_t column : a.indices) ++indptr[column + 1];
    for (std::size_t c = 1; c < indptr.size(); ++c) indptr[c] += indptr[c - 1];
    std::vector<std::int64_t> at(indptr.begin(), indptr.end() - 1);
    for (std::int64_t row = 0; row < a.n_rows(); ++row) {
        for (std::int64_t e = a.indptr[row]; e < a.indptr[row + 1]; ++e) {
            const std::int64_t to = at[a.indices[e]]++;
            indices[to] = static_cast<std::int32_t>(row);
            values[to] = a.values[e];
        }
    }
}

}  // namespace cofactor

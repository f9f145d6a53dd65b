#include "products/products.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/csr.hpp"
#include "core/parallel.hpp"
#include "core/simd.hpp"

namespace cofactor {

void sparse_product(const Csr& a, const Csr& b, std::int64_t n_columns, bool lower, float* out, int threads,
                    Interrupt& interrupt) {
    parallel_for(a.n_rows(), 16, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t row = begin; row < end; ++row) {
            float* const sums = out + row * n_columns;
            const std::int64_t last = lower ? std::min(row, n_columns - 1) : n_columns - 1;
            std::fill_n(sums, last + 1, 0.0f);
            for (std::int64_t e = a.indptr[row]; e < a.indptr[row + 1]; ++e) {
                const float x = a.values[e];
                const std::int64_t to = b.indptr[a.indices[e] + 1];
                for (std::int64_t f = b.indptr[a.indices[e]]; f < to && b.indices[f] <= last; ++f) {
                    sums[b.indices[f]] += x * b.values[f];
                }
            }
        }
    });
}

namespace {

constexpr std::int64_t kPanel = 32;
constexpr int kPanelVectors = static_cast<int>(kPanel) / kLanes;

// sums (kPanel) = the panel's rows times one row of b
void panel_row(const float* panel, const Csr& b, std::int64_t row, float* sums) {
    Vec even[kPanelVectors] = {}, odd[kPanelVectors] = {};  // two chains of dependent additions
    std::int64_t e = b.indptr[row];
    const auto add = [&](Vec(&acc)[kPanelVectors], std::int64_t at) {
        const float* const from = panel + b.indices[at] * kPanel;
        const Vec x = broadcast(b.values[at]);
        for (int v = 0; v < kPanelVectors; ++v) acc[v] += x * load(from + v * kLanes);
    };
    for (; e + 1 < b.indptr[row + 1]; e += 2) {
        add(even, e);
        add(odd, e + 1);
    }
    if (e < b.indptr[row + 1]) add(even, e);
    for (int v = 0; v < kPanelVectors; ++v) store(sums + v * kLanes, even[v] + odd[v]);
}

}  // namespace

void dense_product(const float* d, std::int64_t n, std::int64_t depth, const Csr& b, float* out, int threads,
                   Interrupt& interrupt) {
    constexpr std::int64_t kColumns = 16;  // of `out` written together: a cache line of each row
    const std::int64_t n_columns = b.n_rows();
    std::vector<Buffer> panels(static_cast<std::size_t>(threads));
    for (Buffer& panel : panels) panel = Buffer(static_cast<std::size_t>(depth * kPanel));
    parallel_for((n + kPanel - 1) / kPanel, 1, threads, interrupt, [&](std::int64_t piece, std::int64_t, int worker) {
        float* const panel = panels[static_cast<std::size_t>(worker)].data();
        const std::int64_t first = piece * kPanel, rows = std::min(kPanel, n - first);
        for (std::int64_t r = 0; r < rows; ++r) {
            for (std::int64_t c = 0; c < depth; ++c) panel[c * kPanel + r] = d[(first + r) * depth + c];
        }
        alignas(64) float sums[kColumns][kPanel];
        for (std::int64_t begin = 0; begin < n_columns; begin += kColumns) {
            const std::int64_t width = std::min(kColumns, n_columns - begin);
            for (std::int64_t c = 0; c < width; ++c) panel_row(panel, b, begin + c, sums[c]);
            for (std::int64_t r = 0; r < rows; ++r) {
                float* const to = out + (first + r) * n_columns + begin;
                for (std::int64_t c = 0; c < width; ++c) to[c] = sums[c][r];
            }
        }
    });
}

void quadratic_forms(const float* k, std::int64_t m, const Csr& b, double* out, int threads, Interrupt& interrupt) {
    parallel_for(b.n_rows(), 16, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t row = begin; row < end; ++row) {
            const std::int64_t from = b.indptr[row];
            double all = 0;
            for (std::int64_t e = from; e < b.indptr[row + 1]; ++e) {
                const float* const k_row = k + b.indices[e] * m;
                double off[4] = {};  // chains of dependent additions
                std::int64_t f = from;
                for (; f + 4 <= e; f += 4) {
                    for (int c = 0; c < 4; ++c) off[c] += double{b.values[f + c]} * k_row[b.indices[f + c]];
                }
                for (; f < e; ++f) off[0] += double{b.values[f]} * k_row[b.indices[f]];
                const double sum = (off[0] + off[1]) + (off[2] + off[3]);
                all += b.values[e] * (2 * sum + double{b.values[e]} * k_row[b.indices[e]]);
            }
            out[row] = all;
        }
    });
}

void mirror_scaled(float* p, std::int64_t n, const float* scale, float diagonal, int threads, Interrupt& interrupt) {
    constexpr std::int64_t kSide = 64;
    const std::int64_t blocks = (n + kSide - 1) / kSide;
    parallel_for(blocks, 1, threads, interrupt, [&](std::int64_t block, std::int64_t, int) {
        const std::int64_t i0 = block * kSide, i1 = std::min(n, i0 + kSide);
        for (std::int64_t j0 = 0; j0 <= i0; j0 += kSide) {
            for (std::int64_t i = i0; i < i1; ++i) {
                for (std::int64_t j = j0; j < std::min(i, j0 + kSide); ++j) {
                    const float value = p[i * n + j];
                    p[j * n + i] = value * scale[i];
                    p[i * n + j] = value * scale[j];
                }
            }
        }
        for (std::int64_t i = i0; i < i1; ++i) p[i * n + i] = diagonal;
    });
}

}  // namespace cofactor

// Small dense linear algebra on padded, row-major, upper-triangular work matrices.
#pragma once

#include <cmath>
#include <cstdint>

#include "simd.hpp"

namespace cofactor {

// upper(out) = upper(start) + z' z for z (n x width) with row stride z_stride; out and start have their own strides
// and may be the same matrix. Of the lower triangle only what shares a tile with the diagonal is touched. width:
// multiple of kPad. n * width^2 / 2 multiply-adds.
inline void add_gramian(std::ptrdiff_t n, std::ptrdiff_t width, const float* z, std::ptrdiff_t z_stride,
                        const float* start, std::ptrdiff_t start_stride, float* out, std::ptrdiff_t out_stride) {
    for (std::ptrdiff_t i = 0; i < width; i += kTileRows) {
        over_tiles(i / kLanes * kLanes, width, [&]<int kVectors>(std::ptrdiff_t j) {
            Vec acc[kTileRows][kVectors];
            for (int r = 0; r < kTileRows; ++r) {
                for (int v = 0; v < kVectors; ++v) acc[r][v] = load(start + (i + r) * start_stride + j + v * kLanes);
            }
            tile<kTileRows, kVectors>(n, z + i, z_stride, 1, z + j, z_stride, acc);
            for (int r = 0; r < kTileRows; ++r) {
                for (int v = 0; v < kVectors; ++v) store(out + (i + r) * out_stride + j + v * kLanes, acc[r][v]);
            }
        });
    }
}

// out (kTileRows x columns) = p (kTileRows x depth) times g (depth x columns). columns: multiple of kPad.
inline void multiply_rows(std::ptrdiff_t depth, std::ptrdiff_t columns, const float* p, std::ptrdiff_t p_stride,
                          const float* g, std::ptrdiff_t g_stride, float* out, std::ptrdiff_t out_stride) {
    over_tiles(0, columns, [&]<int kVectors>(std::ptrdiff_t j) {
        Vec acc[kTileRows][kVectors] = {};
        tile<kTileRows, kVectors>(depth, p, 1, p_stride, g + j, g_stride, acc);
        for (int r = 0; r < kTileRows; ++r) {
            for (int v = 0; v < kVectors; ++v) store(out + r * out_stride + j + v * kLanes, acc[r][v]);
        }
    });
}

// a = u' u in place, u upper triangular, a (n x n) with row stride n, n a multiple of kPad; inverse_diagonal gets
// 1 / u[k][k]. Left-looking by blocks of kTileRows rows, so that every entry is loaded and stored once per block.
// What lies below the diagonal is left undefined (finite). False when a is not positive definite.
inline bool cholesky(std::ptrdiff_t n, float* a, float* inverse_diagonal) {
    for (std::ptrdiff_t k = 0; k < n; k += kTileRows) {
        const std::ptrdiff_t first = k / kLanes * kLanes;
        over_tiles(first, n, [&]<int kVectors>(std::ptrdiff_t j) {  // a -= (rows above)' (rows above)
            Vec acc[kTileRows][kVectors] = {};
            tile<kTileRows, kVectors>(k, a + k, n, 1, a + j, n, acc);
            for (int r = 0; r < kTileRows; ++r) {
                for (int v = 0; v < kVectors; ++v) {
                    float* at = a + (k + r) * n + j + v * kLanes;
                    store(at, load(at) - acc[r][v]);
                }
            }
        });
        float d[kTileRows][kTileRows];  // the block on the diagonal, factored apart
        for (int r = 0; r < kTileRows; ++r) {
            for (int s = r; s < kTileRows; ++s) d[r][s] = a[(k + r) * n + k + s];
        }
        for (int r = 0; r < kTileRows; ++r) {
            if (!(d[r][r] > 0.0f) || !std::isfinite(d[r][r])) return false;
            const float inverse = 1.0f / std::sqrt(d[r][r]);
            inverse_diagonal[k + r] = inverse;
            for (int s = r; s < kTileRows; ++s) d[r][s] *= inverse;
            for (int s = r + 1; s < kTileRows; ++s) {
                for (int t = s; t < kTileRows; ++t) d[s][t] -= d[r][s] * d[r][t];
            }
        }
        for (std::ptrdiff_t j = first; j < n; j += kLanes) {  // solve d' (rows of u) = (rows of a)
            Vec row[kTileRows];
#pragma GCC unroll 16
            for (int r = 0; r < kTileRows; ++r) row[r] = load(a + (k + r) * n + j);
#pragma GCC unroll 16
            for (int r = 0; r < kTileRows; ++r) {
                row[r] *= broadcast(inverse_diagonal[k + r]);
#pragma GCC unroll 16
                for (int s = r + 1; s < kTileRows; ++s) row[s] -= broadcast(d[r][s]) * row[r];
            }
#pragma GCC unroll 16
            for (int r = 0; r < kTileRows; ++r) store(a + (k + r) * n + j, row[r]);
        }
    }
    return true;
}

// x = (u' u)^-1 b with what cholesky() left; b is overwritten.
inline void cholesky_solve(std::ptrdiff_t n, const float* u, const float* inverse_diagonal, float* b, float* x) {
    for (std::ptrdiff_t k = 0; k < n; ++k) {  // u' z = b, z in x
        const std::ptrdiff_t first = k / kLanes * kLanes;
        x[k] = b[k] * inverse_diagonal[k];
        axpy(-x[k], u + k * n + first, b + first, n - first);
    }
    for (std::ptrdiff_t k = 0; k < n; ++k) b[k] = 0.0f;
    for (std::ptrdiff_t k = n; k-- > 0;) {  // u x = z, x in b, where entries not yet known are zero
        const std::ptrdiff_t first = k / kLanes * kLanes;
        b[k] = (x[k] - dot(u + k * n + first, b + first, n - first)) * inverse_diagonal[k];
    }
    for (std::ptrdiff_t k = 0; k < n; ++k) x[k] = b[k];
}

}  // namespace cofactor

// Small dense linear algebra on padded, row-major, upper-triangular work matrices.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "core/simd.hpp"

namespace cofactor {

// Tiles of a Gramian: wide ones are low and narrow ones high, so that there are few broadcasts, one for each row.
inline constexpr int kGramianVectors = kLanes == 16 ? 6 : kTileVectors;
constexpr int gramian_rows(int vectors) { return kLanes != 16 ? kTileRows : vectors >= 4 ? 4 : vectors >= 2 ? 8 : 16; }
inline constexpr std::ptrdiff_t kStrip = kLanes > kTileRows ? kLanes : kTileRows;  // rows that share their columns

#if defined(COFACTOR_SHUFFLES) && defined(__AVX512F__)
#define COFACTOR_WRAPPED 1
inline constexpr std::ptrdiff_t kWorthWrapping = 48;  // rows, to pay for unwrapping at the end

// out = start + z' z for kLanes columns, all of the block. A symmetric block has kLanes / 2 + 1 different diagonals
// that wrap around: 9 products of rotated vectors, where a plain tile multiplies 16.
template <class Each>
inline void add_diagonal_block(std::ptrdiff_t n, const float* z, std::ptrdiff_t z_stride, const float* start,
                               std::ptrdiff_t start_stride, float* out, std::ptrdiff_t out_stride, const Each& each) {
    static_assert(kLanes == 16);
    Vec d[9] = {};  // d[s], rotated by what is said below, is z_j z_(j+s)
    for (std::ptrdiff_t t = 0; t < n; ++t, z += z_stride) {
        each(t);
        // The differences of 0, 1, 3, 5 and 9 are 1 to 8.
        const Vec z0 = load(z), z1 = rotated<1>(z0), z3 = rotated<3>(z0), z5 = rotated<5>(z0), z9 = rotated<9>(z0);
        d[0] += z0 * z0;
        d[1] += z0 * z1;
        d[2] += z1 * z3;
        d[3] += z0 * z3;
        d[4] += z1 * z5;
        d[5] += z0 * z5;
        d[6] += z3 * z9;
        d[7] += z9 * z0;
        d[8] += z1 * z9;
    }
    // Row s: z_j z_(j+s) in lane j; its transpose has row j from the diagonal on.
    Vec rows[16] = {d[0], d[1], rotated<-1>(d[2]), d[3], rotated<-1>(d[4]), d[5], rotated<-3>(d[6]), rotated<-9>(d[7]),
                    // and row 16 - s is row s, s lanes on
                    rotated<-1>(d[8]), d[7], rotated<-9>(d[6]), rotated<-5>(d[5]), rotated<-5>(d[4]), rotated<-3>(d[3]),
                    rotated<-3>(d[2]), rotated<-1>(d[1])};
    transpose_lanes(rows);
    [&]<int... r>(std::integer_sequence<int, r...>) {
        (store(out + r * out_stride, load(start + r * start_stride) + rotated<-r>(rows[r])), ...);
    }(std::make_integer_sequence<int, 16>{});
}
#endif

// upper(out) = upper(start) + z' z for z (n x width) with row stride z_stride; out and start have their own strides
// and may be the same matrix. Of the lower triangle only what shares a tile with the diagonal is touched. width:
// multiple of kPad. n * width^2 / 2 multiply-adds. each(tile, t) is called at every step of every tile.
template <class Each>
inline void add_gramian(std::ptrdiff_t n, std::ptrdiff_t width, const float* z, std::ptrdiff_t z_stride,
                        const float* start, std::ptrdiff_t start_stride, float* out, std::ptrdiff_t out_stride,
                        const Each& each) {
    std::ptrdiff_t number = 0;
    const auto next = [&](std::ptrdiff_t t) { each(number, t); };
    for (std::ptrdiff_t strip = 0; strip < width; strip += kStrip) {
        std::ptrdiff_t first = strip;
#if defined(COFACTOR_WRAPPED)
        if (n >= kWorthWrapping) {
            const std::ptrdiff_t at = strip * start_stride + strip;
            add_diagonal_block(n, z + strip, z_stride, start + at, start_stride, out + strip * out_stride + strip,
                               out_stride, next);
            ++number;
            first += kLanes;
        }
#endif
        over_tiles<kGramianVectors>(first, width, [&]<int kVectors>(std::ptrdiff_t j) {
            constexpr int kRows = gramian_rows(kVectors);
            for (std::ptrdiff_t i = strip; i < strip + kStrip; i += kRows, ++number) {
                Vec acc[kRows][kVectors];
                for (int r = 0; r < kRows; ++r) {
                    for (int v = 0; v < kVectors; ++v)
                        acc[r][v] = load(start + (i + r) * start_stride + j + v * kLanes);
                }
                tile<kRows, kVectors>(n, z + i, z_stride, 1, z + j, z_stride, acc, next);
                for (int r = 0; r < kRows; ++r) {
                    for (int v = 0; v < kVectors; ++v) store(out + (i + r) * out_stride + j + v * kLanes, acc[r][v]);
                }
            }
        });
    }
}

inline void add_gramian(std::ptrdiff_t n, std::ptrdiff_t width, const float* z, std::ptrdiff_t z_stride,
                        const float* start, std::ptrdiff_t start_stride, float* out, std::ptrdiff_t out_stride) {
    add_gramian(n, width, z, z_stride, start, start_stride, out, out_stride, [](std::ptrdiff_t, std::ptrdiff_t) {});
}

// Columns of g (depth x columns) laid out for multiply_rows: the columns of each register tile apart, row after row.
inline void pack_panels(std::ptrdiff_t depth, std::ptrdiff_t columns, const float* g, std::ptrdiff_t g_stride,
                        float* panels) {
    over_tiles(0, columns, [&]<int kVectors>(std::ptrdiff_t j) {
        constexpr std::ptrdiff_t kColumns = kVectors * kLanes;
        for (std::ptrdiff_t t = 0; t < depth; ++t) {
            std::copy_n(g + t * g_stride + j, kColumns, panels + j * depth + t * kColumns);
        }
    });
}

// out (kRows x columns) = p (kRows x depth) times what was packed.
template <int kRows>
inline void multiply_tiles(std::ptrdiff_t depth, std::ptrdiff_t columns, const float* p, std::ptrdiff_t p_stride,
                           const float* panels, float* out, std::ptrdiff_t out_stride) {
    over_tiles(0, columns, [&]<int kVectors>(std::ptrdiff_t j) {
        Vec acc[kRows][kVectors] = {};
        tile<kRows, kVectors>(depth, p, 1, p_stride, panels + j * depth, kVectors * kLanes, acc);
        for (int r = 0; r < kRows; ++r) {
            for (int v = 0; v < kVectors; ++v) store(out + r * out_stride + j + v * kLanes, acc[r][v]);
        }
    });
}

// The same for n rows, n <= kTileRows; p and out have room for kTileRows.
inline void multiply_rows(int n, std::ptrdiff_t depth, std::ptrdiff_t columns, const float* p, std::ptrdiff_t p_stride,
                          const float* panels, float* out, std::ptrdiff_t out_stride) {
    const auto multiply = n <= 1   ? multiply_tiles<1>
                          : n <= 2 ? multiply_tiles<2>
                          : n <= 4 ? multiply_tiles<4>
                                   : multiply_tiles<kTileRows>;
    multiply(depth, columns, p, p_stride, panels, out, out_stride);
}

// out += sum_k t_k z_k over the n rows of z (n x columns). columns: multiple of kLanes.
inline void add_rows(const float* z, std::ptrdiff_t stride, std::ptrdiff_t n, const float* t, std::ptrdiff_t columns,
                     float* out) {
    over_tiles(0, columns, [&]<int kVectors>(std::ptrdiff_t j) {
        constexpr int kSums = kVectors >= 4 ? 1 : 4 / kVectors;  // so that additions need not wait for each other
        Vec acc[kSums][kVectors] = {};
        const std::ptrdiff_t whole = n / kSums * kSums;
        for (std::ptrdiff_t k = 0; k < n; k += kSums) {
            for (int s = 0; s < kSums && (k < whole || k + s < n); ++s) {
                const Vec x = broadcast(t[k + s]);
                for (int v = 0; v < kVectors; ++v) acc[s][v] += x * load(z + (k + s) * stride + j + v * kLanes);
            }
        }
        for (int v = 0; v < kVectors; ++v) {
            Vec total = load(out + j + v * kLanes);
            for (int s = 0; s < kSums; ++s) total += acc[s][v];
            store(out + j + v * kLanes, total);
        }
    });
}

template <int kRows>
inline void dots_of_rows(const float* z, std::ptrdiff_t stride, const float* p, std::ptrdiff_t columns, float* out) {
    Vec s[kRows] = {};
    for (std::ptrdiff_t j = 0; j < columns; j += kLanes) {
        const Vec x = load(p + j);
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r) s[r] += load(z + r * stride + j) * x;
    }
    sums(s, out);
}

// out[k] = z_k . p over the n rows of z (n x columns), eight or four at a time so that p is loaded once for them.
inline void dots(const float* z, std::ptrdiff_t stride, std::ptrdiff_t n, const float* p, std::ptrdiff_t columns,
                 float* out) {
    std::ptrdiff_t k = 0;
    for (; k + 8 <= n; k += 8) dots_of_rows<8>(z + k * stride, stride, p, columns, out + k);
    for (; k + 4 <= n; k += 4) dots_of_rows<4>(z + k * stride, stride, p, columns, out + k);
    for (; k < n; ++k) out[k] = dot(z + k * stride, p, columns);
}

// The block of kTileRows rows on the diagonal, a = u' u: u (unscaled: l' d with a unit diagonal in l) eliminates in
// place, so that the chain of dependent operations has one division and no square root per row.
struct DiagonalBlock {
    float u[kTileRows][kTileRows];  // u[r][s], s > r: multiplier of row s when row r is eliminated
    float inverse[kTileRows];       // 1 / sqrt(pivot)

    // False when the block is not positive definite.
    bool factor(const float* a, std::ptrdiff_t stride) {
        float d[kTileRows][kTileRows];
#pragma GCC unroll 16
        for (int r = 0; r < kTileRows; ++r) {
#pragma GCC unroll 16
            for (int s = r; s < kTileRows; ++s) d[r][s] = a[r * stride + s];
        }
#pragma GCC unroll 16
        for (int r = 0; r < kTileRows; ++r) {
            const float reciprocal = 1.0f / d[r][r];
#pragma GCC unroll 16
            for (int s = r + 1; s < kTileRows; ++s) {
                u[r][s] = d[r][s] * reciprocal;
#pragma GCC unroll 16
                for (int t = s; t < kTileRows; ++t) d[s][t] -= u[r][s] * d[r][t];
            }
        }
        bool positive = true;
        for (int r = 0; r < kTileRows; ++r) {
            positive = positive && d[r][r] > 0.0f && d[r][r] <= std::numeric_limits<float>::max();
            inverse[r] = 1.0f / std::sqrt(d[r][r]);
        }
        return positive;
    }
};

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
        DiagonalBlock block;
        if (!block.factor(a + k * n + k, n)) return false;
        std::copy_n(block.inverse, kTileRows, inverse_diagonal + k);
        for (std::ptrdiff_t j = first; j < n; j += kLanes) {  // eliminate, then scale: the rows of u
            Vec row[kTileRows];
#pragma GCC unroll 16
            for (int r = 0; r < kTileRows; ++r) row[r] = load(a + (k + r) * n + j);
#pragma GCC unroll 16
            for (int r = 0; r < kTileRows; ++r) {
#pragma GCC unroll 16
                for (int s = r + 1; s < kTileRows; ++s) row[s] -= broadcast(block.u[r][s]) * row[r];
            }
#pragma GCC unroll 16
            for (int r = 0; r < kTileRows; ++r) store(a + (k + r) * n + j, row[r] * broadcast(block.inverse[r]));
        }
    }
    return true;
}

// x = (u' u)^-1 b with what cholesky() left, by blocks of kTileRows rows; b is overwritten.
inline void cholesky_solve(std::ptrdiff_t n, const float* u, const float* inverse_diagonal, float* b, float* x) {
    for (std::ptrdiff_t k = 0; k < n; k += kTileRows) {  // u' z = b, -z in x
        const float* diagonal = u + k * n + k;
        float z[kTileRows];
#pragma GCC unroll 16
        for (int r = 0; r < kTileRows; ++r) z[r] = b[k + r];
#pragma GCC unroll 16
        for (int r = 0; r < kTileRows; ++r) {
            z[r] *= inverse_diagonal[k + r];
#pragma GCC unroll 16
            for (int s = r + 1; s < kTileRows; ++s) z[s] -= diagonal[r * n + s] * z[r];
        }
        for (int r = 0; r < kTileRows; ++r) x[k + r] = -z[r];
        const std::ptrdiff_t rest = (k + kTileRows) / kLanes * kLanes;
        add_rows(u + k * n + rest, n, kTileRows, x + k, n - rest, b + rest);
    }
    for (std::ptrdiff_t k = 0; k < n; ++k) b[k] = 0.0f;
    for (std::ptrdiff_t k = n - kTileRows; k >= 0;
         k -= kTileRows) {  // u x = z, x in b, entries not yet known being zero
        const float* diagonal = u + k * n + k;
        const std::ptrdiff_t rest = (k + kTileRows) / kLanes * kLanes;
        float z[kTileRows];
        dots(u + k * n + rest, n, kTileRows, b + rest, n - rest, z);
#pragma GCC unroll 16
        for (int r = 0; r < kTileRows; ++r) z[r] = -x[k + r] - z[r];
#pragma GCC unroll 16
        for (int r = kTileRows; r-- > 0;) {
            z[r] *= inverse_diagonal[k + r];
#pragma GCC unroll 16
            for (int s = 0; s < r; ++s) z[s] -= diagonal[s * n + r] * z[r];
        }
        for (int r = 0; r < kTileRows; ++r) b[k + r] = z[r];
    }
    std::copy_n(b, n, x);
}

}  // namespace cofactor

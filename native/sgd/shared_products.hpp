// What batches with shared negatives multiply, and how vectors become directions and derivatives come back.
#pragma once

#include <cmath>
#include <cstddef>

#include "core/dense.hpp"
#include "core/padded.hpp"
#include "core/simd.hpp"

namespace cofactor {

// Rows of floats that do not lie at the same place of a page, where they would drive each other out of the cache.
inline std::ptrdiff_t spread(std::ptrdiff_t n) { return padded(n) / kPad % 2 == 0 ? padded(n) + kPad : padded(n); }

// What pack_panels makes of the transpose of `rows` (n x width). n and width: multiples of kPad.
inline void pack_transposed(std::ptrdiff_t n, std::ptrdiff_t width, const float* rows, float* panels) {
    over_tiles(0, n, [&]<int kVectors>(std::ptrdiff_t k) {
        constexpr std::ptrdiff_t kColumns = kVectors * kLanes;
        for (std::ptrdiff_t c = 0; c < kColumns; c += kLanes) {
            for (std::ptrdiff_t j = 0; j < width; j += kLanes) {
                Vec square[kLanes];
                for (int r = 0; r < kLanes; ++r) square[r] = load(rows + (k + c + r) * width + j);
                transpose_lanes(square);
                float* const at = panels + k * width + j * kColumns + c;
                for (int r = 0; r < kLanes; ++r) store(at + r * kColumns, square[r]);
            }
        }
    });
}

// out (n x columns) = a (n x depth) times what pack_panels packed; a panel stays in the cache while all rows pass.
// a and out have room for a multiple of kTileRows.
inline void multiply_block(std::ptrdiff_t n, std::ptrdiff_t depth, std::ptrdiff_t columns, const float* a,
                           std::ptrdiff_t a_stride, const float* panels, float* out, std::ptrdiff_t out_stride) {
    over_tiles(0, columns, [&]<int kVectors>(std::ptrdiff_t j) {
        for (std::ptrdiff_t i = 0; i < n; i += kTileRows) {
            Vec acc[kTileRows][kVectors] = {};
            tile<kTileRows, kVectors>(depth, a + i * a_stride, 1, a_stride, panels + j * depth, kVectors * kLanes, acc);
            for (int r = 0; r < kTileRows; ++r) {
                for (int v = 0; v < kVectors; ++v) store(out + (i + r) * out_stride + j + v * kLanes, acc[r][v]);
            }
        }
    });
}

// out (rows x columns) += a' b, a (n x rows), b (n x columns); or = where `fresh`. rows: multiple of kTileRows.
inline void add_transposed_product(std::ptrdiff_t n, std::ptrdiff_t rows, std::ptrdiff_t columns, const float* a,
                                   std::ptrdiff_t a_stride, const float* b, bool fresh, float* out) {
    for (std::ptrdiff_t i = 0; i < rows; i += kTileRows) {
        over_tiles(0, columns, [&]<int kVectors>(std::ptrdiff_t j) {
            Vec acc[kTileRows][kVectors] = {};
            if (!fresh) {
                for (int r = 0; r < kTileRows; ++r) {
                    for (int v = 0; v < kVectors; ++v) acc[r][v] = load(out + (i + r) * columns + j + v * kLanes);
                }
            }
            tile<kTileRows, kVectors>(n, a + i, a_stride, 1, b + j, columns, acc);
            for (int r = 0; r < kTileRows; ++r) {
                for (int v = 0; v < kVectors; ++v) store(out + (i + r) * columns + j + v * kLanes, acc[r][v]);
            }
        });
    }
}

// What became of a vector before it was multiplied: x = length * unit, or x itself with a length of 1.
struct Scaled {
    float length, inverse;  // inverse: 0 for a vector of zeros, which stays as it is
};

inline Scaled normalise(float* x, std::ptrdiff_t width, bool cosine) {
    if (!cosine) return {1.0f, 1.0f};
    const float length = std::sqrt(dot(x, x, width));
    const float inverse = length == 0.0f ? 0.0f : 1 / length;
    const Vec scale = broadcast(inverse);
    for (std::ptrdiff_t j = 0; j < width; j += kLanes) store(x + j, load(x + j) * scale);
    return {length, inverse};
}

// The derivative by x from that by what it became (in place), and the regularization's.
inline void through_normalisation(float* gradient, const float* x, const Scaled& scaled, std::ptrdiff_t width,
                                  bool cosine, float regularization) {
    const float along = cosine ? dot(gradient, x, width) : 0.0f;
    const Vec scale = broadcast(scaled.inverse),
              by_x = broadcast(regularization * scaled.length - along * scaled.inverse);
    for (std::ptrdiff_t j = 0; j < width; j += kLanes) {
        store(gradient + j, load(gradient + j) * scale + load(x + j) * by_x);
    }
}

}  // namespace cofactor

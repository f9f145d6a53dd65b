// What the first pass of top-k multiplies: bytes where the CPU adds up four of their products at once, float32
// elsewhere.
//
// A vector x is coded as x^ = scale * codes. The items of a panel have one scale in common and lie side by side, kStep
// codes of each, so that a register tile gives sums over codes of queries and items; a query's offset is what its sums
// are too large by. Codes may be any: what they miss, |x - x^|, is measured, and the bounds allow for it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>

#include "core/simd.hpp"

namespace cofactor {

inline constexpr std::ptrdiff_t kPanel = kTileVectors * kLanes;

struct FloatCodes {
    using Code = float;
    using Sum = float;
    static constexpr std::ptrdiff_t kStep = 1;
    static constexpr std::ptrdiff_t kChunkBytes = 768 << 10;            // of items: stay in a second-level cache
    static constexpr double kHigh = std::numeric_limits<float>::max();  // of sums
    static constexpr double kLow = -std::numeric_limits<float>::infinity();

    static double scale(float) { return 1.0; }

    // Writes the codes of x, steps `stride` codes apart, and returns |x - x^|^2.
    static double encode_item(const float* x, std::ptrdiff_t n, double, float* to, std::ptrdiff_t stride) {
        for (std::ptrdiff_t j = 0; j < n; ++j) to[j * stride] = x[j];
        return 0.0;
    }
    static double encode_query(const float* x, std::ptrdiff_t n, double, float* to, double& offset) {
        offset = 0;
        return encode_item(x, n, 1.0, to, 1);
    }

    // sums: kRows x kPanel
    template <int kRows = kTileRows>
    static void multiply(std::ptrdiff_t steps, const float* queries, const float* items, float* sums) {
        Vec acc[kRows][kTileVectors] = {};
        tile<kRows, kTileVectors>(steps, queries, 1, steps, items, kPanel, acc);
        for (int r = 0; r < kRows; ++r) {
            for (int v = 0; v < kTileVectors; ++v) store(sums + r * kPanel + v * kLanes, acc[r][v]);
        }
    }

    // Bit i is set where sums[i] >= cutoff, or either is NaN.
    static std::uint64_t reached(const float* sums, float cutoff) {
        constexpr std::uint32_t kAll = (2u << (kLanes - 1)) - 1;
        return ~greater(broadcast(cutoff), load(sums)) & kAll;
    }
};

#if defined(__AVX512VNNI__)

// Queries are coded as -127..127, items as the same plus 128: vpdpbusd multiplies unsigned with signed bytes.
struct ByteCodes {
    using Code = std::uint8_t;
    using Sum = std::int32_t;
    static constexpr std::ptrdiff_t kStep = 4;
    static constexpr std::ptrdiff_t kChunkBytes = 8 << 20;   // of items: few chunks, as each codes all queries again
    static constexpr double kLow = -0x1p30, kHigh = 0x1p30;  // of sums less their offset, and with it below 2^31

    static double scale(float largest) {
        return largest > 0 && largest <= std::numeric_limits<float>::max() ? largest / 127.0 : 1.0;
    }

    static double encode(const float* x, std::ptrdiff_t n, double scale, Code* to, std::ptrdiff_t stride, int zero) {
        using Ints = std::int32_t __attribute__((vector_size(64)));
        using Bytes = Code __attribute__((vector_size(16)));
        const Vec per_unit = broadcast(static_cast<float>(1 / scale)), half = broadcast(0.5f);
        double missed[kLanes] = {};
        for (std::ptrdiff_t j = 0; j < n; j += kLanes) {
            float some[kLanes] = {};
            if (n - j >= kLanes) {
                std::memcpy(some, x + j, sizeof some);
            } else {
                std::memcpy(some, x + j, (n - j) * sizeof(float));
            }
            const Vec units = load(some) * per_unit;
            const Ints code = __builtin_convertvector(units < Vec{} ? units - half : units + half, Ints);
            std::int32_t codes[kLanes];
            std::memcpy(codes, &code, sizeof codes);
            for (int i = 0; i < kLanes; ++i) {
                const double miss = some[i] - scale * codes[i];
                missed[i] += miss * miss;
            }
            const Bytes bytes = __builtin_convertvector(code + zero, Bytes);
            for (std::ptrdiff_t i = 0; i < kLanes && j + i < n; i += kStep) {
                std::memcpy(to + (j + i) / kStep * stride, reinterpret_cast<const Code*>(&bytes) + i, kStep);
            }
        }
        return std::accumulate(missed, missed + kLanes, 0.0);
    }
    static double encode_item(const float* x, std::ptrdiff_t n, double scale, Code* to, std::ptrdiff_t stride) {
        return encode(x, n, scale, to, stride, 128);
    }
    static double encode_query(const float* x, std::ptrdiff_t n, double scale, Code* to, double& offset) {
        const double missed = encode(x, n, scale, to, kStep, 0);
        offset = 0;
        for (std::ptrdiff_t j = 0; j < n; ++j) offset += 128 * static_cast<std::int8_t>(to[j]);
        return missed;
    }

    // The accumulators are vectors of int32: GCC 12 keeps those in registers, but __m512i in memory.
    template <int kRows = kTileRows>
    static void multiply(std::ptrdiff_t steps, const Code* queries, const Code* items, std::int32_t* sums) {
        using Acc = std::int32_t __attribute__((vector_size(64)));
        Acc acc[kRows][kTileVectors] = {};
        for (std::ptrdiff_t t = 0; t < steps; ++t, queries += kStep, items += kPanel * kStep) {
            __m512i row[kTileVectors];
#pragma GCC unroll 8
            for (int v = 0; v < kTileVectors; ++v) row[v] = _mm512_loadu_si512(items + v * kLanes * kStep);
#pragma GCC unroll 16
            for (int r = 0; r < kRows; ++r) {
                std::int32_t four;
                std::memcpy(&four, queries + r * steps * kStep, sizeof four);
                const __m512i x = _mm512_set1_epi32(four);
#pragma GCC unroll 8
                for (int v = 0; v < kTileVectors; ++v) {
                    acc[r][v] =
                        reinterpret_cast<Acc>(_mm512_dpbusd_epi32(reinterpret_cast<__m512i>(acc[r][v]), row[v], x));
                }
            }
        }
        std::memcpy(sums, acc, sizeof acc);
    }

    static std::uint64_t reached(const std::int32_t* sums, std::int32_t cutoff) {
        return _mm512_cmpge_epi32_mask(_mm512_loadu_si512(sums), _mm512_set1_epi32(cutoff));
    }
};

using Codes = ByteCodes;
#else
using Codes = FloatCodes;
#endif

}  // namespace cofactor

// What the first pass of top-k multiplies: bytes where the CPU adds up four of their products at once, float32 elsewhere.
//
// A vector x is coded as x^ = scale * codes. The items of a panel have one scale in common and lie side by side, kStep
// codes of each, so that a register tile gives sums over codes of queries and items; a query's offset is what its sums
// are too large by. Codes may be any: what they miss, |x - x^|, is measured, and the bounds allow for it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "simd.hpp"

namespace cofactor {

inline constexpr std::ptrdiff_t kPanel = kTileVectors * kLanes;

struct FloatCodes {
    using Code = float;
    using Sum = float;
    using Sums = Vec;
    static constexpr std::ptrdiff_t kStep = 1;
    static constexpr Sum kNever = std::numeric_limits<float>::infinity();

    static double scale(float) { return 1.0; }

    // Writes the codes of x, steps `stride` codes apart, and returns |x - x^|^2.
    static double encode_item(const float* x, std::ptrdiff_t n, double, float* to, std::ptrdiff_t stride) {
        for (std::ptrdiff_t j = 0; j < n; ++j) to[j * stride] = x[j];
        return 0.0;
    }
    static double encode_query(const float* x, std::ptrdiff_t n, double, float* to, std::int32_t& offset) {
        offset = 0;
        return encode_item(x, n, 1.0, to, 1);
    }

    // What a sum, with its offset, has to reach to be `least` or more.
    static float cutoff(double least, std::int32_t) { return static_cast<float>(least); }

    // What the sums of a query start from: biases, none of them positive, in units of its sums.
    static Vec start(const float* bias, double) { return load(bias); }

    static void add(std::ptrdiff_t steps, const float* queries, const float* items,
                    Vec (&sums)[kTileRows][kTileVectors]) {
        tile<kTileRows, kTileVectors>(steps, queries, 1, steps, items, kPanel, sums);
    }

    // Bit i is set where sums[i] >= cutoff, or either is NaN.
    static std::uint64_t reached(Vec sums, float cutoff) {
        constexpr std::uint32_t kAll = (2u << (kLanes - 1)) - 1;
        return ~greater(broadcast(cutoff), sums) & kAll;
    }
};

#if defined(__AVX512VNNI__)

// Queries are coded as -127..127, items as the same plus 128: vpdpbusd multiplies unsigned with signed bytes.
struct ByteCodes {
    using Code = std::uint8_t;
    using Sum = std::int32_t;
    using Sums = std::int32_t __attribute__((vector_size(64)));
    static constexpr std::ptrdiff_t kStep = 4;
    static constexpr Sum kNever = std::numeric_limits<Sum>::max();

    // Sums of up to kMaxFactors products stay below kLimit, with an offset and a start as well below 2^31.
    static constexpr double kLimit = 1 << 30;

    static double scale(float largest) {
        return largest > 0 && largest <= std::numeric_limits<float>::max() ? largest / 127.0 : 1.0;
    }

    static double encode(const float* x, std::ptrdiff_t n, double scale, Code* to, std::ptrdiff_t stride, int zero) {
        const double unit = 1 / scale;
        double missed = 0;
        for (std::ptrdiff_t j = 0; j < n; ++j) {
            const int code = static_cast<int>(std::lrint(std::clamp(x[j] * unit, -127.0, 127.0)));
            const double miss = x[j] - scale * code;
            missed += miss * miss;
            to[j / kStep * stride + j % kStep] = static_cast<Code>(code + zero);
        }
        return missed;
    }
    static double encode_item(const float* x, std::ptrdiff_t n, double scale, Code* to, std::ptrdiff_t stride) {
        return encode(x, n, scale, to, stride, 128);
    }
    static double encode_query(const float* x, std::ptrdiff_t n, double scale, Code* to, std::int32_t& offset) {
        const double missed = encode(x, n, scale, to, kStep, 0);
        offset = 0;
        for (std::ptrdiff_t j = 0; j < n; ++j) offset += 128 * static_cast<std::int8_t>(to[j]);
        return missed;
    }

    static Sum cutoff(double least, std::int32_t offset) {
        const double positive = least > -kLimit ? least : -kLimit;
        return static_cast<Sum>(positive < kLimit ? positive : kLimit) + offset;
    }

    static Sums start(const float* bias, double per_unit) {
        const Vec units = load(bias) * broadcast(static_cast<float>(std::min(per_unit, 1e30)));
        const Vec least = broadcast(-0x1p29f);
        return __builtin_convertvector(units > least ? units : least, Sums);
    }

    // The accumulators are vectors of int32: GCC 12 keeps those in registers, but __m512i in memory.
    static void add(std::ptrdiff_t steps, const Code* queries, const Code* items,
                    Sums (&sums)[kTileRows][kTileVectors]) {
        for (std::ptrdiff_t t = 0; t < steps; ++t, queries += kStep, items += kPanel * kStep) {
            __m512i row[kTileVectors];
#pragma GCC unroll 8
            for (int v = 0; v < kTileVectors; ++v) row[v] = _mm512_loadu_si512(items + v * kLanes * kStep);
#pragma GCC unroll 16
            for (int r = 0; r < kTileRows; ++r) {
                std::int32_t four;
                std::memcpy(&four, queries + r * steps * kStep, sizeof four);
                const __m512i x = _mm512_set1_epi32(four);
#pragma GCC unroll 8
                for (int v = 0; v < kTileVectors; ++v) {
                    sums[r][v] = reinterpret_cast<Sums>(
                        _mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sums[r][v]), row[v], x));
                }
            }
        }
    }

    static std::uint64_t reached(Sums sums, Sum cutoff) {
        return _mm512_cmpge_epi32_mask(reinterpret_cast<__m512i>(sums), _mm512_set1_epi32(cutoff));
    }
};

using Codes = ByteCodes;
#else
using Codes = FloatCodes;
#endif

}  // namespace cofactor

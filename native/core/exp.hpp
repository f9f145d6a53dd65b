// The exponential.
#pragma once

#include <cstdint>
#include <limits>

#include "core/simd.hpp"

namespace cofactor {

using IntVec = std::int32_t __attribute__((vector_size(kLanes * sizeof(std::int32_t))));

// e^x to 2e-7 of its value; 0 below -87, where floats lose their precision, infinity above 88.7, NaN for NaN.
// x = n ln 2 + r: 2^n by the bits of the exponent, e^r by its series to r^7 / 7!, |r| <= ln 2 / 2.
inline Vec exp(Vec x) {
    const Vec shift = broadcast(0x1.8p23f);  // makes the lowest bits of a sum those of a whole number
    const Vec shifted = x * 1.44269504f + shift;
    const Vec n = shifted - shift;
    const Vec r = (x - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f;  // the first part of ln 2 has few bits: exact
    Vec series = broadcast(1.0f / 5040);
    series = series * r + 1.0f / 720;
    series = series * r + 1.0f / 120;
    series = series * r + 1.0f / 24;
    series = series * r + 1.0f / 6;
    series = series * r + 0.5f;
    series = series * r + 1.0f;
    series = series * r + 1.0f;
    const auto bits = reinterpret_cast<IntVec>(series) + (reinterpret_cast<IntVec>(shifted) << 23);
    Vec result = reinterpret_cast<Vec>(bits);
    result = x < -87.0f ? Vec{} : result;
    result = x > 88.7f ? broadcast(std::numeric_limits<float>::infinity()) : result;
    return x == x ? result : x;
}
inline float exp(float x) { return exp(broadcast(x))[0]; }

}  // namespace cofactor

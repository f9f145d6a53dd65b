// Rows in 16 bits: bfloat16, the upper half of a float32, which any CPU widens by a shift.
//
// Coordinates come in pairs of kHalf apart, so that a word of 32 bits holds one of the first kHalf coordinates of a
// group of kPair in its low half, and that kHalf further on in its high half: a vector of words becomes two vectors of
// floats that lie as they do in a plain row, by a shift and a mask. What does not fill a group, kHalf coordinates at
// most, stays in float32.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "core/simd.hpp"

namespace cofactor::als {

inline constexpr std::ptrdiff_t kHalf = kPad, kPair = 2 * kHalf;
static_assert(kHalf % kLanes == 0);

using Words = std::uint32_t __attribute__((vector_size(kLanes * sizeof(std::uint32_t))));
using WordsUnaligned [[gnu::vector_size(kLanes * sizeof(std::uint32_t)), gnu::aligned(4), gnu::may_alias]] =
    std::uint32_t;

inline Words load_words(const float* p) { return *reinterpret_cast<const WordsUnaligned*>(p); }
inline Vec low_of(Words both) { return reinterpret_cast<Vec>(both << 16); }
inline Vec high_of(Words both) { return reinterpret_cast<Vec>(both & 0xffff0000u); }

// visit(j, word): words [word, word + kLanes) of a row hold coordinates [j, j + kLanes) and [j + kHalf, ...).
template <class Visit>
[[gnu::always_inline]] inline void over_pairs(std::ptrdiff_t narrow, Visit&& visit) {
    for (std::ptrdiff_t j = 0; j < narrow; j += kPair) {
#pragma GCC unroll 4
        for (std::ptrdiff_t v = 0; v < kHalf; v += kLanes) visit(j + v, j / 2 + v);
    }
}

// The nearest bfloat16, ties to even; what is no number stays so.
inline std::uint32_t narrowed(float x) {
    std::uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
    return is_nan ? bits >> 16 | 0x40u : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}

// A row of `factors` floats as what the kernels read: `narrow` coordinates in 16 bits, the rest of the padded width in
// 32; `out`, which is all zeros, is not written beyond the last factor's word.
inline void store_row(const float* row, std::ptrdiff_t factors, std::ptrdiff_t narrow, float* out) {
    const std::ptrdiff_t whole = std::min(narrow, factors) / kPair * kPair;
    for (std::ptrdiff_t j = 0; j < whole; j += kPair) {  // groups that are full, several coordinates at once
        float pair[kPair];
        std::uint32_t words[kHalf];
        std::copy_n(row + j, kPair, pair);
        for (std::ptrdiff_t v = 0; v < kHalf; ++v) words[v] = narrowed(pair[v]) | narrowed(pair[kHalf + v]) << 16;
        std::memcpy(out + j / 2, words, sizeof words);
    }
    for (std::ptrdiff_t j = whole; j < std::min(narrow, factors); ++j) {
        const std::ptrdiff_t word = j / kPair * kHalf + j % kHalf;
        std::uint32_t bits;
        std::memcpy(&bits, out + word, sizeof bits);
        bits |= j % kPair < kHalf ? narrowed(row[j]) : narrowed(row[j]) << 16;
        std::memcpy(out + word, &bits, sizeof bits);
    }
    if (factors > narrow) std::copy_n(row + narrow, factors - narrow, out + narrow / 2);
}

}  // namespace cofactor::als

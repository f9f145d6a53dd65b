// Vectors of the CPU at hand, and the one register tile that every dense kernel is made of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

#include "core/padded.hpp"

namespace cofactor {

// kTileRows x kTileVectors accumulators fill the register file and leave room for one row of operands:
// 32 registers with AVX-512 and NEON, 16 otherwise.
#if defined(__AVX512F__)
inline constexpr int kLanes = 16, kTileRows = 8, kTileVectors = 3;
#elif defined(__AVX__)
inline constexpr int kLanes = 8, kTileRows = 4, kTileVectors = 3;
#elif defined(__aarch64__)
inline constexpr int kLanes = 4, kTileRows = 8, kTileVectors = 3;
#else
inline constexpr int kLanes = 4, kTileRows = 4, kTileVectors = 2;
#endif

using Vec = float __attribute__((vector_size(kLanes * sizeof(float))));
// Where any float may lie. Behind the =, Clang would pass over aligned(4) without a word.
using VecUnaligned [[gnu::vector_size(kLanes * sizeof(float)), gnu::aligned(4), gnu::may_alias]] = float;
static_assert(alignof(VecUnaligned) == alignof(float));

inline Vec load(const float* p) { return *reinterpret_cast<const VecUnaligned*>(p); }
inline void store(float* p, Vec v) { *reinterpret_cast<VecUnaligned*>(p) = v; }
inline Vec broadcast(float x) { return x - Vec{}; }

inline float sum(Vec v) {
#if defined(__AVX__)
    __m256 parts[kLanes / 8];
    std::memcpy(parts, &v, sizeof v);
    const __m256 all = kLanes == 8 ? parts[0] : _mm256_add_ps(parts[0], parts[kLanes / 8 - 1]);
    const __m128 half = _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1));
    const __m128 quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(quarter, _mm_movehdup_ps(quarter)));
#else
    return (v[0] + v[2]) + (v[1] + v[3]);
#endif
}

// out[i] = sum of the lanes of v[i]
template <int kVectors>
inline void sums(const Vec (&v)[kVectors], float* out) {
    for (int i = 0; i < kVectors; ++i) out[i] = sum(v[i]);
}

// The same, quicker for eight.
inline void sums(const Vec (&v)[8], float* out) {
#if defined(__AVX512F__) && (defined(__clang__) || __GNUC__ >= 12)
#define COFACTOR_QUARTERS(a, b, i, j, k, l)                                                                           \
    __builtin_shufflevector(a, b, i, j, k, l, i + 4, j + 4, k + 4, l + 4, i + 8, j + 8, k + 8, l + 8, i + 12, j + 12, \
                            k + 12, l + 12)
    // In each quarter of a vector: fold gives a0 + a2, b0 + b2, a1 + a3, b1 + b3; pair makes sums of four vectors.
    const auto fold = [](Vec a, Vec b) {
        return COFACTOR_QUARTERS(a, b, 0, 16, 1, 17) + COFACTOR_QUARTERS(a, b, 2, 18, 3, 19);
    };
    const auto pair = [](Vec a, Vec b) {
        return COFACTOR_QUARTERS(a, b, 0, 1, 16, 17) + COFACTOR_QUARTERS(a, b, 2, 3, 18, 19);
    };
#undef COFACTOR_QUARTERS
    const Vec low = pair(fold(v[0], v[1]), fold(v[2], v[3])), high = pair(fold(v[4], v[5]), fold(v[6], v[7]));
    const Vec halves = __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
                       __builtin_shufflevector(low, high, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    const auto all = __builtin_shufflevector(halves, halves, 0, 1, 2, 3, 8, 9, 10, 11) +
                     __builtin_shufflevector(halves, halves, 4, 5, 6, 7, 12, 13, 14, 15);
    std::memcpy(out, &all, sizeof all);
#else
    sums<8>(v, out);
#endif
}

#if defined(__clang__) || __GNUC__ >= 12
#define COFACTOR_SHUFFLES 1
// Lane i of the result is lane (i + kShift) mod kLanes.
template <int kShift>
inline Vec rotated(Vec v) {
    return [&]<int... i>(std::integer_sequence<int, i...>) {
        return __builtin_shufflevector(v, v, ((i + kShift + kLanes) % kLanes)...);
    }(std::make_integer_sequence<int, kLanes>{});
}

// rows[i][j] and rows[j][i] change places: blocks of kStep x kStep lanes, then larger ones.
template <int kStep = 1>
inline void transpose_lanes(Vec (&rows)[kLanes]) {
    if constexpr (kStep < kLanes) {
        [&]<int... i>(std::integer_sequence<int, i...>) {
            for (int r = 0; r < kLanes; ++r) {
                if (r & kStep) continue;
                const Vec a = rows[r], b = rows[r + kStep];
                rows[r] = __builtin_shufflevector(a, b, (i & kStep ? kLanes + i - kStep : i)...);
                rows[r + kStep] = __builtin_shufflevector(a, b, (i & kStep ? kLanes + i : i + kStep)...);
            }
        }(std::make_integer_sequence<int, kLanes>{});
        transpose_lanes<2 * kStep>(rows);
    }
}
#else
inline void transpose_lanes(Vec (&rows)[kLanes]) {
    float lanes[kLanes][kLanes];
    for (int r = 0; r < kLanes; ++r) {
        for (int i = 0; i < kLanes; ++i) lanes[i][r] = rows[r][i];
    }
    for (int r = 0; r < kLanes; ++r) rows[r] = load(lanes[r]);
}
#endif

// Bit i is set where a[i] > b[i] (never for NaN).
inline std::uint32_t greater(Vec a, Vec b) {
#if defined(__AVX512F__)
    return _mm512_cmp_ps_mask(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b), _CMP_GT_OQ);
#elif defined(__AVX__)
    return static_cast<std::uint32_t>(
        _mm256_movemask_ps(_mm256_cmp_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b), _CMP_GT_OQ)));
#else
    const auto mask = a > b;
    std::uint32_t bits = 0;
    for (int i = 0; i < kLanes; ++i) bits |= static_cast<std::uint32_t>(mask[i] & 1) << i;
    return bits;
#endif
}

// Bit i is set where a[i] >= b[i] (never for NaN).
inline std::uint32_t at_least(Vec a, Vec b) {
#if defined(__AVX512F__)
    return _mm512_cmp_ps_mask(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b), _CMP_GE_OQ);
#elif defined(__AVX__)
    return static_cast<std::uint32_t>(
        _mm256_movemask_ps(_mm256_cmp_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b), _CMP_GE_OQ)));
#else
    const auto mask = a >= b;
    std::uint32_t bits = 0;
    for (int i = 0; i < kLanes; ++i) bits |= static_cast<std::uint32_t>(mask[i] & 1) << i;
    return bits;
#endif
}

// Always inline, as all that does nothing else must be: GCC leaves out calls of functions that have no effect.
[[gnu::always_inline]] inline void prefetch(const float* p, std::ptrdiff_t n) {
    for (std::ptrdiff_t i = 0; i < n; i += 16) __builtin_prefetch(p + i);
}

inline float dot(const float* a, const float* b, std::ptrdiff_t n) {  // n: multiple of kPad
    Vec s0{}, s1{};
    std::ptrdiff_t i = 0;
    for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
        s0 += load(a + i) * load(b + i);
        s1 += load(a + i + kLanes) * load(b + i + kLanes);
    }
    for (; i < n; i += kLanes) s0 += load(a + i) * load(b + i);
    return sum(s0 + s1);
}

inline void axpy(float alpha, const float* x, float* y, std::ptrdiff_t n) {  // y += alpha x; n: multiple of kPad
    const Vec a = broadcast(alpha);
    for (std::ptrdiff_t i = 0; i < n; i += kLanes) store(y + i, load(y + i) + a * load(x + i));
}

// Does nothing between two steps of a tile.
struct Nothing {
    void operator()(std::ptrdiff_t) const {}
};

// acc[i][j] += sum_t a[t * a_step + i * a_row] * b[t * b_step + j], j over kVectors vectors, t < depth.
// With a_row = 1 and a == b this is a piece of a Gramian; with a_step = 1, a piece of a matrix product.
// each(t) is called at every step, to prefetch what comes next.
template <int kRows, int kVectors, class Each = Nothing>
[[gnu::always_inline]] inline void tile(std::ptrdiff_t depth, const float* a, std::ptrdiff_t a_step,
                                        std::ptrdiff_t a_row, const float* b, std::ptrdiff_t b_step,
                                        Vec (&acc)[kRows][kVectors], Each each = {}) {
    for (std::ptrdiff_t t = 0; t < depth; ++t, a += a_step, b += b_step) {
        each(t);
        Vec row[kVectors];
#pragma GCC unroll 8
        for (int j = 0; j < kVectors; ++j) row[j] = load(b + j * kLanes);
#pragma GCC unroll 16
        for (int i = 0; i < kRows; ++i) {
            const Vec x = broadcast(a[i * a_row]);
#pragma GCC unroll 8
            for (int j = 0; j < kVectors; ++j) acc[i][j] += x * row[j];
        }
    }
}

// Calls visit.operator()<vectors>(column) so that the columns [begin, end) are covered by register tiles of up to kMost
// vectors, of nearly equal width. begin and end: multiples of kLanes.
template <int kMost = kTileVectors, class Visit>
[[gnu::always_inline]] inline void over_tiles(std::ptrdiff_t begin, std::ptrdiff_t end, Visit&& visit) {
    static_assert(kMost <= 6);
    for (std::ptrdiff_t left = (end - begin) / kLanes; left > 0;) {
        const std::ptrdiff_t width = left <= kMost ? left : left < 2 * kMost ? (left + 1) / 2 : kMost;
        if (width == 1) visit.template operator()<1>(begin);
        if constexpr (kMost >= 2)
            if (width == 2) visit.template operator()<2>(begin);
        if constexpr (kMost >= 3)
            if (width == 3) visit.template operator()<3>(begin);
        if constexpr (kMost >= 4)
            if (width == 4) visit.template operator()<4>(begin);
        if constexpr (kMost >= 5)
            if (width == 5) visit.template operator()<5>(begin);
        if constexpr (kMost >= 6)
            if (width == 6) visit.template operator()<6>(begin);
        begin += width * kLanes;
        left -= width;
    }
}

}  // namespace cofactor

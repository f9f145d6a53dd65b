// The numbers of a row: in registers where its width is known when this is compiled, else where they lie.
#pragma once

#include <cstddef>

#include "core/simd.hpp"

namespace cofactor {

// visit(v) for each vector of kLanes numbers of a row. kWidth: known when this is compiled, or 0.
template <int kWidth, class Visit>
[[gnu::always_inline]] inline void each_vector(std::ptrdiff_t width, Visit&& visit) {
#pragma GCC unroll 32
    for (std::ptrdiff_t v = 0; v < (kWidth > 0 ? kWidth : width) / kLanes; ++v) visit(v);
}

template <int kWidth>
struct Row {
    Vec at[kWidth / kLanes];

    [[gnu::always_inline]] explicit Row(const float* from) {
        each_vector<kWidth>(kWidth, [&](auto v) { at[v] = load(from + v * kLanes); });
    }
    // Of numbers that are to be set.
    static Row in(float*) { return Row(); }

    Vec get(std::ptrdiff_t v) const { return at[v]; }
    void set(std::ptrdiff_t v, Vec x) { at[v] = x; }
    float first() const { return at[0][0]; }

private:
    Row() {}
};

template <>
struct Row<0> {
    float* from;

    explicit Row(float* where) : from(where) {}
    static Row in(float* room) { return Row(room); }

    Vec get(std::ptrdiff_t v) const { return load(from + v * kLanes); }
    void set(std::ptrdiff_t v, Vec x) { store(from + v * kLanes, x); }
    float first() const { return from[0]; }
};

// Sums of the products of their numbers; that of its lanes is the dot product.
template <int kWidth>
[[gnu::always_inline]] inline Vec products(const Row<kWidth>& a, const Row<kWidth>& b, std::ptrdiff_t width) {
    Vec parts[2] = {};
    each_vector<kWidth>(width, [&](auto v) { parts[v % 2] += a.get(v) * b.get(v); });
    return parts[0] + parts[1];
}

template <int kWidth>
[[gnu::always_inline]] inline float dot(const Row<kWidth>& a, const Row<kWidth>& b, std::ptrdiff_t width) {
    return sum(products(a, b, width));
}

// The squared length of all numbers but the first.
template <int kWidth>
[[gnu::always_inline]] inline float squares_after_first(const Row<kWidth>& a, std::ptrdiff_t width) {
    return dot(a, a, width) - a.first() * a.first();
}

// y += alpha x
template <int kWidth>
[[gnu::always_inline]] inline void axpy(float alpha, const Row<kWidth>& x, Row<kWidth>& y, std::ptrdiff_t width) {
    each_vector<kWidth>(width, [&](auto v) { y.set(v, y.get(v) + broadcast(alpha) * x.get(v)); });
}

}  // namespace cofactor

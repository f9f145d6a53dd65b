// A pass over the rows of a table in a random order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/parallel.hpp"

namespace cofactor {

// out[k] = place begin + k of the random permutation of [0, n) that belongs to the seed. O(1) a place, wherever it is.
void permuted_rows(std::int64_t n, std::uint64_t seed, std::int64_t begin, std::span<std::int64_t> out, int threads,
                   Interrupt& interrupt);

// The same for the calling thread alone, and at most 2^13 places.
void permuted_places(std::int64_t n, std::uint64_t seed, std::int64_t begin, std::span<std::int64_t> out);

// out[k] = values[rows[k]], values being `stride` apart. One cache line a row, asked for some dozen rows ahead.
template <class T>
void gather(const T* values, std::ptrdiff_t stride, std::span<const std::int64_t> rows, T* out, int threads,
            Interrupt& interrupt);

}  // namespace cofactor

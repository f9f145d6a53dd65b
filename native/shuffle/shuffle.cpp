#include "shuffle/shuffle.hpp"

#include <algorithm>

#include "core/random.hpp"

namespace cofactor {

namespace {

constexpr std::int64_t kGrain = 1 << 13;  // rows a thread takes at a time
constexpr std::int64_t kAhead = 256;      // rows whose cache lines are on their way at once

// Places from `begin` on, of many: a step for all of them in vectors, then further ones for those that left the range,
// without a branch to mispredict.
void permute_many(const Permutation permutation, std::int64_t n, std::int64_t begin, std::span<std::int64_t> out) {
    const auto step = [&](std::int64_t row) {
        return static_cast<std::int64_t>(permutation.step<4>(static_cast<std::uint64_t>(row)));
    };
    const std::int64_t size = std::ssize(out);
    for (std::int64_t k = 0; k < size; ++k) out[k] = step(begin + k);
    std::int32_t outside[kGrain];
    std::int64_t n_outside = 0;
    for (std::int64_t k = 0; k < size; ++k) {
        outside[n_outside] = static_cast<std::int32_t>(k);
        n_outside += out[k] >= n;
    }
    while (n_outside > 0) {
        std::int64_t still = 0;
        for (std::int64_t j = 0; j < n_outside; ++j) {
            std::int64_t& row = out[outside[j]];
            row = step(row);
            outside[still] = outside[j];
            still += row >= n;
        }
        n_outside = still;
    }
}

}  // namespace

void permuted_places(std::int64_t n, std::uint64_t seed, std::int64_t begin, std::span<std::int64_t> out) {
    const Permutation permutation(static_cast<std::uint64_t>(n), seed);
    if (n > static_cast<std::int64_t>(Permutation::kFew)) {
        permute_many(permutation, n, begin, out);
        return;
    }
    for (std::int64_t k = 0; k < std::ssize(out); ++k) {
        out[k] = static_cast<std::int64_t>(permutation(static_cast<std::uint64_t>(begin + k)));
    }
}

void permuted_rows(std::int64_t n, std::uint64_t seed, std::int64_t begin, std::span<std::int64_t> out, int threads,
                   Interrupt& interrupt) {
    parallel_for(std::ssize(out), kGrain, threads, interrupt, [&](std::int64_t from, std::int64_t to, int) {
        permuted_places(n, seed, begin + from, out.subspan(from, to - from));
    });
}

template <class T>
void gather(const T* values, std::ptrdiff_t stride, std::span<const std::int64_t> rows, T* out, int threads,
            Interrupt& interrupt) {
    parallel_for(std::ssize(rows), kGrain, threads, interrupt, [&](std::int64_t from, std::int64_t to, int) {
        for (std::int64_t k = from; k < to; k += kAhead) {
            const std::int64_t end = std::min(to, k + kAhead);
            for (std::int64_t j = k; j < end; ++j) __builtin_prefetch(values + rows[j] * stride);
            for (std::int64_t j = k; j < end; ++j) out[j] = values[rows[j] * stride];
        }
    });
}

template void gather(const std::int32_t*, std::ptrdiff_t, std::span<const std::int64_t>, std::int32_t*, int,
                     Interrupt&);
template void gather(const std::int64_t*, std::ptrdiff_t, std::span<const std::int64_t>, std::int64_t*, int,
                     Interrupt&);

}  // namespace cofactor

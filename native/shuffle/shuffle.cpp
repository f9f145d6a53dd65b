#include "shuffle/shuffle.hpp"

#include <algorithm>

#include "core/random.hpp"

namespace cofactor {

namespace {

constexpr std::int64_t kGrain = 1 << 13;  // rows a thread takes at a time
constexpr std::int64_t kAhead = 64;       // rows from which a cache line is asked for until it is read

// Places from `begin` on, of many: a step for all of them in vectors, then further ones for those that left the range,
// side by side, without a branch to mispredict.
void permute_many(const Permutation permutation, std::int64_t n, std::int64_t begin, std::span<std::int64_t> out) {
    const auto step = [&](std::int64_t row) {
        return static_cast<std::int64_t>(permutation.step<4>(static_cast<std::uint64_t>(row)));
    };
    const std::int64_t size = std::ssize(out);
    for (std::int64_t k = 0; k < size; ++k) out[k] = step(begin + k);
    std::int32_t outside[kGrain];
    std::int64_t rows[kGrain];
    std::int64_t n_outside = 0;
    for (std::int64_t k = 0; k < size; ++k) {
        outside[n_outside] = static_cast<std::int32_t>(k);
        rows[n_outside] = out[k];
        n_outside += out[k] >= n;
    }
    while (n_outside > 0) {
        for (std::int64_t j = 0; j < n_outside; ++j) rows[j] = step(rows[j]);
        std::int64_t still = 0;
        for (std::int64_t j = 0; j < n_outside; ++j) {
            const std::int32_t k = outside[j];
            const std::int64_t row = rows[j];
            out[k] = row;
            outside[still] = k;
            rows[still] = row;
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
        // One asked for with each that is read: asking for many and then reading many waits in between.
        const std::int64_t last = std::max(from, to - kAhead);
        for (std::int64_t k = from; k < std::min(to, from + kAhead); ++k) __builtin_prefetch(values + rows[k] * stride);
        for (std::int64_t k = from; k < last; ++k) {
            __builtin_prefetch(values + rows[k + kAhead] * stride);
            out[k] = values[rows[k] * stride];
        }
        for (std::int64_t k = last; k < to; ++k) out[k] = values[rows[k] * stride];
    });
}

template void gather(const std::int32_t*, std::ptrdiff_t, std::span<const std::int64_t>, std::int32_t*, int,
                     Interrupt&);
template void gather(const std::int64_t*, std::ptrdiff_t, std::span<const std::int64_t>, std::int64_t*, int,
                     Interrupt&);

}  // namespace cofactor

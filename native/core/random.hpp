// Random numbers that are a function of where they are used: the same whatever the number of threads.
#pragma once

#include <cstdint>

namespace cofactor {

// The finaliser of SplitMix64 (Steele, Lea & Flood 2014): every bit of the result depends on every bit of x.
inline std::uint64_t mixed(std::uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

// Stream number `stream` of a seed: SplitMix64 from a start of its own.
class Random {
public:
    Random(std::uint64_t seed, std::uint64_t stream) : state_(mixed(seed ^ mixed(stream + kStep))) {}

    std::uint64_t next() { return mixed(state_ += kStep); }

    // Uniform in [0, n), n < 2^32; no value is likelier than another by more than n / 2^64.
    std::uint32_t below(std::uint32_t n) {
        return static_cast<std::uint32_t>((static_cast<unsigned __int128>(next()) * n) >> 64);
    }

    // Uniform in [0, 1), in steps of 2^-24.
    float uniform() { return static_cast<float>(next() >> 40) * 0x1p-24f; }

private:
    static constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15ull;
    std::uint64_t state_;
};

// A permutation of [0, n) that needs no memory: a Feistel network over the next even power of two, walked until it is
// back in range (Black & Rogaway 2002). Under four steps on average, but for a handful.
class Permutation {
public:
    // Up to this many, halves have so few bits that it takes more rounds until pairs of places look independent.
    static constexpr std::uint64_t kFew = 1 << 14;

    Permutation(std::uint64_t n, std::uint64_t seed) : n_(n), seed_(mixed(seed)) {
        while (half_ < 31 && (1ull << (2 * half_)) < n) ++half_;
    }

    std::uint64_t operator()(std::uint64_t i) const {
        do i = n_ <= kFew ? step<12>(i) : step<4>(i);
        while (i >= n_);
        return i;
    }

    // A permutation of the power of two: what it takes beyond n has to go another step.
    template <int Rounds>
    std::uint64_t step(std::uint64_t i) const {
        const std::uint64_t mask = (1ull << half_) - 1;
        std::uint64_t left = i >> half_, right = i & mask;
        for (std::uint64_t round = 1; round <= Rounds; ++round) {
            const std::uint64_t new_right = left ^ (mixed(seed_ + (round << 58) + right) & mask);
            left = right;
            right = new_right;
        }
        return left << half_ | right;
    }

private:
    std::uint64_t n_, seed_;
    int half_ = 4;  // with fewer bits not all orders of a handful are equally likely
};

}  // namespace cofactor

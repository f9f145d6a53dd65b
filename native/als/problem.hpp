// One half-sweep of implicit ALS: the rows of one side solved exactly or improved with the other side held fixed.
//
// For a row with history {(k, w_k)} and fixed vectors y_k, the loss as a function of its vector x is
//     sum_k w_k (1 - x.y_k)^2 + a0 x'Gx + l |x|^2,   G = Y'Y,   l = regularization (n + a0 n_fixed)^exponent
// (Rendle et al. 2021, eq. 2-5, with weights; Hu, Koren & Volinsky 2008 for the Gramian trick), so that x solves
//     (a0 G + l I + sum_k w_k y_k y_k') x = sum_k w_k y_k.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "als/sweep.hpp"
#include "core/csr.hpp"
#include "core/dense.hpp"
#include "core/parallel.hpp"

namespace cofactor {

namespace als {

inline constexpr std::ptrdiff_t kBlockFloats = 8192;    // gathered rows that stay in the first-level cache
inline constexpr std::ptrdiff_t kCacheFloats = 131072;  // rows that stay in the second-level cache
inline constexpr std::int64_t kGrain = 16;              // rows a thread takes at a time
inline constexpr std::ptrdiff_t kSplit = 32768;         // longer histories are shared out among the threads
inline constexpr std::int64_t kParts = 16;              // in so many parts, however many threads there are

// Where part `part` of n entries begins, and the one before it ends.
inline std::int64_t part_begin(std::int64_t n, std::int64_t part) { return n * part / kParts; }

// Where rows are that lie in parts: chunks of 2^shift rows, none of which is in two parts. Rows of one part have none.
struct Chunks {
    std::vector<const float*> begins;
    int shift = 62;

    Chunks(const std::vector<FixedPart>& parts, std::ptrdiff_t stride) {
        std::int64_t n = 0, filled = 0;
        for (const FixedPart& part : parts) {
            if (n > 0 && part.n > 0) shift = std::min(shift, std::countr_zero(static_cast<std::uint64_t>(n)));
            n += part.n;
            filled += part.n > 0;
        }
        for (const FixedPart& part : parts) {
            const std::int64_t size = std::int64_t{1} << shift;
            for (std::int64_t r = 0; filled > 1 && r < part.n; r += size) begins.push_back(part.rows + r * stride);
        }
    }
};

struct Problem {
    Csr history;                 // n_rows x n_available
    const float* fixed;          // n_available x stride, zero-padded; best at the start of a cache line
    const float* const* chunks;  // where chunks of 2^shift fixed rows begin, or null: they lie one after the other
    int shift;
    std::int64_t n_available;  // rows at hand: all of the fixed side, or only those that the histories refer to
    std::int64_t n_fixed;
    std::ptrdiff_t factors, width;
    std::ptrdiff_t narrow, stride;  // of a fixed row: coordinates in 16 bits (als/narrow.hpp), and words of 32 bits
    const float* gramian;           // a0 G, width x width, zero-padded
    std::ptrdiff_t block;           // subspace: coordinates of each, the last one's excepted
    bool along_axes;                // whether G is diagonal: always for cg and subspace
    const float* axes;              // the diagonal of G, padded with ones
    AlsOptions options;
    float* solved;  // n_rows x factors

    std::ptrdiff_t length(std::int64_t row) const { return history.indptr[row + 1] - history.indptr[row]; }
    bool split(std::int64_t row) const { return length(row) > kSplit; }
    float* solved_row(std::int64_t row) const { return solved + row * factors; }
    const float* row_of_fixed(std::int64_t r) const {
        if (chunks == nullptr) return fixed + r * stride;
        return chunks[r >> shift] + (r & ((std::int64_t{1} << shift) - 1)) * stride;
    }
    const float* fixed_row(std::int64_t entry) const { return row_of_fixed(history.indices[entry]); }
    // The same for an entry that may lie beyond the last: to be prefetched only.
    const float* row_ahead(std::int64_t entry, std::int64_t last) const { return fixed_row(std::min(entry, last)); }
    float root_weight(std::int64_t entry) const { return std::sqrt(options.alpha * history.values[entry]); }
    std::int64_t last_entry() const { return static_cast<std::int64_t>(history.indices.size()) - 1; }

    float lambda(std::int64_t row) const {
        const float frequency =
            static_cast<float>(length(row)) + options.unobserved_weight * static_cast<float>(n_fixed);
        return options.regularization * std::pow(frequency, options.regularization_exponent);
    }

    double weight(std::int64_t row) const {  // sum of w
        double parts[8] = {}, total = 0.0;
        const float* values = history.values.data();
        std::int64_t e = history.indptr[row];
        for (; e + 8 <= history.indptr[row + 1]; e += 8) {
            for (int i = 0; i < 8; ++i) parts[i] += values[e + i];
        }
        for (; e < history.indptr[row + 1]; ++e) total += values[e];
        for (const double part : parts) total += part;
        return options.alpha * total;
    }
};

// Adds lambda to the diagonal, one where the matrix is padding.
inline void add_diagonal(float* a, std::ptrdiff_t n, std::ptrdiff_t filled, float lambda) {
    for (std::ptrdiff_t i = 0; i < n; ++i) a[i * n + i] += i < filled ? lambda : 1.0f;
}

// Scaled rows z_k = s_k y_k, s_k = sqrt(w_k), of a stretch of entries. Wide rows that follow can be asked for while
// these are worked on, so that memory and arithmetic overlap.
class Block {
public:
    Block(const Problem& problem, std::ptrdiff_t rows, std::ptrdiff_t columns)
        : problem_(problem), rows_(rows), z_(rows * columns), scale_(rows), next_(rows) {}

    std::ptrdiff_t rows() const { return rows_; }
    const float* z() const { return z_.data(); }
    const float* scale() const { return scale_.data(); }

    // Entries [begin, begin + n), n <= rows(), columns [c, c + columns), side by side.
    void gather(std::int64_t begin, std::ptrdiff_t n, std::ptrdiff_t c, std::ptrdiff_t columns) {
        const float *values = problem_.history.values.data() + begin, alpha = problem_.options.alpha;
        float* scale = scale_.data();
        for (std::ptrdiff_t k = 0; k < n; ++k) scale[k] = std::sqrt(alpha * values[k]);
        float* z = z_.data();
        const std::int64_t last = problem_.last_entry();
        for (std::ptrdiff_t k = 0; k < n; ++k, z += columns) {
            if (begin + k + kAhead >= asked_) prefetch(problem_.row_ahead(begin + k + kAhead, last) + c, columns);
            const float* y = problem_.fixed_row(begin + k) + c;
            const Vec s = broadcast(scale[k]);
            for (std::ptrdiff_t j = 0; j < columns; j += kLanes) store(z + j, s * load(y + j));
        }
    }

    // To be called after gather() where add_gramian is about to ask for the n rows that follow.
    void ask_ahead(std::int64_t begin, std::ptrdiff_t n) {
        if (problem_.width < kWide) return;
        for (std::ptrdiff_t k = 0; k < n; ++k) next_[k] = problem_.row_ahead(begin + n + k, problem_.last_entry());
        lines_ = (problem_.width + kLine - 1) / kLine;
        asked_ = begin + 2 * n;
    }

    // For add_gramian: the first tiles over the n rows ask for a pair of cache lines of each of the n rows that follow.
    void operator()(std::ptrdiff_t tile, std::ptrdiff_t t) const {
        if (tile < lines_) __builtin_prefetch(next_[t] + kLine * tile, 0, 2);
    }

private:
    static constexpr int kAhead = 12;
    static constexpr std::ptrdiff_t kWide = 128;  // narrower rows are worked on faster than memory answers
    static constexpr std::ptrdiff_t kLine = 32;   // hardware fetches the other line of a pair into the second level
    const Problem& problem_;
    std::ptrdiff_t rows_;
    Buffer z_, scale_;
    std::vector<const float*> next_;
    std::ptrdiff_t lines_ = 0;
    std::int64_t asked_ = 0;  // entries before this one have been asked for
};

}  // namespace als
}  // namespace cofactor

// Rows of normal distributions: least squares with a prior, solved or drawn from.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/csr.hpp"
#include "core/parallel.hpp"

namespace cofactor {

// For a row with entries {(k, r_k)} and fixed vectors y_k, o_k being the offset of k, its vector x has the density
//     exp(-(sum_k (r_k - o_k - x.y_k)^2 + s (x'Px - 2 x.h)) / 2 v),   s = max(n, 1)^exponent, v = deviation^2,
// that is normal with the mean A^-1 b and the covariance v A^-1, A = s P + sum y y', b = s h + sum (r - o) y.
struct GaussianRows {
    Csr ratings;                    // n_rows x n_fixed
    const float* fixed;             // n_fixed x width, padded with zeros
    const float* offsets;           // n_fixed
    std::ptrdiff_t factors, width;  // width is a multiple of kPad
    const float *prior, *side;      // P, width x width, with ones on the diagonal of its padding; h, width
    float exponent;
    float deviation;     // 0: rows become the means
    std::uint64_t seed;  // of the draws; row r has its stream number r
    float* solved;       // n_rows x width
};

struct GaussianRowsResult {
    double squares;           // sum of (r - o - x.y)^2 over all entries
    std::int64_t failed_row;  // whose A is not positive definite, or -1; then nothing else holds
};

GaussianRowsResult gaussian_rows(const GaussianRows& rows, int threads, Interrupt& interrupt);

}  // namespace cofactor

// Implicit ALS: the sweep over one side with each solver, and the Gramian that it starts from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/csr.hpp"
#include "core/parallel.hpp"

namespace cofactor {

enum class AlsSolver { cholesky, cg, subspace };

struct AlsOptions {
    float alpha, unobserved_weight, regularization, regularization_exponent;
    AlsSolver solver;
    int cg_steps;        // cg: at most this many steps
    float cg_tolerance;  // cg: a row is done when a step improves it by less than this, squared, relatively
    int block_size;      // subspace: rounded up to a multiple of kPad
    bool narrow;         // cg: reads the fixed rows in 16 bits, as bfloat16
};

struct AlsResult {
    double loss;  // summed over rows: all terms of als/problem.hpp, the fixed side's regularization excepted
    std::int64_t failed_row;  // a row whose system is not positive definite, or -1
};

// g (factors x factors) = y' y for y (n x factors). The slices and the order of their sum do not depend on the number
// of threads, so neither does the result.
void gramian(const float* y, std::int64_t n, std::ptrdiff_t factors, float* g, int threads, Interrupt& interrupt);

bool is_diagonal(const float* g, std::ptrdiff_t factors);

// x = x q for x (n x factors) and q (factors x factors), in place.
void rotate(float* x, std::int64_t n, std::ptrdiff_t factors, const float* q, int threads, Interrupt& interrupt);

// Some consecutive rows (n x factors) of the fixed side.
struct FixedPart {
    const float* rows;
    std::int64_t n;
};

// Improves every row of solved (n_rows x factors) with the other side, in parts in their order, held fixed. Parts that
// begin at multiples of a large power of two take the smallest table.
AlsResult als_sweep(const Csr& history, float* solved, const std::vector<FixedPart>& fixed, std::ptrdiff_t factors,
                    const float* g, const AlsOptions& options, int threads, Interrupt& interrupt);

}  // namespace cofactor

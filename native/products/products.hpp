// Products of sparse and dense matrices whose results are dense: what the closed forms are made of.
#pragma once

#include <cstdint>

#include "core/csr.hpp"
#include "core/parallel.hpp"

namespace cofactor {

// out (n x n_columns) = a b for a (n x m) and b (m x n_columns). With `lower`, only the columns up to the row's own
// number are computed (a b being symmetric) and the others left as they are. One scattered multiply-add for each pair
// of an entry of a and an entry of b's row, while the row of `out` stays in the cache; rows are independent.
void sparse_product(const Csr& a, const Csr& b, std::int64_t n_columns, bool lower, float* out, int threads,
                    Interrupt& interrupt);

// out (n x b.n_rows) = d b' for d (n x depth) dense and b (. x depth) sparse. 32 rows of d at a time are laid out
// column by column, so that an entry of b multiplies 32 numbers that lie together: n nnz multiply-adds in vectors.
void dense_product(const float* d, std::int64_t n, std::int64_t depth, const Csr& b, float* out, int threads,
                   Interrupt& interrupt);

// out[i] = b_i k b_i' for every row of b (. x m), k (m x m) symmetric, of which the lower triangle is read: half a
// gather for every pair of entries of a row, rows of k in order.
void quadratic_forms(const float* k, std::int64_t m, const Csr& b, double* out, int threads, Interrupt& interrupt);

// Fills the upper triangle of p (n x n) from its lower one, multiplying column j by scale[j], and sets the diagonal.
void mirror_scaled(float* p, std::int64_t n, const float* scale, float diagonal, int threads, Interrupt& interrupt);

}  // namespace cofactor

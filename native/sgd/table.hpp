// What stochastic gradient descent changes, and how: rows of vectors (or single numbers) and their optimizer's state.
#pragma once

#include <cstdint>
#include <span>

#include "core/csr.hpp"
#include "core/simd.hpp"

namespace cofactor {

// row_adam is Adam with one mean of squared gradients for the first number of a row, its weight, and one for its
// vector.
enum class Optimizer { sgd, adagrad, adam, row_adam };

struct StepOptions {
    Optimizer kind;
    float learning_rate;
    float epsilon;                   // adagrad, adam
    float beta1, beta2;              // adam, row_adam
    std::int64_t n_coordinates = 0;  // row_adam: of a row, without what it is padded with
};

// n_rows x width. A row's Adam counts the row's own steps, so that its bias correction is right however seldom the row
// is touched; with all rows in every step this is Adam as it is written (Kingma & Ba 2015).
struct Table {
    std::int64_t n_rows;
    std::ptrdiff_t width;  // multiple of kPad, or 1
    float* values;
    float* first;         // adam, row_adam: mean of the gradients; else null
    float* second;        // adagrad: sum, adam: mean of the squared gradients; row_adam: n_rows x 2; else null
    std::int32_t* steps;  // adam, row_adam: n_rows; else null
    StepOptions step;

    float* row(std::int64_t r) const { return values + r * width; }
};

// Which rows of the table make the vector of a user or an item: row `offset + i` alone, or what `parts` says, a row of
// weights over all rows of the table for each of them.
struct Composition {
    std::int64_t offset;
    const Csr* parts;  // null: one row each
};

// out (width) = sum of the parts.
inline void compose(const Table& t, const Composition& c, std::int64_t i, float* out) {
    if (c.parts == nullptr) {
        const float* from = t.row(c.offset + i);
        for (std::ptrdiff_t j = 0; j < t.width; ++j) out[j] = from[j];
        return;
    }
    for (std::ptrdiff_t j = 0; j < t.width; ++j) out[j] = 0;
    for (std::int64_t k = c.parts->indptr[i]; k < c.parts->indptr[i + 1]; ++k) {
        const float weight = c.parts->values[k];
        const float* from = t.row(c.parts->indices[k]);
        for (std::ptrdiff_t j = 0; j < t.width; ++j) out[j] += weight * from[j];
    }
}

}  // namespace cofactor

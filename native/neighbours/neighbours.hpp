// The most similar rows of a sparse matrix, or columns of a sparse product, without ever holding all pairs.
//
// A similarity is the inner product over a denominator made of one or two numbers of each side (Similarity). Only
// positive ones count; ties go to the lower column. Products are summed in float32 in the order of the shared columns,
// whatever the number of threads.
#pragma once

#include <cstdint>
#include <span>

#include "core/csr.hpp"
#include "core/parallel.hpp"
#include "topk/choice.hpp"

namespace cofactor {

// dot / (row_scale column_scale + row_add + column_add - overlap dot + shrink)
//
// Cosine: the norms as scales; Jaccard: the counts as addends and overlap 1.
struct Similarity {
    std::span<const float> row_scale, column_scale, row_add, column_add;
    float overlap, shrink;
};

void gram_neighbours(const Csr& a, std::span<const float> weights, const Similarity& similarity, Ranking ranking,
                     int threads, Interrupt& interrupt);

// Row by row of a (n x m) times b (m x n_columns): one multiply-add per entry of a's row and of b's rows. Pairs of
// equal groups (all of them non-negative) are left out; without groups none are.
void product_neighbours(const Csr& a, const Csr& b, std::int64_t n_columns, const Similarity& similarity,
                        std::span<const std::int32_t> row_groups, std::span<const std::int32_t> column_groups,
                        Ranking ranking, int threads, Interrupt& interrupt);

}  // namespace cofactor

// The best k columns of sparse rows times item-to-item weights, without ever holding rows x columns.
//
// Scores are summed in the order of the history's entries, in float32, whatever the path. One multiply-add per entry of
// a history and entry of its weights' row; with sparse weights it lands in a row of scores that each thread holds (4
// bytes a column), with dense ones in registers, blocks of columns one after the other so that the rows of weights that
// many histories share stay in cache.
#pragma once

#include <cstdint>

#include "core/csr.hpp"
#include "core/parallel.hpp"
#include "topk/choice.hpp"

namespace cofactor {

// Whether all columns of the weights that the histories reach are in [0, n_columns).
bool reaches_columns(const Csr& histories, const Csr& weights, std::int64_t n_columns, int threads,
                     Interrupt& interrupt);

// histories: n x m, weights: m x n_columns, rows in any order; of weights only what a history reaches is read.
void linear_top_k(const Csr& histories, const Csr& weights, const Choice& choice, Ranking ranking, int threads,
                  Interrupt& interrupt);

// histories: n x m, weights: m x n_columns row-major; an empty history has an empty list. The histories pass over
// kPanelBytes of weights at a time, copied so that a block's rows share pages; where they are too few to pay for the
// copy, of the weights as they are.
void linear_top_k(const Csr& histories, const float* weights, std::int64_t m, const Choice& choice, Ranking ranking,
                  int threads, Interrupt& interrupt);

// The k best columns of every row of scores (n x n_columns), best first; NaN and minus infinity never come back.
void select_top_k(const float* scores, std::int64_t n, const Choice& choice, Ranking ranking, int threads,
                  Interrupt& interrupt);

}  // namespace cofactor

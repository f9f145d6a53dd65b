// Exact top-k of query . item + bias in two passes, without ever holding queries x items.
//
// The score of a pair is TopKQuery::score, and only that decides. Most pairs never get one: items stand in panels by
// falling norm, a register tile over codes gives every pair of 8 queries and a panel an upper bound (see
// topk/group.hpp), and only the few pairs whose bound reaches their query's k-th best so far are scored and filtered. A
// few queries do not pay for ordering and coding the catalogue: all their scores are computed.
#pragma once

#include "core/parallel.hpp"
#include "topk/query.hpp"

namespace cofactor {

// result: n_queries x k, best first; places that no item is left for hold -1 and -infinity.
void top_k(const TopKQuery& q, TopKResult result, int threads, Interrupt& interrupt);

}  // namespace cofactor

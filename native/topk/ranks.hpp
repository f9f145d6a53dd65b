// The places of wanted items in the complete lists of query . item, without lists: how many items score more.
//
// The score of a pair is TopKQuery::score, and only that decides, so that places are those in the lists of top_k to the
// last tie. A register tile over the vectors gives 8 queries and a panel of items at once; its sums differ from scores
// by roundoff alone, and the few items whose sum is that close to a wanted item's score are scored. Filters cost
// nothing on the way: what is excluded is scored at the end, and taken off again.
//
// f multiply-adds per query and item; per wanted item and item two comparisons, by vectors; f multiply-adds per
// excluded item, and a comparison with each that is wanted of its query.
#pragma once

#include <cstdint>

#include "core/csr.hpp"
#include "core/parallel.hpp"
#include "topk/query.hpp"

namespace cofactor {

struct Places {
    std::int32_t* rank;      // per wanted item, from 1; 0 where it is not listed
    double* middle;          // the mean place of all that have its score; 0 where it is not listed
    std::int64_t* n_listed;  // per query: the length of its list
};

// wanted: n_queries x n_items, rows ascending. The query's bias must be empty.
void ranks(const TopKQuery& q, const Csr& wanted, Places places, int threads, Interrupt& interrupt);

}  // namespace cofactor

// Which places of ranked lists hold a relevant item, for all lists at once.
//
// Each worker has a table with a number for every item: the relevant items of a list's user are written into it, the
// places of the list looked up in it, and both are wiped out again. Two steps per place and per relevant item, whatever
// the number of items; four bytes per item and worker.
#pragma once

#include <cstdint>
#include <span>

#include "core/csr.hpp"
#include "core/parallel.hpp"

namespace cofactor {

struct RankedLists {
    std::span<const std::int64_t> indptr;  // n_lists + 1
    std::span<const std::int32_t> items;   // n_places: best first, -1 for a place that is not filled
    std::span<const std::int32_t> of;      // n_lists: the row of relevant that the list is for, -1 for none
};

struct ListHits {
    std::int32_t* nth;    // n_places: which of the row's relevant items the place holds, from 0, or -1
    std::int64_t* count;  // n_lists: how many places hold one
};

// The items of a row of relevant are in any order, each there once; -1 for one that no list holds. Returns the first
// place whose item is in its list before, or -1 if there is none.
std::int64_t list_hits(const RankedLists& lists, const Csr& relevant, std::int64_t n_items, ListHits hits, int threads,
                       Interrupt& interrupt);

}  // namespace cofactor

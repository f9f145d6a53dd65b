// Co-visitation: how often, and with what weight, item b occurs near item a in a session; the best b of every a.
//
//   W[a, b] = sum over sessions s of max { weight(f) : f in s, item(f) = b, some e in s with item(e) = a and
//                                         |time(e) - time(f)| <= gap }
//
// or, with every pair of events counted, the sum of weight(f) over all such (e, f). Weights are whole numbers, so that
// sums do not depend on any order.
//
// No pair is ever stored: a row is finished at once by walking the neighbourhoods of all events of its item, found by
// an index from items to neighbourhoods, and adding up in a table that stays in cache.
#pragma once

#include <cstdint>
#include <span>

#include "core/parallel.hpp"

namespace cofactor {

struct SessionEvents {
    std::span<const std::int64_t> indptr;    // n_sessions + 1
    std::span<const std::int32_t> items;     // n_events, ascending in time inside a session
    std::span<const std::int64_t> times;     // n_events, or empty
    std::span<const std::uint32_t> weights;  // n_events; 0 leaves the event out. Empty: all 1

    std::int64_t n_sessions() const { return static_cast<std::int64_t>(indptr.size()) - 1; }
    bool takes_part(std::int64_t event) const { return weights.empty() || weights[event] != 0; }
};

// An event that takes part, as the rows read it: neighbours in a session are neighbours in memory.
struct SessionRecord {
    std::uint32_t item;
    std::uint32_t weight;  // >= 1
};

// What is near one event, itself included: records [first, last) of its session.
struct SessionWindow {
    std::uint32_t first, last;
    std::uint32_t session;  // position of the session's first record + 1
};

struct Capped {
    std::int64_t sessions = 0, events = 0, longest = 0;  // cut, left out by that, events of the longest session
};

struct SessionRecords {
    std::span<const SessionRecord> records;
    std::span<const std::uint32_t> seconds;  // of every record; empty: all of a session is near
    std::span<const std::int64_t> starts;    // n_sessions + 1
    std::uint32_t gap;                       // seconds
};

// What one row has added up for an item.
struct CoVisited {
    std::uint64_t sum;
    std::uint32_t session;  // where it was met last: position of the session's first record + 1; 0 in no session
    std::uint32_t weight;   // its largest weight there
};

// What all rows share.
struct CoVisitationRows {
    std::span<const SessionRecord> records;
    bool once;                             // count a pair of items once a session
    double scale;                          // of a whole weight
    std::span<const std::int64_t> work;    // n_items: neighbours of an item's events, repeats counted
    std::span<const std::int64_t> places;  // n_items: where the row of an item is written
    std::int64_t n_best;
    std::span<std::int32_t> lengths;     // n_items: neighbours written
    std::span<std::int32_t> neighbours;  // ascending inside a row
    std::span<float> values;
};

// Events of every session that are kept: the latest `most` that take part, none where fewer than two are left.
// lengths: n_sessions. Adds to counts: kept events of every item, and to work: the neighbours that these may have.
Capped covisitation_kept(const SessionEvents& log, std::int64_t most, std::span<std::int64_t> lengths,
                         std::span<std::int64_t> counts, std::span<std::int64_t> work, int threads,
                         Interrupt& interrupt);

// starts: n_sessions + 1, where the records of every session begin. seconds: of each record since the oldest, or empty.
void covisitation_records(const SessionEvents& log, std::int64_t oldest, std::span<const std::int64_t> starts,
                          SessionRecord* records, std::span<std::uint32_t> seconds, int threads, Interrupt& interrupt);

// What is near the events of the items [first, first + n), in the order of the records for each item: starts holds
// n + 1 offsets into `windows`. Every thread reads all records for its share of the items: O(threads * n_records) reads
// in order, one write each. False where the records are not the ones that starts was made for.
bool covisitation_index(const SessionRecords& all, std::int64_t n_items, std::int64_t first,
                        std::span<const std::int64_t> starts, std::span<SessionWindow> windows, int threads,
                        Interrupt& interrupt);

// Rows of the items [begin, end); windows and starts are those of covisitation_index from item `first` on.
// tables, touched: n_items and n_items + 1 places for each thread.
void covisitation_rows(const CoVisitationRows& all, std::int64_t first, std::int64_t begin, std::int64_t end,
                       std::span<const std::int64_t> starts, std::span<const SessionWindow> windows, CoVisited* tables,
                       std::uint32_t* touched, int threads, Interrupt& interrupt);

// Moves rows together; their places were made for as many neighbours as they might have. Returns the offsets in place.
void covisitation_compact(std::span<std::int64_t> places, std::span<const std::int32_t> lengths,
                          std::int32_t* neighbours, float* values);

}  // namespace cofactor

// Pairs of items that follow each other in sessions.
#pragma once

#include <cstdint>
#include <span>

#include "core/parallel.hpp"

namespace cofactor {

// Which two events of a session make a pair, and what it weighs.
struct SessionPairs {
    std::span<const std::int64_t> indptr;  // n_sessions + 1
    std::span<const std::int32_t> items;
    std::span<const std::int64_t> times;      // or empty; ascending inside a session
    std::span<const std::uint8_t> types;      // or empty
    std::span<const std::uint8_t> kept;       // which types take part: 256, or empty for all
    std::int64_t window;                      // the second is at most so many events after the first
    std::int64_t max_gap;                     // and so much later; read only with times
    std::int64_t last_events;                 // of a session that take part, of those with a type that does
    bool both;                                // each pair the other way round, too
    bool repeats;                             // pairs of an item with itself
    std::span<const float> type_weights;      // by the type of the second event: 256, or empty
    std::span<const float> distance_weights;  // by how many events it comes after the first, from 1: window, or empty
};

struct SessionPairsCounts {
    std::int64_t left_out;  // events of types that do not take part
    std::int64_t lone;      // sessions with one event or none that takes part
    std::int64_t capped;    // sessions with more than last_events
    std::int64_t cut;       // events left out by that
    std::int64_t longest;   // events of the longest session
};

// Sessions are dealt with in blocks of so many.
inline constexpr std::int64_t kSessionBlock = 1 << 10;

// counts[b] = pairs of block b. O(events), or O(pairs) with max_gap or without repeats.
SessionPairsCounts count_session_pairs(const SessionPairs& s, std::span<std::int64_t> counts, int threads,
                                       Interrupt& interrupt);

// The pairs of blocks [first, last), in the order of sessions and of the earlier, then of the later event; those of
// block b begin at starts[b] - starts[first]. `weights` is null for pairs without. False
// unless the starts are those of the counts; nothing is written beyond them.
bool session_pairs(const SessionPairs& s, std::int64_t first, std::int64_t last, std::span<const std::int64_t> starts,
                   std::int32_t* items, std::int32_t* next_items, float* weights, int threads, Interrupt& interrupt);

}  // namespace cofactor

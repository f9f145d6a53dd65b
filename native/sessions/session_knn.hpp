// Next items of a session from its nearest past sessions; models/session_knn.py has the equations.
//
// Past sessions are numbered by time. Every item has a list of its sessions, newest first: merging the lists of the
// current items meets the candidates newest first and all that a session shares with the current one in a row, so that
// the merge stops after sample_size sessions and needs no table of sessions. A query costs O(log h) for each of the at
// most h * sample_size places of the lists it passes, h items being in its history, and one step for every event of the
// neighbours kept.
#pragma once

#include <cstdint>
#include <span>

#include "core/csr.hpp"
#include "core/parallel.hpp"
#include "topk/choice.hpp"

namespace cofactor {

struct PastSessions {
    std::span<const std::int64_t> indptr;         // n_sessions + 1
    std::span<const std::int32_t> items;          // n_events: items of a session, oldest first
    std::span<const double> weights;              // n_sessions: what similarity to a session is multiplied by
    std::span<const std::int64_t> places_indptr;  // n_items + 1
    std::span<const std::int32_t> places;         // sessions of an item, newest first, none twice
    std::span<const double> item_weights;         // n_items: of an item that is shared
    std::span<const double> candidate_weights;    // n_items: of an item that is scored

    std::int64_t n_sessions() const { return static_cast<std::int64_t>(weights.size()); }
    std::int64_t n_items() const { return static_cast<std::int64_t>(item_weights.size()); }
};

struct SessionKnn {
    std::int64_t neighbours, sample_size, last_events;
    double lambda1, lambda3;  // infinite: no decay
    double backward, repeat;
};

// Where the sessions of every item stand, newest first and at most `limit` of them, and how many there are in all.
// places: room for n_events. Two passes over the events.
void session_places(std::span<const std::int64_t> indptr, std::span<const std::int32_t> items, std::int64_t limit,
                    std::span<std::int64_t> places_indptr, std::span<std::int32_t> places,
                    std::span<std::int64_t> n_sessions_of);

// The k best items that the neighbours of every history reach.
bool session_top_k(const PastSessions& past, const SessionKnn& knn, const Csr& histories,
                   std::span<const std::int32_t> positions, const Choice& choice, Ranking ranking, int threads,
                   Interrupt& interrupt);

// The scores of some items for every history: wanted, n x n_items in any order, with its values to be filled.
bool session_scores(const PastSessions& past, const SessionKnn& knn, const Csr& histories,
                    std::span<const std::int32_t> positions, const Csr& wanted, std::span<float> values, int threads,
                    Interrupt& interrupt);

}  // namespace cofactor

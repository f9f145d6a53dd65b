// Nearest past sessions for Python.
#include "bindings.hpp"
#include "sessions/session_knn.hpp"
#include "topk/bind_filters.hpp"

namespace {

constexpr const char* kOutOfRange = "an index of the past sessions is out of range";

void session_places(In1<std::int64_t> indptr, In1<std::int32_t> items, std::int64_t limit,
                    Out1<std::int64_t> places_indptr, Out1<std::int32_t> places, Out1<std::int64_t> n_sessions_of) {
    const cofactor::Csr sessions = csr(indptr, items, nullptr);
    const std::size_t n_items = n_sessions_of.size();
    check(limit >= 1, "limit must be at least 1");
    check(sessions.n_rows() < INT32_MAX, "there are more sessions than an int32 can count");
    check(places_indptr.size() == n_items + 1, "places_indptr must hold n_items + 1 offsets");
    check(places.size() == items.size(), "places must have room for n_events entries");
    bool fine = true;
    run(1, nullptr, 0, [&](cofactor::Interrupt&) {
        for (const std::int32_t item : sessions.indices) {
            fine = fine && item >= 0 && static_cast<std::size_t>(item) < n_items;
        }
        if (!fine) return;
        cofactor::session_places(sessions.indptr, sessions.indices, limit, {places_indptr.data(), n_items + 1},
                                 {places.data(), places.size()}, {n_sessions_of.data(), n_items});
    });
    check(fine, "items must be in range");
}

// The arrays of past sessions, whose insides are checked where they are used: a query must not cost a pass over them.
cofactor::PastSessions past_sessions(const In1<std::int64_t>& indptr, const In1<std::int32_t>& items,
                                     const In1<double>& weights, const In1<std::int64_t>& places_indptr,
                                     const In1<std::int32_t>& places, const In1<double>& item_weights,
                                     const In1<double>& candidate_weights) {
    check(indptr.size() == weights.size() + 1, "sessions must have one weight each");
    check(places_indptr.size() == item_weights.size() + 1 && candidate_weights.size() == item_weights.size(),
          "places and weights must be of the same items");
    return {view(indptr), view(items),        view(weights),          view(places_indptr),
            view(places), view(item_weights), view(candidate_weights)};
}

cofactor::SessionKnn session_knn(std::int64_t neighbours, std::int64_t sample_size, std::int64_t last_events,
                                 double lambda1, double lambda3, double backward, double repeat) {
    check(neighbours >= 1 && sample_size >= 1 && last_events >= 1, "counts must be at least 1");
    check(lambda1 > 0 && lambda3 > 0, "lambda1 and lambda3 must be above 0");
    check(backward >= 0 && repeat >= 0, "backward and repeat must be at least 0");
    return {neighbours, sample_size, last_events, lambda1, lambda3, backward, repeat};
}

void session_top_k(In1<std::int64_t> indptr, In1<std::int32_t> items, In1<double> weights,
                   In1<std::int64_t> places_indptr, In1<std::int32_t> places, In1<double> item_weights,
                   In1<double> candidate_weights, std::int64_t neighbours, std::int64_t sample_size,
                   std::int64_t last_events, double lambda1, double lambda3, double backward, double repeat,
                   In1<std::int64_t> history_indptr, In1<std::int32_t> history_items,
                   In1<std::int32_t> history_positions, std::optional<In1<std::int64_t>> excluded_indptr,
                   std::optional<In1<std::int32_t>> excluded_indices, std::optional<In1<std::int32_t>> allowed,
                   OutMatrix<std::int32_t> best_items, OutMatrix<float> best_scores, int threads) {
    const auto past = past_sessions(indptr, items, weights, places_indptr, places, item_weights, candidate_weights);
    const auto knn = session_knn(neighbours, sample_size, last_events, lambda1, lambda3, backward, repeat);
    const cofactor::Csr histories = csr(history_indptr, history_items, nullptr);
    check(history_positions.size() == history_items.size(), "histories must have one position per item");
    const Filters filter = filters(histories.n_rows(), past.n_items(), excluded_indptr, excluded_indices, allowed);
    const cofactor::Ranking out = ranking(histories.n_rows(), best_items, best_scores);
    bool fine = true, ascending = true;
    run(threads, filter.exclude(), past.n_items(), [&](cofactor::Interrupt& interrupt) {
        ascending = cofactor::is_ascending(histories, past.n_items(), threads, interrupt);
        fine = !ascending || cofactor::session_top_k(past, knn, histories, view(history_positions), filter.choice(),
                                                     out, threads, interrupt);
    });
    check(ascending, "the items of histories must be ascending and in range");
    check(fine, kOutOfRange);
}

void session_scores(In1<std::int64_t> indptr, In1<std::int32_t> items, In1<double> weights,
                    In1<std::int64_t> places_indptr, In1<std::int32_t> places, In1<double> item_weights,
                    In1<double> candidate_weights, std::int64_t neighbours, std::int64_t sample_size,
                    std::int64_t last_events, double lambda1, double lambda3, double backward, double repeat,
                    In1<std::int64_t> history_indptr, In1<std::int32_t> history_items,
                    In1<std::int32_t> history_positions, In1<std::int64_t> wanted_indptr, In1<std::int32_t> wanted,
                    Out1<float> scores, int threads) {
    const auto past = past_sessions(indptr, items, weights, places_indptr, places, item_weights, candidate_weights);
    const auto knn = session_knn(neighbours, sample_size, last_events, lambda1, lambda3, backward, repeat);
    const cofactor::Csr histories = csr(history_indptr, history_items, nullptr);
    check(history_positions.size() == history_items.size(), "histories must have one position per item");
    const cofactor::Csr asked = csr(wanted_indptr, wanted, nullptr);
    check(asked.n_rows() == histories.n_rows(), "wanted must have one row per history");
    check(scores.size() == wanted.size(), "scores must have one place per wanted item");
    for (const std::int32_t item : asked.indices) check(item >= 0 && item < past.n_items(), "wanted is out of range");
    bool fine = true;
    run(threads, &histories, past.n_items(), [&](cofactor::Interrupt& interrupt) {
        fine = cofactor::session_scores(past, knn, histories, view(history_positions), asked,
                                        {scores.data(), scores.size()}, threads, interrupt);
    });
    check(fine, kOutOfRange);
}

}  // namespace

void bind_session_knn(nb::module_& m) {
    m.def("session_places", &session_places, "indptr"_a, "items"_a, "limit"_a, "places_indptr"_a.noconvert(),
          "places"_a.noconvert(), "n_sessions_of"_a.noconvert());
    m.def("session_top_k", &session_top_k, "indptr"_a, "items"_a, "weights"_a, "places_indptr"_a, "places"_a,
          "item_weights"_a, "candidate_weights"_a, "neighbours"_a, "sample_size"_a, "last_events"_a, "lambda1"_a,
          "lambda3"_a, "backward"_a, "repeat"_a, "history_indptr"_a, "history_items"_a, "history_positions"_a,
          "excluded_indptr"_a.none(), "excluded_indices"_a.none(), "allowed"_a.none(), "best_items"_a.noconvert(),
          "best_scores"_a.noconvert(), "threads"_a);
    m.def("session_scores", &session_scores, "indptr"_a, "items"_a, "weights"_a, "places_indptr"_a, "places"_a,
          "item_weights"_a, "candidate_weights"_a, "neighbours"_a, "sample_size"_a, "last_events"_a, "lambda1"_a,
          "lambda3"_a, "backward"_a, "repeat"_a, "history_indptr"_a, "history_items"_a, "history_positions"_a,
          "wanted_indptr"_a, "wanted"_a, "scores"_a.noconvert(), "threads"_a);
}

// Pairs of sessions for Python.
#include <nanobind/stl/tuple.h>

#include <algorithm>
#include <tuple>

#include "bindings.hpp"
#include "sessions/session_pairs.hpp"

namespace {

template <class T>
using Maybe = std::optional<In1<T>>;

template <class T>
std::span<const T> view_or_none(const Maybe<T>& a) {
    return a ? view(*a) : std::span<const T>{};
}

// What both kernels are told, checked.
cofactor::SessionPairs rules(const In1<std::int64_t>& indptr, const In1<std::int32_t>& items,
                             const Maybe<std::int64_t>& times, const Maybe<std::uint8_t>& types,
                             const Maybe<std::uint8_t>& kept, std::int64_t window, std::int64_t max_gap,
                             std::int64_t last_events, bool both, bool repeats, const Maybe<float>& type_weights,
                             const Maybe<float>& distance_weights) {
    csr(indptr, items, nullptr);
    check(!times || times->size() == items.size(), "times must have one value for every event");
    check(!types || types->size() == items.size(), "types must have one value for every event");
    check((!kept && !type_weights) || types, "kept and type_weights need types");
    check((!kept || kept->size() == 256) && (!type_weights || type_weights->size() == 256),
          "kept and type_weights must have 256 values");
    check(window >= 1 && last_events >= 1 && max_gap >= 0, "window and last_events must be at least 1, max_gap 0");
    check(!distance_weights || static_cast<std::int64_t>(distance_weights->size()) == window,
          "distance_weights must have one value for every distance in the window");
    return {view(indptr),
            view(items),
            view_or_none(times),
            view_or_none(types),
            view_or_none(kept),
            window,
            max_gap,
            last_events,
            both,
            repeats,
            view_or_none(type_weights),
            view_or_none(distance_weights)};
}

std::int64_t n_blocks(const cofactor::SessionPairs& s) {
    return (std::ssize(s.indptr) - 1 + cofactor::kSessionBlock - 1) / cofactor::kSessionBlock;
}

std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t> count_session_pairs(
    In1<std::int64_t> indptr, In1<std::int32_t> items, Maybe<std::int64_t> times, Maybe<std::uint8_t> types,
    Maybe<std::uint8_t> kept, std::int64_t window, std::int64_t max_gap, std::int64_t last_events, bool both,
    bool repeats, Maybe<float> type_weights, Maybe<float> distance_weights, Out1<std::int64_t> counts, int threads) {
    const cofactor::SessionPairs s = rules(indptr, items, times, types, kept, window, max_gap, last_events, both,
                                           repeats, type_weights, distance_weights);
    check(static_cast<std::int64_t>(counts.size()) == n_blocks(s), "counts must have one value for every block");
    cofactor::SessionPairsCounts told{};
    run(threads, nullptr, 0, [&](cofactor::Interrupt& interrupt) {
        told = cofactor::count_session_pairs(s, {counts.data(), counts.size()}, threads, interrupt);
    });
    return {told.left_out, told.lone, told.capped, told.cut, told.longest};
}

void session_pairs(In1<std::int64_t> indptr, In1<std::int32_t> items, Maybe<std::int64_t> times,
                   Maybe<std::uint8_t> types, Maybe<std::uint8_t> kept, std::int64_t window, std::int64_t max_gap,
                   std::int64_t last_events, bool both, bool repeats, Maybe<float> type_weights,
                   Maybe<float> distance_weights, std::int64_t first, std::int64_t last, In1<std::int64_t> starts,
                   Out1<std::int32_t> out_items, Out1<std::int32_t> out_next_items, Out1<float> out_weights,
                   int threads) {
    const cofactor::SessionPairs s = rules(indptr, items, times, types, kept, window, max_gap, last_events, both,
                                           repeats, type_weights, distance_weights);
    check(static_cast<std::int64_t>(starts.size()) == n_blocks(s) + 1 && first >= 0 && first <= last &&
              last <= n_blocks(s),
          "first and last must be blocks, and starts have one value for each and one more");
    check(std::is_sorted(starts.data(), starts.data() + starts.size()), "starts must ascend");
    const auto n = static_cast<std::size_t>(starts.data()[last] - starts.data()[first]);
    const bool weighted = type_weights || distance_weights;
    check(out_items.size() == n && out_next_items.size() == n && out_weights.size() == (weighted ? n : 0),
          "outputs must have one value for every pair, weights none where there are none");
    bool as_counted = true;
    run(threads, nullptr, 0, [&](cofactor::Interrupt& interrupt) {
        as_counted = cofactor::session_pairs(s, first, last, view(starts), out_items.data(), out_next_items.data(),
                                             weighted ? out_weights.data() : nullptr, threads, interrupt);
    });
    check(as_counted, "starts must be those of the pairs");
}

}  // namespace

void bind_session_pairs(nb::module_& m) {
    m.attr("session_block") = cofactor::kSessionBlock;
    m.def("count_session_pairs", &count_session_pairs, "indptr"_a, "items"_a, "times"_a.none(), "types"_a.none(),
          "kept"_a.none(), "window"_a, "max_gap"_a, "last_events"_a, "both"_a, "repeats"_a, "type_weights"_a.none(),
          "distance_weights"_a.none(), "counts"_a.noconvert(), "threads"_a);
    m.def("session_pairs", &session_pairs, "indptr"_a, "items"_a, "times"_a.none(), "types"_a.none(), "kept"_a.none(),
          "window"_a, "max_gap"_a, "last_events"_a, "both"_a, "repeats"_a, "type_weights"_a.none(),
          "distance_weights"_a.none(), "first"_a, "last"_a, "starts"_a, "out_items"_a.noconvert(),
          "out_next_items"_a.noconvert(), "out_weights"_a.noconvert(), "threads"_a);
}

// Co-visitation for Python.
#include <nanobind/stl/tuple.h>

#include "bindings.hpp"
#include "sessions/covisitation.hpp"

namespace {

using cofactor::CoVisited;
using cofactor::SessionRecord;
using cofactor::SessionWindow;

// Records are rows of two numbers, windows of three, entries of the tables of two.
static_assert(sizeof(SessionRecord) == 2 * sizeof(std::uint32_t) && sizeof(CoVisited) == 2 * sizeof(std::uint64_t) &&
              sizeof(SessionWindow) == 3 * sizeof(std::uint32_t));
using InRecords = nb::ndarray<const std::uint32_t, nb::shape<-1, 2>, nb::c_contig, nb::device::cpu>;
using OutRecords = nb::ndarray<std::uint32_t, nb::shape<-1, 2>, nb::c_contig, nb::device::cpu>;
using InWindows = nb::ndarray<const std::uint32_t, nb::shape<-1, 3>, nb::c_contig, nb::device::cpu>;
using OutWindows = nb::ndarray<std::uint32_t, nb::shape<-1, 3>, nb::c_contig, nb::device::cpu>;
using Tables = nb::ndarray<std::uint64_t, nb::shape<-1, -1, 2>, nb::c_contig, nb::device::cpu>;
using Touched = nb::ndarray<std::uint32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

void check_offsets(const In1<std::int64_t>& offsets, std::size_t end, const char* what) {
    check(offsets.size() >= 1 && offsets.data()[0] == 0, what);
    for (std::size_t i = 1; i < offsets.size(); ++i) check(offsets.data()[i - 1] <= offsets.data()[i], what);
    check(static_cast<std::size_t>(offsets.data()[offsets.size() - 1]) == end, what);
}

template <class T>
bool all_below(std::span<const T> values, std::int64_t n) {
    bool fine = true;
    for (const T value : values)
        fine = fine && static_cast<std::int64_t>(value) >= 0 && static_cast<std::int64_t>(value) < n;
    return fine;
}

std::span<const SessionRecord> spanned(const InRecords& records) {
    return {reinterpret_cast<const SessionRecord*>(records.data()), records.shape(0)};
}

cofactor::SessionEvents events(const In1<std::int64_t>& indptr, const In1<std::int32_t>& items,
                               const std::optional<In1<std::int64_t>>& times,
                               const std::optional<In1<std::uint32_t>>& weights) {
    check_offsets(indptr, items.size(), "indptr must ascend from 0 to the number of events");
    check(!times || times->size() == items.size(), "times must have one value per event");
    check(!weights || weights->size() == items.size(), "weights must have one value per event");
    return {view(indptr), view(items), times ? view(*times) : std::span<const std::int64_t>{},
            weights ? view(*weights) : std::span<const std::uint32_t>{}};
}

std::tuple<std::int64_t, std::int64_t, std::int64_t> kept(In1<std::int64_t> indptr, In1<std::int32_t> items,
                                                          std::optional<In1<std::uint32_t>> weights, std::int64_t most,
                                                          Out1<std::int64_t> lengths, Out1<std::int64_t> counts,
                                                          Out1<std::int64_t> work, int threads) {
    const cofactor::SessionEvents log = events(indptr, items, std::nullopt, weights);
    check(static_cast<std::int64_t>(lengths.size()) == log.n_sessions(), "lengths must have one value per session");
    check(counts.size() == work.size(), "counts and work must have one value per item");
    check(all_below(log.items, static_cast<std::int64_t>(counts.size())), "items must lie below the number of items");
    cofactor::Capped capped;
    run(threads, nullptr, 0, [&](cofactor::Interrupt& interrupt) {
        capped =
            cofactor::covisitation_kept(log, most, {lengths.data(), lengths.size()}, {counts.data(), counts.size()},
                                        {work.data(), work.size()}, threads, interrupt);
    });
    return {capped.sessions, capped.events, capped.longest};
}

void records(In1<std::int64_t> indptr, In1<std::int32_t> items, std::optional<In1<std::int64_t>> times,
             std::optional<In1<std::uint32_t>> weights, std::int64_t oldest, In1<std::int64_t> starts, OutRecords out,
             std::optional<Out1<std::uint32_t>> seconds, int threads) {
    const cofactor::SessionEvents log = events(indptr, items, times, weights);
    check(starts.size() == indptr.size(), "starts must have as many offsets as indptr");
    check_offsets(starts, out.shape(0), "starts must ascend from 0 to the number of records");
    for (std::int64_t s = 0; s < log.n_sessions(); ++s) {
        std::int64_t n = log.indptr[s + 1] - log.indptr[s];
        if (starts.data()[s + 1] == starts.data()[s]) continue;
        if (weights) {
            n = 0;
            for (std::int64_t e = log.indptr[s]; e < log.indptr[s + 1]; ++e) n += log.takes_part(e);
        }
        check(starts.data()[s + 1] - starts.data()[s] <= n, "a session has fewer events than records");
    }
    check(all_below(log.items, 0x7fffffff), "items must not be negative");
    check(out.shape(0) < 0xffffffff, "there may be 2^32 - 2 records at most");
    check(!seconds || (times && seconds->size() == out.shape(0)), "seconds must have one value per record, from times");
    run(threads, nullptr, 0, [&](cofactor::Interrupt& interrupt) {
        cofactor::covisitation_records(
            log, oldest, view(starts), reinterpret_cast<SessionRecord*>(out.data()),
            seconds ? std::span(seconds->data(), seconds->size()) : std::span<std::uint32_t>{}, threads, interrupt);
    });
}

void make_index(InRecords records, std::optional<In1<std::uint32_t>> seconds, In1<std::int64_t> sessions,
                std::uint32_t gap, std::int64_t n_items, std::int64_t first, In1<std::int64_t> starts,
                OutWindows windows, int threads) {
    check(!seconds || seconds->size() == records.shape(0), "seconds must have one value per record");
    check_offsets(sessions, records.shape(0), "sessions must ascend from 0 to the number of records");
    check_offsets(starts, windows.shape(0), "starts must ascend from 0 to the number of windows");
    check(first >= 0 && first + static_cast<std::int64_t>(starts.size()) - 1 <= n_items, "items are out of range");
    const cofactor::SessionRecords all{spanned(records), seconds ? view(*seconds) : std::span<const std::uint32_t>{},
                                       view(sessions), gap};
    bool fits = true;
    run(threads, nullptr, 0, [&](cofactor::Interrupt& interrupt) {
        fits = cofactor::covisitation_index(all, n_items, first, view(starts),
                                            {reinterpret_cast<SessionWindow*>(windows.data()), windows.shape(0)},
                                            threads, interrupt);
    });
    check(fits, "starts must leave one place for every record, whose item must lie below n_items");
}

void rows(InRecords records, bool once, double scale, In1<std::int64_t> work, std::int64_t first, std::int64_t begin,
          std::int64_t end, In1<std::int64_t> starts, InWindows windows, In1<std::int64_t> places, std::int64_t n_best,
          Out1<std::int32_t> lengths, Out1<std::int32_t> neighbours, Out1<float> values, Tables tables, Touched touched,
          int threads) {
    const std::int64_t n_items = static_cast<std::int64_t>(lengths.size());
    const std::span<const SessionWindow> near{reinterpret_cast<const SessionWindow*>(windows.data()), windows.shape(0)};
    check(first >= 0 && first <= begin && begin <= end && end <= n_items, "items are out of range");
    check(end - first < static_cast<std::int64_t>(starts.size()), "starts must cover all items asked for");
    check_offsets(starts, near.size(), "starts must ascend from 0 to the number of windows");
    check(places.size() == lengths.size() + 1, "places must have one offset more than there are items");
    check(work.size() == lengths.size(), "work must have one value per item");
    check_offsets(places, neighbours.size(), "places must ascend from 0 to the number of neighbours");
    check(values.size() == neighbours.size(), "values and neighbours differ in length");
    check(n_best >= 1, "n_best must be at least 1");
    bool inside = true;
    for (std::int64_t w = starts.data()[begin - first]; w < starts.data()[end - first]; ++w) {
        inside = inside && near[w].last <= records.shape(0) && near[w].session != 0;
    }
    check(inside, "windows must lie inside the records");
    check(static_cast<int>(tables.shape(0)) >= threads && static_cast<std::int64_t>(tables.shape(1)) == n_items,
          "tables must have an entry for every thread and item");
    check(static_cast<int>(touched.shape(0)) >= threads && static_cast<std::int64_t>(touched.shape(1)) == n_items + 1,
          "touched must have a place more than items for every thread");
    const cofactor::CoVisitationRows all{spanned(records),
                                         once,
                                         scale,
                                         view(work),
                                         view(places),
                                         n_best,
                                         {lengths.data(), lengths.size()},
                                         {neighbours.data(), neighbours.size()},
                                         {values.data(), values.size()}};
    run(threads, nullptr, 0, [&](cofactor::Interrupt& interrupt) {
        cofactor::covisitation_rows(all, first, begin, end, view(starts), near,
                                    reinterpret_cast<CoVisited*>(tables.data()), touched.data(), threads, interrupt);
    });
}

void compact(Out1<std::int64_t> places, In1<std::int32_t> lengths, Out1<std::int32_t> neighbours, Out1<float> values) {
    check(places.size() == lengths.size() + 1, "places must have one offset more than there are items");
    check(values.size() == neighbours.size(), "values and neighbours differ in length");
    for (std::size_t i = 0; i < lengths.size(); ++i) {
        const std::int64_t place = places.data()[i], n = lengths.data()[i];
        check(place >= 0 && n >= 0 && place + n <= places.data()[i + 1], "rows overlap");
    }
    check(places.data()[lengths.size()] <= static_cast<std::int64_t>(neighbours.size()), "rows are out of range");
    run(1, nullptr, 0, [&](cofactor::Interrupt&) {
        cofactor::covisitation_compact({places.data(), places.size()}, view(lengths), neighbours.data(), values.data());
    });
}

}  // namespace

void bind_covisitation(nb::module_& m) {
    m.def("covisitation_kept", &kept, "indptr"_a, "items"_a, "weights"_a.none(), "most"_a, "lengths"_a.noconvert(),
          "counts"_a.noconvert(), "work"_a.noconvert(), "threads"_a);
    m.def("covisitation_records", &records, "indptr"_a, "items"_a, "times"_a.none(), "weights"_a.none(), "oldest"_a,
          "starts"_a, "out"_a.noconvert(), "seconds"_a.none().noconvert(), "threads"_a);
    m.def("covisitation_index", &make_index, "records"_a.noconvert(), "seconds"_a.none(), "sessions"_a, "gap"_a,
          "n_items"_a, "first"_a, "starts"_a, "windows"_a.noconvert(), "threads"_a);
    m.def("covisitation_rows", &rows, "records"_a.noconvert(), "once"_a, "scale"_a, "work"_a, "first"_a, "begin"_a,
          "end"_a, "starts"_a, "windows"_a.noconvert(), "places"_a, "n_best"_a, "lengths"_a.noconvert(),
          "neighbours"_a.noconvert(), "values"_a.noconvert(), "tables"_a.noconvert(), "touched"_a.noconvert(),
          "threads"_a);
    m.def("covisitation_compact", &compact, "places"_a.noconvert(), "lengths"_a, "neighbours"_a.noconvert(),
          "values"_a.noconvert());
}

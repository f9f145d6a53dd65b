#include "sessions/covisitation.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "core/parallel.hpp"

namespace cofactor {

Capped covisitation_kept(const SessionEvents& log, std::int64_t most, std::span<std::int64_t> lengths,
                         std::span<std::int64_t> counts, std::span<std::int64_t> work, int threads,
                         Interrupt& interrupt) {
    std::atomic<std::int64_t> sessions{0}, events{0}, longest{0};
    parallel_for(log.n_sessions(), 4096, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
        Capped capped;
        for (std::int64_t s = begin; s < end; ++s) {
            const std::int64_t first = log.indptr[s], last = log.indptr[s + 1];
            std::int64_t n = last - first;
            if (!log.weights.empty()) {
                n = 0;
                for (std::int64_t e = first; e < last; ++e) n += log.takes_part(e);
            }
            if (n > most) {
                capped.sessions += 1;
                capped.events += n - most;
                capped.longest = std::max(capped.longest, n);
                n = most;
            }
            lengths[s] = n < 2 ? 0 : n;
            for (std::int64_t e = last, left = lengths[s]; left > 0;) {
                if (!log.takes_part(--e)) continue;
                std::atomic_ref(counts[log.items[e]]).fetch_add(1, std::memory_order_relaxed);
                std::atomic_ref(work[log.items[e]]).fetch_add(n - 1, std::memory_order_relaxed);
                --left;
            }
        }
        sessions += capped.sessions;
        events += capped.events;
        for (std::int64_t seen = longest;
             seen < capped.longest && !longest.compare_exchange_weak(seen, capped.longest);) {
        }
    });
    return {sessions, events, longest};
}

void covisitation_records(const SessionEvents& log, std::int64_t oldest, std::span<const std::int64_t> starts,
                          SessionRecord* records, std::span<std::uint32_t> seconds, int threads, Interrupt& interrupt) {
    parallel_for(log.n_sessions(), 4096, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t s = begin; s < end; ++s) {
            std::int64_t e = log.indptr[s + 1];
            for (std::int64_t to = starts[s + 1]; to > starts[s];) {
                if (!log.takes_part(--e)) continue;
                --to;
                records[to] = {static_cast<std::uint32_t>(log.items[e]), log.weights.empty() ? 1u : log.weights[e]};
                if (!seconds.empty()) seconds[to] = static_cast<std::uint32_t>(log.times[e] - oldest);
            }
        }
    });
}

bool covisitation_index(const SessionRecords& all, std::int64_t n_items, std::int64_t first,
                        std::span<const std::int64_t> starts, std::span<SessionWindow> windows, int threads,
                        Interrupt& interrupt) {
    const std::int64_t n = static_cast<std::int64_t>(starts.size()) - 1, total = starts[n];
    const std::int64_t n_sessions = static_cast<std::int64_t>(all.starts.size()) - 1;
    std::atomic<bool> fits{true};
    parallel_for(threads, 1, threads, interrupt, [&](std::int64_t share, std::int64_t, int worker) {
        const auto cut = [&](std::int64_t i) {  // items in shares of equal numbers of windows
            return std::lower_bound(starts.begin(), starts.end() - 1, total * i / threads) - starts.begin();
        };
        const std::int64_t low = share == 0 ? 0 : cut(share), high = share + 1 == threads ? n : cut(share + 1);
        std::vector<std::int64_t> at(starts.begin() + low, starts.begin() + high);
        const std::int64_t* ends = starts.data() + low + 1;
        const auto begin = static_cast<std::uint32_t>(first + low), size = static_cast<std::uint32_t>(at.size());
        bool fine = true;
        for (std::int64_t s = 0; s < n_sessions; ++s) {
            const auto from = static_cast<std::uint32_t>(all.starts[s]),
                       to = static_cast<std::uint32_t>(all.starts[s + 1]);
            std::uint32_t near = from, last = all.seconds.empty() ? to : from;
            for (std::uint32_t p = from; p < to; ++p) {
                const std::uint32_t local = all.records[p].item - begin;
                fine = fine && all.records[p].item < n_items;
                if (local >= size) continue;
                if (!all.seconds.empty()) {
                    while (all.seconds[p] - all.seconds[near] > all.gap) ++near;
                    last = std::max(last, p + 1);
                    while (last < to && all.seconds[last] - all.seconds[p] <= all.gap) ++last;
                }
                fine = fine && at[local] < ends[local];
                if (fine) windows[at[local]++] = {near, last, from + 1};
            }
            if ((s & 0xffff) == 0) {
                if (worker == 0) interrupt.check();
                if (interrupt.stopped()) return;
            }
        }
        for (std::size_t i = 0; i < at.size(); ++i) fine = fine && at[i] == ends[i];
        if (!fine) fits = false;
    });
    return fits;
}

namespace {

// The sums of one row by item, in a table of all items or, for rows with few neighbours, in a hash table that stays in
// the nearest cache. Both are all zero between rows.
class CoVisitedItems {
public:
    static constexpr std::uint32_t kMostHashed = 1 << 14;  // neighbours; two slots for each: 640 KB

    // all: one entry for every item. touched: a place more than items.
    CoVisitedItems(CoVisited* all, std::uint32_t* touched)
        : all_(all), touched_(touched), hashed_(2 * kMostHashed), keys_(2 * kMostHashed) {}

    // Makes room for a row that visits neighbours `most` times, and its own item.
    bool hashes(std::int64_t most) {
        if (++most > kMostHashed) return false;
        shift_ = std::min(32 - 6, std::countl_zero(static_cast<std::uint32_t>(most - 1)) - 1);
        return true;
    }

    // fill(at) adds up what at(item) refers to, for all of one row; what this takes stays in registers.
    template <bool hashed, class Fill>
    void fill_row(Fill&& fill) {
        CoVisited* entries = hashed ? hashed_.data() : all_;
        std::uint32_t *keys = keys_.data(), *touched = touched_;
        const int shift = shift_;
        const std::uint32_t last = (std::uint32_t{1} << (32 - shift)) - 1;
        std::int64_t n = 0;
        fill([&](std::uint32_t item) -> CoVisited& {
            std::uint32_t slot = item;
            if constexpr (hashed) {
                const std::uint32_t key = item + 1;
                slot = (key * 0x9e3779b1u) >> shift;
                while (keys[slot] != key && keys[slot] != 0) slot = (slot + 1) & last;
                keys[slot] = key;
            }
            CoVisited& entry = entries[slot];
            touched[n] = slot;
            n += entry.session == 0;
            return entry;
        });
        n_touched_ = n;
    }

    // use(item, sum) for every item of the row.
    template <bool hashed, class Use>
    void take_all(Use&& use) {
        for (std::int64_t i = 0; i < n_touched_; ++i) {
            const std::uint32_t slot = touched_[i];
            CoVisited& entry = hashed ? hashed_[slot] : all_[slot];
            use(hashed ? keys_[slot] - 1 : slot, entry.sum);
            entry = {};
            if constexpr (hashed) keys_[slot] = 0;
        }
    }

private:
    CoVisited* all_;
    std::uint32_t* touched_;
    std::int64_t n_touched_ = 0;
    std::vector<CoVisited> hashed_;
    std::vector<std::uint32_t> keys_;
    int shift_ = 32 - 6;
};

// The n best of a stream of positive scores, ties to the lower item: whenever twice as many and some have come, the
// others are dropped.
class BestNeighbours {
public:
    explicit BestNeighbours(std::int64_t n)
        : n_(n), keys_(static_cast<std::size_t>(2 * n + 256)), others_(keys_.size()) {}

    void add(float score, std::int32_t item) {
        const std::uint64_t key = (std::uint64_t{std::bit_cast<std::uint32_t>(score)} << 32) | ~std::uint32_t(item);
        keys_[size_] = key;
        size_ += key > least_;
        if (size_ == static_cast<std::int64_t>(keys_.size())) shrink();
    }

    // Writes them with items ascending; returns how many.
    std::int64_t write(std::int32_t* items, float* scores) {
        if (size_ > n_) shrink();
        if (size_ > kRanked) std::sort(keys_.begin(), keys_.begin() + size_, later);
        std::int32_t unsorted[kRanked];
        const int n = size_ > kRanked ? 0 : static_cast<int>(size_);
        for (int i = 0; i < n; ++i) unsorted[i] = item_of(keys_[i]);
        for (std::int64_t i = 0; i < size_; ++i) {
            std::int64_t at = n == 0 ? i : 0;
            for (int j = 0; j < n; ++j) at += unsorted[j] < unsorted[i];  // vectors do this quicker than a sort
            items[at] = item_of(keys_[i]);
            scores[at] = std::bit_cast<float>(static_cast<std::uint32_t>(keys_[i] >> 32));
        }
        least_ = 0;
        return std::exchange(size_, 0);
    }

private:
    static constexpr std::int64_t kRanked = 64;
    static constexpr int kRounds = 24;
    static constexpr std::int64_t kFew = 16;

    static std::int32_t item_of(std::uint64_t key) {
        return static_cast<std::int32_t>(~static_cast<std::uint32_t>(key));
    }
    static bool later(std::uint64_t a, std::uint64_t b) { return item_of(a) < item_of(b); }

    // Branches would be guessed wrong every other time: partitions without, for as long as they make parts smaller.
    void shrink() {
        std::uint64_t* keys = keys_.data();
        std::int64_t begin = 0, end = size_;  // the n-th is among these, and all before them are larger
        for (int round = 0; round < kRounds && end - begin > kFew; ++round) {
            const std::uint64_t a = keys[begin], b = keys[(begin + end) / 2], c = keys[end - 1];
            const std::uint64_t pivot = std::max(std::min(a, b), std::min(std::max(a, b), c));  // in the middle
            std::int64_t larger = begin, others = 0;
            for (std::int64_t i = begin; i < end; ++i) {
                const std::uint64_t key = keys[i];
                keys[larger] = others_[others] = key;
                larger += key > pivot;
                others += key <= pivot;
            }
            std::copy_n(others_.data(), others, keys + larger);
            (n_ <= larger ? end : begin) = larger;
        }
        if (n_ < end) std::nth_element(keys + begin, keys + n_ - 1, keys + end, std::greater<>());
        least_ = *std::min_element(keys, keys + n_);
        size_ = n_;
    }

    std::int64_t n_, size_ = 0;
    std::uint64_t least_ = 0;
    std::vector<std::uint64_t> keys_, others_;
};

// What one thread counts rows with.
class CoVisitationRow {
public:
    CoVisitationRow(const CoVisitationRows& all, CoVisited* table, std::uint32_t* touched)
        : all_(all), items_(table, touched), best_(std::min(all.n_best, static_cast<std::int64_t>(all.work.size()))) {}

    // Writes the row of an item, given what is near it: the first n of `windows`, which go on with those of other
    // items.
    template <class Stopped>
    void count(std::int64_t item, std::span<const SessionWindow> windows, std::size_t n, Stopped&& stopped) {
        if (items_.hashes(all_.work[item])) {
            all_.once ? add<true, true>(windows, n, stopped) : add<false, true>(windows, n, stopped);
            finish<true>(item);
        } else {
            all_.once ? add<true, false>(windows, n, stopped) : add<false, false>(windows, n, stopped);
            finish<false>(item);
        }
    }

private:
    static constexpr std::size_t kAhead = 12;  // windows that are asked for before their turn
    static constexpr std::uint32_t kMostAhead = 64, kLine = 64 / sizeof(SessionRecord);  // records

    template <bool once, bool hashed, class Stopped>
    void add(std::span<const SessionWindow> windows, std::size_t n, Stopped&& stopped) {
        const SessionRecord* records = all_.records.data();
        items_.fill_row<hashed>([&](auto&& at) {
            std::uint32_t done = 0;  // records before this one have been visited for the session at hand
            for (std::size_t i = 0; i < n; ++i) {
                if (i + kAhead < windows.size()) prefetch(windows[i + kAhead]);
                if ((i & 0xfff) == 0xfff && stopped()) return;
                const SessionWindow window = windows[i];
                for (std::uint32_t r = once ? std::max(window.first, done) : window.first; r < window.last; ++r) {
                    visit<once>(at(records[r].item), records[r].weight, window.session);
                }
                done = window.last;
            }
        });
    }

    [[gnu::always_inline]] void prefetch(const SessionWindow& window) const {
        const std::uint32_t end = std::min(window.last, window.first + kMostAhead);
        for (std::uint32_t r = window.first / kLine * kLine; r < end; r += kLine) {
            __builtin_prefetch(all_.records.data() + r);
        }
    }

    template <bool once>
    static void visit(CoVisited& entry, std::uint32_t weight, std::uint32_t session) {
        const std::uint32_t before = once && entry.session == session ? entry.weight : 0;
        const std::uint32_t heaviest = std::max(before, weight);
        entry.sum += heaviest - before;
        entry.weight = heaviest;
        entry.session = session;
    }

    template <bool hashed>
    void finish(std::int64_t item) {
        items_.take_all<hashed>([&](std::uint32_t neighbour, std::uint64_t sum) {
            if (neighbour == item) return;
            best_.add(static_cast<float>(static_cast<double>(sum) * all_.scale), static_cast<std::int32_t>(neighbour));
        });
        const std::int64_t place = all_.places[item];
        all_.lengths[item] =
            static_cast<std::int32_t>(best_.write(all_.neighbours.data() + place, all_.values.data() + place));
    }

    const CoVisitationRows& all_;
    CoVisitedItems items_;
    BestNeighbours best_;
};

}  // namespace

void covisitation_rows(const CoVisitationRows& all, std::int64_t first, std::int64_t begin, std::int64_t end,
                       std::span<const std::int64_t> starts, std::span<const SessionWindow> windows, CoVisited* tables,
                       std::uint32_t* touched, int threads, Interrupt& interrupt) {
    const std::int64_t n_items = static_cast<std::int64_t>(all.work.size());
    std::vector<CoVisitationRow> rows;
    for (int t = 0; t < threads; ++t) rows.emplace_back(all, tables + t * n_items, touched + t * (n_items + 1));
    const std::int64_t grain = std::clamp<std::int64_t>((end - begin) / (threads * 16), 1, 256);
    parallel_for(end - begin, grain, threads, interrupt, [&](std::int64_t low, std::int64_t high, int worker) {
        const auto stopped = [&] {
            if (worker == 0) interrupt.check();
            return interrupt.stopped();
        };
        for (std::int64_t item = begin + low; item < begin + high; ++item) {
            const std::int64_t at = starts[item - first];
            rows[worker].count(item, windows.subspan(at), starts[item - first + 1] - at, stopped);
        }
    });
}

void covisitation_compact(std::span<std::int64_t> places, std::span<const std::int32_t> lengths,
                          std::int32_t* neighbours, float* values) {
    std::int64_t to = 0;
    for (std::size_t i = 0; i < lengths.size(); ++i) {
        std::memmove(neighbours + to, neighbours + places[i], lengths[i] * sizeof(std::int32_t));
        std::memmove(values + to, values + places[i], lengths[i] * sizeof(float));
        places[i] = to;
        to += lengths[i];
    }
    places[lengths.size()] = to;
}

}  // namespace cofactor

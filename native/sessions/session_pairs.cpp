#include "sessions/session_pairs.hpp"

#include <algorithm>
#include <atomic>
#include <vector>

namespace cofactor {

namespace {

// The events of a session that take part, one session after the other.
class Taking {
public:
    explicit Taking(const SessionPairs& s) : s_(s) {}

    // Of session number r: how many take part, after which `at` tells where they are.
    std::int64_t read(std::int64_t r, SessionPairsCounts& counts) {
        const std::int64_t begin = s_.indptr[r], end = s_.indptr[r + 1];
        counts.longest = std::max(counts.longest, end - begin);
        std::int64_t n = end - begin;
        if (!s_.kept.empty()) {
            places_.clear();
            for (std::int64_t e = begin; e < end; ++e) {
                if (s_.kept[s_.types[e]]) places_.push_back(e);
            }
            n = static_cast<std::int64_t>(places_.size());
            counts.left_out += end - begin - n;
        }
        const std::int64_t most = std::min(n, s_.last_events);
        counts.capped += most < n;
        counts.cut += n - most;
        counts.lone += most < 2;
        first_ = s_.kept.empty() ? end - most : n - most;
        return most;
    }

    std::int64_t at(std::int64_t k) const { return s_.kept.empty() ? first_ + k : places_[first_ + k]; }

private:
    const SessionPairs& s_;
    std::vector<std::int64_t> places_;
    std::int64_t first_ = 0;
};

// visit(event, later event, distance) for every pair of the session that was read.
template <class Visit>
void over_pairs(const SessionPairs& s, const Taking& taking, std::int64_t n, const Visit& visit) {
    for (std::int64_t k = 0; k + 1 < n; ++k) {
        const std::int64_t one = taking.at(k);
        const std::int64_t end = s.window < n - k ? k + s.window + 1 : n;
        for (std::int64_t j = k + 1; j < end; ++j) {
            const std::int64_t other = taking.at(j);
            if (!s.times.empty() && s.times[other] - s.times[one] > s.max_gap) break;
            if (s.repeats || s.items[one] != s.items[other]) visit(one, other, j - k);
        }
    }
}

bool depends_on_events(const SessionPairs& s) { return !s.times.empty() || !s.repeats; }

// Pairs of n events that are at most `window` apart.
std::int64_t pairs_within(std::int64_t n, std::int64_t window) {
    const std::int64_t w = std::min(window, n - 1);
    return n < 2 ? 0 : w * n - w * (w + 1) / 2;
}

}  // namespace

SessionPairsCounts count_session_pairs(const SessionPairs& s, std::span<std::int64_t> counts, int threads,
                                       Interrupt& interrupt) {
    const std::int64_t n_sessions = std::ssize(s.indptr) - 1;
    std::vector<SessionPairsCounts> told(counts.size());
    parallel_for(n_sessions, kSessionBlock, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
        Taking taking(s);
        const std::int64_t block = begin / kSessionBlock;
        std::int64_t n_pairs = 0;
        for (std::int64_t r = begin; r < end; ++r) {
            const std::int64_t n = taking.read(r, told[block]);
            if (depends_on_events(s)) {
                over_pairs(s, taking, n, [&](std::int64_t, std::int64_t, std::int64_t) { ++n_pairs; });
            } else {
                n_pairs += pairs_within(n, s.window);
            }
        }
        counts[block] = s.both ? 2 * n_pairs : n_pairs;
    });
    SessionPairsCounts total{};
    for (const SessionPairsCounts& one : told) {
        total.left_out += one.left_out;
        total.lone += one.lone;
        total.capped += one.capped;
        total.cut += one.cut;
        total.longest = std::max(total.longest, one.longest);
    }
    return total;
}

bool session_pairs(const SessionPairs& s, std::int64_t first, std::int64_t last, std::span<const std::int64_t> starts,
                   std::int32_t* items, std::int32_t* next_items, float* weights, int threads, Interrupt& interrupt) {
    const std::int64_t n_sessions = std::ssize(s.indptr) - 1;
    const bool consecutive = s.window == 1 && !s.both && s.kept.empty() && !depends_on_events(s) && weights == nullptr;
    std::atomic<bool> as_counted{true};
    parallel_for(last - first, 1, threads, interrupt, [&](std::int64_t b, std::int64_t, int) {
        Taking taking(s);
        SessionPairsCounts ignored{};
        const std::int64_t begin = (first + b) * kSessionBlock;
        std::int64_t out = starts[first + b] - starts[first];
        const std::int64_t limit = starts[first + b + 1] - starts[first];
        bool fits = true;
        const auto put = [&](std::int64_t one, std::int64_t other, std::int64_t distance) {
            if (out == limit) {
                fits = false;
                return;
            }
            items[out] = s.items[one];
            next_items[out] = s.items[other];
            if (weights != nullptr) {
                weights[out] = (s.type_weights.empty() ? 1 : s.type_weights[s.types[other]]) *
                               (s.distance_weights.empty() ? 1 : s.distance_weights[distance - 1]);
            }
            ++out;
        };
        for (std::int64_t r = begin; fits && r < std::min(n_sessions, begin + kSessionBlock); ++r) {
            const std::int64_t n = taking.read(r, ignored);
            if (consecutive) {
                if (n < 2) continue;
                fits = n - 1 <= limit - out;
                if (!fits) break;
                const std::int32_t* const from = s.items.data() + taking.at(0);
                std::copy_n(from, n - 1, items + out);
                std::copy_n(from + 1, n - 1, next_items + out);
                out += n - 1;
                continue;
            }
            over_pairs(s, taking, n, [&](std::int64_t one, std::int64_t other, std::int64_t distance) {
                put(one, other, distance);
                if (s.both) put(other, one, distance);
            });
        }
        if (!fits || out != limit) as_counted = false;
    });
    return as_counted;
}

}  // namespace cofactor

#include "topk/ranks.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "core/parallel.hpp"
#include "core/simd.hpp"
#include "topk/choice.hpp"
#include "topk/codes.hpp"
#include "topk/group.hpp"
#include "topk/panels.hpp"
#include "topk/query.hpp"

namespace cofactor {

namespace {

// The wanted items, their scores, and what was counted so far: rank holds 1 and how many go before, middle half the
// number of those of the same score that come later less half that of those that come earlier.
class Counts {
public:
    Counts(const TopKQuery& q, const Csr& wanted, const Places& places)
        : q_(q), wanted_(wanted), places_(places), scores_(wanted.indices.size()) {}

    struct Row {
        std::span<const std::int32_t> items;
        const float* scores;  // NaN where an item is not listed: nothing is more or equal
        std::int32_t* rank;
        double* middle;

        void add(std::int32_t item, float score, int by) const {
            for (std::size_t j = 0; j < items.size(); ++j) add(j, item, score, by);
        }
        void add(std::size_t j, std::int32_t item, float score, int by) const {
            if (score > scores[j]) {
                rank[j] += by;
            } else if (score == scores[j] && item != items[j]) {
                rank[j] += item < items[j] ? by : 0;
                middle[j] += item < items[j] ? -0.5 * by : 0.5 * by;
            }
        }
    };

    Row row(std::int64_t query) {
        const std::int64_t begin = wanted_.indptr[query], length = wanted_.indptr[query + 1] - begin;
        return {wanted_.indices.subspan(begin, length), scores_.data() + begin, places_.rank + begin,
                places_.middle + begin};
    }
    std::int64_t& n_listed(std::int64_t query) { return places_.n_listed[query]; }

    void open(std::int64_t query, const Choice& choice) {
        const Row of = row(query);
        float* scores = scores_.data() + wanted_.indptr[query];
        for (std::size_t j = 0; j < of.items.size(); ++j) {
            const std::int32_t item = of.items[j];
            const bool may = is_allowed(choice, item) && !q_.excludes(query, item);
            const float score = may ? q_.score(query, item) : std::numeric_limits<float>::quiet_NaN();
            const bool listed = score > -kInfinity;
            scores[j] = listed ? score : std::numeric_limits<float>::quiet_NaN();
            of.rank[j] = listed;
            of.middle[j] = 0;
        }
        n_listed(query) = 0;
    }

    void close(std::int64_t query, const Choice& choice) {
        const Row of = row(query);
        for (const std::int32_t item : q_.excluded_items(query)) {
            if (!is_allowed(choice, item)) continue;
            const float score = q_.score(query, item);
            if (!(score > -kInfinity)) continue;
            --n_listed(query);
            of.add(item, score, -1);
        }
        for (std::size_t j = 0; j < of.items.size(); ++j) of.middle[j] += of.rank[j];
    }

private:
    static bool is_allowed(const Choice& choice, std::int32_t item) {
        return (choice.allowed(item / kBlock) >> item % kBlock & 1) != 0;
    }

    const TopKQuery& q_;
    const Csr& wanted_;
    Places places_;
    std::vector<float> scores_;
};

// Queries that pass over the panels together; the bounds are those of topk/group.hpp, of codes that miss nothing.
class CountingGroup {
public:
    CountingGroup(const TopKQuery& q, Counts& counts) : q_(q), counts_(counts), vectors_(kGroup * q.factors) {}

    void enter(std::int64_t begin, std::int64_t end) {
        begin_ = begin;
        n_ = static_cast<int>(end - begin);
        std::copy_n(q_.query(begin), n_ * q_.factors, vectors_.data());
        for (int r = 0; r < n_; ++r) norm_[r] = std::sqrt(squares(q_.query(begin + r), q_.factors));
    }

    void pass(const Panels<FloatCodes>& panels) {
        for (std::int64_t p = 0; p < panels.size(); ++p) {
            for (int first = 0; first < n_; first += kTileRows)
                count(panels[p], panels.codes(p), panels.items(p), first);
        }
    }

private:
    void count(const Panel& panel, const float* codes, std::span<const Ranked> items, int first) {
        alignas(64) float sums[kTileRows][kPanel];
        FloatCodes::multiply(q_.factors, vectors_.data() + first * q_.factors, codes, sums[0]);
        for (int r = first; r < std::min(n_, first + kTileRows); ++r) {
            if (std::isnan(norm_[r])) continue;  // no score will be a number
            const double product = norm_[r] * panel.norm;
            if (product + panel.bias_size < 1e38 && q_.factors <= kMaxFactors) {
                counts_.n_listed(begin_ + r) += items.size();
                count_row(begin_ + r, product, panel.bias_size, items, sums[r - first]);
            } else {
                score_row(begin_ + r, items);
            }
        }
    }

    void count_row(std::int64_t query, double product, double size, std::span<const Ranked> items, const float* sums) {
        const double roundoff = (4 * q_.factors + 16) * 0x1p-24;
        const double slack = product > 0 ? roundoff * (product + size) : 0;  // sums of zeros are exact
        const std::uint64_t filled = (std::uint64_t{1} << items.size()) - 1;
        const Counts::Row row = counts_.row(query);
        for (std::size_t j = 0; j < row.items.size(); ++j) {
            const Vec high = broadcast(static_cast<float>(row.scores[j] + slack));
            const Vec low = broadcast(static_cast<float>(row.scores[j] - slack));
            std::uint64_t above = 0, near = 0;
            for (int v = 0; v < kTileVectors; ++v) {
                const Vec some = load(sums + v * kLanes);
                above |= static_cast<std::uint64_t>(greater(some, high)) << v * kLanes;
                near |= static_cast<std::uint64_t>(at_least(some, low)) << v * kLanes;
            }
            row.rank[j] += std::popcount(above & filled);
            for (near &= filled & ~above; near != 0; near &= near - 1) {
                const std::int32_t item = items[__builtin_ctzll(near)].item;
                row.add(j, item, product > 0 ? q_.score(query, item) : 0.0f, 1);
            }
        }
    }

    void score_row(std::int64_t query, std::span<const Ranked> items) {
        const Counts::Row row = counts_.row(query);
        for (const Ranked& ranked : items) {
            const float score = q_.score(query, ranked.item);
            if (!(score > -kInfinity)) continue;
            ++counts_.n_listed(query);
            row.add(ranked.item, score, 1);
        }
    }

    const TopKQuery& q_;
    Counts& counts_;
    std::int64_t begin_ = 0;
    int n_ = 0;
    double norm_[kGroup] = {};
    Buffer vectors_;
};

}  // namespace

void ranks(const TopKQuery& q, const Csr& wanted, Places places, int threads, Interrupt& interrupt) {
    constexpr std::int64_t kGrain = 64;
    const Choice choice(q.n_items, nullptr, q.allowed, q.restricted);
    Counts counts(q, wanted, places);
    parallel_for(q.n_queries, kGrain, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t query = begin; query < end; ++query) counts.open(query, choice);
    });
    const std::vector<Ranked> order = ranked(q, threads, interrupt);
    const std::int64_t n = order.size();
    const std::int64_t chunk =
        std::min<std::int64_t>(n, (FloatCodes::kChunkBytes / Panels<FloatCodes>::bytes(q.factors) + 1) * kPanel);
    Panels<FloatCodes> panels(q, chunk);
    const std::int64_t tiles = q.n_queries / (4 * threads) / kTileRows + 1;  // a few pieces for every thread
    const std::int64_t grain = std::min<std::int64_t>(tiles * kTileRows, kGroup);
    const int workers = static_cast<int>(std::clamp<std::int64_t>((q.n_queries + grain - 1) / grain, 1, threads));
    std::vector<CountingGroup> groups;
    groups.reserve(workers);
    for (int worker = 0; worker < workers; ++worker) groups.emplace_back(q, counts);
    for (std::int64_t at = 0; at < n && !interrupt.stopped(); at += chunk) {
        panels.fill(std::span(order).subspan(at, std::min(chunk, n - at)), threads, interrupt);
        parallel_for(q.n_queries, grain, workers, interrupt, [&](std::int64_t begin, std::int64_t end, int worker) {
            groups[worker].enter(begin, end);
            groups[worker].pass(panels);
        });
    }
    parallel_for(q.n_queries, kGrain, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t query = begin; query < end; ++query) counts.close(query, choice);
    });
}

}  // namespace cofactor

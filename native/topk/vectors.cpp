#include "topk/vectors.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/parallel.hpp"
#include "topk/codes.hpp"
#include "topk/group.hpp"
#include "topk/panels.hpp"
#include "topk/query.hpp"

namespace cofactor {

namespace {

// Every score of four queries at a time, threads sharing the items.
void scan(const TopKQuery& q, TopKResult& result, int threads, Interrupt& interrupt) {
    constexpr std::int64_t kTogether = 4, kGrain = 1024;
    const std::int64_t n = q.n_candidates();
    std::vector<float> scores(std::min(kTogether, q.n_queries) * n);
    for (std::int64_t first = 0; first < q.n_queries && !interrupt.stopped(); first += kTogether) {
        const std::int64_t rows = std::min(kTogether, q.n_queries - first);
        parallel_for(n, kGrain, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
            for (std::int64_t c = begin; c < end; ++c) {
                for (std::int64_t r = 0; r < rows; ++r) scores[r * n + c] = q.score(first + r, q.candidate(c));
            }
        });
        parallel_for(rows, 1, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
            for (std::int64_t r = begin; r < end; ++r) {
                BestK best = result.best(first + r);
                for (std::int64_t c = 0; c < n; ++c) {
                    const float score = scores[r * n + c];
                    if (!(score > best.threshold())) continue;  // items ascend: a tie never gets in
                    const std::int32_t item = q.candidate(c);
                    if (!q.excludes(first + r, item)) best.push(score, item);
                }
            }
        });
    }
}

// Both passes, over Codes::kChunkBytes of coded items at a time.
template <class Codes>
void search(const TopKQuery& q, TopKResult& result, int threads, Interrupt& interrupt) {
    const std::vector<Ranked> order = ranked(q, threads, interrupt);
    const std::int64_t n = order.size();
    const std::int64_t chunk =
        std::min<std::int64_t>(n, (Codes::kChunkBytes / Panels<Codes>::bytes(q.factors) + 1) * kPanel);
    Panels<Codes> panels(q, chunk);
    const std::int64_t tiles = q.n_queries / (4 * threads) / kTileRows + 1;  // a few pieces for every thread
    const std::int64_t grain = std::min<std::int64_t>(tiles * kTileRows, kGroup);
    const int workers = static_cast<int>(std::min<std::int64_t>(threads, (q.n_queries + grain - 1) / grain));
    std::vector<Group<Codes>> groups;
    groups.reserve(workers);
    for (int worker = 0; worker < workers; ++worker) groups.emplace_back(q, result);
    for (std::int64_t at = 0; at < n && !interrupt.stopped(); at += chunk) {
        panels.fill(std::span(order).subspan(at, std::min(chunk, n - at)), threads, interrupt);
        parallel_for(q.n_queries, grain, workers, interrupt, [&](std::int64_t begin, std::int64_t end, int worker) {
            groups[worker].load(begin, end);
            groups[worker].pass(panels);
        });
    }
}

}  // namespace

void top_k(const TopKQuery& q, TopKResult result, int threads, Interrupt& interrupt) {
    constexpr std::int64_t kFewQueries = 32;
    std::fill_n(result.items, q.n_queries * result.k, -1);
    std::fill_n(result.scores, q.n_queries * result.k, -std::numeric_limits<float>::infinity());
    result.size.assign(q.n_queries, 0);
    if (q.n_queries < kFewQueries || q.factors > kMaxFactors) {
        scan(q, result, threads, interrupt);
    } else {
        search<Codes>(q, result, threads, interrupt);
    }
    parallel_for(q.n_queries, 256, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t query = begin; query < end; ++query) result.best(query).sort();
    });
}

}  // namespace cofactor

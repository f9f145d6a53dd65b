// Exact top-k of query . item + bias, by register tiles, without ever holding queries x items.
//
// Items are packed into panels of kPanel columns, kChunk items at a time, so that extra memory does not grow with
// their number; the best k so far live in the output arrays as heaps. A tile of scores is compared with its query's
// k-th best and dropped where nothing beats it, so that filters and heaps only see the few candidates that count.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "csr.hpp"
#include "parallel.hpp"
#include "simd.hpp"

namespace cofactor {

// The k best (score, item) of one query, seen in ascending item order. Ties go to the lower item.
class BestK {
public:
    BestK(float* scores, std::int32_t* items, std::int64_t k, std::int64_t& size)
        : scores_(scores), items_(items), k_(k), size_(size) {}

    float threshold() const { return size_ < k_ ? -std::numeric_limits<float>::infinity() : scores_[0]; }

    void push(float score, std::int32_t item) {  // score > threshold()
        if (size_ < k_) {
            std::int64_t at = size_++;
            for (std::int64_t up; at > 0 && worse(score, item, up = (at - 1) / 2); at = up) move(up, at);
            put(at, score, item);
        } else {
            replace_worst(score, item, k_);
        }
    }

    void sort() {  // best first: a heap sort, in place
        for (std::int64_t n = size_; --n > 0;) {
            const float score = scores_[n];
            const std::int32_t item = items_[n];
            move(0, n);
            replace_worst(score, item, n);
        }
    }

private:
    bool worse(float score, std::int32_t item, std::int64_t than) const {
        return score < scores_[than] || (score == scores_[than] && item > items_[than]);
    }
    void put(std::int64_t at, float score, std::int32_t item) {
        scores_[at] = score;
        items_[at] = item;
    }
    void move(std::int64_t from, std::int64_t to) { put(to, scores_[from], items_[from]); }

    // Puts (score, item) in the place of the root of the heap of the first n.
    void replace_worst(float score, std::int32_t item, std::int64_t n) {
        std::int64_t at = 0;
        for (;;) {
            std::int64_t child = 2 * at + 1;
            if (child >= n) break;
            if (child + 1 < n && worse(scores_[child + 1], items_[child + 1], child)) ++child;
            if (worse(score, item, child)) break;
            move(child, at);
            at = child;
        }
        put(at, score, item);
    }

    float* scores_;
    std::int32_t* items_;
    std::int64_t k_;
    std::int64_t& size_;
};

// Walks along one query's excluded items, which are ascending, as candidates come in ascending order.
class Excluded {
public:
    Excluded(std::span<const std::int32_t> items, std::int64_t& at, std::int64_t end)
        : items_(items), at_(at), end_(end) {}

    bool holds(std::int32_t item) {
        while (at_ < end_ && items_[at_] < item) ++at_;
        return at_ < end_ && items_[at_] == item;
    }

private:
    std::span<const std::int32_t> items_;
    std::int64_t& at_;
    std::int64_t end_;
};

struct TopKQuery {
    const float* queries;  // n_queries x factors
    std::int64_t n_queries;
    const float* items;  // n_items x factors
    std::int64_t n_items;
    std::ptrdiff_t factors;
    std::span<const float> bias;            // n_items, or empty
    const Csr* excluded;                    // n_queries x n_items, or null
    std::span<const std::int32_t> allowed;  // ascending items to choose from; all of them where restricted is false
    bool restricted;
    std::int64_t k;
};

// best_items and best_scores: n_queries x k, best first; places that no item is left for hold -1 and -infinity.
inline void top_k(const TopKQuery& q, std::int32_t* best_items, float* best_scores, int threads, Interrupt& interrupt) {
    constexpr std::ptrdiff_t kPanel = kTileVectors * kLanes;
    constexpr std::int64_t kChunk = kPanel * 64, kGrain = kTileRows * 8;
    const std::int64_t n_candidates = q.restricted ? static_cast<std::int64_t>(q.allowed.size()) : q.n_items;
    const auto candidate = [&](std::int64_t c) { return q.restricted ? q.allowed[c] : static_cast<std::int32_t>(c); };

    std::fill_n(best_items, q.n_queries * q.k, -1);
    std::fill_n(best_scores, q.n_queries * q.k, -std::numeric_limits<float>::infinity());
    std::vector<std::int64_t> size(q.n_queries, 0), at(q.n_queries, 0);
    if (q.excluded != nullptr) std::copy_n(q.excluded->indptr.begin(), q.n_queries, at.begin());

    Buffer packed(std::min(kChunk, (n_candidates + kPanel - 1) / kPanel * kPanel) * q.factors), bias(kChunk);
    for (std::int64_t chunk = 0; chunk < n_candidates && !interrupt.stopped(); chunk += kChunk) {
        const std::int64_t n_chunk = std::min(kChunk, n_candidates - chunk), panels = (n_chunk + kPanel - 1) / kPanel;
        parallel_for(panels, 4, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
            for (std::int64_t c = begin * kPanel; c < end * kPanel; ++c) {
                float* to = packed.data() + c / kPanel * kPanel * q.factors + c % kPanel;
                const bool filled = c < n_chunk;  // the last panel is filled up with minus infinity
                bias.data()[c] = !filled          ? -std::numeric_limits<float>::infinity()
                                 : q.bias.empty() ? 0.0f
                                                  : q.bias[candidate(chunk + c)];
                const float* from = q.items + (filled ? candidate(chunk + c) : 0) * q.factors;
                for (std::ptrdiff_t j = 0; j < q.factors; ++j) to[j * kPanel] = filled ? from[j] : 0.0f;
            }
        });
        parallel_for(q.n_queries, kGrain, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
            for (std::int64_t panel = 0; panel < panels; ++panel) {
                const float* items = packed.data() + panel * kPanel * q.factors;
                const float* start = bias.data() + panel * kPanel;
                for (std::int64_t first = begin; first < end; first += kTileRows) {
                    const std::int64_t rows = std::min<std::int64_t>(kTileRows, end - first);
                    Vec acc[kTileRows][kTileVectors];
                    for (int r = 0; r < kTileRows; ++r) {
                        for (int v = 0; v < kTileVectors; ++v) acc[r][v] = load(start + v * kLanes);
                    }
                    if (rows == kTileRows) {
                        tile<kTileRows, kTileVectors>(q.factors, q.queries + first * q.factors, 1, q.factors, items,
                                                      kPanel, acc);
                    } else {
                        for (std::int64_t r = 0; r < rows; ++r) {
                            Vec one[1][kTileVectors];
                            for (int v = 0; v < kTileVectors; ++v) one[0][v] = load(start + v * kLanes);
                            tile<1, kTileVectors>(q.factors, q.queries + (first + r) * q.factors, 1, 0, items, kPanel,
                                                  one);
                            for (int v = 0; v < kTileVectors; ++v) acc[r][v] = one[0][v];
                        }
                    }
                    for (std::int64_t r = 0; r < rows; ++r) {
                        const std::int64_t query = first + r;
                        BestK best(best_scores + query * q.k, best_items + query * q.k, q.k, size[query]);
                        float threshold = best.threshold();
                        for (int v = 0; v < kTileVectors; ++v) {
                            std::uint32_t hits = greater(acc[r][v], broadcast(threshold));
                            if (hits == 0) continue;
                            float scores[kLanes];
                            store(scores, acc[r][v]);
                            for (; hits != 0; hits &= hits - 1) {
                                const int lane = __builtin_ctz(hits);
                                if (!(scores[lane] > threshold)) continue;
                                const std::int32_t item = candidate(chunk + panel * kPanel + v * kLanes + lane);
                                if (q.excluded != nullptr &&
                                    Excluded(q.excluded->indices, at[query], q.excluded->indptr[query + 1])
                                        .holds(item)) {
                                    continue;
                                }
                                best.push(scores[lane], item);
                                threshold = best.threshold();
                            }
                        }
                    }
                }
            }
        });
    }
    parallel_for(q.n_queries, 256, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t query = begin; query < end; ++query) {
            BestK(best_scores + query * q.k, best_items + query * q.k, q.k, size[query]).sort();
        }
    });
}

}  // namespace cofactor

// The similarities of one row with all others: sums of products, and what divides them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "core/csr.hpp"
#include "core/parallel.hpp"
#include "core/simd.hpp"
#include "topk/best.hpp"
#include "topk/select.hpp"

namespace cofactor {

// The similarities of one row (or column) with blocks of kBlock of the other side: that side's vectors, padded.
struct Side {
    const float *scale, *add;
    float own_scale, own_add, overlap, shrink;

    Vec operator()(Vec dot, std::ptrdiff_t at) const {
        const Vec base = load(scale + at) * broadcast(own_scale) + (load(add + at) + broadcast(own_add));
        return dot / (base + (broadcast(shrink) - broadcast(overlap) * dot));
    }
};

inline Buffer padded_copy(std::span<const float> values, std::span<const std::int32_t> order, float fill) {
    const std::int64_t n = n_blocks(values.size()) * kBlock, size = values.size();
    Buffer copy(n);
    for (std::int64_t i = 0; i < n; ++i) copy.data()[i] = i >= size ? fill : values[order.empty() ? i : order[i]];
    return copy;
}

inline constexpr float kLeast = std::numeric_limits<float>::min();  // what is less is no similarity
inline float threshold_above_zero(const BestK& best) { return std::max(best.threshold(), kLeast); }

// Inner products of one row with all columns. Either all blocks of kBlock are read and cleared, or, where few columns
// are reached, those that have their byte set.
struct Dots {
    float* dots;
    std::uint8_t* reached;
    bool all = false;
    std::int64_t n_columns = 0;  // that are in use

    void clear() {
        if (all) std::fill_n(dots, n_blocks(n_columns) * kBlock, 0.0f);
        if (!all) {
            blocks(0, n_columns, [&](std::int64_t block) { std::fill_n(dots + block * kBlock, kBlock, 0.0f); });
            std::fill_n(reached, n_blocks(n_columns), 0);
        }
    }

    // To be called with clear dots: at most `touches` products are coming for columns below n.
    void open(std::int64_t n, std::int64_t touches) {
        n_columns = n;
        all = touches >= n / 4;
    }

    // dots += by * values (1 where there are none) at the columns.
    template <class Index>
    void add(const Index* columns, const float* values, std::int64_t n, float by) {
        float* out = dots;
        if (all) {
            if (values == nullptr) {
#pragma GCC unroll 8
                for (std::int64_t e = 0; e < n; ++e) out[columns[e]] += by;
            } else {
#pragma GCC unroll 8
                for (std::int64_t e = 0; e < n; ++e) out[columns[e]] += by * values[e];
            }
        } else {
            std::uint8_t* hit = reached;
            for (std::int64_t e = 0; e < n; ++e) {
                const auto column = static_cast<std::uint32_t>(columns[e]);
                out[column] += values == nullptr ? by : by * values[e];
                hit[column / kBlock] = 1;
            }
        }
    }

    // visit(block) for the blocks of columns [begin, end) that may hold something; begin: a multiple of kBlock.
    template <class Visit>
    void blocks(std::int64_t begin, std::int64_t end, Visit&& visit) const {
        const std::int64_t first = begin / kBlock, last = n_blocks(std::min(end, n_columns));
        if (all) {
            for (std::int64_t block = first; block < last; ++block) visit(block);
            return;
        }
        for (std::int64_t block = first; block < last;) {
            std::uint64_t eight = 1;
            if (block + 8 <= last) std::memcpy(&eight, reached + block, 8);
            if (eight == 0) {
                block += 8;
                continue;
            }
            for (const std::int64_t stop = std::min(last, block + 8); block < stop; ++block) {
                if (reached[block] != 0) visit(block);
            }
        }
    }

    // hit(column, similarity) for columns whose similarity is at least its threshold: thresholds of all columns, or
    // one.
    template <class Threshold, class Hit>
    void each(std::int64_t begin, std::int64_t end, const Side& side, Threshold&& threshold, Hit&& hit) const {
        blocks(begin, end, [&](std::int64_t block) {
            const std::int64_t first = block * kBlock;
            for (std::int64_t at = first; at < first + kBlock; at += kLanes) {
                const Vec similarity = side(load(dots + at), at);
                std::uint32_t hits = at_least(similarity, threshold(at));
                if (hits == 0) continue;
                float values[kLanes];
                std::memcpy(values, &similarity, sizeof values);
                for (; hits != 0; hits &= hits - 1) {
                    const int lane = __builtin_ctz(hits);
                    hit(at + lane, values[lane]);
                }
            }
        });
    }
};

// Room for the Dots of several rows.
class DotRows {
public:
    DotRows(std::int64_t rows, std::int64_t n_columns)
        : dots_(rows * n_blocks(n_columns) * kBlock), reached_(rows * n_blocks(n_columns), 0) {
        for (std::int64_t row = 0; row < rows; ++row) {
            rows_.push_back(
                {dots_.data() + row * n_blocks(n_columns) * kBlock, reached_.data() + row * n_blocks(n_columns)});
        }
    }
    Dots& operator[](std::int64_t row) { return rows_[row]; }

private:
    Buffer dots_;
    std::vector<std::uint8_t> reached_;
    std::vector<Dots> rows_;
};

// Lists by ascending column, with their ends filled up by -1.
inline void sort_by_column(Ranking& ranking, std::int64_t n, int threads, Interrupt& interrupt) {
    std::vector<std::vector<std::pair<std::int32_t, float>>> lists(threads);
    for (auto& list : lists) list.resize(ranking.k);
    parallel_for(n, 256, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int worker) {
        auto& list = lists[worker];
        for (std::int64_t row = begin; row < end; ++row) {
            const std::int64_t size = ranking.size[row], at = row * ranking.k;
            for (std::int64_t i = 0; i < size; ++i) list[i] = {ranking.columns[at + i], ranking.scores[at + i]};
            std::sort(list.begin(), list.begin() + size);
            for (std::int64_t i = 0; i < size; ++i) {
                std::tie(ranking.columns[at + i], ranking.scores[at + i]) = list[i];
            }
        }
    });
}

}  // namespace cofactor

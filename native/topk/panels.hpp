// The items of top-k in the order of their promise, coded, in panels as wide as a register tile.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "core/parallel.hpp"
#include "topk/codes.hpp"
#include "topk/query.hpp"

namespace cofactor {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

inline double squares(const float* x, std::ptrdiff_t n) {
    double sums[8] = {};
    std::ptrdiff_t j = 0;
    for (; j + 8 <= n; j += 8) {
        for (int i = 0; i < 8; ++i) sums[i] += static_cast<double>(x[j + i]) * x[j + i];
    }
    for (; j < n; ++j) sums[0] += static_cast<double>(x[j]) * x[j];
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

inline float largest(const float* x, std::ptrdiff_t n) {
    Vec most{};
    std::ptrdiff_t j = 0;
    for (; j + kLanes <= n; j += kLanes) {
        const Vec size = load(x + j) < Vec{} ? -load(x + j) : load(x + j);
        most = size > most ? size : most;
    }
    float all = 0;
    for (int i = 0; i < kLanes; ++i) all = std::max(all, most[i]);
    for (; j < n; ++j) all = std::max(all, std::fabs(x[j]));
    return all;
}

struct Ranked {
    float key;
    std::int32_t item;
};

// The candidates, those of the largest scores to be expected first: the sooner a query knows k good items, the fewer
// are scored. Any order is right; this one is by |y| times a usual |q|, plus bias; ties by item.
inline std::vector<Ranked> ranked(const TopKQuery& q, int threads, Interrupt& interrupt) {
    const std::int64_t n_some = q.bias.empty() ? 0 : std::min<std::int64_t>(q.n_queries, 64);
    double usual = q.bias.empty() ? 1.0 : 0.0;
    for (std::int64_t i = 0; i < n_some; ++i) usual += std::sqrt(squares(q.query(i), q.factors)) / n_some;
    std::vector<Ranked> order(q.n_candidates());
    parallel_for(q.n_candidates(), 1024, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t c = begin; c < end; ++c) {
            const std::int32_t item = q.candidate(c);
            const double norm = std::sqrt(squares(q.item(item), q.factors)), key = usual * norm + q.item_bias(item);
            const bool hopeless = std::isnan(norm) || !(q.item_bias(item) > -kInfinity);  // never scores a number
            order[c] = {key < std::numeric_limits<float>::max() ? static_cast<float>(key) : kInfinity,
                        hopeless ? -1 : item};
        }
    });
    std::erase_if(order, [](const Ranked& ranked) { return ranked.item < 0; });
    std::sort(order.begin(), order.end(),
              [](const Ranked& a, const Ranked& b) { return a.key > b.key || (a.key == b.key && a.item < b.item); });
    return order;
}

// What bounds need to know of the kPanel items of a panel.
struct Panel {
    double norm = 0, error = 0;                      // N and E
    double bias = -kInfinity, bias_size = 0x1p-124;  // the largest, and A
    double per_unit = 1;                             // 1 / scale of the codes
    std::int32_t first = std::numeric_limits<std::int32_t>::max();
};

// A chunk of the ranked items, coded.
template <class Codes>
class Panels {
public:
    using Code = typename Codes::Code;

    Panels(const TopKQuery& q, std::int64_t capacity)
        : q_(q), bounds_((capacity + kPanel - 1) / kPanel), codes_(bounds_.size() * bytes(q.factors) / sizeof(float)) {}

    static std::ptrdiff_t steps(std::ptrdiff_t factors) { return (factors + Codes::kStep - 1) / Codes::kStep; }
    static std::ptrdiff_t bytes(std::ptrdiff_t factors) {  // of a panel
        return steps(factors) * kPanel * Codes::kStep * sizeof(Code);
    }

    void fill(std::span<const Ranked> items, int threads, Interrupt& interrupt) {
        items_ = items;
        parallel_for(size(), 4, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
            for (std::int64_t p = begin; p < end; ++p) fill_one(p);
        });
    }

    std::int64_t size() const { return (static_cast<std::int64_t>(items_.size()) + kPanel - 1) / kPanel; }
    const Panel& operator[](std::int64_t p) const { return bounds_[p]; }
    const Code* codes(std::int64_t p) const {
        return reinterpret_cast<const Code*>(codes_.data()) + p * steps(q_.factors) * kPanel * Codes::kStep;
    }
    std::span<const Ranked> items(std::int64_t p) const {
        return items_.subspan(p * kPanel, std::min<std::int64_t>(kPanel, items_.size() - p * kPanel));
    }

private:
    void fill_one(std::int64_t p) {
        Panel panel;
        float most = 0;
        for (const Ranked& ranked : items(p)) {
            most = std::max(most, largest(q_.item(ranked.item), q_.factors));
            const double bias = q_.item_bias(ranked.item);
            panel.bias = std::max(panel.bias, bias);
            panel.bias_size = std::max(panel.bias_size, 0x1p-124 + std::fabs(bias));
            panel.first = std::min(panel.first, ranked.item);
        }
        const double scale = Codes::scale(most);
        Code* to = const_cast<Code*>(codes(p));
        double squared = 0, missed = 0;
        for (const Ranked& ranked : items(p)) {
            const float* y = q_.item(ranked.item);
            squared = std::max(squared, squares(y, q_.factors));
            missed = std::max(missed, Codes::encode_item(y, q_.factors, scale, to, kPanel * Codes::kStep));
            to += Codes::kStep;
        }
        panel.norm = std::sqrt(squared);
        panel.error = std::sqrt(missed);
        panel.per_unit = 1 / scale;
        bounds_[p] = panel;
    }

    const TopKQuery& q_;
    std::span<const Ranked> items_;
    std::vector<Panel> bounds_;
    Buffer codes_;
};

}  // namespace cofactor

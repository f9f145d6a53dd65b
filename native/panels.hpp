// Upper bounds of the scores of groups of queries and panels of items: the first pass of top-k.
//
// With q^ and y^ the coded vectors (codes.hpp), Cauchy-Schwarz gives for every item y of a panel
//
//     q . y = q^ . y^ + q^ . (y - y^) + (q - q^) . y  <=  q^ . y^ + |q^| E + |q - q^| N,
//
// E and N being the largest |y - y^| and |y| of the panel; and q . y <= |q| N whatever the codes. The scores that decide
// are rounded: summed in any order, f products and a bias b differ from the real number by at most
// (f + 1) u / (1 - (f + 1) u) (|q| N + |b|) + f 2^-150, u = 2^-24 (Higham 2002, 3.1). Float32 codes are summed with the
// same error, and a bias relative to the panel's and a cutoff each round once more. kRoundoff(f) = (4 f + 16) u times
// |q| N + A covers all of it, with A the panel's largest |b| plus 2^-124, which stands for the products that underflow.
// Norms are computed in double, where the error is too small to count. Where |q| N + A could overflow float32, or is
// NaN, every pair is scored.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "codes.hpp"
#include "parallel.hpp"
#include "topk_query.hpp"

namespace cofactor {

inline constexpr std::ptrdiff_t kMaxFactors = 16384;  // bounds the sums of bytes, and the error of sums of floats
inline constexpr int kGroup = 64;                     // queries that pass over the panels together
static_assert(kGroup % kTileRows == 0 && kPanel < 64);

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
            order[c] = {std::isnan(key) ? kInfinity : static_cast<float>(key), hopeless ? -1 : item};
        }
    });
    std::erase_if(order, [](const Ranked& ranked) { return ranked.item < 0; });
    std::sort(order.begin(), order.end(), [](const Ranked& a, const Ranked& b) {
        return a.key > b.key || (a.key == b.key && a.item < b.item);
    });
    return order;
}

// What bounds need to know of the kPanel items of a panel.
struct Panel {
    double norm = 0, error = 0;                                                // N and E
    double bias = -kInfinity, bias_size = 0x1p-124;  // largest, and A
    double unit = 1;                                                           // 1 / scale
    std::int32_t first = std::numeric_limits<std::int32_t>::max();
};

// A chunk of the ranked items, coded.
template <class Codes>
class Panels {
public:
    using Code = typename Codes::Code;

    Panels(const TopKQuery& q, std::int64_t capacity)
        : q_(q),
          bounds_((capacity + kPanel - 1) / kPanel),
          codes_(bounds_.size() * bytes(q.factors) / sizeof(float)),
          bias_(q.bias.empty() ? 0 : bounds_.size() * kPanel) {}

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
    const float* bias(std::int64_t p) const { return q_.bias.empty() ? nullptr : bias_.data() + p * kPanel; }
    std::span<const Ranked> items(std::int64_t p) const {
        return items_.subspan(p * kPanel, std::min<std::int64_t>(kPanel, items_.size() - p * kPanel));
    }

private:
    void fill_one(std::int64_t p) {
        Panel panel;
        float largest = 0;
        for (const Ranked& ranked : items(p)) {
            const float* y = q_.item(ranked.item);
            for (std::ptrdiff_t j = 0; j < q_.factors; ++j) largest = std::max(largest, std::fabs(y[j]));
            panel.bias = std::max<double>(panel.bias, q_.item_bias(ranked.item));
            panel.first = std::min(panel.first, ranked.item);
        }
        const double scale = Codes::scale(largest);
        Code* to = const_cast<Code*>(codes(p));
        double most = 0, missed = 0;
        for (const Ranked& ranked : items(p)) {
            const float* y = q_.item(ranked.item);
            most = std::max(most, squares(y, q_.factors));
            missed = std::max(missed, Codes::encode_item(y, q_.factors, scale, to, kPanel * Codes::kStep));
            to += Codes::kStep;
            const double bias = q_.item_bias(ranked.item);
            panel.bias_size = std::max(panel.bias_size, 0x1p-124 + std::fabs(bias));
            if (!q_.bias.empty()) bias_[p * kPanel + (&ranked - items(p).data())] = static_cast<float>(bias - panel.bias);
        }
        panel.norm = std::sqrt(most);
        panel.error = std::sqrt(missed);
        panel.unit = 1 / scale;
        bounds_[p] = panel;
    }

    const TopKQuery& q_;
    std::span<const Ranked> items_;
    std::vector<Panel> bounds_;
    Buffer codes_;
    std::vector<float> bias_;
};

// Up to kGroup queries on their way over the panels.
template <class Codes>
class Group {
public:
    explicit Group(const TopKQuery& q, TopKResult& result)
        : q_(q), result_(result), steps_(Panels<Codes>::steps(q.factors)),
          codes_(kGroup * steps_ * Codes::kStep * sizeof(Code) / sizeof(float)) {}

    void load(std::int64_t begin, std::int64_t end) {
        begin_ = begin;
        n_ = static_cast<int>(end - begin);
        for (int r = 0; r < kGroup; ++r) {
            threshold_[r] = kInfinity;
            if (r < n_) load_one(r);
        }
    }

    void pass(const Panels<Codes>& panels) {
        for (std::int64_t p = 0; p < panels.size(); ++p) {
            if (!open(panels[p])) continue;
            int n_reached = 0;
            for (int first = 0; first < n_; first += kTileRows) n_reached = reach(panels, p, first, n_reached);
            if (n_reached > 0) score(panels.items(p), n_reached);
        }
    }

private:
    using Code = typename Codes::Code;
    using Sum = typename Codes::Sum;

    void load_one(int r) {
        const float* x = q_.query(begin_ + r);
        float largest = 0;
        for (std::ptrdiff_t j = 0; j < q_.factors; ++j) largest = std::max(largest, std::fabs(x[j]));
        const double norm = std::sqrt(squares(x, q_.factors)), scale = Codes::scale(largest);
        const double missed = std::sqrt(Codes::encode_query(x, q_.factors, scale, codes(r), offset_[r]));
        roundoff_[r] = norm > 0 ? (4 * q_.factors + 16) * 0x1p-24 : 0;  // sums of zeros are exact
        norm_[r] = norm * (1 + roundoff_[r]);
        coded_[r] = norm + missed;
        missed_[r] = missed + norm * roundoff_[r];
        unit_[r] = 1 / scale;
        update(r);
        if (std::isnan(norm)) threshold_[r] = kInfinity;  // so are its scores
    }

    void update(int r) {
        const BestK best = result_.best(begin_ + r);
        threshold_[r] = best.threshold();
        last_[r] = best.last();
    }

    Code* codes(int r) { return reinterpret_cast<Code*>(codes_.data()) + r * steps_ * Codes::kStep; }

    // What each query's sums must reach for an item of the panel to get in; false where none can.
    bool open(const Panel& panel) {
        const double norm = panel.norm, error = panel.error, bias = panel.bias, size = panel.bias_size;
        bool any = false;
        for (int r = 0; r < kGroup; ++r) {
            const double most = norm_[r] * norm + bias + roundoff_[r] * size;
            const bool safe = norm_[r] * norm + size < 1e38;
            const bool open = (!safe & (threshold_[r] < kInfinity)) | (most > threshold_[r]) |
                              ((most == threshold_[r]) & (panel.first < last_[r]));
            const double slack = coded_[r] * error + missed_[r] * norm + roundoff_[r] * size;
            const double least = (threshold_[r] - bias - slack) * (unit_[r] * panel.unit);
            cutoff_[r] = open ? Codes::cutoff(safe ? least : -kInfinity, offset_[r]) : Codes::kNever;
            any |= open;
        }
        return any;
    }

    // Adds the pairs of a tile whose bound is high enough to the list of those to be scored.
    int reach(const Panels<Codes>& panels, std::int64_t p, int first, int n_reached) {
        bool any = false;
        for (int r = first; r < first + kTileRows; ++r) any |= cutoff_[r] != Codes::kNever;
        if (!any) return n_reached;
        typename Codes::Sums sums[kTileRows][kTileVectors] = {};
        if (const float* bias = panels.bias(p)) {
            for (int r = 0; r < kTileRows; ++r) {
                for (int v = 0; v < kTileVectors; ++v) {
                    sums[r][v] = Codes::start(bias + v * kLanes, unit_[first + r] * panels[p].unit);
                }
            }
        }
        Codes::add(steps_, codes(first), panels.codes(p), sums);
        for (int r = 0; r < kTileRows; ++r) {
            std::uint64_t hits = 0;
            for (int v = 0; v < kTileVectors; ++v) hits |= Codes::reached(sums[r][v], cutoff_[first + r]) << v * kLanes;
            if (cutoff_[first + r] == Codes::kNever) hits = 0;
            for (; hits != 0; hits &= hits - 1) {
                reached_[n_reached++] = {static_cast<std::uint8_t>(first + r), static_cast<std::uint8_t>(__builtin_ctzll(hits))};
            }
        }
        return n_reached;
    }

    void score(std::span<const Ranked> items, int n_reached) {
        for (int i = 0; i < n_reached; ++i) {
            const auto [r, at] = reached_[i];
            if (at >= items.size() || r >= n_) continue;  // padding
            const std::int32_t item = items[at].item;
            const float score = q_.score(begin_ + r, item);
            BestK best = result_.best(begin_ + r);
            if (!best.accepts(score, item) || q_.excludes(begin_ + r, item)) continue;
            best.push(score, item);
            update(r);
        }
    }

    struct Reached {
        std::uint8_t row, at;
    };

    const TopKQuery& q_;
    TopKResult& result_;
    std::ptrdiff_t steps_;
    std::int64_t begin_ = 0;
    int n_ = 0;
    alignas(64) double norm_[kGroup] = {}, coded_[kGroup] = {}, missed_[kGroup] = {}, roundoff_[kGroup] = {},
                       unit_[kGroup] = {}, threshold_[kGroup] = {};
    std::int32_t last_[kGroup] = {}, offset_[kGroup] = {};
    Sum cutoff_[kGroup] = {};
    Reached reached_[kGroup * kPanel];
    Buffer codes_;
};

}  // namespace cofactor

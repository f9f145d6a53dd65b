// A group of queries passing over the panels: which pairs may matter, by upper bounds of their scores.
//
// With q^ and y^ the coded vectors (topk/codes.hpp), Cauchy-Schwarz gives for every item y of a panel
//
//     |q . y - q^ . y^| = |q^ . (y - y^) + (q - q^) . y| <= |q^| E + |q - q^| N,
//
// E and N being the largest |y - y^| and |y| of the panel; and q . y <= |q| N whatever the codes. The scores that
// decide are rounded: summed in any order, f products and a bias b differ from the real number by at most (f + 1) u /
// (1 - (f + 1) u) (|q| N + |b|) + f 2^-149, u = 2^-24 (Higham, Accuracy and Stability, 3.1). Sums of float32 codes have
// the same error, and a bound or a cutoff is rounded once more. roundoff = (4 f + 16) u times |q| N + A covers all of
// it, A being the panel's largest |b| plus 2^-124, which stands for products that underflow. Norms are computed in
// double, where the error is too small to count. Where |q| N + A might overflow float32, every pair is scored.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "core/parallel.hpp"
#include "topk/best.hpp"
#include "topk/codes.hpp"
#include "topk/panels.hpp"
#include "topk/query.hpp"

namespace cofactor {

inline constexpr std::ptrdiff_t kMaxFactors = 16384;  // the sums of bytes fit, and so does roundoff
inline constexpr int kGroup = 128;                    // queries that pass over the panels together
inline constexpr int kWaiting = 16;                   // pairs of a query that are scored together
inline constexpr std::uint32_t kSieve = 1 << 11;      // bits that sift the excluded items
static_assert(kGroup % kTileRows == 0 && kPanel < 64);

template <class Codes>
class Group {
public:
    Group(const TopKQuery& q, TopKResult& result)
        : q_(q),
          result_(result),
          steps_(Panels<Codes>::steps(q.factors)),
          codes_(kGroup * steps_ * Codes::kStep * sizeof(Code) / sizeof(float)) {}

    void load(std::int64_t begin, std::int64_t end) {
        begin_ = begin;
        n_ = static_cast<int>(end - begin);
        std::fill_n(threshold_, kGroup, kInfinity);
        std::fill_n(last_, kGroup, -1);
        for (int r = 0; r < n_; ++r) load_one(r);
    }

    void pass(const Panels<Codes>& panels) {
        for (std::int64_t p = 0; p < panels.size(); ++p) {
            open(panels[p]);
            for (int first = 0; first < n_; first += kTileRows) reach(panels.codes(p), panels.items(p), first);
        }
        for (int r = 0; r < n_; ++r) settle(r);
    }

private:
    using Code = typename Codes::Code;
    using Sum = typename Codes::Sum;

    static constexpr Sum kNever = std::numeric_limits<Sum>::max();

    void load_one(int r) {
        const float* x = q_.query(begin_ + r);
        const double squared = squares(x, q_.factors), scale = Codes::scale(largest(x, q_.factors));
        const double missed = Codes::encode_query(x, q_.factors, scale, query_codes(r), offset_[r]);
        const bool hopeless = std::isnan(squared);  // no score will be a number
        norm_[r] = hopeless ? 0 : std::sqrt(squared);
        missed_[r] = hopeless ? 0 : std::sqrt(missed);
        coded_[r] = norm_[r] + missed_[r];
        roundoff_[r] = norm_[r] > 0 ? (4 * q_.factors + 16) * 0x1p-24 : 0;  // sums of zeros are exact
        per_unit_[r] = 1 / scale;
        const BestK best = result_.best(begin_ + r);
        threshold_[r] = hopeless ? kInfinity : best.threshold();
        last_[r] = best.last();
        std::fill_n(sieve_[r], kSieve / 64, 0);
        for (const std::int32_t item : q_.excluded_items(begin_ + r)) {
            sieve_[r][bit(item) / 64] |= std::uint64_t{1} << bit(item) % 64;
        }
    }

    // Most items that are not excluded are known by a bit; only the others are searched for.
    static std::uint32_t bit(std::int32_t item) { return (static_cast<std::uint32_t>(item) * 0x9e3779b1u) >> 21; }
    bool excludes(int r, std::int32_t item) const {
        return (sieve_[r][bit(item) / 64] >> bit(item) % 64 & 1) != 0 && q_.excludes(begin_ + r, item);
    }

    Code* query_codes(int r) { return reinterpret_cast<Code*>(codes_.data()) + r * steps_ * Codes::kStep; }

    // Finds what each query's sums must reach for an item of the panel to get in.
    void open(const Panel& panel) {
        const double norm = panel.norm, error = panel.error, bias = panel.bias, size = panel.bias_size;
        const double per_unit = panel.per_unit, first = panel.first;
        double cutoff[kGroup];
        for (int r = 0; r < kGroup; ++r) {  // the compiler's vectors want nothing but doubles here
            const double product = norm_[r] * norm, unsafe = product + size < 1e38 ? 0 : kInfinity;
            const double rounding = roundoff_[r] * (product + size) + unsafe, most = product + bias + rounding;
            const double slack = coded_[r] * error + missed_[r] * norm + rounding;
            const double least = (threshold_[r] - bias - slack) * (per_unit_[r] * per_unit);  // NaN counts as lowest
            const bool open = !(most < threshold_[r]) & !((most == threshold_[r]) & (first >= last_[r]));
            const double low = least > Codes::kLow ? least : Codes::kLow;
            const double high = low < Codes::kHigh ? low : Codes::kHigh;
            cutoff[r] = open ? high + offset_[r] : kNever;
        }
        for (int r = 0; r < kGroup; ++r) cutoff_[r] = static_cast<Sum>(cutoff[r]);
    }

    // Lists the pairs of a tile whose bound is high enough.
    void reach(const Code* codes, std::span<const Ranked> ranked, int first) {
        const Sum* cutoff = cutoff_ + first;
        if (std::all_of(cutoff, cutoff + kTileRows, [](Sum c) { return c == kNever; })) return;
        alignas(64) Sum sums[kTileRows][kPanel];
        Codes::multiply(steps_, query_codes(first), codes, sums[0]);
        const std::uint64_t filled = (std::uint64_t{1} << ranked.size()) - 1;  // the last panel may be shorter
        for (int r = 0; r < std::min(kTileRows, n_ - first); ++r) {
            if (cutoff[r] == kNever) continue;
            std::uint64_t hits = 0;
            for (int v = 0; v < kTileVectors; ++v)
                hits |= Codes::reached(sums[r] + v * kLanes, cutoff[r]) << v * kLanes;
            hits &= filled;
            for (; hits != 0; hits &= hits - 1) wait(first + r, ranked[__builtin_ctzll(hits)].item);
        }
    }

    void wait(int r, std::int32_t item) {
        prefetch(q_.item(item), q_.factors);
        waiting_[r][n_waiting_[r]++] = item;
        if (n_waiting_[r] == kWaiting) settle(r);
    }

    // Scores the items waiting for a query: all of them first, as those do not wait for each other.
    void settle(int r) {
        float scores[kWaiting];
        for (int i = 0; i < n_waiting_[r]; ++i) scores[i] = q_.score(begin_ + r, waiting_[r][i]);
        BestK best = result_.best(begin_ + r);
        for (int i = 0; i < n_waiting_[r]; ++i) {
            const std::int32_t item = waiting_[r][i];
            if (best.accepts(scores[i], item) && !excludes(r, item)) best.push(scores[i], item);
        }
        n_waiting_[r] = 0;
        threshold_[r] = best.threshold();
        last_[r] = best.last();
    }

    const TopKQuery& q_;
    TopKResult& result_;
    std::ptrdiff_t steps_;
    std::int64_t begin_ = 0;
    int n_ = 0;
    alignas(64) double norm_[kGroup] = {}, coded_[kGroup] = {}, missed_[kGroup] = {}, roundoff_[kGroup] = {},
                       per_unit_[kGroup] = {}, threshold_[kGroup] = {}, last_[kGroup] = {}, offset_[kGroup] = {};
    Sum cutoff_[kGroup] = {};
    std::uint64_t sieve_[kGroup][kSieve / 64] = {};
    std::int32_t waiting_[kGroup][kWaiting] = {}, n_waiting_[kGroup] = {};
    Buffer codes_;
};

}  // namespace cofactor

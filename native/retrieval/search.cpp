#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "core/parallel.hpp"
#include "core/simd.hpp"
#include "retrieval/index.hpp"
#include "topk/codes.hpp"
#include "topk/panels.hpp"
#include "topk/query.hpp"

namespace cofactor {

namespace {

constexpr int kRows = 64;                 // queries that a thread has in hand
constexpr int kWaits = 16;                // pairs of a query that are scored together
constexpr std::uint32_t kBits = 1 << 11;  // that sift the excluded items
constexpr std::int64_t kAlone = 8;        // fewer queries than this are answered one by one
constexpr std::int64_t kFirstBlocks = 8;  // that a query looks into before its others are shared with its fellows

// A query and a block that may matter to it.
struct Visit {
    float bound, along;  // of a score; q . g
    std::int32_t row, block;
};

// What the bounds need to know of queries, side by side.
template <int kMany>
struct Queries {
    alignas(64) double norm[kMany] = {}, coded[kMany] = {}, missed[kMany] = {}, roundoff[kMany] = {}, lost[kMany] = {},
                       unsafe[kMany] = {}, per_unit[kMany] = {}, offset[kMany] = {}, threshold[kMany] = {},
                       last[kMany] = {}, along[kMany] = {}, across[kMany] = {};

    template <int kOthers>
    void copy(int to, const Queries<kOthers>& from, int r) {
        norm[to] = from.norm[r], coded[to] = from.coded[r], missed[to] = from.missed[r];
        roundoff[to] = from.roundoff[r], lost[to] = from.lost[r], unsafe[to] = from.unsafe[r];
        per_unit[to] = from.per_unit[r], offset[to] = from.offset[r];
    }
};

class Search {
public:
    using Code = Codes::Code;
    using Sum = Codes::Sum;

    Search(const TopKQuery& q, const std::vector<std::uint64_t>& allowed, const VectorIndex& index, TopKResult& result,
           int rows)
        : q_(q),
          allowed_(allowed),
          index_(index),
          result_(result),
          steps_(Panels<Codes>::steps(q.factors)),
          bytes_(Panels<Codes>::bytes(q.factors)),
          n_blocks_(index.n_blocks()),
          width_((n_blocks_ + kPanel - 1) / kPanel * kPanel),
          codes_(kRows * steps_ * Codes::kStep * sizeof(Code) / sizeof(float) + 16),
          packed_(kTileRows * steps_ * Codes::kStep * sizeof(Code) / sizeof(float) + 16),
          projected_(kTileRows * width_),
          bounds_(n_blocks_),
          own_(n_blocks_) {
        if (rows >= kAlone) {
            shared_ = std::make_unique_for_overwrite<Visit[]>(kRows * n_blocks_);
            sorted_ = std::make_unique_for_overwrite<Visit[]>(kRows * n_blocks_);
            starts_.resize(n_blocks_ + 1);
        }
    }

    bool fine() const { return fine_; }

    void pass(std::int64_t begin, std::int64_t end) {
        begin_ = begin;
        n_ = static_cast<int>(end - begin);
        n_shared_ = 0;
        for (int r = 0; r < n_; ++r) load_one(r);
        for (int first = 0; first < n_; first += kTileRows) {
            const int rows = std::min(kTileRows, n_ - first);
            project(first, rows);
            for (int r = first; r < first + rows; ++r) {
                if (!hopeless_[r]) look_around(r, projected_.data() + (r - first) * width_);
            }
        }
        if (n_shared_ > 0) share();
        for (int r = 0; r < n_; ++r) settle(r);
    }

private:
    static constexpr Sum kNever = std::numeric_limits<Sum>::max();

    void load_one(int r) {
        const float* x = q_.query(begin_ + r);
        const double squared = squares(x, q_.factors), scale = Codes::scale(largest(x, q_.factors));
        const double missed = Codes::encode_query(x, q_.factors, scale, query_codes(r), of_.offset[r]);
        hopeless_[r] = std::isnan(squared);  // no score will be a number
        of_.norm[r] = std::sqrt(squared);
        of_.missed[r] = std::sqrt(missed);
        of_.coded[r] = of_.norm[r] + of_.missed[r];
        of_.roundoff[r] = of_.norm[r] > 0 ? (4 * q_.factors + 16) * 0x1p-24 : 0;  // sums of zeros are exact
        of_.lost[r] = of_.norm[r] > 0 ? q_.factors * 0x1p-149 : 0;                // of q . g, where products underflow
        of_.unsafe[r] = of_.norm[r] < 1e37 ? 0 : kInfinity;
        of_.per_unit[r] = 1 / scale;
        n_waiting_[r] = 0;
        refresh(r);
        if (q_.excluded == nullptr) return;
        std::fill_n(sieve_[r], kBits / 64, 0);
        for (const std::int32_t item : q_.excluded_items(begin_ + r)) {
            sieve_[r][bit(item) / 64] |= std::uint64_t{1} << bit(item) % 64;
        }
    }

    void refresh(int r) {
        const BestK best = result_.best(begin_ + r);
        of_.threshold[r] = best.threshold();
        of_.last[r] = best.last();
    }

    Code* query_codes(int r) { return reinterpret_cast<Code*>(codes_.data()) + r * steps_ * Codes::kStep; }

    // q . g of some rows and all blocks.
    void project(int first, int rows) {
        const float* x = q_.query(begin_ + first);
        for (std::int64_t b = 0; b < width_; b += kPanel) {
            const float* directions = index_.directions.data() + b * q_.factors;
            float* to = projected_.data() + b;
            if (rows == kTileRows) {
                project<kTileRows>(x, directions, to);
            } else {
                for (int r = 0; r < rows; ++r) project<1>(x + r * q_.factors, directions, to + r * width_);
            }
        }
    }
    template <int kSome>
    void project(const float* x, const float* directions, float* to) {
        Vec acc[kSome][kTileVectors] = {};
        tile<kSome, kTileVectors>(q_.factors, x, 1, q_.factors, directions, kPanel, acc);
        for (int r = 0; r < kSome; ++r) {
            for (int v = 0; v < kTileVectors; ++v) store(to + r * width_ + v * kLanes, acc[r][v]);
        }
    }

    // How much of a query lies across a direction, at most.
    double across(int r, double along) const {
        const double norm = of_.norm[r], eta = of_.roundoff[r] * norm + of_.lost[r];
        return std::sqrt(std::max(0.0, norm * norm - along * along + 2 * eta * norm));
    }

    // Upper bounds of what every block can score for a query.
    void bound_blocks(int r, const float* along) {
        const double* of = index_.blocks.data();
        const double norm = of_.norm[r], roundoff = of_.roundoff[r], lost = of_.lost[r], unsafe = of_.unsafe[r];
        const double squared = norm * norm + 2 * norm * (roundoff * norm + lost);
        const std::int64_t n = n_blocks_;
        for (std::int64_t b = 0; b < n; ++b) {
            const double s = along[b], rest = squared - s * s, product = norm * of[kNorm * n + b];
            const double low = s * of[kLow * n + b], high = s * of[kHigh * n + b];
            const double size = product + of[kBiasSize * n + b];
            const double rounding = roundoff * size + lost * of[kNorm * n + b] + unsafe;
            const double most = (low > high ? low : high) + std::sqrt(rest > 0 ? rest : 0) * of[kAcross * n + b] +
                                of[kBias * n + b] + rounding;
            bounds_[b] = size < 1e38 && most < 1e38 ? static_cast<float>(most) : kInfinity;
        }
    }

    // Looks into the blocks that promise most: all that may matter, or some, which leaves the others to share().
    void look_around(int r, const float* along) {
        bound_blocks(r, along);
        const auto nearest = std::max_element(bounds_.begin(), bounds_.end()) - bounds_.begin();
        visit(r, {bounds_[nearest], along[nearest], r, static_cast<std::int32_t>(nearest)});
        std::int64_t n = 0;
        const float least = static_cast<float>(of_.threshold[r]);
        for (std::int64_t b = 0; b < n_blocks_; ++b) {
            own_[n] = {bounds_[b], along[b], r, static_cast<std::int32_t>(b)};
            n += bounds_[b] >= least && b != nearest;
        }
        const std::int64_t some = shared_ == nullptr ? n : std::min(kFirstBlocks, n);
        std::partial_sort(own_.begin(), own_.begin() + some, own_.begin() + n, [](const Visit& a, const Visit& b) {
            return a.bound > b.bound || (a.bound == b.bound && a.block < b.block);
        });
        std::int64_t at = 0;
        for (; at < some && own_[at].bound >= of_.threshold[r]; ++at) visit(r, own_[at]);
        if (at < some) return;
        for (; at < n; ++at) {
            shared_[n_shared_] = own_[at];
            n_shared_ += own_[at].bound >= of_.threshold[r];
        }
    }

    // The panels of a block for one query.
    void visit(int r, const Visit& visit) {
        Queries<1> one;
        one.copy(0, of_, r);
        one.along[0] = visit.along;
        one.across[0] = across(r, visit.along);
        for (std::int64_t p = index_.first_panel[visit.block]; p < index_.first_panel[visit.block + 1]; ++p) {
            one.threshold[0] = of_.threshold[r], one.last[0] = of_.last[r];
            Sum cutoff[1];
            open(one, p, cutoff);
            if (cutoff[0] == kNever) continue;
            const int row[1] = {r};
            reach<1>(query_codes(r), p, cutoff, row, 1);
        }
        settle(r);
    }

    // The blocks that are left, each for all its queries at once.
    void share() {
        std::fill(starts_.begin(), starts_.end(), 0);
        for (std::int64_t i = 0; i < n_shared_; ++i) ++starts_[shared_[i].block + 1];
        for (std::int64_t b = 0; b < n_blocks_; ++b) starts_[b + 1] += starts_[b];
        for (std::int64_t i = 0; i < n_shared_; ++i) sorted_[starts_[shared_[i].block]++] = shared_[i];
        std::int64_t begin = 0;
        for (std::int64_t b = 0; b < n_blocks_; ++b) {
            const std::int64_t end = starts_[b];
            for (std::int64_t at = begin; at < end;) {
                Visit some[kTileRows];
                int n = 0;
                for (; at < end && n < kTileRows; ++at) {
                    some[n] = sorted_[at];
                    n += some[n].bound >= of_.threshold[some[n].row];
                }
                if (n == 1) {
                    visit(some[0].row, some[0]);
                } else if (n > 1) {
                    visit_together(b, {some, static_cast<std::size_t>(n)});
                }
            }
            begin = end;
        }
    }

    void visit_together(std::int64_t block, std::span<const Visit> visits) {
        Queries<kTileRows> some;
        const int n = static_cast<int>(visits.size());
        auto* packed = reinterpret_cast<Code*>(packed_.data());
        int rows[kTileRows] = {};
        for (int i = 0; i < n; ++i) {
            rows[i] = visits[i].row;
            some.copy(i, of_, rows[i]);
            some.along[i] = visits[i].along;
            some.across[i] = across(rows[i], visits[i].along);
            std::copy_n(query_codes(rows[i]), steps_ * Codes::kStep, packed + i * steps_ * Codes::kStep);
        }
        for (std::int64_t p = index_.first_panel[block]; p < index_.first_panel[block + 1]; ++p) {
            for (int i = 0; i < n; ++i) {
                some.threshold[i] = of_.threshold[rows[i]], some.last[i] = of_.last[rows[i]];
            }
            for (int i = n; i < kTileRows; ++i) some.threshold[i] = kInfinity;
            Sum cutoff[kTileRows];
            open(some, p, cutoff);
            if (std::all_of(cutoff, cutoff + n, [](Sum c) { return c == kNever; })) continue;
            if (kTileRows > 4 && n <= 4) {
                reach<4>(packed, p, cutoff, rows, n);
            } else {
                reach<kTileRows>(packed, p, cutoff, rows, n);
            }
        }
        for (int i = 0; i < n; ++i) settle(rows[i]);
    }

    // Finds what each query's sums must reach for an item of the panel to get in.
    template <int kSome>
    void open(const Queries<kSome>& of, std::int64_t p, Sum* cutoffs) const {
        const PanelBound& panel = reinterpret_cast<const PanelBound*>(index_.panels.data())[p];
        double cutoff[kSome];
        for (int r = 0; r < kSome; ++r) {
            const double product = of.norm[r] * panel.norm, size = product + panel.bias_size;
            const double unsafe = size < 1e38 ? of.unsafe[r] : kInfinity;
            const double rounding = of.roundoff[r] * size + of.lost[r] * panel.norm + unsafe;
            const double low = of.along[r] * panel.low, high = of.along[r] * panel.high;
            const double most = (low > high ? low : high) + of.across[r] * panel.across + panel.bias + rounding;
            const double slack = of.coded[r] * panel.error + of.missed[r] * panel.norm + rounding;
            const double least = (of.threshold[r] - panel.bias - slack) * (of.per_unit[r] * panel.per_unit);
            const bool is_open = !(most < of.threshold[r]) & !((most == of.threshold[r]) & (panel.first >= of.last[r]));
            const double above = least > Codes::kLow ? least : Codes::kLow;
            const double within = above < Codes::kHigh ? above : Codes::kHigh;
            cutoff[r] = is_open ? within + of.offset[r] : static_cast<double>(kNever);
        }
        for (int r = 0; r < kSome; ++r) cutoffs[r] = static_cast<Sum>(cutoff[r]);
    }

    // Lists the pairs of a tile whose bound is high enough.
    template <int kSome>
    void reach(const Code* queries, std::int64_t p, const Sum* cutoff, const int* rows, int n) {
        alignas(64) Sum sums[kSome][kPanel];
        const PanelBound& panel = reinterpret_cast<const PanelBound*>(index_.panels.data())[p];
        Codes::multiply<kSome>(steps_, queries, reinterpret_cast<const Code*>(index_.codes.data() + p * bytes_),
                               sums[0]);
        const std::uint64_t filled = (std::uint64_t{1} << std::clamp(static_cast<int>(panel.filled), 0, 63)) - 1;
        const std::int32_t* items = index_.places.data() + p * kPanel;
        for (int i = 0; i < n; ++i) {
            if (cutoff[i] == kNever) continue;
            std::uint64_t hits = 0;
            for (int v = 0; v < kTileVectors; ++v) {
                hits |= Codes::reached(sums[i] + v * kLanes, cutoff[i]) << v * kLanes;
            }
            for (hits &= filled; hits != 0; hits &= hits - 1) wait(rows[i], items[__builtin_ctzll(hits)]);
        }
    }

    static std::uint32_t bit(std::int32_t item) { return (static_cast<std::uint32_t>(item) * 0x9e3779b1u) >> 21; }
    bool may_have(int r, std::int32_t item) const {
        if (!allowed_.empty() && (allowed_[item / 64] >> item % 64 & 1) == 0) return false;
        if (q_.excluded == nullptr || (sieve_[r][bit(item) / 64] >> bit(item) % 64 & 1) == 0) return true;
        return !q_.excludes(begin_ + r, item);
    }

    void wait(int r, std::int32_t item) {
        if (item < 0 || item >= q_.n_items) {
            fine_ = false;
            return;
        }
        prefetch(q_.item(item), q_.factors);
        waiting_[r][n_waiting_[r]++] = item;
        if (n_waiting_[r] == kWaits) settle(r);
    }

    // Scores the items waiting for a query: all of them first, as those do not wait for each other.
    void settle(int r) {
        if (n_waiting_[r] == 0) return;
        float scores[kWaits];
        for (int i = 0; i < n_waiting_[r]; ++i) scores[i] = q_.score(begin_ + r, waiting_[r][i]);
        BestK best = result_.best(begin_ + r);
        for (int i = 0; i < n_waiting_[r]; ++i) {
            const std::int32_t item = waiting_[r][i];
            if (best.accepts(scores[i], item) && may_have(r, item)) best.push(scores[i], item);
        }
        n_waiting_[r] = 0;
        refresh(r);
    }

    const TopKQuery& q_;
    const std::vector<std::uint64_t>& allowed_;
    const VectorIndex& index_;
    TopKResult& result_;
    std::ptrdiff_t steps_;
    std::int64_t bytes_, n_blocks_, width_;
    std::int64_t begin_ = 0;
    int n_ = 0;
    bool fine_ = true;
    bool hopeless_[kRows] = {};
    Queries<kRows> of_;
    std::uint64_t sieve_[kRows][kBits / 64];  // read where items are excluded
    std::int32_t waiting_[kRows][kWaits], n_waiting_[kRows] = {};
    Buffer codes_, packed_, projected_;
    std::vector<float> bounds_;
    std::vector<Visit> own_;
    std::int64_t n_shared_ = 0;
    std::unique_ptr<Visit[]> shared_, sorted_;
    std::vector<std::int64_t> starts_;
};

std::vector<std::uint64_t> bits_of(const TopKQuery& q) {
    std::vector<std::uint64_t> bits(q.restricted ? (q.n_items + 63) / 64 : 0);
    for (const std::int32_t item : q.allowed) bits[item / 64] |= std::uint64_t{1} << item % 64;
    return bits;
}

}  // namespace

bool index_top_k(const TopKQuery& q, const VectorIndex& index, TopKResult result, int threads, Interrupt& interrupt) {
    std::fill_n(result.items, q.n_queries * result.k, -1);
    std::fill_n(result.scores, q.n_queries * result.k, -kInfinity);
    result.size.assign(q.n_queries, 0);
    if (index.n_blocks() == 0 || (q.restricted && q.allowed.empty())) return true;
    const std::vector<std::uint64_t> allowed = bits_of(q);
    const std::int64_t share = q.n_queries / (4 * threads) + 1;  // a few pieces for every thread
    const std::int64_t grain = std::min<std::int64_t>((share + kTileRows - 1) / kTileRows * kTileRows, kRows);
    const int workers = static_cast<int>(std::clamp<std::int64_t>((q.n_queries + grain - 1) / grain, 1, threads));
    std::vector<std::unique_ptr<Search>> searches;
    for (int worker = 0; worker < workers; ++worker) {
        searches.push_back(std::make_unique<Search>(q, allowed, index, result, static_cast<int>(q.n_queries)));
    }
    parallel_for(q.n_queries, grain, workers, interrupt, [&](std::int64_t begin, std::int64_t end, int worker) {
        searches[worker]->pass(begin, end);
        for (std::int64_t query = begin; query < end; ++query) result.best(query).sort();
    });
    return std::all_of(searches.begin(), searches.end(), [](const auto& search) { return search->fine(); });
}

}  // namespace cofactor

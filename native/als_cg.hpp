// Implicit ALS, improved by a few steps of conjugate gradient (Hestenes & Stiefel 1952), warm-started from the current
// vectors (Takacs, Pilaszy & Tikk 2011). A step multiplies by a0 G + l I and passes once over the history's fixed rows.
//
// Short histories: what a batch of rows refers to stays in the second-level cache from one pass to the next. Long
// histories would fetch everything anew in each pass, so a whole group of them goes through the fixed rows together,
// slice by slice: each piece of the fixed matrix is fetched once for the group, and the slices are shared out among the
// threads, so that one very long history keeps all of them busy.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <vector>

#include "als_problem.hpp"

namespace cofactor::als {

inline constexpr float kRoundoff = 1e-14f;  // squared relative improvement that float32 cannot see
// Squared residuals below it are no numbers to divide by.
inline constexpr float kTiny = std::numeric_limits<float>::min();

// out += sum_k t_k y_k over entries [begin, end) with t_k = w_k (y_k . p), or, for the first residual of x = p,
// t_k = w_k (1 - y_k . p); returns sum_k w_k (1 - y_k . p)^2 then. `last`: what lies beyond is not prefetched.
template <bool kResidual>
class Pass {
public:
    Pass(const Problem& problem, const float* p, float* out) : problem_(problem), p_(p), out_(out) {}

    double over(std::int64_t begin, std::int64_t end, std::int64_t last) {
        double loss = 0.0;
        for (; begin + 8 <= end; begin += 8) loss += rows<8>(begin, last);
        if (begin + 4 <= end) {
            loss += rows<4>(begin, last);
            begin += 4;
        }
        for (; begin < end; ++begin) loss += rows<1>(begin, last);
        return loss;
    }

private:
    static constexpr int kAhead = 12;

    template <int kRows>
    float rows(std::int64_t entry, std::int64_t last) {
        const std::ptrdiff_t width = problem_.width;
        const float* y[kRows];
        for (int r = 0; r < kRows; ++r) {
            y[r] = problem_.fixed_row(entry + r);
            if constexpr (kResidual) prefetch(problem_.row_ahead(entry + r + kAhead, last), width);
        }
        Vec s[8] = {};
        for (std::ptrdiff_t j = 0; j < width; j += kLanes) {
            const Vec x = load(p_ + j);
#pragma GCC unroll 8
            for (int r = 0; r < kRows; ++r) s[r] += load(y[r] + j) * x;
        }
        float t[8], loss = 0.0f;
        if constexpr (kRows == 1) {
            t[0] = sum(s[0]);
        } else {
            sums(s, t);
        }
        for (int r = 0; r < kRows; ++r) {
            const float w = problem_.options.alpha * problem_.history.values[entry + r];
            const float gap = 1.0f - t[r];
            if constexpr (kResidual) loss += w * gap * gap;
            t[r] = w * (kResidual ? gap : t[r]);
        }
        for (std::ptrdiff_t j = 0; j < width; j += kLanes) {
            Vec even = load(out_ + j), odd{};
#pragma GCC unroll 8
            for (int r = 0; r < kRows; r += 2) {
                even += broadcast(t[r]) * load(y[r] + j);
                if (r + 1 < kRows) odd += broadcast(t[r + 1]) * load(y[r + 1] + j);
            }
            store(out_ + j, even + odd);
        }
        return loss;
    }

    const Problem& problem_;
    const float* p_;
    float* out_;
};

// Conjugate gradient of kTileRows rows at a time, so that G is read once for all of them.
struct CgRow {
    std::int64_t row = -1;
    float lambda = 0.0f, rr = 0.0f;                 // rr: squared norm of the residual
    double weight = 0.0, loss = 0.0, gained = 0.0;  // gained: what the steps so far have taken off the loss
    bool done = true;
};

struct CgBatch {
    int n;
    CgRow* rows;            // n <= kTileRows of them
    float *x, *r, *p;       // kTileRows x width: vector, residual, direction
    const float* observed;  // kTileRows x width: Z's - Z'Zx to start, Z'Zp to step, from the passes
    float* q;               // kTileRows x width: scratch
};

inline void start(const Problem& problem, const CgBatch& b) {
    const std::ptrdiff_t width = problem.width;
    multiply_rows(b.n, 0, width, width, width, b.x, width, problem.panels, b.q, width);
    for (int i = 0; i < b.n; ++i) {
        CgRow& row = b.rows[i];
        const std::ptrdiff_t at = i * width;
        axpy(row.lambda, b.x + at, b.q + at, width);
        row.loss += dot(b.x + at, b.q + at, width);
        for (std::ptrdiff_t j = at; j < at + width; j += kLanes) {
            const Vec r = load(b.observed + j) - load(b.q + j);
            store(b.r + j, r);
            store(b.p + j, r);
        }
        row.rr = dot(b.r + at, b.r + at, width);
        row.done = !(row.rr > kTiny);
    }
}

// One step of all rows that are not done; the first row whose system is not positive definite, or -1.
inline std::int64_t step(const Problem& problem, const CgBatch& b) {
    const std::ptrdiff_t width = problem.width;
    const float tolerance = problem.options.cg_tolerance;
    multiply_rows(b.n, 0, width, width, width, b.p, width, problem.panels, b.q, width);
    for (int i = 0; i < b.n; ++i) {
        CgRow& row = b.rows[i];
        if (row.done) continue;
        float *p = b.p + i * width, *q = b.q + i * width, *r = b.r + i * width;
        axpy(row.lambda, p, q, width);
        axpy(1.0f, b.observed + i * width, q, width);
        const float curvature = dot(p, q, width);
        if (!(curvature > 0.0f)) return row.row;
        const float length = row.rr / curvature, before = row.rr;
        axpy(length, p, b.x + i * width, width);
        axpy(-length, q, r, width);
        row.rr = dot(r, r, width);
        const Vec beta = broadcast(row.rr / before);
        for (std::ptrdiff_t j = 0; j < width; j += kLanes) store(p + j, load(r + j) + beta * load(p + j));
        const double gain = static_cast<double>(length) * before;  // a step lowers the loss by p'r length
        row.loss -= gain;
        row.gained += gain;
        const double explained = std::max(row.weight - row.loss, row.gained);  // the difference has roundoff of its own
        row.done = !(row.rr > kTiny) || gain <= std::max(tolerance * tolerance, kRoundoff) * explained;
    }
    return -1;
}

inline CgRow new_row(const Problem& problem, std::int64_t row) {
    return {row, problem.lambda(row), 0.0f, problem.weight(row), 0.0, 0.0, false};
}

inline bool any_left(const CgRow* rows, std::ptrdiff_t n) {
    return std::any_of(rows, rows + n, [](const CgRow& row) { return !row.done; });
}

// Long histories, a group at a time, all threads together.
class LongRows {
public:
    explicit LongRows(const Problem& problem)
        : problem_(problem),
          chunk_(std::max<std::int64_t>(kCacheFloats / problem.width, 1)),
          slices_(std::clamp<std::int64_t>(problem.n_available / chunk_, 1, 32)) {
        for (std::int64_t row = 0; row < problem.history.n_rows(); ++row) {
            if (is_long(row)) rows_.push_back(row);
        }
        const std::ptrdiff_t most = std::max<std::ptrdiff_t>(kStateFloats / problem.width, 1);
        const std::ptrdiff_t wanted = std::min<std::ptrdiff_t>(most, static_cast<std::ptrdiff_t>(rows_.size()));
        group_ = (wanted + kTileRows - 1) / kTileRows * kTileRows;
        state_.resize(group_);
        for (Buffer* buffer : {&x_, &r_, &p_, &q_, &observed_}) *buffer = Buffer(group_ * problem.width);
        partial_ = Buffer(slices_ * group_ * problem.width);
        losses_.resize(slices_ * group_);
        cursors_.assign(slices_, std::vector<std::int64_t>(group_));
    }

    // Longer than the cache, and dense enough for a chunk of the fixed rows to hold several of its entries.
    bool is_long(std::int64_t row) const {
        const std::ptrdiff_t length = problem_.length(row);
        return length * problem_.width > kCacheFloats && length * chunk_ >= 8 * problem_.n_available;
    }

    // The loss of all long rows, or NaN with failed() set.
    double improve(int threads, Interrupt& interrupt) {
        double loss = 0.0;
        for (std::size_t first = 0; first < rows_.size() && !interrupt.stopped() && failed_ < 0; first += group_) {
            loss += improve_group(first, threads, interrupt);
        }
        return loss;
    }

    std::int64_t failed() const { return failed_; }

private:
    static constexpr std::ptrdiff_t kStateFloats = 32768;  // directions of a group, beside a chunk in cache

    double improve_group(std::size_t first, int threads, Interrupt& interrupt) {
        const std::ptrdiff_t width = problem_.width;
        in_group_ = std::min(group_, static_cast<std::ptrdiff_t>(rows_.size() - first));
        std::fill_n(x_.data(), group_ * width, 0.0f);
        for (std::ptrdiff_t i = 0; i < in_group_; ++i) {
            state_[i] = new_row(problem_, rows_[first + i]);
            std::copy_n(problem_.solved_row(state_[i].row), problem_.factors, x_.data() + i * width);
        }
        passes<true>(x_.data(), threads, interrupt, [&](const CgBatch& batch) { start(problem_, batch); });
        std::atomic<std::int64_t> failed{-1};
        for (int k = 0; k < problem_.options.cg_steps && failed < 0 && any_left(state_.data(), in_group_); ++k) {
            passes<false>(p_.data(), threads, interrupt, [&](const CgBatch& batch) {
                if (const std::int64_t row = step(problem_, batch); row >= 0) failed = row;
            });
            if (interrupt.stopped()) break;
        }
        failed_ = failed;
        double loss = 0.0;
        for (std::ptrdiff_t i = 0; i < in_group_; ++i) {
            std::copy_n(x_.data() + i * width, problem_.factors, problem_.solved_row(state_[i].row));
            loss += state_[i].loss;
        }
        return failed_ < 0 ? loss : std::numeric_limits<double>::quiet_NaN();
    }

    // A pass of the whole group over the fixed rows, then what each batch makes of it.
    template <bool kResidual, class Then>
    void passes(const float* p, int threads, Interrupt& interrupt, Then&& then) {
        const std::ptrdiff_t width = problem_.width;
        parallel_for(slices_, 1, threads, interrupt,
                     [&](std::int64_t slice, std::int64_t, int) { pass_slice<kResidual>(slice, p); });
        if (interrupt.stopped()) return;
        parallel_for(
            (in_group_ + kTileRows - 1) / kTileRows, 1, threads, interrupt, [&](std::int64_t batch, std::int64_t, int) {
                const int n = static_cast<int>(std::min<std::ptrdiff_t>(kTileRows, in_group_ - batch * kTileRows));
                const std::ptrdiff_t at = batch * kTileRows * width, size = kTileRows * width;
                float* observed = observed_.data() + at;
                std::fill_n(observed, size, 0.0f);
                for (std::int64_t s = 0; s < slices_; ++s) {
                    axpy(1.0f, partial_.data() + s * group_ * width + at, observed, size);
                    for (int i = 0; kResidual && i < n; ++i) {
                        state_[batch * kTileRows + i].loss += losses_[s * group_ + batch * kTileRows + i];
                    }
                }
                then({n, &state_[batch * kTileRows], x_.data() + at, r_.data() + at, p_.data() + at, observed,
                      q_.data() + at});
            });
    }

    template <bool kResidual>
    void pass_slice(std::int64_t slice, const float* p) {
        const std::ptrdiff_t width = problem_.width;
        const auto& [indptr, indices, values] = problem_.history;
        const std::int64_t begin = problem_.n_available * slice / slices_,
                           end = problem_.n_available * (slice + 1) / slices_;
        float* partial = partial_.data() + slice * group_ * width;
        std::fill_n(partial, group_ * width, 0.0f);
        std::fill_n(&losses_[slice * group_], group_, 0.0);
        std::vector<std::int64_t>& at = cursors_[slice];
        for (std::ptrdiff_t i = 0; i < in_group_; ++i) {
            if (state_[i].done) continue;
            const auto *from = indices.data() + indptr[state_[i].row], *to = indices.data() + indptr[state_[i].row + 1];
            at[i] = std::lower_bound(from, to, begin) - indices.data();
        }
        for (std::int64_t chunk = begin; chunk < end; chunk += chunk_) {
            const std::int64_t limit = std::min(chunk + chunk_, end);
            for (std::ptrdiff_t i = 0; i < in_group_; ++i) {
                if (state_[i].done) continue;
                const std::int64_t from = at[i], most = indptr[state_[i].row + 1];
                std::int64_t to = from;
                while (to < most && indices[to] < limit) ++to;
                at[i] = to;
                losses_[slice * group_ + i] +=
                    Pass<kResidual>(problem_, p + i * width, partial + i * width).over(from, to, to - 1);
            }
        }
    }

    const Problem& problem_;
    std::int64_t chunk_, slices_;  // fixed rows that stay in cache; parts of the fixed rows that are worked on apart
    std::vector<std::int64_t> rows_;
    std::ptrdiff_t group_, in_group_ = 0;
    std::vector<CgRow> state_;
    Buffer x_, r_, p_, q_, observed_, partial_;
    std::vector<double> losses_;
    std::vector<std::vector<std::int64_t>> cursors_;
    std::int64_t failed_ = -1;
};

// Rows whose fixed rows stay in cache, one batch after the other.
class ShortRows {
public:
    ShortRows(const Problem& problem, const LongRows& others)
        : problem_(problem), others_(others), vectors_(5 * kTileRows * problem.width) {}

    // Takes up to kTileRows rows from `begin` on, which moves; their loss, or NaN with failed() set. A wide Gramian
    // drives them out of the cache between two passes: then it had better be read for as many of them as possible.
    double improve(std::int64_t& begin, std::int64_t end) {
        const std::ptrdiff_t width = problem_.width;
        CgRow rows[kTileRows];
        CgBatch batch{0, rows, vector(0), vector(1), vector(2), vector(3), vector(4)};
        int& n = batch.n;
        std::fill_n(batch.x, 4 * kTileRows * width, 0.0f);
        for (std::ptrdiff_t floats = 0; begin < end && n < kTileRows; ++begin) {
            const std::ptrdiff_t length = problem_.length(begin);
            if (length == 0) std::fill_n(problem_.solved_row(begin), problem_.factors, 0.0f);
            if (length == 0 || others_.is_long(begin)) continue;
            floats += length * width;
            if (n > 0 && floats > kCacheFloats && width < kWideGramian) break;
            rows[n] = new_row(problem_, begin);
            std::copy_n(problem_.solved_row(begin), problem_.factors, batch.x + n++ * width);
        }
        if (n == 0) return 0.0;
        for (int i = 0; i < n; ++i) rows[i].loss = pass<true>(rows[i], batch.x + i * width, i);
        start(problem_, batch);
        for (int k = 0; k < problem_.options.cg_steps && any_left(rows, n); ++k) {
            std::fill_n(vector(3), kTileRows * width, 0.0f);
            for (int i = 0; i < n; ++i) {
                if (!rows[i].done) pass<false>(rows[i], batch.p + i * width, i);
            }
            failed_ = step(problem_, batch);
            if (failed_ >= 0) return std::numeric_limits<double>::quiet_NaN();
        }
        double loss = 0.0;
        for (int i = 0; i < n; ++i) {
            std::copy_n(batch.x + i * width, problem_.factors, problem_.solved_row(rows[i].row));
            loss += rows[i].loss;
        }
        return loss;
    }

    std::int64_t failed() const { return failed_; }

private:
    float* vector(int which) { return vectors_.data() + which * kTileRows * problem_.width; }

    template <bool kResidual>
    double pass(const CgRow& row, const float* p, int i) {
        const std::int64_t begin = problem_.history.indptr[row.row], end = problem_.history.indptr[row.row + 1];
        return Pass<kResidual>(problem_, p, vector(3) + i * problem_.width).over(begin, end, problem_.last_entry());
    }

    const Problem& problem_;
    const LongRows& others_;
    Buffer vectors_;
    std::int64_t failed_ = -1;
};

}  // namespace cofactor::als

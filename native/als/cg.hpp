// Implicit ALS, improved by a few steps of conjugate gradient (Hestenes & Stiefel 1952), warm-started from the current
// vectors (Takacs, Pilaszy & Tikk 2011). A step passes once over the history's fixed rows.
//
// Both sides stand along the principal axes of the fixed one, so that G is a diagonal D: multiplying by it costs
// nothing, and neither does dividing by what a row's equations are when its entries are drawn from all fixed rows
// alike,
//     (a0 + sum_k w_k / n_fixed) D + l I,
// which is the preconditioner. Two steps with it are worth three without (docs/decisions/0007).
//
// Short histories stay in the second-level cache from one pass to the next. Long histories would fetch everything anew
// in each pass, so a whole group of them goes through the fixed rows together, slice by slice: each piece of the fixed
// matrix is fetched once for the group, and the slices are shared out among the threads, so that one very long history
// keeps all of them busy.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <vector>

#include "als/narrow.hpp"
#include "als/problem.hpp"

namespace cofactor::als {

inline constexpr float kRoundoff = 1e-14f;  // squared relative improvement that float32 cannot see
// What a residual times itself, preconditioned, has below it is no number to divide by.
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
        const std::ptrdiff_t width = problem_.width, narrow = problem_.narrow;
        const float* y[kRows];
        for (int r = 0; r < kRows; ++r) {
            y[r] = problem_.fixed_row(entry + r);
            if constexpr (kResidual) prefetch(problem_.row_ahead(entry + r + kAhead, last), problem_.stride);
        }
        Vec s[8] = {};
        over_pairs(narrow, [&](std::ptrdiff_t j, std::ptrdiff_t word) {
            const Vec low = load(p_ + j), high = load(p_ + j + kHalf);
#pragma GCC unroll 8
            for (int r = 0; r < kRows; ++r) {
                const Words both = load_words(y[r] + word);
                s[r] += low_of(both) * low;
                s[r] += high_of(both) * high;
            }
        });
        for (std::ptrdiff_t j = narrow; j < width; j += kLanes) {
            const Vec x = load(p_ + j);
#pragma GCC unroll 8
            for (int r = 0; r < kRows; ++r) s[r] += load(y[r] + j - narrow / 2) * x;
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
        over_pairs(narrow, [&](std::ptrdiff_t j, std::ptrdiff_t word) {
            Vec low = load(out_ + j), high = load(out_ + j + kHalf);
#pragma GCC unroll 8
            for (int r = 0; r < kRows; ++r) {
                const Words both = load_words(y[r] + word);
                low += broadcast(t[r]) * low_of(both);
                high += broadcast(t[r]) * high_of(both);
            }
            store(out_ + j, low);
            store(out_ + j + kHalf, high);
        });
        for (std::ptrdiff_t j = narrow; j < width; j += kLanes) {
            Vec even = load(out_ + j), odd{};
#pragma GCC unroll 8
            for (int r = 0; r < kRows; r += 2) {
                even += broadcast(t[r]) * load(y[r] + j - narrow / 2);
                if (r + 1 < kRows) odd += broadcast(t[r + 1]) * load(y[r + 1] + j - narrow / 2);
            }
            store(out_ + j, even + odd);
        }
        return loss;
    }

    const Problem& problem_;
    const float* p_;
    float* out_;
};

struct CgRow {
    std::int64_t row = -1;
    float lambda = 0.0f, density = 0.0f;            // the preconditioner is density D + lambda
    float rz = 0.0f;                                // residual times preconditioned residual
    double weight = 0.0, loss = 0.0, gained = 0.0;  // gained: what the steps so far have taken off the loss
    bool done = true;
};

struct CgVectors {
    float *x, *r, *p;  // vector, residual, direction
    float* observed;   // Z's - Z'Zx to start, Z'Zp to step, from the passes; then scratch
};

// z = r / preconditioner; returns r . z.
inline float precondition(const Problem& problem, const CgRow& row, const float* r, float* z) {
    const Vec density = broadcast(row.density), lambda = broadcast(row.lambda);
    Vec product{};
    for (std::ptrdiff_t j = 0; j < problem.width; j += kLanes) {
        const Vec residual = load(r + j), out = residual / (density * load(problem.axes + j) + lambda);
        store(z + j, out);
        product += residual * out;
    }
    return sum(product);
}

inline void start(const Problem& problem, CgRow& row, const CgVectors& v) {
    const Vec a0 = broadcast(problem.options.unobserved_weight), lambda = broadcast(row.lambda);
    Vec loss{};
    for (std::ptrdiff_t j = 0; j < problem.width; j += kLanes) {
        const Vec x = load(v.x + j), q = (a0 * load(problem.axes + j) + lambda) * x;
        loss += x * q;
        store(v.r + j, load(v.observed + j) - q);
    }
    row.loss += sum(loss);
    row.rz = precondition(problem, row, v.r, v.p);
    row.done = !(row.rz > kTiny);
}

// One step; false where the row's system is not positive definite.
inline bool step(const Problem& problem, CgRow& row, const CgVectors& v) {
    const std::ptrdiff_t width = problem.width;
    const float tolerance = problem.options.cg_tolerance, before = row.rz;
    const Vec a0 = broadcast(problem.options.unobserved_weight), lambda = broadcast(row.lambda);
    Vec product{};
    for (std::ptrdiff_t j = 0; j < width; j += kLanes) {
        const Vec p = load(v.p + j), q = load(v.observed + j) + (a0 * load(problem.axes + j) + lambda) * p;
        product += p * q;
        store(v.observed + j, q);
    }
    const float curvature = sum(product);
    if (!(curvature > 0.0f)) return false;
    const float length = before / curvature;
    axpy(length, v.p, v.x, width);
    axpy(-length, v.observed, v.r, width);
    row.rz = precondition(problem, row, v.r, v.observed);
    const Vec beta = broadcast(row.rz / before);
    for (std::ptrdiff_t j = 0; j < width; j += kLanes) store(v.p + j, load(v.observed + j) + beta * load(v.p + j));
    const double gain = static_cast<double>(length) * before;  // a step lowers the loss by p'r length
    row.loss -= gain;
    row.gained += gain;
    const double explained = std::max(row.weight - row.loss, row.gained);  // the difference has roundoff of its own
    row.done = !(row.rz > kTiny) || gain <= std::max(tolerance * tolerance, kRoundoff) * explained;
    return true;
}

inline CgRow new_row(const Problem& problem, std::int64_t row) {
    const double weight = problem.weight(row);
    const float density = std::max(problem.options.unobserved_weight, 0.0f) +
                          static_cast<float>(weight / static_cast<double>(problem.n_fixed));
    return {row, problem.lambda(row), density, 0.0f, weight, 0.0, 0.0, false};
}

// Long histories, a group at a time, all threads together.
class LongRows {
public:
    explicit LongRows(const Problem& problem)
        : problem_(problem),
          chunk_(std::max<std::int64_t>(kCacheFloats / problem.stride, 1)),
          slices_(std::clamp<std::int64_t>(problem.n_available / chunk_, 1, 32)) {
        for (std::int64_t row = 0; row < problem.history.n_rows(); ++row) {
            if (is_long(row)) rows_.push_back(row);
        }
        const std::ptrdiff_t most = std::max<std::ptrdiff_t>(kStateFloats / problem.width, 1);
        group_ = std::min<std::ptrdiff_t>(most, static_cast<std::ptrdiff_t>(rows_.size()));
        state_.resize(group_);
        for (Buffer* buffer : {&x_, &r_, &p_, &observed_}) *buffer = Buffer(group_ * problem.width);
        partial_ = Buffer(slices_ * group_ * problem.width);
        losses_.resize(slices_ * group_);
        cursors_.assign(slices_, std::vector<std::int64_t>(group_));
    }

    // Longer than the cache, and dense enough for a chunk of the fixed rows to hold several of its entries.
    bool is_long(std::int64_t row) const {
        const std::ptrdiff_t length = problem_.length(row);
        return length * problem_.stride > kCacheFloats && length * chunk_ >= 8 * problem_.n_available;
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
        passes<true>(x_.data(), threads, interrupt,
                     [&](CgRow& row, const CgVectors& vectors) { start(problem_, row, vectors); });
        std::atomic<std::int64_t> failed{-1};
        for (int k = 0; k < problem_.options.cg_steps && failed < 0 && any_left(); ++k) {
            passes<false>(p_.data(), threads, interrupt, [&](CgRow& row, const CgVectors& vectors) {
                if (!row.done && !step(problem_, row, vectors)) failed = row.row;
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

    bool any_left() const {
        return std::any_of(state_.begin(), state_.begin() + in_group_, [](const CgRow& row) { return !row.done; });
    }

    // A pass of the whole group over the fixed rows, then what each row makes of it.
    template <bool kResidual, class Then>
    void passes(const float* p, int threads, Interrupt& interrupt, Then&& then) {
        const std::ptrdiff_t width = problem_.width;
        parallel_for(slices_, 1, threads, interrupt,
                     [&](std::int64_t slice, std::int64_t, int) { pass_slice<kResidual>(slice, p); });
        if (interrupt.stopped()) return;
        parallel_for(in_group_, 8, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
            for (std::int64_t i = begin; i < end; ++i) {
                const std::ptrdiff_t at = i * width;
                float* observed = observed_.data() + at;
                std::fill_n(observed, width, 0.0f);
                for (std::int64_t s = 0; s < slices_; ++s) {
                    axpy(1.0f, partial_.data() + s * group_ * width + at, observed, width);
                    if (kResidual) state_[i].loss += losses_[s * group_ + i];
                }
                then(state_[i], CgVectors{x_.data() + at, r_.data() + at, p_.data() + at, observed});
            }
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
    Buffer x_, r_, p_, observed_, partial_;
    std::vector<double> losses_;
    std::vector<std::vector<std::int64_t>> cursors_;
    std::int64_t failed_ = -1;
};

// Rows whose fixed rows stay in cache, one after the other.
class ShortRows {
public:
    ShortRows(const Problem& problem, const LongRows& others)
        : problem_(problem), others_(others), vectors_(4 * problem.width) {}

    // Improves row `begin`, which moves, unless it is a long one; its loss, or NaN with failed() set.
    double improve(std::int64_t& begin, std::int64_t) {
        const std::int64_t row = begin++;
        const std::ptrdiff_t width = problem_.width, length = problem_.length(row);
        float* solved = problem_.solved_row(row);
        if (length == 0) std::fill_n(solved, problem_.factors, 0.0f);
        if (length == 0 || others_.is_long(row)) return 0.0;
        float* x = vectors_.data();
        const CgVectors v{x, x + width, x + 2 * width, x + 3 * width};
        CgRow state = new_row(problem_, row);
        std::copy_n(solved, problem_.factors, x);
        state.loss = pass<true>(row, x, v.observed);
        start(problem_, state, v);
        for (int k = 0; k < problem_.options.cg_steps && !state.done; ++k) {
            pass<false>(row, v.p, v.observed);
            if (!step(problem_, state, v)) {
                failed_ = row;
                return std::numeric_limits<double>::quiet_NaN();
            }
        }
        std::copy_n(x, problem_.factors, solved);
        return state.loss;
    }

    std::int64_t failed() const { return failed_; }

private:
    template <bool kResidual>
    double pass(std::int64_t row, const float* p, float* out) {
        std::fill_n(out, problem_.width, 0.0f);
        const std::int64_t begin = problem_.history.indptr[row], end = problem_.history.indptr[row + 1];
        return Pass<kResidual>(problem_, p, out).over(begin, end, problem_.last_entry());
    }

    const Problem& problem_;
    const LongRows& others_;
    Buffer vectors_;
    std::int64_t failed_ = -1;
};

}  // namespace cofactor::als

// Implicit ALS, exact: every row's system is built and solved. n width^2 / 2 + width^3 / 6 multiply-adds a row.
//
// Where G is a diagonal D, M = a0 D + l I can be divided by, and a row with up to 3/4 as many entries as factors has a
// smaller system (Woodbury): with T = Z M^-1/2 and s as in Block,
//     (I + T T') a = s,   x = M^-1/2 T' a,   loss = s'a,
// n^2 width / 2 + n^3 / 6 multiply-adds. No entry of T is above sqrt(w / a0), since y_kj^2 <= D_j: it is well
// conditioned.
#pragma once

#include <cmath>
#include <limits>

#include "als/problem.hpp"

namespace cofactor::als {

// Works on z, the scaled rows: sum_k w_k y_k y_k' = Z'Z and sum_k w_k y_k = Z's.
class ExactSolver {
public:
    explicit ExactSolver(const Problem& problem)
        : problem_(problem),
          block_(problem, std::clamp<std::ptrdiff_t>(kBlockFloats / problem.width, 16, 256), problem.width),
          system_(problem.width * problem.width),
          vectors_(6 * problem.width),
          few_(problem.along_axes && problem.options.unobserved_weight > 0 ? problem.width * 3 / 4 / kPad * kPad : 0),
          transposed_(problem.width * few_),
          identity_(few_ * few_) {
        for (std::ptrdiff_t i = 0; i < few_; ++i) identity_.data()[i * few_ + i] = 1.0f;
    }

    // Solves row `begin`, which moves, unless it is one to be split; its loss, or NaN with failed() set.
    double improve(std::int64_t& begin, std::int64_t) {
        const std::int64_t row = begin++, from = problem_.history.indptr[row], to = problem_.history.indptr[row + 1];
        if (from == to) std::fill_n(problem_.solved_row(row), problem_.factors, 0.0f);
        if (from == to || problem_.split(row)) return 0.0;
        if (to - from <= few_) {
            const double loss = solve_few(row, from, to - from);
            if (std::isnan(loss)) failed_ = row;
            return loss;
        }
        float *a = system_.data(), *b = vectors_.data();
        accumulate(from, to, problem_.gramian, a, b);
        return finish(row, a, b);
    }

    // a = start + Z'Z and b = Z's over entries [begin, end), begin < end.
    void accumulate(std::int64_t begin, std::int64_t end, const float* start, float* a, float* b) {
        const std::ptrdiff_t width = problem_.width;
        std::fill_n(b, width, 0.0f);
        for (; begin < end; begin += block_.rows(), start = a) {
            const std::ptrdiff_t n = std::min<std::int64_t>(block_.rows(), end - begin);
            block_.gather(begin, n, 0, width);
            block_.ask_ahead(begin, n);
            add_rows(block_.z(), width, n, block_.scale(), width, b);
            add_gramian(n, width, block_.z(), width, start, width, a, width, block_);
        }
    }

    // The row's loss with a and b summed up, or NaN with failed() set.
    double finish(std::int64_t row, float* a, float* b) {
        const double loss = problem_.weight(row) - fitted(row, a, b);  // at the minimum
        if (std::isnan(loss)) failed_ = row;
        return loss;
    }

    // Whether a row of n entries, `most` or fewer, is solved by the system of its entries.
    bool solves_few(std::ptrdiff_t n, std::ptrdiff_t most) const { return n <= std::min(few_, most); }

    std::int64_t failed() const { return failed_; }

private:
    // Solves for the vector of a row with n <= few_ entries, from `begin` on, by their system; its loss, or NaN.
    double solve_few(std::int64_t row, std::int64_t begin, std::ptrdiff_t n) {
        const std::ptrdiff_t width = problem_.width, size = padded(n);
        float *a = system_.data(), *t = transposed_.data(), *root = vectors_.data(), *x = root + width, *s = x + width,
              *side = s + width, *solution = side + width, *inverse = solution + width;
        const float a0 = problem_.options.unobserved_weight, lambda = problem_.lambda(row);
        bool positive = true;
        for (std::ptrdiff_t j = 0; j < width; ++j) {
            const float m = a0 * problem_.axes[j] + lambda;
            positive = positive && m > 0.0f && m <= std::numeric_limits<float>::max();
            root[j] = 1.0f / std::sqrt(m);
        }
        if (!positive) return std::numeric_limits<double>::quiet_NaN();
        for (std::ptrdiff_t k = 0; k < size; ++k) {
            side[k] = s[k] = k < n ? problem_.root_weight(begin + k) : 0.0f;
        }
        transpose_scaled(begin, n, s, root, t);
        add_gramian(width, size, t, size, identity_.data(), few_, a, size);
        if (!cholesky(size, a, inverse)) return std::numeric_limits<double>::quiet_NaN();
        cholesky_solve(size, a, inverse, side, solution);
        dots(t, size, width, solution, size, x);
        for (std::ptrdiff_t j = 0; j < problem_.factors; ++j) problem_.solved_row(row)[j] = root[j] * x[j];
        double loss = 0.0;
        for (std::ptrdiff_t k = 0; k < n; ++k) loss += static_cast<double>(s[k]) * solution[k];
        return loss;
    }

    // t (width x padded(n)) = the n fixed rows from entry `begin` on as columns, times s and root.
    void transpose_scaled(std::int64_t begin, std::ptrdiff_t n, const float* s, const float* root, float* t) {
        const std::ptrdiff_t width = problem_.width, size = padded(n);
        const std::int64_t last = problem_.last_entry();
        for (std::ptrdiff_t k = 0; k < size; k += kLanes) {
            for (int i = 0; i < kLanes; ++i) prefetch(problem_.row_ahead(begin + k + i + kLanes, last), width);
            for (std::ptrdiff_t j = 0; j < width; j += kLanes) {
                const Vec scale = load(root + j);
                Vec rows[kLanes];
                for (int i = 0; i < kLanes; ++i) {
                    rows[i] =
                        k + i < n ? broadcast(s[k + i]) * scale * load(problem_.fixed_row(begin + k + i) + j) : Vec{};
                }
                transpose_lanes(rows);
                for (int i = 0; i < kLanes; ++i) store(t + (j + i) * size + k, rows[i]);
            }
        }
    }

    // Solves for the row's vector; x.b, or NaN when the system is not positive definite.
    double fitted(std::int64_t row, float* a, float* b) {
        const std::ptrdiff_t width = problem_.width;
        float *inverse = vectors_.data() + width, *x = inverse + width, *solved = problem_.solved_row(row);
        add_diagonal(a, width, problem_.factors, problem_.lambda(row));
        std::copy_n(b, problem_.factors, solved);  // kept for the product: cholesky_solve overwrites b
        if (!cholesky(width, a, inverse)) return std::numeric_limits<double>::quiet_NaN();
        cholesky_solve(width, a, inverse, b, x);
        double product = 0.0;
        for (std::ptrdiff_t j = 0; j < problem_.factors; ++j) product += static_cast<double>(solved[j]) * x[j];
        std::copy_n(x, problem_.factors, solved);
        return product;
    }

    const Problem& problem_;
    Block block_;
    Buffer system_, vectors_;
    std::ptrdiff_t few_;  // rows with so many entries or fewer are solved by their entries' system: half the operations
    Buffer transposed_, identity_;
    std::int64_t failed_ = -1;
};

}  // namespace cofactor::als

// Implicit ALS, exact: every row's system is built and solved. n width^2 / 2 + width^3 / 6 multiply-adds a row.
#pragma once

#include <cmath>
#include <limits>

#include "als_problem.hpp"

namespace cofactor::als {

// Works on z, the scaled rows: sum_k w_k y_k y_k' = Z'Z and sum_k w_k y_k = Z's.
class ExactSolver {
public:
    explicit ExactSolver(const Problem& problem)
        : problem_(problem),
          block_(problem, std::clamp<std::ptrdiff_t>(kBlockFloats / problem.width, 16, 256), problem.width),
          system_(problem.width * problem.width),
          vectors_(3 * problem.width) {}

    // Solves row `begin`, which moves, unless it is one to be split; its loss, or NaN with failed() set.
    double improve(std::int64_t& begin, std::int64_t) {
        const std::int64_t row = begin++, from = problem_.history.indptr[row], to = problem_.history.indptr[row + 1];
        if (from == to) std::fill_n(problem_.solved_row(row), problem_.factors, 0.0f);
        if (from == to || problem_.split(row)) return 0.0;
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

    std::int64_t failed() const { return failed_; }

private:
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
    std::int64_t failed_ = -1;
};

}  // namespace cofactor::als

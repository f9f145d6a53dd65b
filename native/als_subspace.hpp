// Implicit ALS++ (Rendle, Krichene, Zhang & Koren 2021, alg. 2): Newton steps on blocks of coordinates, exact within a
// block. Residuals s_k - z_k . x are kept up to date, so that a row costs n * width * (block + 3) multiply-adds.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "als_problem.hpp"

namespace cofactor::als {

class SubspaceSolver {
public:
    explicit SubspaceSolver(const Problem& problem)
        : problem_(problem),
          block_(problem),
          columns_(std::min(padded(problem.options.block_size), problem.width)),
          system_(columns_ * columns_),
          vectors_((2 * kTileRows + 3) * std::max(columns_, problem.width)),
          arena_(kArenaFloats) {
        std::ptrdiff_t longest = kArenaFloats / problem.width;
        for (std::int64_t row = 0; row < problem.history.n_rows(); ++row) {
            longest = std::max(longest, problem.length(row));
        }
        residual_ = Buffer(longest);
    }

    // Takes up to kTileRows rows from `begin` on, which moves, so that the Gramian is read once for all of them; their
    // loss, or NaN with failed() set.
    double improve(std::int64_t& begin, std::int64_t end) {
        const std::ptrdiff_t width = problem_.width;
        float* x = vectors_.data();
        std::fill_n(x, kTileRows * width, 0.0f);
        Row rows[kTileRows] = {};
        int n = 0;
        float* residual = residual_.data();
        for (std::ptrdiff_t used = 0; begin < end && n < kTileRows; ++begin) {
            const std::ptrdiff_t length = problem_.length(begin), floats = length * width;
            if (length == 0) {
                std::fill_n(problem_.solved_row(begin), problem_.factors, 0.0f);
                continue;
            }
            if (n > 0 && used + floats > kCacheFloats) break;
            float* z = floats <= kArenaFloats ? arena_.data() + used : nullptr;
            rows[n] = {begin, problem_.history.indptr[begin], length, problem_.lambda(begin), z, residual};
            std::copy_n(problem_.solved_row(begin), problem_.factors, x + n++ * width);
            residual += length;
            used += floats;
        }
        const double loss = sweep(rows, n, x, x + kTileRows * width);
        for (int i = 0; i < n; ++i) std::copy_n(x + i * width, problem_.factors, problem_.solved_row(rows[i].row));
        return loss;
    }

    std::int64_t failed() const { return failed_; }

private:
    static constexpr std::ptrdiff_t kArenaFloats = 2097152;  // one long history: faster in order than gathered again

    struct Row {
        std::int64_t row, begin;
        std::ptrdiff_t n;
        float lambda;
        float* z;         // n x width, or null: too long, gathered block by block each time
        float* residual;  // s - z.x
    };

    // visit(z, stride, first, n): the scaled rows of a history, block by block, columns [c, c + columns).
    template <class Visit>
    void over_history(const Row& h, std::ptrdiff_t c, std::ptrdiff_t columns, Visit&& visit) {
        for (std::ptrdiff_t first = 0; first < h.n; first += block_.rows()) {
            const std::ptrdiff_t n = std::min(block_.rows(), h.n - first);
            if (h.z != nullptr) {
                visit(h.z + first * problem_.width + c, problem_.width, first, n);
            } else {
                block_.gather(h.begin + first, n, c, columns);
                visit(block_.z(), columns, first, n);
            }
        }
    }

    // Gathers the history where it fits; residual = s - Z x.
    void start_residual(const Row& h, const float* x) {
        const std::ptrdiff_t width = problem_.width;
        for (std::ptrdiff_t first = 0; first < h.n; first += block_.rows()) {
            const std::ptrdiff_t n = std::min(block_.rows(), h.n - first);
            float* to = h.z != nullptr ? h.z + first * width : nullptr;
            block_.gather(h.begin + first, n, 0, width, to);
            float t[256];
            dots(to != nullptr ? to : block_.z(), width, n, x, width, t);
            for (std::ptrdiff_t k = 0; k < n; ++k) h.residual[first + k] = block_.scale()[k] - t[k];
        }
    }

    double sweep(const Row* rows, int n, float* x, float* gx) {
        const std::ptrdiff_t width = problem_.width;
        for (int i = 0; i < n; ++i) start_residual(rows[i], x + i * width);
        for (std::ptrdiff_t c = 0; c < width; c += columns_) {
            const std::ptrdiff_t columns = std::min(columns_, width - c);
            multiply_rows(width, columns, x, width, problem_.gramian + c, width, gx, width);
            for (int i = 0; i < n; ++i) {
                if (!improve_block(rows[i], c, columns, x + i * width + c, gx + i * width)) {
                    failed_ = rows[i].row;
                    return std::numeric_limits<double>::quiet_NaN();
                }
            }
        }
        multiply_rows(width, width, x, width, problem_.gramian, width, gx, width);
        double loss = 0.0;
        for (int i = 0; i < n; ++i) {
            for (std::ptrdiff_t k = 0; k < rows[i].n; ++k) {
                loss += static_cast<double>(rows[i].residual[k]) * rows[i].residual[k];
            }
            for (std::ptrdiff_t j = i * width; j < (i + 1) * width; ++j) {
                loss += static_cast<double>(x[j]) * (gx[j] + rows[i].lambda * x[j]);
            }
        }
        return loss;
    }

    // The Newton step of coordinates [c, c + columns) of one row; x and gx start at c.
    bool improve_block(const Row& h, std::ptrdiff_t c, std::ptrdiff_t columns, float* x, const float* gx) {
        float *a = system_.data(), *gradient = vectors_.data() + 2 * kTileRows * problem_.width;
        float *step = gradient + columns, *inverse = step + columns;
        for (std::ptrdiff_t j = 0; j < columns; ++j) gradient[j] = -gx[j] - h.lambda * x[j];
        const float* start = problem_.gramian + c * problem_.width + c;
        std::ptrdiff_t start_stride = problem_.width;
        over_history(h, c, columns, [&](const float* z, std::ptrdiff_t stride, std::ptrdiff_t first, std::ptrdiff_t n) {
            add_rows(z, stride, n, h.residual + first, columns, gradient);
            add_gramian(n, columns, z, stride, start, start_stride, a, columns);
            start = a;
            start_stride = columns;
        });
        add_diagonal(a, columns, std::min(columns, problem_.factors - c), h.lambda);
        if (!cholesky(columns, a, inverse)) return false;
        cholesky_solve(columns, a, inverse, gradient, step);
        axpy(1.0f, step, x, columns);
        over_history(h, c, columns, [&](const float* z, std::ptrdiff_t stride, std::ptrdiff_t first, std::ptrdiff_t n) {
            float t[256];
            dots(z, stride, n, step, columns, t);
            for (std::ptrdiff_t k = 0; k < n; ++k) h.residual[first + k] -= t[k];
        });
        return true;
    }

    const Problem& problem_;
    Block block_;
    std::ptrdiff_t columns_;
    Buffer system_, vectors_, arena_, residual_;
    std::int64_t failed_ = -1;
};

}  // namespace cofactor::als

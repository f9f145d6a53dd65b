// Implicit ALS++ (Rendle, Krichene, Zhang & Koren 2021, alg. 2): Newton steps on blocks of coordinates, exact within a
// block. Residuals s_k - z_k . x are kept up to date, so that a row costs n * width * (block / 2 + 3)
// multiply-adds.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "als_problem.hpp"

namespace cofactor::als {

class SubspaceSolver {
public:
    explicit SubspaceSolver(const Problem& problem)
        : problem_(problem),
          columns_(problem.block),
          block_(problem, kPiece, columns_),
          system_(columns_ * columns_),
          vectors_(kTileRows * problem.width + 3 * columns_),
          before_(kTileRows * columns_),
          after_(kTileRows * columns_),
          arena_(kArenaFloats),
          residual_(kSplit) {}

    // Takes up to kTileRows rows from `begin` on, which moves, so that the Gramian is read once for all of them; their
    // loss, or NaN with failed() set.
    double improve(std::int64_t& begin, std::int64_t end) {
        const std::ptrdiff_t width = problem_.width;
        float* x = vectors_.data();
        std::fill_n(x, kTileRows * width, 0.0f);
        Row rows[kTileRows] = {};
        int n = 0;
        float* residual = residual_.data();
        const std::ptrdiff_t most = width < kWideGramian ? kCacheFloats : kArenaFloats;
        for (std::ptrdiff_t used = 0; begin < end && n < kTileRows; ++begin) {
            const std::ptrdiff_t length = problem_.length(begin), floats = length * width;
            if (length == 0) std::fill_n(problem_.solved_row(begin), problem_.factors, 0.0f);
            if (length == 0 || problem_.split(begin)) continue;
            if (n > 0 && used + floats > most) break;
            float* z = floats <= kArenaFloats ? arena_.data() + used : nullptr;
            rows[n] = {begin, problem_.history.indptr[begin], length, problem_.lambda(begin), z, residual};
            std::copy_n(problem_.solved_row(begin), problem_.factors, x + n++ * width);
            residual += length;
            used += floats;
        }
        if (n == 0) return 0.0;
        const double loss = sweep(rows, n, x);
        for (int i = 0; i < n; ++i) std::copy_n(x + i * width, problem_.factors, problem_.solved_row(rows[i].row));
        return loss;
    }

    // One history too long for one thread, by the whole team, of which this is one.
    double improve_together(std::int64_t row, std::vector<SubspaceSolver>& team, Interrupt& interrupt) {
        float* x = vectors_.data();
        std::fill_n(x, kTileRows * problem_.width, 0.0f);
        std::copy_n(problem_.solved_row(row), problem_.factors, x);
        Buffer residual(problem_.length(row));
        const Row h{
            row, problem_.history.indptr[row], problem_.length(row), problem_.lambda(row), nullptr, residual.data()};
        team_ = &team;
        interrupt_ = &interrupt;
        partial_ = Buffer(kParts * (columns_ * columns_ + columns_));
        const double loss = sweep(&h, 1, x);
        team_ = nullptr;
        std::copy_n(x, problem_.factors, problem_.solved_row(row));
        return loss;
    }

    std::int64_t failed() const { return failed_; }

private:
    static constexpr std::ptrdiff_t kPiece = 128;            // entries worked on at a time
    static constexpr std::ptrdiff_t kWideGramian = 512;      // from this width on it fills the second-level cache alone
    static constexpr std::ptrdiff_t kArenaFloats = 2097152;  // one long history: faster in order than gathered again

    struct Row {
        std::int64_t row, begin;
        std::ptrdiff_t n;
        float lambda;
        float* z;  // its scaled rows, each block of columns apart (n x columns); null: too long, gathered each time
        float* residual;  // s - z.x
    };

    // visit(z, first, n): the scaled rows of a history piece by piece, columns [c, c + columns) side by side.
    template <class Visit>
    void over_history(const Row& h, std::ptrdiff_t c, std::ptrdiff_t columns, Visit&& visit) {
        for (std::ptrdiff_t first = 0; first < h.n; first += kPiece) {
            const std::ptrdiff_t n = std::min(kPiece, h.n - first);
            if (h.z != nullptr) {
                visit(h.z + c * h.n + first * columns, first, n);
            } else {
                block_.gather(h.begin + first, n, c, columns);
                visit(block_.z(), first, n);
            }
        }
    }

    // body(member of the team, part of the history, number of the part), or, without a team, of it as a whole.
    template <class Body>
    void share_out(const Row& h, Body&& body) {
        if (team_ == nullptr) {
            body(*this, h, 0);
            return;
        }
        parallel_for(kParts, 1, static_cast<int>(team_->size()), *interrupt_,
                     [&](std::int64_t part, std::int64_t, int worker) {
                         const std::ptrdiff_t first = part_begin(h.n, part), last = part_begin(h.n, part + 1);
                         body((*team_)[worker],
                              Row{h.row, h.begin + first, last - first, h.lambda, nullptr, h.residual + first}, part);
                     });
    }

    // Gathers the history where it fits; residual = s - Z x.
    void start_residual(const Row& h, const float* x) {
        for (std::ptrdiff_t first = 0; first < h.n; first += kPiece) {
            const std::ptrdiff_t n = std::min(kPiece, h.n - first);
            for (std::ptrdiff_t c = 0; c < problem_.width; c += columns_) {
                const std::ptrdiff_t columns = std::min(columns_, problem_.width - c);
                float* to = h.z != nullptr ? h.z + c * h.n + first * columns : nullptr;
                block_.gather(h.begin + first, n, c, columns, to);
                if (c == 0) std::copy_n(block_.scale(), n, h.residual + first);
                subtract_dots(to != nullptr ? to : block_.z(), n, x + c, columns, h.residual + first);
            }
        }
    }

    // residual -= z x
    static void subtract_dots(const float* z, std::ptrdiff_t n, const float* x, std::ptrdiff_t columns,
                              float* residual) {
        float t[kPiece];
        dots(z, columns, n, x, columns, t);
        for (std::ptrdiff_t k = 0; k < n; ++k) residual[k] -= t[k];
    }

    // A step for every block of coordinates. What G adds to the loss is summed up on the way: with the blocks before c
    // already moved, x_c . (2 sum_b<c G_cb x_b + G_cc x_c) is the share of block c.
    double sweep(const Row* rows, int n, float* x) {
        const std::ptrdiff_t width = problem_.width;
        double loss = 0.0;
        for (int i = 0; i < n; ++i) {
            share_out(rows[i], [&](SubspaceSolver& solver, const Row& part, std::int64_t) {
                solver.start_residual(part, x + i * width);
            });
        }
        for (std::ptrdiff_t c = 0; c < width; c += columns_) {
            const std::ptrdiff_t columns = std::min(columns_, width - c);
            const float* panels = problem_.panels + c * width;
            multiply_rows(n, 0, c, width, columns, x, width, panels, before_.data(), columns);
            multiply_rows(n, c, width, width, columns, x, width, panels, after_.data(), columns);
            for (int i = 0; i < n; ++i) {
                float *before = before_.data() + i * columns, *gx = after_.data() + i * columns;
                axpy(1.0f, before, gx, columns);
                if (!improve_block(rows[i], c, columns, x + i * width + c, gx)) {
                    failed_ = rows[i].row;
                    return std::numeric_limits<double>::quiet_NaN();
                }
            }
            multiply_rows(n, c, c + columns, width, columns, x, width, panels, after_.data(), columns);
            for (int i = 0; i < n; ++i) {
                const float *before = before_.data() + i * columns, *own = after_.data() + i * columns;
                const float* xi = x + i * width + c;
                for (std::ptrdiff_t j = 0; j < columns; ++j) {
                    loss += static_cast<double>(xi[j]) * (2.0f * before[j] + own[j] + rows[i].lambda * xi[j]);
                }
            }
        }
        for (int i = 0; i < n; ++i) {
            for (std::ptrdiff_t k = 0; k < rows[i].n; ++k) {
                loss += static_cast<double>(rows[i].residual[k]) * rows[i].residual[k];
            }
        }
        return loss;
    }

    // a = start + Z'Z and gradient += Z'residual in columns [c, c + columns).
    void accumulate(const Row& h, std::ptrdiff_t c, std::ptrdiff_t columns, const float* start,
                    std::ptrdiff_t start_stride, float* a, float* gradient) {
        over_history(h, c, columns, [&](const float* z, std::ptrdiff_t first, std::ptrdiff_t n) {
            add_rows(z, columns, n, h.residual + first, columns, gradient);
            add_gramian(n, columns, z, columns, start, start_stride, a, columns);
            start = a;
            start_stride = columns;
        });
    }

    // The same by the whole team.
    void accumulate_together(const Row& h, std::ptrdiff_t c, std::ptrdiff_t columns, float* a, float* gradient) {
        const std::ptrdiff_t size = columns * columns + columns;
        std::fill_n(partial_.data(), kParts * size, 0.0f);
        share_out(h, [&](SubspaceSolver& solver, const Row& part, std::int64_t number) {
            float* own = partial_.data() + number * size;
            solver.accumulate(part, c, columns, own, columns, own, own + columns * columns);
        });
        for (std::ptrdiff_t i = 0; i < columns; ++i) {
            std::copy_n(problem_.gramian + (c + i) * problem_.width + c, columns, a + i * columns);
        }
        for (std::int64_t part = 0; part < kParts; ++part) {
            axpy(1.0f, partial_.data() + part * size, a, columns * columns);
            axpy(1.0f, partial_.data() + part * size + columns * columns, gradient, columns);
        }
    }

    // The Newton step of coordinates [c, c + columns) of one row; x and gx start at c.
    bool improve_block(const Row& h, std::ptrdiff_t c, std::ptrdiff_t columns, float* x, const float* gx) {
        float *a = system_.data(), *gradient = vectors_.data() + kTileRows * problem_.width;
        float *step = gradient + columns, *inverse = step + columns;
        for (std::ptrdiff_t j = 0; j < columns; ++j) gradient[j] = -gx[j] - h.lambda * x[j];
        if (team_ == nullptr) {
            accumulate(h, c, columns, problem_.gramian + c * problem_.width + c, problem_.width, a, gradient);
        } else {
            accumulate_together(h, c, columns, a, gradient);
        }
        add_diagonal(a, columns, std::min(columns, problem_.factors - c), h.lambda);
        if (!cholesky(columns, a, inverse)) return false;
        cholesky_solve(columns, a, inverse, gradient, step);
        axpy(1.0f, step, x, columns);
        share_out(h, [&](SubspaceSolver& solver, const Row& own, std::int64_t) {
            solver.over_history(own, c, columns, [&](const float* z, std::ptrdiff_t first, std::ptrdiff_t n) {
                subtract_dots(z, n, step, columns, own.residual + first);
            });
        });
        return true;
    }

    const Problem& problem_;
    std::ptrdiff_t columns_;
    Block block_;
    Buffer system_, vectors_, before_, after_, arena_, residual_, partial_;
    std::vector<SubspaceSolver>* team_ = nullptr;  // where one row is worked on by all
    Interrupt* interrupt_ = nullptr;
    std::int64_t failed_ = -1;
};

}  // namespace cofactor::als

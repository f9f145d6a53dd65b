// Implicit ALS++ (Rendle, Krichene, Zhang & Koren 2021, alg. 2) along the principal axes of the fixed side: Newton
// steps on blocks of coordinates, exact within a block. G is a diagonal D there, so that blocks meet in the history
// alone and small ones do nearly as well as large ones. Residuals s_k - z_k . x are kept up to date: n width (block / 2
// + 3) multiply-adds a row. A row of few entries is solved exactly, by the system of its entries, where that takes no
// more.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "als/cholesky.hpp"
#include "als/problem.hpp"

namespace cofactor::als {

class SubspaceSolver {
public:
    explicit SubspaceSolver(const Problem& problem)
        : problem_(problem),
          exact_(problem),
          columns_(problem.block),
          block_(problem, kPiece, columns_),
          system_(columns_ * columns_),
          vectors_(2 * problem.width + 3 * columns_),
          arena_(kArenaFloats),
          residual_(kSplit) {}

    // Improves row `begin`, which moves, unless it is one to be split; its loss, or NaN with failed() set.
    double improve(std::int64_t& begin, std::int64_t end) {
        const std::ptrdiff_t n = problem_.length(begin);
        if (n == 0 || problem_.split(begin) || exact_.solves_few(n, columns_ + kOtherPasses)) {
            const double loss = exact_.improve(begin, end);
            failed_ = exact_.failed();
            return loss;
        }
        const std::int64_t row = begin++;
        float* z = n * problem_.width <= kArenaFloats ? arena_.data() : nullptr;
        return sweep({row, problem_.history.indptr[row], n, z, residual_.data()});
    }

    // One history too long for one thread, by the whole team, of which this is one.
    double improve_together(std::int64_t row, std::vector<SubspaceSolver>& team, Interrupt& interrupt) {
        Buffer residual(problem_.length(row));
        team_ = &team;
        interrupt_ = &interrupt;
        partial_ = Buffer(kParts * (columns_ * columns_ + columns_));
        const double loss = sweep({row, problem_.history.indptr[row], problem_.length(row), nullptr, residual.data()});
        team_ = nullptr;
        return loss;
    }

    std::int64_t failed() const { return failed_; }

private:
    static constexpr std::ptrdiff_t kOtherPasses = 6;        // what an entry costs besides Gramians: twice three passes
    static constexpr int kAhead = 3;                         // rows that are asked for before their turn
    static constexpr std::ptrdiff_t kPiece = 128;            // entries worked on at a time
    static constexpr std::ptrdiff_t kArenaFloats = 2097152;  // one long history: faster in order than gathered again

    struct Row {
        std::int64_t row, begin;
        std::ptrdiff_t n;
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
        parallel_for(
            kParts, 1, static_cast<int>(team_->size()), *interrupt_, [&](std::int64_t part, std::int64_t, int worker) {
                const std::ptrdiff_t first = part_begin(h.n, part), last = part_begin(h.n, part + 1);
                body((*team_)[worker], Row{h.row, h.begin + first, last - first, nullptr, h.residual + first}, part);
            });
    }

    // Gathers the history where it fits, each row once; residual = s - Z x.
    void start_residual(const Row& h, const float* x) {
        const std::ptrdiff_t width = problem_.width;
        const std::int64_t last = problem_.last_entry();
        for (std::ptrdiff_t k = 0; k < h.n; ++k) {
            prefetch(problem_.row_ahead(h.begin + k + kAhead, last), width);
            const float *y = problem_.fixed_row(h.begin + k), s = problem_.root_weight(h.begin + k);
            h.residual[k] = s - s * dot(y, x, width);
            if (h.z == nullptr) continue;
            const Vec scale = broadcast(s);
            for (std::ptrdiff_t c = 0; c < width; c += columns_) {
                const std::ptrdiff_t columns = std::min(columns_, width - c);
                float* to = h.z + c * h.n + k * columns;
                for (std::ptrdiff_t j = 0; j < columns; j += kLanes) store(to + j, scale * load(y + c + j));
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

    // A step for every block of coordinates; the row's loss after them, or NaN with failed() set.
    double sweep(const Row& h) {
        const std::ptrdiff_t width = problem_.width;
        const float a0 = problem_.options.unobserved_weight, lambda = problem_.lambda(h.row);
        float *x = vectors_.data(), *own = x + width;  // the diagonal a0 D + l I, ones where the vector is padding
        std::copy_n(problem_.solved_row(h.row), problem_.factors, x);
        std::fill(x + problem_.factors, x + width, 0.0f);
        for (std::ptrdiff_t j = 0; j < width; ++j)
            own[j] = j < problem_.factors ? a0 * problem_.axes[j] + lambda : 1.0f;
        share_out(h, [&](SubspaceSolver& solver, const Row& part, std::int64_t) { solver.start_residual(part, x); });
        for (std::ptrdiff_t c = 0; c < width; c += columns_) {
            if (!improve_block(h, c, std::min(columns_, width - c), x + c, own + c)) {
                failed_ = h.row;
                return std::numeric_limits<double>::quiet_NaN();
            }
        }
        std::copy_n(x, problem_.factors, problem_.solved_row(h.row));
        double loss = 0.0;
        for (std::ptrdiff_t j = 0; j < width; ++j) loss += static_cast<double>(own[j]) * x[j] * x[j];
        for (std::ptrdiff_t k = 0; k < h.n; ++k) loss += static_cast<double>(h.residual[k]) * h.residual[k];
        return loss;
    }

    // a += Z'Z and gradient += Z'residual in columns [c, c + columns).
    void accumulate(const Row& h, std::ptrdiff_t c, std::ptrdiff_t columns, float* a, float* gradient) {
        over_history(h, c, columns, [&](const float* z, std::ptrdiff_t first, std::ptrdiff_t n) {
            add_rows(z, columns, n, h.residual + first, columns, gradient);
            add_gramian(n, columns, z, columns, a, columns, a, columns);
        });
    }

    // The same by the whole team.
    void accumulate_together(const Row& h, std::ptrdiff_t c, std::ptrdiff_t columns, float* a, float* gradient) {
        const std::ptrdiff_t size = columns * columns + columns;
        std::fill_n(partial_.data(), kParts * size, 0.0f);
        share_out(h, [&](SubspaceSolver& solver, const Row& part, std::int64_t number) {
            float* own = partial_.data() + number * size;
            solver.accumulate(part, c, columns, own, own + columns * columns);
        });
        for (std::int64_t part = 0; part < kParts; ++part) {
            axpy(1.0f, partial_.data() + part * size, a, columns * columns);
            axpy(1.0f, partial_.data() + part * size + columns * columns, gradient, columns);
        }
    }

    // The Newton step of coordinates [c, c + columns) of one row; x and own start at c.
    bool improve_block(const Row& h, std::ptrdiff_t c, std::ptrdiff_t columns, float* x, const float* own) {
        float *a = system_.data(), *gradient = vectors_.data() + 2 * problem_.width;
        float *step = gradient + columns, *inverse = step + columns;
        std::fill_n(a, columns * columns, 0.0f);
        for (std::ptrdiff_t j = 0; j < columns; ++j) {
            a[j * columns + j] = own[j];
            gradient[j] = -own[j] * x[j];
        }
        team_ == nullptr ? accumulate(h, c, columns, a, gradient) : accumulate_together(h, c, columns, a, gradient);
        if (!cholesky(columns, a, inverse)) return false;
        cholesky_solve(columns, a, inverse, gradient, step);
        axpy(1.0f, step, x, columns);
        share_out(h, [&](SubspaceSolver& solver, const Row& part, std::int64_t) {
            solver.over_history(part, c, columns, [&](const float* z, std::ptrdiff_t first, std::ptrdiff_t n) {
                subtract_dots(z, n, step, columns, part.residual + first);
            });
        });
        return true;
    }

    const Problem& problem_;
    ExactSolver exact_;
    std::ptrdiff_t columns_;
    Block block_;
    Buffer system_, vectors_, arena_, residual_, partial_;
    std::vector<SubspaceSolver>* team_ = nullptr;  // where one row is worked on by all
    Interrupt* interrupt_ = nullptr;
    std::int64_t failed_ = -1;
};

}  // namespace cofactor::als

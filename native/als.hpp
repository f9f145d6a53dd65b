// Implicit ALS: the sweep over one side with each solver, and the Gramian that it starts from.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <optional>
#include <vector>

#include "als_cg.hpp"
#include "als_cholesky.hpp"
#include "als_problem.hpp"
#include "als_subspace.hpp"

namespace cofactor {

struct AlsResult {
    double loss;  // summed over rows: all terms of als_problem.hpp, the fixed side's regularization excepted
    std::int64_t failed_row;  // a row whose system is not positive definite, or -1
};

// g (factors x factors) = y' y for y (n x factors). The slices and the order of their sum do not depend on the number
// of threads, so neither does the result.
inline void gramian(const float* y, std::int64_t n, std::ptrdiff_t factors, float* g, int threads,
                    Interrupt& interrupt) {
    const std::ptrdiff_t width = padded(factors),
                         block = std::clamp<std::ptrdiff_t>(als::kBlockFloats / width, 16, 256);
    const std::int64_t slices = std::clamp<std::int64_t>(n / 2048, 1, factors <= 256 ? 64 : 16);
    threads = static_cast<int>(std::min<std::int64_t>(slices, threads));
    std::vector<Buffer> sums, blocks;
    for (std::int64_t s = 0; s < slices; ++s) sums.emplace_back(width * width);
    for (int t = 0; t < threads; ++t) blocks.emplace_back(block * width);
    parallel_for(slices, 1, threads, interrupt, [&](std::int64_t s, std::int64_t, int worker) {
        float *sum = sums[s].data(), *z = blocks[worker].data();
        for (std::int64_t first = n * s / slices, end = n * (s + 1) / slices; first < end; first += block) {
            const std::int64_t rows = std::min<std::int64_t>(block, end - first);
            for (std::int64_t r = 0; r < rows; ++r) std::copy_n(y + (first + r) * factors, factors, z + r * width);
            add_gramian(rows, width, z, width, sum, width, sum, width);
        }
    });
    for (std::ptrdiff_t i = 0; i < factors; ++i) {
        for (std::ptrdiff_t j = i; j < factors; ++j) {
            double total = 0.0;
            for (const Buffer& sum : sums) total += sum.data()[i * width + j];
            g[i * factors + j] = g[j * factors + i] = static_cast<float>(total);
        }
    }
}

namespace als {

// body(worker's own, begin, end) over all rows; the sum of the losses it returns, in the order of the rows whoever
// worked on them.
template <class Worker, class Body>
double over_rows(std::int64_t n, std::vector<Worker>& workers, Interrupt& interrupt, Body&& body) {
    std::vector<double> losses((n + kGrain - 1) / kGrain, 0.0);
    parallel_for(n, kGrain, static_cast<int>(workers.size()), interrupt,
                 [&](std::int64_t begin, std::int64_t end, int worker) {
                     losses[begin / kGrain] = body(workers[worker], begin, end);
                 });
    double loss = 0.0;
    for (const double part : losses) loss += part;
    return loss;
}

// One for each thread. They take all their memory here, since the bodies that use them must not throw.
template <class Worker>
std::vector<Worker> make_workers(const Problem& problem, int threads) {
    std::vector<Worker> workers;
    for (int t = 0; t < threads; ++t) workers.emplace_back(problem);
    return workers;
}

// Histories too long for one thread: parts of each are summed up side by side. How many there are does not depend on
// the number of threads, so neither does the result.
inline double solve_longest(const Problem& problem, std::vector<ExactSolver>& workers, std::int64_t& failed,
                            Interrupt& interrupt) {
    const std::ptrdiff_t size = problem.width * problem.width;
    std::vector<Buffer> systems, sides;
    const Buffer zero(size);
    double loss = 0.0;
    for (std::int64_t row = 0; row < problem.history.n_rows() && failed < 0; ++row) {
        if (!problem.split(row)) continue;
        for (; systems.size() < kParts; sides.emplace_back(problem.width)) systems.emplace_back(size);
        const std::int64_t begin = problem.history.indptr[row], n = problem.length(row);
        parallel_for(kParts, 1, static_cast<int>(workers.size()), interrupt,
                     [&](std::int64_t part, std::int64_t, int worker) {
                         workers[worker].accumulate(begin + n * part / kParts, begin + n * (part + 1) / kParts,
                                                    part == 0 ? problem.gramian : zero.data(), systems[part].data(),
                                                    sides[part].data());
                     });
        if (interrupt.stopped()) break;
        for (std::int64_t part = 1; part < kParts; ++part) {
            axpy(1.0f, systems[part].data(), systems[0].data(), size);
            axpy(1.0f, sides[part].data(), sides[0].data(), problem.width);
        }
        loss += workers[0].finish(row, systems[0].data(), sides[0].data());
        if (std::isnan(loss)) failed = row;
    }
    return loss;
}

inline AlsResult sweep_exactly(const Problem& problem, int threads, Interrupt& interrupt) {
    std::vector<ExactSolver> workers = make_workers<ExactSolver>(problem, threads);
    std::int64_t first_failed = -1;
    const double longest = solve_longest(problem, workers, first_failed, interrupt);
    std::atomic<std::int64_t> failed{first_failed};
    const double rest = over_rows(problem.history.n_rows(), workers, interrupt,
                                  [&](ExactSolver& solver, std::int64_t begin, std::int64_t end) {
                                      double loss = 0.0;
                                      for (std::int64_t row = begin; row < end && failed < 0; ++row) {
                                          if (problem.split(row)) continue;
                                          loss += solver.solve(row);
                                          if (std::isnan(loss)) failed = row;
                                      }
                                      return loss;
                                  });
    return {longest + rest, failed};
}

inline AlsResult sweep_cg(const Problem& problem, int threads, Interrupt& interrupt) {
    LongRows long_rows(problem);
    const double longest = long_rows.improve(threads, interrupt);
    std::atomic<std::int64_t> failed{long_rows.failed()};
    std::vector<ShortRows> workers = make_workers<ShortRows>(problem, threads);
    const double rest = over_rows(problem.history.n_rows(), workers, interrupt,
                                  [&](ShortRows& rows, std::int64_t begin, std::int64_t end) {
                                      double loss = 0.0;
                                      while (begin < end && failed < 0) {
                                          loss += rows.improve(begin, end, long_rows);
                                          if (rows.failed() >= 0) failed = rows.failed();
                                      }
                                      return loss;
                                  });
    return {longest + rest, failed};
}

inline AlsResult sweep_subspaces(const Problem& problem, int threads, Interrupt& interrupt) {
    std::vector<SubspaceSolver> workers = make_workers<SubspaceSolver>(problem, threads);
    double longest = 0.0;
    for (std::int64_t row = 0; row < problem.history.n_rows(); ++row) {
        if (workers[0].failed() >= 0 || interrupt.stopped()) break;
        if (problem.split(row)) longest += workers[0].improve_together(row, workers, interrupt);
    }
    std::atomic<std::int64_t> failed{workers[0].failed()};
    const double rest = over_rows(problem.history.n_rows(), workers, interrupt,
                                  [&](SubspaceSolver& solver, std::int64_t begin, std::int64_t end) {
                                      double part = 0.0;
                                      while (begin < end && failed < 0) {
                                          part += solver.improve(begin, end);
                                          if (solver.failed() >= 0) failed = solver.failed();
                                      }
                                      return part;
                                  });
    return {longest + rest, failed};
}

// The fixed rows padded with zeros and starting at cache lines: all of them, or, where the histories have fewer
// entries, a copy for each entry, with columns to match. Few entries always go this way, so that results do not depend
// on where the fixed rows start.
class PaddedRows {
public:
    PaddedRows(const Csr& history, const float* fixed, std::int64_t n_fixed, std::ptrdiff_t factors, int threads,
               Interrupt& interrupt) {
        const std::ptrdiff_t width = padded(factors);
        const std::int64_t nnz = static_cast<std::int64_t>(history.indices.size());
        const bool compact = nnz < n_fixed;
        n_ = compact ? nnz : n_fixed;
        rows_ = Buffer(n_ * width);
        columns_.resize(compact ? nnz : 0);
        parallel_for(n_, 4096, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
            for (std::int64_t r = begin; r < end; ++r) {
                if (compact) columns_[r] = static_cast<std::int32_t>(r);
                std::copy_n(fixed + (compact ? history.indices[r] : r) * factors, factors, rows_.data() + r * width);
            }
        });
    }

    const float* data() const { return rows_.data(); }
    std::int64_t n() const { return n_; }
    Csr history(const Csr& original) const {
        return columns_.empty() ? original : Csr{original.indptr, columns_, original.values};
    }

private:
    std::int64_t n_;
    Buffer rows_;
    std::vector<std::int32_t> columns_;
};

}  // namespace als

// Improves every row of solved (n_rows x factors) with the other side held fixed.
inline AlsResult als_sweep(const Csr& history, float* solved, const float* fixed, std::int64_t n_fixed,
                           std::ptrdiff_t factors, const float* g, const AlsOptions& options, int threads,
                           Interrupt& interrupt) {
    const std::ptrdiff_t width = padded(factors);
    const std::ptrdiff_t block =
        options.solver == AlsSolver::subspace ? std::min(padded(options.block_size), width) : width;
    Buffer scaled(width * width), panels(width * width);
    for (std::ptrdiff_t i = 0; i < factors; ++i) {
        for (std::ptrdiff_t j = 0; j < factors; ++j) {
            scaled.data()[i * width + j] = options.unobserved_weight * g[i * factors + j];
        }
    }
    for (std::ptrdiff_t c = 0; c < width; c += block) {
        pack_panels(width, std::min(block, width - c), scaled.data() + c, width, panels.data() + c * width);
    }
    als::Problem problem{history,       fixed,         n_fixed, n_fixed, factors, width,
                         scaled.data(), panels.data(), block,   options, solved};
    std::optional<als::PaddedRows> rows;
    const bool few = static_cast<std::int64_t>(history.indices.size()) < n_fixed;
    if (few || width != factors || reinterpret_cast<std::uintptr_t>(fixed) % 64 != 0) {
        rows.emplace(history, fixed, n_fixed, factors, threads, interrupt);
        problem.history = rows->history(history);
        problem.fixed = rows->data();
        problem.n_available = rows->n();
    }
    const std::int64_t parts = static_cast<std::int64_t>(history.indices.size()) > als::kSplit ? als::kParts : 1;
    const std::int64_t pieces = std::max((history.n_rows() + als::kGrain - 1) / als::kGrain, parts);
    threads = static_cast<int>(std::min<std::int64_t>(pieces, threads));
    switch (options.solver) {
        case AlsSolver::cholesky:
            return als::sweep_exactly(problem, threads, interrupt);
        case AlsSolver::cg:
            return als::sweep_cg(problem, threads, interrupt);
        default:
            return block == width ? als::sweep_exactly(problem, threads, interrupt)
                                  : als::sweep_subspaces(problem, threads, interrupt);
    }
}

}  // namespace cofactor

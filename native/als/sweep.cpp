#include "als/sweep.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <vector>

#include "als/cg.hpp"
#include "als/cholesky.hpp"
#include "als/narrow.hpp"
#include "als/problem.hpp"
#include "als/subspace.hpp"

namespace cofactor {

void gramian(const float* y, std::int64_t n, std::ptrdiff_t factors, float* g, int threads, Interrupt& interrupt) {
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

bool is_diagonal(const float* g, std::ptrdiff_t factors) {
    bool zeros = true;
    for (std::ptrdiff_t i = 0; i < factors; ++i) {
        for (std::ptrdiff_t j = 0; j < factors; ++j) zeros = zeros && (i == j || g[i * factors + j] == 0.0f);
    }
    return zeros;
}

void rotate(float* x, std::int64_t n, std::ptrdiff_t factors, const float* q, int threads, Interrupt& interrupt) {
    const std::ptrdiff_t width = padded(factors), size = kTileRows * width;
    Buffer square(width * width), panels(width * width);
    for (std::ptrdiff_t i = 0; i < factors; ++i) std::copy_n(q + i * factors, factors, square.data() + i * width);
    pack_panels(width, width, square.data(), width, panels.data());
    std::vector<Buffer> rooms;
    for (int t = 0; t < threads; ++t) rooms.emplace_back(2 * size);
    parallel_for(n, 8 * kTileRows, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int worker) {
        float *rows = rooms[worker].data(), *out = rows + size;
        for (; begin < end; begin += kTileRows) {
            const int some = static_cast<int>(std::min<std::int64_t>(kTileRows, end - begin));
            for (int r = 0; r < some; ++r) std::copy_n(x + (begin + r) * factors, factors, rows + r * width);
            multiply_rows(some, width, width, rows, width, panels.data(), out, width);
            for (int r = 0; r < some; ++r) std::copy_n(out + r * width, factors, x + (begin + r) * factors);
        }
    });
}

namespace als {
namespace {

// One worker for each thread. They take all their memory here, since what they do in parallel must not throw.
template <class Worker, class... Arguments>
std::vector<Worker> make_workers(int threads, const Arguments&... arguments) {
    std::vector<Worker> workers;
    for (int t = 0; t < threads; ++t) workers.emplace_back(arguments...);
    return workers;
}

// worker.improve(begin, end), which moves begin, over all rows, until one fails; what was done before is added. Losses
// are summed in the order of the rows, whoever worked on them.
template <class Worker>
AlsResult over_rows(const Problem& problem, std::vector<Worker>& workers, const AlsResult& before,
                    Interrupt& interrupt) {
    const std::int64_t n = problem.history.n_rows();
    std::atomic<std::int64_t> failed{before.failed_row};
    std::vector<double> losses((n + kGrain - 1) / kGrain, 0.0);
    parallel_for(n, kGrain, static_cast<int>(workers.size()), interrupt,
                 [&](std::int64_t begin, std::int64_t end, int number) {
                     Worker& worker = workers[number];
                     double& loss = losses[begin / kGrain];
                     while (begin < end && failed < 0) {
                         loss += worker.improve(begin, end);
                         if (worker.failed() >= 0) failed = worker.failed();
                     }
                 });
    double rest = 0.0;
    for (const double loss : losses) rest += loss;
    return {before.loss + rest, failed};
}

// Histories too long for one thread: parts of each are summed up side by side. How many there are does not depend on
// the number of threads, so neither does the result.
AlsResult solve_longest(const Problem& problem, std::vector<ExactSolver>& workers, Interrupt& interrupt) {
    const std::ptrdiff_t size = problem.width * problem.width;
    std::vector<Buffer> systems, sides;
    const Buffer zero(size);
    double loss = 0.0;
    for (std::int64_t row = 0; row < problem.history.n_rows() && workers[0].failed() < 0; ++row) {
        if (!problem.split(row)) continue;
        for (; systems.size() < kParts; sides.emplace_back(problem.width)) systems.emplace_back(size);
        const std::int64_t begin = problem.history.indptr[row], n = problem.length(row);
        parallel_for(kParts, 1, static_cast<int>(workers.size()), interrupt,
                     [&](std::int64_t part, std::int64_t, int worker) {
                         workers[worker].accumulate(begin + part_begin(n, part), begin + part_begin(n, part + 1),
                                                    part == 0 ? problem.gramian : zero.data(), systems[part].data(),
                                                    sides[part].data());
                     });
        if (interrupt.stopped()) break;
        for (std::int64_t part = 1; part < kParts; ++part) {
            axpy(1.0f, systems[part].data(), systems[0].data(), size);
            axpy(1.0f, sides[part].data(), sides[0].data(), problem.width);
        }
        loss += workers[0].finish(row, systems[0].data(), sides[0].data());
    }
    return {loss, workers[0].failed()};
}

AlsResult sweep_exactly(const Problem& problem, int threads, Interrupt& interrupt) {
    std::vector<ExactSolver> workers = make_workers<ExactSolver>(threads, problem);
    return over_rows(problem, workers, solve_longest(problem, workers, interrupt), interrupt);
}

AlsResult sweep_cg(const Problem& problem, int threads, Interrupt& interrupt) {
    LongRows long_rows(problem);
    const double longest = long_rows.improve(threads, interrupt);
    std::vector<ShortRows> workers = make_workers<ShortRows>(threads, problem, long_rows);
    return over_rows(problem, workers, {longest, long_rows.failed()}, interrupt);
}

AlsResult sweep_subspaces(const Problem& problem, int threads, Interrupt& interrupt) {
    std::vector<SubspaceSolver> workers = make_workers<SubspaceSolver>(threads, problem);
    double longest = 0.0;
    for (std::int64_t row = 0; row < problem.history.n_rows(); ++row) {
        if (workers[0].failed() >= 0 || interrupt.stopped()) break;
        if (problem.split(row)) longest += workers[0].improve_together(row, workers, interrupt);
    }
    return over_rows(problem, workers, {longest, workers[0].failed()}, interrupt);
}

// Zeros that begin at a large page and lie in such pages, where the system has them: rows in random order need too many
// small ones.
class LargePages {
public:
    explicit LargePages(std::size_t n) {
        const std::size_t size = std::max<std::size_t>(n * sizeof(float), 1);
        data_.reset(static_cast<float*>(::operator new(size, std::align_val_t{kPage})));
#if defined(__linux__)
        if (size >= kPage) madvise(data_.get(), size, MADV_HUGEPAGE);
#endif
        std::fill_n(data_.get(), n, 0.0f);
    }
    float* data() { return data_.get(); }
    const float* data() const { return data_.get(); }

private:
    static constexpr std::size_t kPage = std::size_t{1} << 21;
    struct Free {
        void operator()(float* p) const { ::operator delete(p, std::align_val_t{kPage}); }
    };
    std::unique_ptr<float, Free> data_;
};

// The fixed rows padded with zeros and starting at cache lines, their first coordinates in 16 bits if asked for: all of
// them, or, where the histories have fewer entries, a copy for each entry, with columns to match. Few entries always go
// this way, so that results do not depend on where the fixed rows start.
class PaddedRows {
public:
    PaddedRows(Problem given, bool few, int threads, Interrupt& interrupt)
        : n_(few ? static_cast<std::int64_t>(given.history.indices.size()) : given.n_fixed),
          rows_(n_ * given.stride),
          columns_(few ? n_ : 0) {
        const std::ptrdiff_t stride = given.stride;
        given.stride = given.factors;
        parallel_for(n_, 4096, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
            for (std::int64_t r = begin; r < end; ++r) {
                if (few) columns_[r] = static_cast<std::int32_t>(r);
                const float* row = few ? given.fixed_row(r) : given.row_of_fixed(r);
                store_row(row, given.factors, given.narrow, rows_.data() + r * stride);
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
    LargePages rows_;
    std::vector<std::int32_t> columns_;
};

}  // namespace

}  // namespace als

AlsResult als_sweep(const Csr& history, float* solved, const std::vector<FixedPart>& fixed, std::ptrdiff_t factors,
                    const float* g, const AlsOptions& options, int threads, Interrupt& interrupt) {
    const std::ptrdiff_t width = padded(factors);
    const std::ptrdiff_t block =
        options.solver == AlsSolver::subspace ? std::min(padded(options.block_size), width) : width;
    const bool exact = options.solver == AlsSolver::cholesky ||
                       (options.solver == AlsSolver::subspace && block == width);  // one block is all of the vector
    const std::ptrdiff_t narrow = options.narrow && options.solver == AlsSolver::cg ? width - width % als::kPair : 0;
    Buffer scaled(width * width), axes(width);
    std::fill_n(axes.data(), width, 1.0f);
    for (std::ptrdiff_t i = 0; i < factors; ++i) {
        axes.data()[i] = g[i * factors + i];
        for (std::ptrdiff_t j = 0; j < factors; ++j) {
            scaled.data()[i * width + j] = options.unobserved_weight * g[i * factors + j];
        }
    }
    const als::Chunks chunks(fixed, factors);
    std::int64_t n_fixed = 0;
    bool aligned = true;
    const float* first = nullptr;  // of the only part that has rows, where there is one
    for (const FixedPart& part : fixed) {
        n_fixed += part.n;
        if (part.n > 0) first = part.rows;
        aligned = aligned && reinterpret_cast<std::uintptr_t>(part.rows) % 64 == 0;
    }
    als::Problem problem{.history = history,
                         .fixed = first,
                         .chunks = chunks.begins.empty() ? nullptr : chunks.begins.data(),
                         .shift = chunks.shift,
                         .n_available = n_fixed,
                         .n_fixed = n_fixed,
                         .factors = factors,
                         .width = width,
                         .narrow = narrow,
                         .stride = width - narrow / 2,
                         .gramian = scaled.data(),
                         .block = block,
                         .along_axes = is_diagonal(g, factors),
                         .axes = axes.data(),
                         .options = options,
                         .solved = solved};
    std::optional<als::PaddedRows> rows;
    const bool few = static_cast<std::int64_t>(history.indices.size()) < n_fixed;
    if (few || narrow > 0 || width != factors || !aligned) {
        rows.emplace(problem, few, threads, interrupt);
        problem.history = rows->history(history);
        problem.fixed = rows->data();
        problem.chunks = nullptr;
        problem.n_available = rows->n();
    }
    const std::int64_t parts = static_cast<std::int64_t>(history.indices.size()) > als::kSplit ? als::kParts : 1;
    const std::int64_t pieces = std::max((history.n_rows() + als::kGrain - 1) / als::kGrain, parts);
    threads = static_cast<int>(std::min<std::int64_t>(pieces, threads));
    if (exact) return als::sweep_exactly(problem, threads, interrupt);
    return options.solver == AlsSolver::cg ? als::sweep_cg(problem, threads, interrupt)
                                           : als::sweep_subspaces(problem, threads, interrupt);
}

}  // namespace cofactor
